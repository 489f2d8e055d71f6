use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::*;
use crate::types::Secret;

/// A read-only source with the token that the test puts there.
#[derive(Clone, Default)]
struct ReadOnlySource {
    token: Arc<Mutex<Option<Token>>>,
    changed: Arc<Notify>,
}

impl ReadOnlySource {
    fn put(&self, token: Option<Token>) {
        *self.token.lock().unwrap() = token;
        self.changed.notify_one();
    }
}

impl Source for ReadOnlySource {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        let token = self.token.lock().unwrap().clone();
        let missing = || ObtainError::transient("connect_failed", "the service is unreachable");
        Box::pin(std::future::ready(token.ok_or_else(missing)))
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.changed.notified())
    }

    fn describe(&self) -> String {
        "service".to_owned()
    }
}

struct Fixture {
    directory: TempDir,
    source: ReadOnlySource,
    store: RenewedTokenStore,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let source = ReadOnlySource::default();
        source.put(Some(token("EAAfirst")));
        let store = store_over(&source, &directory);
        Self {
            directory,
            source,
            store,
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("renewed")
    }

    async fn load_text(&mut self) -> String {
        load_text(&mut self.store).await
    }

    /// The token that the next start finds.
    async fn load_after_restart(&self) -> String {
        load_text(&mut store_over(&self.source, &self.directory)).await
    }

    async fn store_token(&mut self, new: &str, expected: &str) -> StoreOutcome {
        let expected = token(expected).secret.fingerprint();
        self.store.store(&token(new), Some(expected)).await.unwrap()
    }
}

fn store_over(source: &ReadOnlySource, directory: &TempDir) -> RenewedTokenStore {
    let path = directory.path().join("renewed");
    RenewedTokenStore::new(Box::new(source.clone()), path, Clock::system())
}

fn token(text: &str) -> Token {
    Token::without_expiry(Secret::new(text).unwrap())
}

async fn load_text(store: &mut RenewedTokenStore) -> String {
    store.load().await.unwrap().secret.expose().to_owned()
}

#[tokio::test]
async fn a_renewed_token_survives_a_restart_while_its_source_is_unchanged() {
    let mut case = Fixture::new();
    assert_eq!(case.store.check_writable(), Ok(()));
    assert_eq!(case.load_text().await, "EAAfirst");
    assert_eq!(case.store_token("EAAsecond", "EAAfirst").await, StoreOutcome::Stored);
    assert_eq!(case.load_after_restart().await, "EAAsecond");
    assert_eq!(case.store_token("EAAthird", "EAAsecond").await, StoreOutcome::Stored);
    assert_eq!(case.load_after_restart().await, "EAAthird");
    // The operator puts another token there.
    case.source.put(Some(token("EAAother")));
    assert_eq!(case.load_after_restart().await, "EAAother");
    assert_eq!(case.store_token("EAAfourth", "EAAother").await, StoreOutcome::Stored);
    assert_eq!(case.load_after_restart().await, "EAAfourth");
}

#[tokio::test]
async fn the_record_is_used_while_its_own_source_is_unreachable() {
    let mut case = Fixture::new();
    case.source.put(None);
    assert_eq!(case.store.load().await.unwrap_err().reason(), "connect_failed");
    case.source.put(Some(token("EAAfirst")));
    case.store_token("EAAsecond", "EAAfirst").await;
    case.source.put(None);
    assert_eq!(case.load_after_restart().await, "EAAsecond");
    let text = fs::read_to_string(case.path()).unwrap();
    fs::write(case.path(), text.replace("\"service\"", "\"other\"")).unwrap();
    let mut stored = store_over(&case.source, &case.directory);
    assert_eq!(stored.load().await.unwrap_err().reason(), "connect_failed");
}

#[tokio::test]
async fn a_renewed_token_is_stored_although_the_source_is_unreachable() {
    let mut case = Fixture::new();
    assert_eq!(case.load_text().await, "EAAfirst");
    case.source.put(None);
    assert_eq!(case.store_token("EAAsecond", "EAAfirst").await, StoreOutcome::Stored);
    case.source.put(Some(token("EAAfirst")));
    assert_eq!(case.load_after_restart().await, "EAAsecond");
}

#[tokio::test]
async fn a_concurrent_write_is_not_overwritten() {
    let mut case = Fixture::new();
    let mut other = store_over(&case.source, &case.directory);
    case.store_token("EAAsecond", "EAAfirst").await;
    let expected = token("EAAfirst").secret.fingerprint();
    let conflict = other.store(&token("EAAconcurrent"), Some(expected)).await.unwrap();
    assert_eq!(conflict, StoreOutcome::Conflict);
    let outcome = other.store(&token("EAAsecond"), Some(expected)).await.unwrap();
    assert_eq!(outcome, StoreOutcome::Stored);
    case.source.put(Some(token("EAAother")));
    assert_eq!(case.store_token("EAAthird", "EAAsecond").await, StoreOutcome::Conflict);
    assert_eq!(case.load_after_restart().await, "EAAother");
}

#[tokio::test]
async fn the_expiry_is_stored_and_an_expired_record_is_loaded_before_the_fallback_token() {
    let mut case = Fixture::new();
    let expiring_at = |seconds| Token {
        expires_at: Some(UNIX_EPOCH + Duration::from_secs(seconds)),
        ..token("EAAsecond")
    };
    let expected = token("EAAfirst").secret.fingerprint();
    case.store
        .store(&expiring_at(4_000_000_000), Some(expected))
        .await
        .unwrap();
    let loaded = store_over(&case.source, &case.directory).load().await.unwrap();
    assert_eq!(loaded.expires_at, expiring_at(4_000_000_000).expires_at);
    let text = fs::read_to_string(case.path()).unwrap();
    fs::write(case.path(), text.replace("4000000000", "1000000000")).unwrap();
    let fallback = |case: &Fixture| case.store.fallback_token().unwrap().secret.expose().to_owned();
    assert_eq!(case.load_text().await, "EAAsecond");
    assert_eq!(fallback(&case), "EAAfirst");
    // Graph rejected the record's token, and the older one is renewed.
    assert_eq!(case.store_token("EAAthird", "EAAsecond").await, StoreOutcome::Stored);
    assert_eq!(
        (case.load_text().await.as_str(), fallback(&case).as_str()),
        ("EAAthird", "EAAfirst")
    );
}

#[tokio::test]
async fn an_invalid_record_is_ignored_and_replaced_by_the_next_store() {
    let mut case = Fixture::new();
    for invalid in [
        "",
        "{\"access_token\":\"EAAhalf",
        "{\"access_token\":\"EAAbare\"}",
        "{\"access_token\":7,\"renewed_from\":\"\",\"source\":\"service\"}",
        "\0",
    ] {
        fs::write(case.path(), invalid).unwrap();
        assert_eq!(case.load_text().await, "EAAfirst", "{invalid}");
    }
    assert_eq!(case.store_token("EAAsecond", "EAAfirst").await, StoreOutcome::Stored);
    assert_eq!(case.load_after_restart().await, "EAAsecond");
}

#[tokio::test]
async fn a_change_of_the_source_or_of_the_file_notifies() {
    let mut case = Fixture::new();
    assert_eq!(case.load_text().await, "EAAfirst");
    let soon = Duration::from_secs(60);
    // The notification of the first token.
    timeout(soon, case.store.changed()).await.unwrap();
    let unchanged = timeout(Duration::from_millis(1_300), case.store.changed());
    assert!(unchanged.await.is_err(), "a notification without a change");
    case.source.put(Some(token("EAAother")));
    timeout(soon, case.store.changed()).await.unwrap();
    assert_eq!(case.load_text().await, "EAAother");
    let mut replica = store_over(&case.source, &case.directory);
    let expected = token("EAAother").secret.fingerprint();
    replica.store(&token("EAAsecond"), Some(expected)).await.unwrap();
    timeout(soon, case.store.changed()).await.unwrap();
    assert_eq!(case.load_text().await, "EAAsecond");
}

#[tokio::test]
async fn an_encrypted_record_contains_no_token_and_an_unencrypted_one_is_still_read() {
    let mut case = Fixture::new();
    case.store_token("EAAsecond", "EAAfirst").await;
    let keys = Fernet::new(vec![Fernet::generate().unwrap()]).unwrap();
    let mut encrypted = store_over(&case.source, &case.directory).encrypted_with(Some(keys.clone()));
    assert_eq!(load_text(&mut encrypted).await, "EAAsecond");
    let expected = token("EAAsecond").secret.fingerprint();
    encrypted.store(&token("EAAthird"), Some(expected)).await.unwrap();
    let text = fs::read_to_string(case.path()).unwrap();
    assert!(
        !["EAAfirst", "EAAsecond", "EAAthird"]
            .iter()
            .any(|token| text.contains(token)),
        "{text}"
    );
    assert_eq!(text.matches("gAAAA").count(), 2, "{text}");
    assert_eq!(load_text(&mut encrypted).await, "EAAthird");
    // Without the key the record is not used.
    assert_eq!(case.load_after_restart().await, "EAAfirst");
    encrypted.roll_back().await.unwrap();
    assert_eq!(load_text(&mut encrypted).await, "EAAsecond");
}

#[tokio::test]
async fn a_rollback_restores_the_previous_token_and_a_second_one_undoes_it() {
    let mut case = Fixture::new();
    let error = case.store.roll_back().await.unwrap_err();
    assert_eq!(error.reason(), "no_previous_token");
    case.store_token("EAAsecond", "EAAfirst").await;
    case.store.roll_back().await.unwrap();
    assert_eq!(case.load_after_restart().await, "EAAfirst");
    case.store.roll_back().await.unwrap();
    assert_eq!(case.load_after_restart().await, "EAAsecond");
    case.source.put(Some(token("EAAother")));
    let error = case.store.roll_back().await.unwrap_err();
    assert!(error.to_string().contains("is in use"), "{error}");
    assert_eq!(case.load_after_restart().await, "EAAother");
}

#[tokio::test]
async fn the_later_expiry_of_the_same_token_is_kept_and_so_is_the_previous_token() {
    let mut case = Fixture::new();
    let later = |text| Token {
        expires_at: Some(UNIX_EPOCH + Duration::from_secs(1_900_000_000)),
        ..token(text)
    };
    assert_eq!(case.load_text().await, "EAAfirst");
    for text in ["EAAfirst", "EAAsecond"] {
        if text == "EAAsecond" {
            assert_eq!(case.store_token(text, "EAAfirst").await, StoreOutcome::Stored);
        }
        let expected = token(text).secret.fingerprint();
        let outcome = case.store.store(&later(text), Some(expected)).await;
        assert_eq!(outcome.unwrap(), StoreOutcome::Stored);
        let found = store_over(&case.source, &case.directory).load().await.unwrap();
        assert_eq!(
            (found.secret.expose(), found.expires_at),
            (text, later(text).expires_at)
        );
    }
    case.store.roll_back().await.unwrap();
    assert_eq!(case.load_text().await, "EAAfirst");
}
