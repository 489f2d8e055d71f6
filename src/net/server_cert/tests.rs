use std::fs;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::*;
use crate::net::ca::{CertAuthority, CertSpec};

struct TestDir {
    dir: TempDir,
    ca: CertAuthority,
}

impl TestDir {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            ca: CertAuthority::new(&Clock::system()).unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A certificate and its key.
    fn cert_and_key(&self) -> (String, String) {
        let signed = self.ca.sign(&CertSpec::for_graph(&Clock::system())).unwrap();
        (signed.cert.pem(), signed.signing_key.serialize_pem())
    }

    fn write(&self, cert: &str, key: &str) {
        fs::write(self.path("cert"), cert).unwrap();
        fs::write(self.path("key"), key).unwrap();
    }

    async fn load(&self) -> Result<(Arc<ServerCert>, CertReloader), ServerCertError> {
        let files = TlsFiles {
            cert: self.path("cert"),
            key: self.path("key"),
        };
        ServerCert::load(files, Clock::system()).await
    }

    async fn load_error(&self) -> String {
        error_chain(&self.load().await.unwrap_err())
    }
}

/// Whether another configuration comes into use within a moment.
async fn is_replaced_within(identity: &ServerCert, previous: &Arc<ServerConfig>, within: Duration) -> bool {
    let by = Instant::now() + within;
    while Instant::now() < by {
        if !Arc::ptr_eq(&identity.0.load_full(), previous) {
            return true;
        }
        sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn an_unusable_file_is_reported_by_its_path_and_never_by_its_contents() {
    let place = TestDir::new();
    let ((cert, key), (_, other)) = (place.cert_and_key(), place.cert_and_key());
    assert!(place.load_error().await.contains("cannot read"), "absent");
    for (cert_, key_, words) in [
        ("", key.as_str(), "cert` has no PEM certificate"),
        (&key, &key, "cert` has no PEM certificate"),
        (&cert, "", "key` has no unencrypted PEM private key"),
        (&cert, &cert, "key` has no unencrypted PEM private key"),
        (&cert, &other, "does not match the certificate"),
        (&"x".repeat(70_000), &key, "larger than 64 KiB"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &key,
            "are not usable",
        ),
    ] {
        place.write(cert_, key_);
        let message = place.load_error().await;
        assert!(message.contains(words), "{words}: {message}");
        let secret = key.lines().nth(1).unwrap();
        assert!(!message.contains(secret), "{message}");
    }
    place.write(&cert, &key);
    assert!(place.load().await.is_ok());
}

#[tokio::test]
async fn keys_of_all_three_forms_are_read() {
    let place = TestDir::new();
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
            .current_dir(place.dir.path())
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
    let place = TestDir::new();
    let (cert, key) = place.cert_and_key();
    place.write(&cert, &key);
    let (server_cert, reloader) = place.load().await.unwrap();
    let first = server_cert.0.load_full();
    let (cert, key) = place.cert_and_key();
    let changing = async {
        sleep(Duration::from_millis(50)).await;
        fs::write(place.path("cert"), &cert).unwrap();
        assert!(!is_replaced_within(&server_cert, &first, Duration::from_millis(400)).await);
        fs::write(place.path("key"), &key).unwrap();
        assert!(is_replaced_within(&server_cert, &first, Duration::from_secs(30)).await);
        // A mismatch that stays: the previous pair stays in use, and a matching one still replaces it.
        let second = server_cert.0.load_full();
        fs::write(place.path("key"), "rubbish").unwrap();
        assert!(!is_replaced_within(&server_cert, &second, MISMATCH_GRACE + Duration::from_secs(1)).await);
        let (cert, key) = place.cert_and_key();
        place.write(&cert, &key);
        assert!(is_replaced_within(&server_cert, &second, Duration::from_secs(30)).await);
    };
    tokio::select! {
        () = reloader.run() => unreachable!(),
        () = changing => {}
    }
}

#[test]
fn the_end_of_validity_is_read_from_any_certificate_and_from_no_part_of_one() {
    for (year, month, day, seconds) in [
        (1999, 12, 31, 946_598_400),
        (2000, 2, 29, 951_782_400),
        (2049, 12, 31, 2_524_521_600),
        // From 2050 on the date is encoded in another format.
        (2050, 1, 1, 2_524_608_000),
        (2100, 3, 1, 4_107_542_400),
    ] {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(1990, 1, 1);
        params.not_after = date_time_ymd(year, month, day);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(not_after(made.der()), Some(end), "{year}-{month}-{day}");
        for cut in 0..made.der().len() - 1 {
            assert_eq!(not_after(&made.der()[..cut]), None, "{cut}");
        }
    }
    for invalid in [&b""[..], b"\x30", b"\x30\x85\xff\xff\xff\xff\xff", b"\x30\x80\x00\x00"] {
        assert_eq!(not_after(invalid), None);
    }
}
