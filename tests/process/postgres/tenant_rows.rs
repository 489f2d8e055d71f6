//! A table with a row for each tenant: reads of single rows, their locks, and stores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use graphward::net::Tasks;
use graphward::source::{PostgresTableSettings, Removal, StoredToken, TenantRow, TenantRows, TenantTable as _};
use graphward::token::{ObtainError, StoreOutcome};
use tokio::time::timeout;

use super::server::Database;
use super::support::{secret, token};
use super::tenant_table::{MINUTE, QUERY, TABLE, UPDATE, connections, id, open, read, reason, row, settings, text};
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
            expected: Some(expected),
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
async fn reads_for_tenants_in_use_wait_for_their_turn_and_leave_places_for_names_that_are_looked_up() {
    let database = Database::with(TABLE);
    let rows = open(&database, settings(QUERY)).rows();
    let (acme, shop) = (id("acme"), id("shop"));
    let in_turn = async || {
        let _turn = rows.take_turn().await;
        rows.read_row(&acme).await
    };
    let again = join_all((0..400).map(|_| in_turn()));
    let looked_up = join_all((0..192).map(|_| rows.read_row(&shop)));
    let (again, looked_up) = tokio::join!(again, looked_up);
    for read in again.into_iter().chain(looked_up) {
        assert!(read.unwrap().is_some());
    }
}

/// Lets the names ignore case, and adds a tenant whose name is another one only by its case.
const IGNORE_CASE: &str = "
    CREATE EXTENSION citext;
    CREATE COLLATION ignoring_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    ALTER TABLE tenant_whatsapp_config DROP CONSTRAINT tenant_whatsapp_config_tenant_id_key;
    ALTER TABLE tenant_whatsapp_config ALTER COLUMN tenant_id TYPE";

#[tokio::test]
async fn names_that_a_column_takes_for_the_same_are_two_tenants() {
    for column_type in ["text COLLATE ignoring_case", "citext"] {
        let database = Database::with(TABLE);
        database.psql(&format!("{IGNORE_CASE} {column_type}"));
        let tokens = "SELECT string_agg(access_token, ' ' ORDER BY id) FROM tenant_whatsapp_config";
        let is_same = "SELECT access_token FROM tenant_whatsapp_config WHERE tenant_id = 'SHOP'";
        assert_eq!(
            database.psql(is_same),
            "EAAGshop",
            "the database takes it for the same name"
        );
        let changes = || PostgresTableSettings {
            withdraw: Some("DELETE FROM tenant_whatsapp_config WHERE tenant_id = $1".to_owned()),
            ..settings(QUERY)
        };
        let rows = open(&database, changes()).rows();
        // There is only `shop`: what is for `SHOP` must not find it.
        assert!(read_row(&*rows, "SHOP").await.is_none());
        let error = store(&*rows, "SHOP", "EAAGnew", "EAAGshop").await.unwrap_err();
        assert_eq!(error.reason(), "missing", "{error}");
        assert_eq!(rows.remove(&id("SHOP")).await.unwrap(), Removal::NotFound);
        assert_eq!(database.psql(tokens), "EAAGacme EAAGshop");

        database.psql("INSERT INTO tenant_whatsapp_config (tenant_id, access_token) VALUES ('SHOP', 'EAAGupper')");
        assert_eq!(text(&read_row(&*rows, "shop").await.unwrap()), "EAAGshop");
        assert_eq!(text(&read_row(&*rows, "SHOP").await.unwrap()), "EAAGupper");
        let (shop, upper) = (id("shop"), id("SHOP"));
        let (one, other) = tokio::join!(rows.lock(&shop), rows.lock(&upper));
        assert!(one.is_ok() && other.is_ok(), "each has a lock of its own");
        // Statements that ignore case, too, would change both.
        let error = store(&*rows, "shop", "EAAGnew", "EAAGshop").await.unwrap_err();
        assert!(error.to_string().contains("several rows (2)"), "{error}");
        let error = rows.remove(&shop).await.unwrap_err();
        assert!(error.to_string().contains("withdraws other tenants, too"), "{error}");
        assert_eq!(database.psql(tokens), "EAAGacme EAAGshop EAAGupper");
        let exact = PostgresTableSettings {
            update: Some(UPDATE.replace("tenant_id = $2", "tenant_id::text COLLATE \"C\" = $2")),
            withdraw: Some("DELETE FROM tenant_whatsapp_config WHERE tenant_id::text COLLATE \"C\" = $1".to_owned()),
            ..changes()
        };
        let rows = open(&database, exact).rows();
        let stored = store(&*rows, "shop", "EAAGnew", "EAAGshop").await.unwrap();
        assert_eq!(stored, StoreOutcome::Stored);
        assert_eq!(database.psql(tokens), "EAAGacme EAAGnew EAAGupper");
        assert!(matches!(rows.remove(&upper).await.unwrap(), Removal::Done(_)));
        assert_eq!(database.psql(tokens), "EAAGacme EAAGnew");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_goes_before_the_reads_that_wait() {
    const READS: usize = 100;
    let database = Database::with(TABLE);
    let rows = open(&database, settings(QUERY)).rows();
    let done = AtomicUsize::new(0);
    let read = async || {
        let row = read_row(&*rows, "acme").await;
        done.fetch_add(1, Ordering::Relaxed);
        row
    };
    let write = async {
        let stored = store(&*rows, "acme", "EAAGnew", "EAAGacme").await;
        (stored.unwrap(), done.load(Ordering::Relaxed))
    };
    let (found, (outcome, before)) = tokio::join!(biased; join_all((0..READS).map(|_| read())), write);
    assert_eq!(outcome, StoreOutcome::Stored);
    assert!(before <= 1, "{before} of {READS} reads were before it");
    assert!(found.iter().all(Option::is_some));
}

#[tokio::test]
async fn replicas_renew_different_rows_side_by_side_and_skip_those_of_the_others() {
    let database = Database::with(TABLE);
    let one_renewal = || PostgresTableSettings {
        renewals: 1.try_into().unwrap(),
        ..settings(QUERY)
    };
    let names = ["acme", "shop", "third", "fourth"];
    database.psql(
        "INSERT INTO tenant_whatsapp_config (tenant_id, access_token) VALUES ('third', 'EAAGthird'), ('fourth', 'EAAGfourth')",
    );
    let replicas: Vec<_> = names.map(|_| open(&database, one_renewal()).rows()).into();
    let mut locks = Vec::new();
    for (number, replica) in replicas.iter().enumerate() {
        for other in &names[..number] {
            let error = replica.lock(&id(other)).await.unwrap_err();
            assert!(error.is_locked() && error.is_transient(), "{error}");
            assert!(error.to_string().contains(other), "{error}");
        }
        // Its only permit is free again.
        let lock = replica.lock(&id(names[number])).await.unwrap();
        assert!(!lock.is_uncontended());
        locks.push(lock);
    }
    for (replica, name) in replicas.iter().zip(names) {
        let stored = store(&**replica, name, "EAAGnew", &format!("EAAG{name}")).await;
        assert_eq!(stored.unwrap(), StoreOutcome::Stored);
    }
    drop(locks);
    let last = replicas.last().unwrap();
    wait_until("the lock of the first row is free", async || {
        last.lock(&id("acme")).await.is_ok()
    })
    .await;
    wait_until("each replica keeps the connection that stored", async || {
        connections(&database) == "4"
    })
    .await;
}

#[tokio::test]
async fn a_row_whose_lock_a_suspended_replica_keeps_is_skipped_at_each_attempt_until_that_ends() {
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
    for _ in 0..3 {
        let error = rows.lock(&id("acme")).await.unwrap_err();
        assert!(error.is_locked(), "{error}");
    }
    drop(rows.lock(&id("shop")).await.unwrap());
    driver.abort();
    wait_until("the lock is free", async || rows.lock(&id("acme")).await.is_ok()).await;
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

/// A row for each phone number. `shop` has one.
const PHONES: &str = "
    CREATE TABLE phones (tenant text, phone text, token text, expires_at timestamptz);
    INSERT INTO phones VALUES ('acme', '106', 'EAAGacme'), ('acme', '108', 'EAAGacme'), ('shop', '107', 'EAAGshop')";
const UPDATE_PHONES: &str = "UPDATE phones SET token = $1, expires_at = to_timestamp($3::bigint) WHERE tenant = $2";

fn phone_settings(update: &str) -> PostgresTableSettings {
    PostgresTableSettings {
        update: Some(update.to_owned()),
        ..settings("SELECT tenant, token, phone AS ids, expires_at FROM phones")
    }
}

#[tokio::test]
async fn a_renewed_token_is_stored_in_all_rows_of_its_tenant_or_in_none() {
    let database = Database::with(PHONES);
    let tokens = "SELECT string_agg(token, ' ' ORDER BY phone) FROM phones";
    let rows = open(&database, phone_settings(UPDATE_PHONES)).rows();
    let stored = store(&*rows, "acme", "EAAGnew", "EAAGacme").await.unwrap();
    assert_eq!(stored, StoreOutcome::Stored);
    assert_eq!(database.psql(tokens), "EAAGnew EAAGshop EAAGnew");
    assert_eq!(text(&read_row(&*rows, "acme").await.unwrap()), "EAAGnew");
    let stored = store(&*rows, "acme", "EAAGlate", "EAAGacme").await.unwrap();
    assert_eq!(stored, StoreOutcome::Conflict);

    for (condition, words) in [
        ("tenant = $2 AND phone = '106'", "different tokens"),
        ("$2 <> ''", "several rows (3), and `query` returns 2"),
        ("tenant <> $2", "does not change the row"),
    ] {
        let update = UPDATE_PHONES.replace("tenant = $2", condition);
        let rows = open(&database, phone_settings(&update)).rows();
        let error = store(&*rows, "acme", "EAAGx", "EAAGnew").await.unwrap_err();
        assert!(error.to_string().contains(words), "{condition}: {error}");
    }
    database.psql("UPDATE phones SET token = 'EAAGother' WHERE phone = '108'");
    let error = store(&*rows, "acme", "EAAGx", "EAAGnew").await.unwrap_err();
    assert_eq!(error.reason(), "several_tokens", "{error}");
    assert_eq!(database.psql(tokens), "EAAGnew EAAGshop EAAGother");
}
