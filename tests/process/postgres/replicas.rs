//! Replicas that share a row renew once per expiry, whichever of them is killed meanwhile.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use graphward::net::Tasks;
use graphward::source::PostgresSource;
use graphward::token::{Source as _, StoreOutcome};
use tokio::time::{Instant, sleep, timeout};

use super::server::{Database, Server};
use super::support::{CONFIG_TABLE, load_token, token, writable_settings};
use crate::support::{TIMEOUT, assert_quick};

/// How often the token ends in these tests.
const EXPIRIES: u32 = 6;
/// Where a child finds the database.
const DATABASE_URL_VARIABLE: &str = "GRAPHWARD_TEST_POSTGRES";

fn source(url: &str) -> PostgresSource {
    PostgresSource::new(writable_settings(url), Tasks::default()).unwrap()
}

/// Replaces each token by the next until the last, as a refresher does: look, claim, look again, mint, deposit. Says how
/// often it minted.
async fn renew_until_last(mut source: PostgresSource) -> u32 {
    let number = |shown: &str| shown.strip_prefix("EAAG").and_then(|text| text.parse().ok());
    let mut minted = 0;
    loop {
        let known = load_token(&mut source).await;
        let now: u32 = number(&known).unwrap_or(0);
        if now == EXPIRIES {
            return minted;
        }
        let claim = source.lock().await.unwrap();
        let again = source.load().await.unwrap();
        if again.secret.expose() == known {
            minted += 1;
            sleep(Duration::from_millis(30)).await;
            let next = token(&format!("EAAG{}", now + 1));
            let deposit = source.store(&next, again.secret.fingerprint()).await;
            assert_eq!(deposit.unwrap(), StoreOutcome::Stored);
        }
        drop(claim);
    }
}

/// This test again, in a process of its own.
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

/// Whether this process is such a child, and where its database is.
fn child_database_url() -> Option<String> {
    std::env::var_os(DATABASE_URL_VARIABLE)?.into_string().ok()
}

/// Tells the parent, past what captures the output of tests.
fn print_line(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_mint_once_per_expiry() {
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
async fn three_processes_mint_once_per_expiry() {
    if let Some(url) = child_database_url() {
        print_line(&format!("minted {}", renew_until_last(source(&url)).await));
        return;
    }
    let database = Database::with(CONFIG_TABLE);
    let test = "replicas::three_processes_mint_once_per_expiry";
    let children: Vec<_> = (0..3).map(|_| spawn_child(test, &database)).collect();
    let outputs = children.into_iter().map(|child| child.wait_with_output().unwrap());
    let minted = outputs.map(|output| {
        let said = String::from_utf8(output.stdout).unwrap();
        let (_, count) = said.split_once("minted ").unwrap();
        count.split_whitespace().next().unwrap().parse::<u32>().unwrap()
    });
    assert_eq!(minted.sum::<u32>(), EXPIRIES);
}

#[tokio::test]
async fn a_replica_that_is_killed_while_it_mints_is_followed_at_once() {
    if let Some(url) = child_database_url() {
        let mut source = source(&url);
        let _held = source.lock().await.unwrap();
        print_line("claimed");
        // Without the kill, it would end as well.
        return sleep(Duration::from_secs(20)).await;
    }
    let database = Database::with(CONFIG_TABLE);
    let test = "replicas::a_replica_that_is_killed_while_it_mints_is_followed_at_once";
    let mut child = spawn_child(test, &database);
    let said = BufReader::new(child.stdout.take().unwrap());
    assert!(said.lines().any(|line| line.unwrap().contains("claimed")));
    let mut other = source(&database.url());
    let claimed = timeout(Duration::from_millis(400), other.lock()).await;
    assert!(claimed.is_err(), "both have the claim");
    let (killed, followed) = tokio::join!(
        async {
            sleep(Duration::from_millis(100)).await;
            child.kill().unwrap();
            Instant::now()
        },
        async {
            let _held = other.lock().await.unwrap();
            Instant::now()
        }
    );
    let followed = followed - killed;
    child.wait().unwrap();
    assert_quick(followed, Duration::from_secs(3));
}

#[tokio::test]
async fn a_claim_ends_with_its_connection() {
    let database = Database::with(CONFIG_TABLE);
    let (mut one, mut other) = (source(&database.url()), source(&database.url()));
    let held = one.lock().await.unwrap();
    let ended = database.psql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_locks JOIN pg_database d ON d.oid = database \
         WHERE locktype = 'advisory' AND granted AND datname = current_database()",
    );
    assert_eq!(ended, "1");
    let claimed = timeout(TIMEOUT, other.lock()).await;
    let theirs = claimed.unwrap().unwrap();
    drop(held);
    let claimed = timeout(Duration::from_millis(300), one.lock()).await;
    assert!(claimed.is_err(), "a claim that had ended took another's along");
    drop(theirs);
    let claimed = timeout(TIMEOUT, one.lock()).await;
    drop(claimed.unwrap().unwrap());
}

#[tokio::test]
async fn a_server_that_is_lost_ends_the_waiting_for_a_claim() {
    let server = Server::new();
    server.psql("postgres", CONFIG_TABLE);
    let url = server.url_of("postgres", "postgres");
    let (mut one, mut other) = (source(&url), source(&url));
    let _held = one.lock().await.unwrap();
    let (claimed, lost) = tokio::join!(async { (other.lock().await, Instant::now()) }, async {
        sleep(Duration::from_millis(200)).await;
        server.stop();
        Instant::now()
    });
    let (error, ended) = (claimed.0.unwrap_err(), claimed.1);
    assert!(error.is_transient());
    assert_quick(ended - lost, Duration::from_secs(3));
}

#[tokio::test]
async fn a_replica_that_hangs_loses_its_claim_and_its_late_deposit_is_overtaken() {
    let database = Database::with(CONFIG_TABLE);
    let mut hanging = source(&database.url()).with_max_lock_hold(Duration::from_secs(4));
    let mut other = source(&database.url());
    let before = hanging.load().await.unwrap().secret.fingerprint();
    let began = Instant::now();
    let held = hanging.lock().await.unwrap();
    // Longer than one wait for the lock.
    let claim = other.lock().await.unwrap();
    let followed = began.elapsed();
    assert!(followed > Duration::from_secs(3), "{followed:?}");
    assert_quick(followed, Duration::from_secs(8));
    let deposit = other.store(&token("EAAGminted"), before).await;
    assert_eq!(deposit.unwrap(), StoreOutcome::Stored);
    let deposit = hanging.store(&token("EAAGlate"), before).await;
    assert_eq!(deposit.unwrap(), StoreOutcome::Conflict);
    assert_eq!(load_token(&mut hanging).await, "EAAGminted");
    drop((held, claim));
}

#[tokio::test]
async fn rows_of_different_tenants_are_claimed_apart() {
    let database = Database::with(CONFIG_TABLE);
    let mut one = source(&database.url());
    let mut settings = writable_settings(&database.url());
    settings.params = vec!["00000000-0000-0000-0000-000000000002".to_owned()];
    let mut other = PostgresSource::new(settings, Tasks::default()).unwrap();
    let _held = one.lock().await.unwrap();
    let claimed = timeout(TIMEOUT, other.lock()).await;
    drop(claimed.unwrap().unwrap());
}
