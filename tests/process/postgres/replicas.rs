//! Replicas that share a row renew once per expiry, even if one of them is killed meanwhile.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use graphward::source::PostgresSource;
use graphward::token::{Source as _, StoreOutcome};
use tokio::time::{Instant, sleep, timeout};

use super::server::{Database, Server};
use super::support::{CONFIG_TABLE, load_token, open, token, writable_settings};
use crate::support::TIMEOUT;

/// The number of expiries in these tests.
const EXPIRIES: u32 = 6;
/// The variable with the URL of the database, for a child process.
const DATABASE_URL_VARIABLE: &str = "GRAPHWARD_TEST_POSTGRES";

fn source(url: &str) -> PostgresSource {
    open(url, writable_settings())
}

/// Replaces each token with the next until the last, as a refresher does: load, lock, load again, renew, store. Returns the
/// number of its renewals.
async fn renew_until_last(mut source: PostgresSource) -> u32 {
    let number = |text: &str| text.strip_prefix("EAAG").and_then(|digits| digits.parse().ok());
    let mut renewals = 0;
    loop {
        let known = load_token(&mut source).await;
        let now: u32 = number(&known).unwrap_or(0);
        if now == EXPIRIES {
            return renewals;
        }
        let lock = source.lock().await.unwrap();
        let again = source.load().await.unwrap();
        if again.secret.expose() == known {
            renewals += 1;
            sleep(Duration::from_millis(30)).await;
            let next = token(&format!("EAAG{}", now + 1));
            let outcome = source.store(&next, Some(again.secret.fingerprint())).await;
            assert_eq!(outcome.unwrap(), StoreOutcome::Stored);
        }
        drop(lock);
    }
}

/// Runs a test of this file again in a child process.
fn spawn_child(test: &str, database: &Database) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        &format!("postgres::{test}"),
        "--nocapture",
        "--test-threads=1",
    ]);
    command
        .env(DATABASE_URL_VARIABLE, database.url())
        .stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// Returns the URL of the database if this process is such a child.
fn child_database_url() -> Option<String> {
    std::env::var_os(DATABASE_URL_VARIABLE)?.into_string().ok()
}

/// Prints a line for the parent, past the harness, which captures the output of tests.
fn print_line(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_renew_once_per_expiry() {
    let database = Database::with(CONFIG_TABLE);
    let url = database.url();
    let (one, two, three) = tokio::join!(
        renew_until_last(source(&url)),
        renew_until_last(source(&url)),
        renew_until_last(source(&url))
    );
    assert_eq!(one + two + three, EXPIRIES, "{one} {two} {three}");
}

#[tokio::test]
async fn three_processes_renew_once_per_expiry() {
    if let Some(url) = child_database_url() {
        print_line(&format!("renewals {}", renew_until_last(source(&url)).await));
        return;
    }
    let database = Database::with(CONFIG_TABLE);
    let test = "replicas::three_processes_renew_once_per_expiry";
    let children: Vec<_> = (0..3).map(|_| spawn_child(test, &database)).collect();
    let outputs = children.into_iter().map(|child| child.wait_with_output().unwrap());
    let renewals = outputs.map(|output| {
        let stdout = String::from_utf8(output.stdout).unwrap();
        let (_, count) = stdout.split_once("renewals ").unwrap();
        count.split_whitespace().next().unwrap().parse::<u32>().unwrap()
    });
    assert_eq!(renewals.sum::<u32>(), EXPIRIES);
}

#[tokio::test]
async fn when_a_replica_is_killed_during_its_renewal_another_gets_the_lock_at_once() {
    if let Some(url) = child_database_url() {
        let mut source = source(&url).with_max_lock_hold(2 * TIMEOUT);
        let _held = source.lock().await.unwrap();
        print_line("locked");
        // It ends by itself if the parent does not kill it.
        return sleep(2 * TIMEOUT).await;
    }
    let database = Database::with(CONFIG_TABLE);
    let test = "replicas::when_a_replica_is_killed_during_its_renewal_another_gets_the_lock_at_once";
    let mut child = spawn_child(test, &database);
    let stdout = BufReader::new(child.stdout.take().unwrap());
    assert!(stdout.lines().any(|line| line.unwrap().contains("locked")));
    let mut other = source(&database.url());
    let locked = timeout(Duration::from_millis(400), other.lock()).await;
    assert!(locked.is_err(), "both hold the lock");
    let (_, locked) = tokio::join!(
        async {
            sleep(Duration::from_millis(100)).await;
            child.kill().unwrap();
        },
        other.lock()
    );
    // The server would leave it the lock for two minutes, and a wait for it ends after 35 s.
    drop(locked.unwrap());
    child.wait().unwrap();
}

#[tokio::test]
async fn a_lock_ends_with_its_connection() {
    let database = Database::with(CONFIG_TABLE);
    let (mut one, mut other) = (source(&database.url()), source(&database.url()));
    let held = one.lock().await.unwrap();
    let terminated = database.psql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_locks JOIN pg_database d ON d.oid = database \
         WHERE locktype = 'advisory' AND granted AND datname = current_database()",
    );
    assert_eq!(terminated, "1");
    let locked = timeout(TIMEOUT, other.lock()).await;
    let others_lock = locked.unwrap().unwrap();
    drop(held);
    let locked = timeout(Duration::from_millis(300), one.lock()).await;
    assert!(
        locked.is_err(),
        "dropping a lock that had ended released another replica's lock"
    );
    drop(others_lock);
    let locked = timeout(TIMEOUT, one.lock()).await;
    drop(locked.unwrap().unwrap());
}

#[tokio::test]
async fn losing_the_server_ends_the_wait_for_a_lock() {
    let server = Server::new();
    server.psql("postgres", CONFIG_TABLE);
    let url = server.url_of("postgres", "postgres");
    let (mut one, mut other) = (source(&url), source(&url));
    let _held = one.lock().await.unwrap();
    let (locked, ()) = tokio::join!(other.lock(), async {
        sleep(Duration::from_millis(200)).await;
        server.stop();
    });
    let error = locked.unwrap_err();
    assert!(error.is_transient());
    assert_ne!(error.reason(), "lock_timeout", "the wait had ended by itself");
}

#[tokio::test]
async fn a_replica_that_hangs_loses_its_lock_and_its_late_store_is_a_conflict() {
    let database = Database::with(CONFIG_TABLE);
    let mut hanging = source(&database.url()).with_max_lock_hold(Duration::from_secs(4));
    let mut other = source(&database.url());
    let before = hanging.load().await.unwrap().secret.fingerprint();
    let started = Instant::now();
    let held = hanging.lock().await.unwrap();
    // Longer than one wait for the lock.
    let lock = other.lock().await.unwrap();
    let followed = started.elapsed();
    assert!(followed > Duration::from_secs(3), "{followed:?}");
    let outcome = other.store(&token("EAAGrenewed"), Some(before)).await;
    assert_eq!(outcome.unwrap(), StoreOutcome::Stored);
    let outcome = hanging.store(&token("EAAGlate"), Some(before)).await;
    assert_eq!(outcome.unwrap(), StoreOutcome::Conflict);
    assert_eq!(load_token(&mut hanging).await, "EAAGrenewed");
    drop((held, lock));
}

#[tokio::test]
async fn rows_of_different_tenants_have_separate_locks() {
    let database = Database::with(CONFIG_TABLE);
    let mut one = source(&database.url());
    let mut settings = writable_settings();
    settings.params = vec!["00000000-0000-0000-0000-000000000002".to_owned()];
    let mut other = open(&database.url(), settings);
    let _held = one.lock().await.unwrap();
    let locked = timeout(TIMEOUT, other.lock()).await;
    drop(locked.unwrap().unwrap());
}
