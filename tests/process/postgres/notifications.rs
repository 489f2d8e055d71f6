//! The source notices a change: by a notification, or at the next poll.

use std::time::Duration;

use graphward::source::{PostgresSettings, PostgresSource};
use graphward::token::Source as _;
use tokio::time::{Instant, timeout};

use super::server::Database;
use super::support::{CONFIG_QUERY, CONFIG_TABLE, TENANT_ID, load_token, open, settings};
use crate::support::{TIMEOUT, assert_quick};

fn listening_source(url: &str) -> PostgresSource {
    open(
        url,
        PostgresSettings {
            listen: Some("Tokens of \"app\"".to_owned()),
            ..settings(CONFIG_QUERY, &[TENANT_ID])
        },
    )
}

const NOTIFY: &str = "SELECT pg_notify('Tokens of \"app\"', 'x')";
const WRITE: &str = "UPDATE tenant_whatsapp_config SET access_token = 'EAAGnext' WHERE is_active";

/// Whether the source announces a change within this many milliseconds.
async fn changes_within(source: &mut PostgresSource, millis: u64) -> bool {
    timeout(Duration::from_millis(millis), source.changed()).await.is_ok()
}

#[tokio::test]
async fn a_notification_is_noticed_within_a_second_and_once() {
    let database = Database::with(CONFIG_TABLE);
    let mut source = listening_source(&database.url());
    assert_eq!(load_token(&mut source).await, "EAAGlive");
    assert!(!changes_within(&mut source, 300).await);

    database.psql(&format!("BEGIN; {WRITE}; {NOTIFY}; COMMIT"));
    let started = Instant::now();
    // The waiting future may be dropped at any time.
    let mut notified = false;
    while !notified && started.elapsed() < TIMEOUT {
        notified = changes_within(&mut source, 20).await;
    }
    assert!(notified);
    assert_quick(started.elapsed(), Duration::from_secs(1));
    assert_eq!(load_token(&mut source).await, "EAAGnext");
    assert!(!changes_within(&mut source, 300).await);

    // Notified while no future waited.
    database.psql(NOTIFY);
    assert!(changes_within(&mut source, 30_000).await);
    assert_eq!(load_token(&mut source).await, "EAAGnext");
    assert!(!changes_within(&mut source, 300).await);
}

#[tokio::test]
async fn a_channel_is_listened_to_even_while_there_is_no_token() {
    let database = Database::with("CREATE TABLE a (b text)");
    let mut source = open(
        &database.url(),
        PostgresSettings {
            listen: Some("tokens".to_owned()),
            ..settings("SELECT access_token FROM b", &[])
        },
    );
    assert!(source.load().await.is_err());
    database.psql("CREATE TABLE b AS SELECT 'EAAGlate'::text AS access_token; NOTIFY tokens");
    assert!(changes_within(&mut source, 30_000).await);
    assert_eq!(load_token(&mut source).await, "EAAGlate");
}

#[tokio::test]
async fn a_lost_connection_is_restored_and_missed_changes_are_found() {
    let database = Database::with(CONFIG_TABLE);
    let mut source = listening_source(&database.url());
    assert_eq!(load_token(&mut source).await, "EAAGlive");
    database.psql(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = '{}' AND application_name = 'graphward'; {WRITE}",
        database.name
    ));
    assert!(
        changes_within(&mut source, 30_000).await,
        "the loss is not announced as a change"
    );
    assert_eq!(load_token(&mut source).await, "EAAGnext");
    database.psql(NOTIFY);
    assert!(
        changes_within(&mut source, 30_000).await,
        "the new connection does not listen"
    );
}

#[tokio::test]
async fn a_busy_channel_causes_at_most_ten_loads_a_second() {
    let database = Database::with(CONFIG_TABLE);
    let mut source = listening_source(&database.url());
    load_token(&mut source).await;
    let (mut loads, started) = (0, Instant::now());
    let url = database.url();
    let storm = std::thread::spawn(move || {
        for _ in 0..10 {
            database.psql(&format!("{NOTIFY} FROM generate_series(1, 50)"));
        }
        database
    });
    while started.elapsed() < Duration::from_secs(1) {
        if changes_within(&mut source, 50).await {
            load_token(&mut source).await;
            loads += 1;
        }
    }
    let database = storm.join().unwrap();
    assert_eq!(database.url(), url);
    assert!((1..=11).contains(&loads), "{loads} loads");
}

#[tokio::test]
async fn without_a_channel_it_polls_and_keeps_no_connection() {
    let database = Database::with(CONFIG_TABLE);
    let mut source = open(
        &database.url(),
        PostgresSettings {
            poll_interval: Duration::from_millis(1_500),
            ..settings(CONFIG_QUERY, &[TENANT_ID])
        },
    );
    assert_eq!(load_token(&mut source).await, "EAAGlive");
    database.psql(WRITE);
    assert!(!changes_within(&mut source, 100).await);
    assert!(changes_within(&mut source, 30_000).await);
    assert_eq!(load_token(&mut source).await, "EAAGnext");
    // Without a load, `changed` completes once per interval, not at once each time.
    assert!(changes_within(&mut source, 30_000).await);
    assert!(!changes_within(&mut source, 100).await);
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'graphward'";
    let here = format!("{count} AND datname = '{}'", database.name);
    assert_eq!(database.psql(&here), "0");
}
