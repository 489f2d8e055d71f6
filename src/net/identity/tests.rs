use std::fs;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::*;
use crate::net::ca::{Authority, Leaf};

struct Place {
    place: TempDir,
    authority: Authority,
}

impl Place {
    fn new() -> Self {
        Self {
            place: tempfile::tempdir().unwrap(),
            authority: Authority::new(&Clock::system()).unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// A certificate and its key.
    fn pair(&self) -> (String, String) {
        let signed = self.authority.sign(&Leaf::graph(&Clock::system())).unwrap();
        (signed.certificate(), signed.key().to_string())
    }

    fn put(&self, cert: &str, key: &str) {
        fs::write(self.path("cert"), cert).unwrap();
        fs::write(self.path("key"), key).unwrap();
    }

    async fn load(&self) -> Result<(Arc<Identity>, Keeper), IdentityError> {
        Identity::load(self.path("cert"), self.path("key"), Clock::system()).await
    }

    async fn refused(&self) -> String {
        chain(&self.load().await.unwrap_err())
    }
}

/// Whether another configuration comes into use within a moment.
async fn renews(identity: &Identity, before: &Arc<ServerConfig>, within: Duration) -> bool {
    let by = Instant::now() + within;
    while Instant::now() < by {
        if !Arc::ptr_eq(&identity.0.load_full(), before) {
            return true;
        }
        sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn what_cannot_be_used_is_told_with_the_file_and_never_with_what_is_in_it() {
    let place = Place::new();
    let ((cert, key), (_, other)) = (place.pair(), place.pair());
    assert!(place.refused().await.contains("cannot read"), "absent");
    for (cert_, key_, words) in [
        ("", key.as_str(), "cert has no PEM certificate"),
        (&key, &key, "cert has no PEM certificate"),
        (&cert, "", "key has no PEM private key"),
        (&cert, &cert, "key has no PEM private key"),
        (&cert, &other, "does not belong to the certificate"),
        (&"x".repeat(70_000), &key, "larger than 64 KiB"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &key,
            "cannot be used",
        ),
    ] {
        place.put(cert_, key_);
        let said = place.refused().await;
        assert!(said.contains(words), "{words}: {said}");
        let secret = key.lines().nth(1).unwrap();
        assert!(!said.contains(secret), "{said}");
    }
    place.put(&cert, &key);
    assert!(place.load().await.is_ok());
}

#[tokio::test]
async fn keys_of_all_three_forms_are_read() {
    let place = Place::new();
    // `openssl` writes the other two: SEC1 and PKCS#1.
    for (make, convert) in [
        ("ecparam -name prime256v1 -genkey -noout -out raw.pem", "ec"),
        ("genrsa -out raw.pem 2048", "rsa -traditional"),
    ] {
        let script = format!(
            "openssl {make} && openssl {convert} -in raw.pem -out key && \
             openssl req -new -x509 -key key -subj /CN=localhost -days 2 -out cert"
        );
        let made = std::process::Command::new("sh")
            .args(["-c", &script])
            .current_dir(place.place.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let key = fs::read_to_string(place.path("key")).unwrap();
        assert!(!key.contains("BEGIN PRIVATE KEY"), "{make}");
        assert!(place.load().await.is_ok(), "{make}");
    }
}

#[tokio::test]
async fn a_pair_that_is_replaced_one_file_after_the_other_is_used_when_it_is_whole() {
    let place = Place::new();
    let (cert, key) = place.pair();
    place.put(&cert, &key);
    let (identity, keeper) = place.load().await.unwrap();
    let first = identity.0.load_full();
    let (cert, key) = place.pair();
    let changing = async {
        sleep(Duration::from_millis(50)).await;
        fs::write(place.path("cert"), &cert).unwrap();
        assert!(!renews(&identity, &first, Duration::from_millis(400)).await);
        fs::write(place.path("key"), &key).unwrap();
        assert!(renews(&identity, &first, Duration::from_secs(3)).await);
        // Half a pair, for good: the one before stays, and a whole one still comes into use.
        let second = identity.0.load_full();
        fs::write(place.path("key"), "rubbish").unwrap();
        assert!(!renews(&identity, &second, PATIENCE + Duration::from_secs(1)).await);
        let (cert, key) = place.pair();
        place.put(&cert, &key);
        assert!(renews(&identity, &second, Duration::from_secs(3)).await);
    };
    tokio::select! {
        () = keeper.run() => unreachable!(),
        () = changing => {}
    }
}
