//! A renewed token is stored where the query finds it, once, and only over the token that it was renewed from.

use std::time::{Duration, SystemTime};

use graphward::source::PlainTokens;
use graphward::source::{Fernet, PostgresSettings, PostgresSource};
use graphward::token::{Source as _, StoreOutcome, Token};
use tokio::time::timeout;

use super::server::Database;
use super::support::{
    CONFIG_QUERY, CONFIG_TABLE, CONFIG_UPDATE, NUMBER_QUERY, NUMBER_TABLE, NUMBER_UPDATE, PHONE_NUMBER_ID, TENANT_ID,
    error_chain, load_token, open, secret, settings, source, token, writable_settings,
};
use crate::support::wait_until;

const TOKEN_AND_PREVIOUS: &str = "SELECT access_token, previous_access_token FROM tenant_whatsapp_config \
    WHERE is_active AND tenant_id = '6f1d8c1e-4b1a-4c55-9a57-0d3c3f6e2a11'";
/// Finds a row while a statement sleeps, and after it has committed.
const SLEEPING: &str = "SELECT 'EAAGsleeps' FROM pg_stat_activity WHERE datname = current_database() \
    AND wait_event = 'PgSleep' UNION SELECT DISTINCT access_token FROM tenant_whatsapp_config \
    WHERE access_token = 'EAAGdropped'";
const DISTINCT_TOKENS: &str = "SELECT count(DISTINCT access_token) FROM tenant_whatsapp_config";

/// A source with this `update`.
fn source_with_update(url: &str, query: &str, update: &str) -> PostgresSource {
    open(
        url,
        PostgresSettings {
            update: Some(update.to_owned()),
            ..settings(query, &[TENANT_ID])
        },
    )
}

#[tokio::test]
async fn a_stored_token_is_found_by_the_next_start_and_the_previous_one_is_kept() {
    let database = Database::with(CONFIG_TABLE);
    database.psql(NUMBER_TABLE);
    let url = database.url();
    let mut configs = open(&url, writable_settings());
    assert_eq!(configs.check_writable(), Ok(()));
    let before = configs.load().await.unwrap().secret.fingerprint();
    let outcome = configs.store(&token("EAAGrenewed"), Some(before)).await;
    assert_eq!(outcome.unwrap(), StoreOutcome::Stored);
    assert_eq!(database.psql(TOKEN_AND_PREVIOUS), "EAAGrenewed|EAAGlive");
    assert_eq!(database.psql(DISTINCT_TOKENS), "3", "another row was written");
    assert_eq!(
        load_token(&mut source(&url, CONFIG_QUERY, &[TENANT_ID])).await,
        "EAAGrenewed"
    );
    // The answer to a commit may be lost: a repeated store finds the token there.
    let outcome = configs.store(&token("EAAGrenewed"), Some(before)).await;
    assert_eq!(outcome.unwrap(), StoreOutcome::Stored);
    assert_eq!(database.psql(TOKEN_AND_PREVIOUS), "EAAGrenewed|EAAGlive");

    let mut numbers = open(
        &url,
        PostgresSettings {
            update: Some(NUMBER_UPDATE.to_owned()),
            ..settings(NUMBER_QUERY, &[PHONE_NUMBER_ID])
        },
    );
    let before = numbers.load().await.unwrap().secret.fingerprint();
    let outcome = numbers.store(&token("EAAGrenewed2"), Some(before)).await;
    assert_eq!(outcome.unwrap(), StoreOutcome::Stored);
    let row = database.psql("SELECT api_token, previous_api_token FROM whatsapp_numbers");
    assert_eq!(row, "EAAGrenewed2|EAAGnumber");
}

#[tokio::test]
async fn a_token_is_stored_encrypted_if_the_column_is() {
    let keys = Fernet::new(vec![secret("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=")]);
    let keys = keys.unwrap();
    let database = Database::with(CONFIG_TABLE);
    let encrypted = keys.encrypt(&secret("EAAGencrypted"));
    database.psql(&format!(
        "UPDATE tenant_whatsapp_config SET access_token = '{encrypted}' WHERE tenant_id = '{TENANT_ID}'"
    ));
    let mut source = open(&database.url(), writable_settings()).encrypted_with(Some(keys.clone()), PlainTokens::Refuse);
    let before = source.load().await.unwrap().secret.fingerprint();
    let outcome = source.store(&token("EAAGrenewed"), Some(before)).await;
    assert_eq!(outcome.unwrap(), StoreOutcome::Stored);
    let row = database.psql(TOKEN_AND_PREVIOUS);
    let (now, previous) = row.split_once('|').unwrap();
    assert_eq!(keys.decrypt(now).unwrap().as_str(), "EAAGrenewed");
    assert_eq!(previous, encrypted);
    assert_eq!(load_token(&mut source).await, "EAAGrenewed");
}

#[tokio::test]
async fn a_token_that_another_process_put_there_is_not_overwritten() {
    let database = Database::with(CONFIG_TABLE);
    let mut source = open(&database.url(), writable_settings());
    let before = source.load().await.unwrap().secret.fingerprint();
    database.psql("UPDATE tenant_whatsapp_config SET access_token = 'EAAGdropped'");
    let outcome = source.store(&token("EAAGrenewed"), Some(before)).await;
    assert_eq!(outcome.unwrap(), StoreOutcome::Conflict);
    assert_eq!(database.psql(TOKEN_AND_PREVIOUS), "EAAGdropped|");
}

#[tokio::test]
async fn a_concurrent_write_during_a_store_is_a_conflict() {
    let database = Database::with(CONFIG_TABLE);
    let mut source = open(&database.url(), writable_settings());
    let before = source.load().await.unwrap().secret.fingerprint();
    let concurrent_write = "BEGIN; UPDATE tenant_whatsapp_config SET access_token = 'EAAGdropped'; \
        SELECT pg_sleep(1); COMMIT";
    let url = database.url();
    let (outcome, database) = tokio::join!(
        async {
            // The other one has written, and sleeps.
            wait_until("the row is locked", async || {
                super::support::source(&url, SLEEPING, &[]).load().await.is_ok()
            })
            .await;
            // It reads the row as it was, and waits for the lock on it.
            source.store(&token("EAAGrenewed"), Some(before)).await
        },
        tokio::task::spawn_blocking(move || {
            database.psql(concurrent_write);
            database
        })
    );
    let database = database.unwrap();
    assert_eq!(outcome.unwrap(), StoreOutcome::Conflict);
    assert_eq!(database.psql(TOKEN_AND_PREVIOUS), "EAAGdropped|");
}

#[tokio::test]
async fn a_store_whose_connection_breaks_is_repeated_and_happens_once() {
    let database = Database::with(CONFIG_TABLE);
    database.psql(
        "CREATE FUNCTION slow() RETURNS trigger AS 'BEGIN PERFORM pg_sleep(2); RETURN NEW; END' LANGUAGE plpgsql; \
         CREATE TRIGGER slow BEFORE UPDATE ON tenant_whatsapp_config FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    let mut source = open(&database.url(), writable_settings());
    let before = source.load().await.unwrap().secret.fingerprint();
    let (outcome, database) = tokio::join!(
        async { source.store(&token("EAAGrenewed"), Some(before)).await },
        tokio::task::spawn_blocking(move || {
            let terminate = format!(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                 WHERE datname = '{}' AND application_name = 'graphward' AND query LIKE 'UPDATE%'",
                database.name
            );
            while database.psql(&terminate) == "0" {}
            database
        })
    );
    assert_eq!(outcome.unwrap(), StoreOutcome::Stored);
    assert_eq!(database.unwrap().psql(TOKEN_AND_PREVIOUS), "EAAGrenewed|EAAGlive");
}

#[tokio::test]
async fn an_update_that_does_not_fit_the_query_writes_nothing() {
    let database = Database::with(CONFIG_TABLE);
    database.psql("CREATE TABLE short (t varchar(4)); GRANT SELECT ON tenant_whatsapp_config TO app");
    let url = database.url();
    let set = "UPDATE tenant_whatsapp_config SET";
    let cases = [
        (
            format!("{set} access_token = $1 WHERE tenant_id = $2 AND id = 77"),
            "matches no row",
        ),
        (format!("{set} access_token = $1 WHERE tenant_id = $2"), "several rows"),
        (
            format!("{set} previous_access_token = $1 WHERE tenant_id = $2 AND is_active"),
            "the row that `query` reads",
        ),
        (
            format!("{set} access_token = lower($1) WHERE tenant_id = $2 AND is_active"),
            "the row that `query` reads",
        ),
        (
            format!("{set} id = $1 WHERE tenant_id = $2 AND is_active"),
            "SQLSTATE 22P02",
        ),
        (
            format!("{set} access_token = $1 WHERE is_active AND id = 1"),
            "do not match `params`",
        ),
        (
            format!("{set} access_token = $1, tenant_id = NULL WHERE tenant_id = $2 AND is_active"),
            "SQLSTATE 23502",
        ),
    ];
    for (update, word) in &cases {
        let mut source = source_with_update(&url, CONFIG_QUERY, update);
        let before = source.load().await.unwrap().secret.fingerprint();
        let error = source.store(&token("EAAGRenewed"), Some(before)).await;
        let error = error.expect_err(update);
        let message = error_chain(&error);
        assert!(message.contains(word), "{update}: {message}");
        assert!(!error.is_transient() && !message.contains("EAAG"), "{message}");
        assert_eq!(database.psql(TOKEN_AND_PREVIOUS), "EAAGlive|");
        assert_eq!(database.psql(DISTINCT_TOKENS), "3");
    }
    let mut reader = source_with_update(&database.url_of("app:hunter2"), CONFIG_QUERY, CONFIG_UPDATE);
    let before = reader.load().await.unwrap().secret.fingerprint();
    let error = reader.store(&token("EAAGRenewed"), Some(before)).await;
    let message = error_chain(&error.unwrap_err());
    assert!(
        message.contains("permission denied") && message.contains("GRANT"),
        "{message}"
    );

    let mut only_read = source(&url, CONFIG_QUERY, &[TENANT_ID]);
    assert!(only_read.check_writable().unwrap_err().contains("`update`"));
    let error = only_read.store(&token("EAAGRenewed"), Some(before)).await;
    assert_eq!(error.unwrap_err().reason(), "not_writable");
}

#[tokio::test]
async fn the_new_expiry_is_stored_with_the_token_or_the_store_fails() {
    let database = Database::with(CONFIG_TABLE);
    database.psql("UPDATE tenant_whatsapp_config SET expires_at = to_timestamp(1800000000)");
    let url = database.url();
    let query = "SELECT access_token, expires_at FROM tenant_whatsapp_config \
        WHERE tenant_id = $1 AND is_active";
    let renewed = Token {
        expires_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000)),
        ..token("EAAGrenewed")
    };
    let mut forgetful = source_with_update(&url, query, CONFIG_UPDATE);
    let before = forgetful.load().await.unwrap().secret.fingerprint();
    let error = forgetful.store(&renewed, Some(before)).await.unwrap_err();
    assert!(
        error_chain(&error).contains("does not update the expiry column"),
        "{}",
        error_chain(&error)
    );
    assert_eq!(database.psql(TOKEN_AND_PREVIOUS), "EAAGlive|");

    let update = "UPDATE tenant_whatsapp_config SET access_token = $1, expires_at = to_timestamp($3) \
        WHERE tenant_id = $2 AND is_active";
    let mut careful = source_with_update(&url, query, update);
    let outcome = careful.store(&renewed, Some(before)).await;
    assert_eq!(outcome.unwrap(), StoreOutcome::Stored);
    let loaded = careful.load().await.unwrap();
    assert_eq!(loaded.expires_at, renewed.expires_at);
    let before = loaded.secret.fingerprint();
    let outcome = careful.store(&token("EAAGlasting"), Some(before)).await;
    assert_eq!(outcome.unwrap(), StoreOutcome::Stored);
    assert_eq!(careful.load().await.unwrap().expires_at, None);
}

#[tokio::test]
async fn the_later_expiry_of_the_same_token_is_stored_if_the_update_writes_it() {
    let database = Database::with(CONFIG_TABLE);
    database.psql("UPDATE tenant_whatsapp_config SET expires_at = to_timestamp(1000000000)");
    let query = "SELECT access_token, expires_at FROM tenant_whatsapp_config WHERE tenant_id = $1 AND is_active";
    let prolonged = Token {
        expires_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000)),
        ..token("EAAGlive")
    };
    let update = "UPDATE tenant_whatsapp_config SET access_token = $1, expires_at = to_timestamp($3) \
        WHERE tenant_id = $2 AND is_active";
    for (update, is_stored) in [(CONFIG_UPDATE, false), (update, true)] {
        let mut source = source_with_update(&database.url(), query, update);
        let loaded = source.load().await.unwrap();
        assert_eq!(loaded.expiry_key.as_deref(), Some("expires_at"));
        let outcome = source.store(&prolonged, Some(loaded.secret.fingerprint())).await;
        assert_eq!(outcome.unwrap(), StoreOutcome::Stored);
        let expires_at = source.load().await.unwrap().expires_at;
        assert_eq!(expires_at == prolonged.expires_at, is_stored);
    }
    assert_eq!(database.psql(TOKEN_AND_PREVIOUS), "EAAGlive|");
}

#[tokio::test]
async fn a_store_notifies_the_other_replicas_at_once() {
    let database = Database::with(CONFIG_TABLE);
    let listening = || {
        open(
            &database.url(),
            PostgresSettings {
                listen: Some("tokens".to_owned()),
                ..writable_settings()
            },
        )
    };
    let (mut one, mut other) = (listening(), listening());
    let before = one.load().await.unwrap().secret.fingerprint();
    assert_eq!(load_token(&mut other).await, "EAAGlive");
    let outcome = one.store(&token("EAAGrenewed"), Some(before)).await;
    assert_eq!(outcome.unwrap(), StoreOutcome::Stored);
    let notified = timeout(Duration::from_secs(30), other.changed()).await;
    assert!(notified.is_ok());
    assert_eq!(load_token(&mut other).await, "EAAGrenewed");
}
