//! A table with a row for each tenant: reads of single rows, their locks, and stores.

use std::time::Duration;

use futures_util::future::join_all;
use graphward::net::Tasks;
use graphward::source::{PostgresTableSettings, StoredToken, TenantRow, TenantRows, TenantTable as _};
use graphward::token::{ObtainError, StoreOutcome};
use tokio::time::{Instant, timeout};

use super::server::Database;
use super::support::{secret, token};
use super::tenant_table::{MINUTE, QUERY, TABLE, connections, id, open, read, reason, row, settings, text};
use crate::support::wait_until;

async fn read_row(rows: &dyn TenantRows, name: &str) -> Option<TenantRow> {
    rows.read_row(&id(name)).await.unwrap()
}

async fn store(rows: &dyn TenantRows, name: &str, new: &str, expected: &str) -> Result<StoreOutcome, ObtainError> {
    let (token, expected) = (token(new), secret(expected).fingerprint());
    rows.store(
        &id(name),
        StoredToken {
            token: &token,
            expected,
        },
    )
    .await
}

#[tokio::test]
async fn single_rows_are_read_over_one_connection() {
    let database = Database::with(TABLE);
    let mut table = open(&database, settings(QUERY));
    read(&mut table).await;
    let rows = table.rows();
    for read in join_all((0..40).map(|_| read_row(&*rows, "acme"))).await {
        assert_eq!(text(&read.unwrap()), "EAAGacme");
    }
    assert!(read_row(&*rows, "none").await.is_none());
    assert!(read_row(&*rows, "ACME").await.is_none());
    wait_until("two connections are kept", async || connections(&database) == "2").await;

    database.psql(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = '{}' AND application_name = 'graphward'",
        database.name
    ));
    assert!(read_row(&*rows, "shop").await.is_some(), "it does not reconnect");
    database.psql("UPDATE tenant_whatsapp_config SET access_token = NULL WHERE tenant_id = 'shop'");
    assert_eq!(reason(&read_row(&*rows, "shop").await.unwrap()), "empty");
    database.psql("ALTER TABLE tenant_whatsapp_config RENAME TO other");
    let error = rows.read_row(&id("shop")).await.unwrap_err();
    assert_eq!(error.reason(), "statement", "{error}");
    assert!(error.to_string().contains(", tenant shop"), "{error}");
}

#[tokio::test]
async fn replicas_renew_different_rows_at_once_and_the_same_row_one_after_the_other() {
    let database = Database::with(TABLE);
    let (one, other) = (
        open(&database, settings(QUERY)).rows(),
        open(&database, settings(QUERY)).rows(),
    );
    let acme = one.lock(&id("acme")).await.unwrap();
    assert!(!acme.is_uncontended());
    // Another row is free, and so are the permits of the replica that waits.
    let shop = timeout(MINUTE / 2, other.lock(&id("shop"))).await.unwrap().unwrap();
    let started = Instant::now();
    let acme_again = async { (other.lock(&id("acme")).await, started.elapsed()) };
    let (acme_again, ()) = tokio::join!(timeout(MINUTE / 2, acme_again), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(acme);
    });
    let (lock, waited) = acme_again.unwrap();
    assert!(
        waited >= Duration::from_millis(500),
        "two replicas renewed the same row"
    );
    drop((lock.unwrap(), shop));
    wait_until("the connections are closed", async || connections(&database) == "0").await;
}

#[tokio::test]
async fn a_replica_that_keeps_the_lock_of_a_row_is_not_waited_for_longer_than_half_a_minute() {
    let database = Database::with(TABLE);
    let rows = open(&database, settings(QUERY)).rows();
    let lock = rows.lock(&id("acme")).await.unwrap();
    // A session that does not end, as that of a replica whose machine was suspended.
    let (holder, connection) = tokio_postgres::connect(&database.url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    let driver = Tasks::default().spawn(connection);
    let take = "SELECT pg_advisory_lock(classid::bigint << 32 | objid::bigint) FROM pg_locks
        WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let taken = holder.batch_execute(take);
    let (taken, ()) = tokio::join!(taken, async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(lock);
    });
    taken.unwrap();
    let started = Instant::now();
    let error = rows.lock(&id("acme")).await.unwrap_err();
    assert_eq!(error.reason(), "lock_timeout");
    assert!(
        error.is_transient() && started.elapsed() > Duration::from_secs(20),
        "{error}"
    );
    driver.abort();
}

#[tokio::test]
async fn no_more_renewals_run_than_are_allowed() {
    let database = Database::with(TABLE);
    let one_renewal = PostgresTableSettings {
        renewals: 1.try_into().unwrap(),
        ..settings(QUERY)
    };
    let rows = open(&database, one_renewal).rows();
    let first = rows.lock(&id("acme")).await.unwrap();
    let shop = id("shop");
    let (second, ()) = tokio::join!(timeout(MINUTE / 2, rows.lock(&shop)), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(connections(&database), "1");
        drop(first);
    });
    drop(second.unwrap().unwrap());
}

#[tokio::test]
async fn a_store_changes_a_row_that_still_has_the_expected_token_and_announces_it() {
    let database = Database::with(TABLE);
    let mut table = open(&database, settings(QUERY));
    read(&mut table).await;
    let rows = table.rows();
    assert_eq!(rows.check_writable(&id("acme")), Ok(()));
    assert!(
        rows.describe(&id("acme"))
            .ends_with(&format!("/{}, tenant acme", database.name))
    );
    assert_eq!(
        store(&*rows, "acme", "EAAGnew", "EAAGacme").await.unwrap(),
        StoreOutcome::Stored
    );
    timeout(MINUTE / 2, table.changed()).await.unwrap();
    let contents = read(&mut table).await;
    assert_eq!(
        (text(row(&contents, "acme")), text(row(&contents, "shop"))),
        ("EAAGnew".into(), "EAAGshop".into())
    );

    assert_eq!(
        store(&*rows, "acme", "EAAGlate", "EAAGacme").await.unwrap(),
        StoreOutcome::Conflict
    );
    assert_eq!(
        store(&*rows, "acme", "EAAGnew", "EAAGacme").await.unwrap(),
        StoreOutcome::Stored
    );
    assert_eq!(
        store(&*rows, "none", "EAAGx", "EAAGacme").await.unwrap_err().reason(),
        "missing"
    );
    let tokens = "SELECT string_agg(access_token, ' ' ORDER BY tenant_id) FROM tenant_whatsapp_config";
    assert_eq!(database.psql(tokens), "EAAGnew EAAGshop");

    for (update, words) in [
        (None, "read-only"),
        (
            Some("UPDATE tenant_whatsapp_config SET access_token = $1 WHERE $2 <> ''"),
            "several rows",
        ),
        (
            Some("UPDATE tenant_whatsapp_config SET access_token = $1 WHERE tenant_id <> $2"),
            "does not change the row",
        ),
    ] {
        let other = PostgresTableSettings {
            update: update.map(str::to_owned),
            ..settings(QUERY)
        };
        let error = store(&*open(&database, other).rows(), "acme", "EAAGx", "EAAGnew")
            .await
            .unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_eq!(database.psql(tokens), "EAAGnew EAAGshop");
}
