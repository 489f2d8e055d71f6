use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::*;
use crate::types::Secret;

/// A place that shows what it is told to, and cannot be written to.
#[derive(Clone, Default)]
struct Shelf {
    shows: Arc<Mutex<Option<Token>>>,
    rung: Arc<Notify>,
}

impl Shelf {
    fn put(&self, token: Option<Token>) {
        *self.shows.lock().unwrap() = token;
        self.rung.notify_one();
    }
}

impl Source for Shelf {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        let shows = self.shows.lock().unwrap().clone();
        let gone = || ObtainError::transient("gone", "the shelf is out of reach");
        Box::pin(std::future::ready(shows.ok_or_else(gone)))
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.rung.notified())
    }

    fn describe(&self) -> String {
        "shelf".to_owned()
    }
}

struct Case {
    directory: TempDir,
    shelf: Shelf,
    stored: Stored,
}

impl Case {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let shelf = Shelf::default();
        shelf.put(Some(token("EAAfirst")));
        let stored = of(&shelf, &directory);
        Self {
            directory,
            shelf,
            stored,
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("renewed")
    }

    async fn shows(&mut self) -> String {
        shows(&mut self.stored).await
    }

    /// What the next start finds.
    async fn restarted(&self) -> String {
        shows(&mut of(&self.shelf, &self.directory)).await
    }

    async fn put(&mut self, new: &str, over: &str) -> Deposit {
        let over = token(over).secret.fingerprint();
        self.stored.deposit(&token(new), over).await.unwrap()
    }
}

fn of(shelf: &Shelf, directory: &TempDir) -> Stored {
    let path = directory.path().join("renewed");
    Stored::new(Box::new(shelf.clone()), path, Clock::system())
}

fn token(text: &str) -> Token {
    Token::lasting(Secret::new(text).unwrap())
}

async fn shows(stored: &mut Stored) -> String {
    stored.load().await.unwrap().secret.expose().to_owned()
}

#[tokio::test]
async fn a_renewed_token_outlasts_the_process_as_long_as_its_origin_is_shown() {
    let mut case = Case::new();
    assert_eq!(case.stored.keeps(), Ok(()));
    assert_eq!(case.shows().await, "EAAfirst");
    assert_eq!(case.put("EAAsecond", "EAAfirst").await, Deposit::Kept);
    assert_eq!(case.restarted().await, "EAAsecond");
    assert_eq!(case.put("EAAthird", "EAAsecond").await, Deposit::Kept);
    assert_eq!(case.restarted().await, "EAAthird");
    // A person puts another one there.
    case.shelf.put(Some(token("EAAother")));
    assert_eq!(case.restarted().await, "EAAother");
    assert_eq!(case.put("EAAfourth", "EAAother").await, Deposit::Kept);
    assert_eq!(case.restarted().await, "EAAfourth");
}

#[tokio::test]
async fn the_record_speaks_for_a_place_that_is_out_of_reach_if_it_is_that_places() {
    let mut case = Case::new();
    case.shelf.put(None);
    assert_eq!(case.stored.load().await.unwrap_err().reason(), "gone");
    case.shelf.put(Some(token("EAAfirst")));
    case.put("EAAsecond", "EAAfirst").await;
    case.shelf.put(None);
    assert_eq!(case.restarted().await, "EAAsecond");
    let text = fs::read_to_string(case.path()).unwrap();
    fs::write(case.path(), text.replace("\"shelf\"", "\"attic\"")).unwrap();
    let mut stored = of(&case.shelf, &case.directory);
    assert_eq!(stored.load().await.unwrap_err().reason(), "gone");
}

#[tokio::test]
async fn what_was_minted_is_stored_though_the_place_has_gone_meanwhile() {
    let mut case = Case::new();
    assert_eq!(case.shows().await, "EAAfirst");
    case.shelf.put(None);
    assert_eq!(case.put("EAAsecond", "EAAfirst").await, Deposit::Kept);
    case.shelf.put(Some(token("EAAfirst")));
    assert_eq!(case.restarted().await, "EAAsecond");
}

#[tokio::test]
async fn who_was_faster_is_not_overwritten() {
    let mut case = Case::new();
    let mut other = of(&case.shelf, &case.directory);
    case.put("EAAsecond", "EAAfirst").await;
    let over = token("EAAfirst").secret.fingerprint();
    let overtaken = other.deposit(&token("EAAtheirs"), over).await.unwrap();
    assert_eq!(overtaken, Deposit::Overtaken);
    let kept = other.deposit(&token("EAAsecond"), over).await.unwrap();
    assert_eq!(kept, Deposit::Kept);
    case.shelf.put(Some(token("EAAother")));
    assert_eq!(case.put("EAAthird", "EAAsecond").await, Deposit::Overtaken);
    assert_eq!(case.restarted().await, "EAAother");
}

#[tokio::test]
async fn the_end_is_kept_and_a_token_that_has_ended_hides_nothing() {
    let mut case = Case::new();
    let ends = |seconds| Token {
        expires_at: Some(UNIX_EPOCH + Duration::from_secs(seconds)),
        ..token("EAAsecond")
    };
    let over = token("EAAfirst").secret.fingerprint();
    case.stored
        .deposit(&ends(4_000_000_000), over)
        .await
        .unwrap();
    let shown = of(&case.shelf, &case.directory).load().await.unwrap();
    assert_eq!(shown.expires_at, ends(4_000_000_000).expires_at);
    let text = fs::read_to_string(case.path()).unwrap();
    fs::write(case.path(), text.replace("4000000000", "1000000000")).unwrap();
    assert_eq!(case.shows().await, "EAAfirst");
    // Both have: then the younger is shown, and its end is told.
    let mut ended = token("EAAfirst");
    ended.expires_at = Some(UNIX_EPOCH);
    case.shelf.put(Some(ended));
    assert_eq!(case.shows().await, "EAAsecond");
}

#[tokio::test]
async fn rubbish_is_as_good_as_nothing_and_replaced_by_the_next() {
    let mut case = Case::new();
    for rubbish in [
        "",
        "{\"access_token\":\"EAAhalf",
        "{\"access_token\":\"EAAbare\"}",
        "{\"access_token\":7,\"renewed_from\":\"\",\"source\":\"shelf\"}",
        "\0",
    ] {
        fs::write(case.path(), rubbish).unwrap();
        assert_eq!(case.shows().await, "EAAfirst", "{rubbish}");
    }
    assert_eq!(case.put("EAAsecond", "EAAfirst").await, Deposit::Kept);
    assert_eq!(case.restarted().await, "EAAsecond");
}

#[tokio::test]
async fn news_of_either_is_news() {
    let mut case = Case::new();
    assert_eq!(case.shows().await, "EAAfirst");
    let soon = Duration::from_secs(3);
    // The bell rang when the first token was put there.
    timeout(soon, case.stored.changed()).await.unwrap();
    let quiet = timeout(Duration::from_millis(1_300), case.stored.changed());
    assert!(quiet.await.is_err(), "news of nothing");
    case.shelf.put(Some(token("EAAother")));
    timeout(soon, case.stored.changed()).await.unwrap();
    assert_eq!(case.shows().await, "EAAother");
    let mut replica = of(&case.shelf, &case.directory);
    let over = token("EAAother").secret.fingerprint();
    replica.deposit(&token("EAAsecond"), over).await.unwrap();
    timeout(soon, case.stored.changed()).await.unwrap();
    assert_eq!(case.shows().await, "EAAsecond");
}

#[tokio::test]
async fn a_sealed_record_shows_no_token_and_one_from_before_the_key_is_read() {
    let mut case = Case::new();
    case.put("EAAsecond", "EAAfirst").await;
    let keys = Fernet::new(vec![Fernet::generate().unwrap()]).unwrap();
    let mut sealed = of(&case.shelf, &case.directory).sealed(keys.clone());
    assert_eq!(shows(&mut sealed).await, "EAAsecond");
    let over = token("EAAsecond").secret.fingerprint();
    sealed.deposit(&token("EAAthird"), over).await.unwrap();
    let text = fs::read_to_string(case.path()).unwrap();
    assert!(
        !text.contains("EAA") && text.matches("gAAAA").count() == 2,
        "{text}"
    );
    assert_eq!(shows(&mut sealed).await, "EAAthird");
    // Without the key it is no token, and never taken for one.
    assert_eq!(case.restarted().await, "EAAfirst");
    let back = sealed.roll_back().await.unwrap();
    assert_eq!(back.to, over);
    assert_eq!(shows(&mut sealed).await, "EAAsecond");
}

#[tokio::test]
async fn a_rollback_goes_back_and_a_second_one_forth() {
    let mut case = Case::new();
    let nothing = case.stored.roll_back().await.unwrap_err();
    assert_eq!(nothing.reason(), "nothing_before");
    case.put("EAAsecond", "EAAfirst").await;
    let back = case.stored.roll_back().await.unwrap();
    let prints = ["EAAfirst", "EAAsecond"].map(|text| token(text).secret.fingerprint());
    assert_eq!((back.from, back.to), (Some(prints[1]), prints[0]));
    assert_eq!(case.restarted().await, "EAAfirst");
    case.stored.roll_back().await.unwrap();
    assert_eq!(case.restarted().await, "EAAsecond");
    case.shelf.put(Some(token("EAAother")));
    let nothing = case.stored.roll_back().await.unwrap_err();
    assert!(nothing.to_string().contains("in force"), "{nothing}");
    assert_eq!(case.restarted().await, "EAAother");
}
