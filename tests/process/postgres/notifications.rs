//! The source notices a change: by a notification, or at the next poll.

use std::time::Duration;

use graphward::source::{PostgresSettings, PostgresSource};
use graphward::token::Source as _;
use tokio::time::{Instant, timeout};

use super::server::Database;
use super::support::{CONFIG_QUERY, CONFIG_TABLE, TENANT_ID, load_token, open, settings};
use crate::support::wait_until;

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
async fn a_notification_is_noticed_before_the_next_poll_and_once() {
    let database = Database::with(CONFIG_TABLE);
    let mut source = listening_source(&database.url());
    assert_eq!(load_token(&mut source).await, "EAAGlive");
    assert!(!changes_within(&mut source, 300).await);

    database.psql(&format!("BEGIN; {WRITE}; {NOTIFY}; COMMIT"));
    let started = Instant::now();
    // The waiting future may be dropped at any time.
    let mut notified = false;
    // Polls come once a minute.
    while !notified && started.elapsed() < Duration::from_secs(30) {
        notified = changes_within(&mut source, 20).await;
    }
    assert!(notified);
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
    while loads == 0 || !storm.is_finished() {
        if changes_within(&mut source, 50).await {
            load_token(&mut source).await;
            loads += 1;
        }
    }
    let database = storm.join().unwrap();
    assert_eq!(database.url(), url);
    let most = 1 + started.elapsed().as_millis() / 100;
    assert!((1..=most).contains(&loads), "{loads} loads, at most {most}");
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
    let started = Instant::now();
    assert_eq!(load_token(&mut source).await, "EAAGlive");
    // Without a load, `changed` completes once per interval, not at once each time.
    for turn in 1..=2 {
        assert!(changes_within(&mut source, 30_000).await);
        let waited = started.elapsed();
        assert!(waited > turn * Duration::from_millis(1_300), "{waited:?}");
    }
    database.psql(WRITE);
    assert!(changes_within(&mut source, 30_000).await);
    assert_eq!(load_token(&mut source).await, "EAAGnext");
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'graphward'";
    let here = format!("{count} AND datname = '{}'", database.name);
    wait_until("the connection of the load has ended", async || {
        database.psql(&here) == "0"
    })
    .await;
}
