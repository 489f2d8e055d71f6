//! A table with a row for each tenant: reads of all rows, and notifications.

use std::time::Duration;

use graphward::net::Tasks;
use graphward::source::{Fernet, PlainTokens, PostgresTable, PostgresTableSettings, TenantTable as _};
use tokio::time::timeout;

use super::server::Database;
use super::support::secret;
use super::tenant_table::{MINUTE, QUERY, TABLE, connections, open, read, reason, row, settings, text};
use crate::support::wait_until;

const KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";

#[tokio::test]
async fn ten_thousand_tenants_are_read_by_one_statement_and_bad_rows_harm_no_others() {
    let database = Database::with(TABLE);
    let key = Fernet::new(vec![secret(KEY)]).unwrap();
    let other_key = Fernet::new(vec![Fernet::generate().unwrap()]).unwrap();
    let (good, foreign) = (
        key.encrypt(&secret("EAAGgood")),
        other_key.encrypt(&secret("EAAGforeign")),
    );
    database.psql(&format!(
        "TRUNCATE tenant_whatsapp_config;
         INSERT INTO tenant_whatsapp_config (tenant_id, phone_number_id, access_token)
             SELECT 't' || n, 100000 + n, '{good}' FROM generate_series(1, 10000) AS n;
         UPDATE tenant_whatsapp_config SET access_token = NULL WHERE tenant_id = 't2';
         UPDATE tenant_whatsapp_config SET access_token = '{foreign}' WHERE tenant_id = 't3';
         UPDATE tenant_whatsapp_config SET access_token = 'EAAGplain' WHERE tenant_id = 't4';
         UPDATE tenant_whatsapp_config SET phone_number_id = '+49 170' WHERE tenant_id = 't5';
         UPDATE tenant_whatsapp_config SET tenant_id = NULL WHERE tenant_id IN ('t6', 't7');
         UPDATE tenant_whatsapp_config SET tenant_id = 'two words' WHERE tenant_id = 't8'"
    ));
    let url = database.url();
    let mut table =
        PostgresTable::new(&url, settings(QUERY), Some(key), PlainTokens::Refuse, Tasks::default()).unwrap();
    let contents = read(&mut table).await;
    assert_eq!(contents.rows.len(), 9_997);
    let usable = contents.rows.iter().filter(|row| row.token.is_ok()).count();
    assert_eq!(usable, 9_994);
    assert_eq!(text(row(&contents, "t10000")), "EAAGgood");
    assert_eq!(*row(&contents, "t10000").object_ids, ["110000".into()]);
    assert_eq!(reason(row(&contents, "t2")), "empty");
    assert!(row(&contents, "t2").token.as_ref().unwrap_err().is_absence());
    assert_eq!(reason(row(&contents, "t3")), "fernet_wrong_key");
    assert_eq!(reason(row(&contents, "t4")), "not_fernet");
    assert!(row(&contents, "t5").object_ids.is_empty() && row(&contents, "t5").token.is_ok());
    let message = row(&contents, "t3").token.as_ref().unwrap_err().to_string();
    assert!(
        message.contains(", tenant t3 was rejected") && !message.contains("gAAAA"),
        "{message}"
    );
    let faults = contents.faults.join("\n");
    assert_eq!(contents.faults.len(), 3, "{faults}");
    assert!(
        faults.contains("2 rows have no tenant") && faults.contains("\"two words\""),
        "{faults}"
    );
    assert!(faults.contains("tenant t5: \"+49 170\""), "{faults}");
}

#[tokio::test]
async fn columns_have_any_order_and_the_usual_types() {
    let database = Database::with("CREATE EXTENSION IF NOT EXISTS citext");
    let uuid = "6f1d8c1e-4b1a-4c55-9a57-0d3c3f6e2a11";
    for (columns, name, ids) in [
        (
            "'EAAGx' AS token, 'acme'::varchar AS tenant, 106::bigint AS ids",
            "acme",
            &["106"][..],
        ),
        (
            "'acme'::char(9) AS tenant, 'EAAGx'::bytea AS token, ARRAY[106, 107]::bigint[] AS ids",
            "acme",
            &["106", "107"],
        ),
        (
            "7 AS tenant, 'EAAGx' AS token, ARRAY[NULL, '106'] AS ids",
            "7",
            &["106"],
        ),
        (
            "'acme'::citext AS tenant, 'EAAGx' AS token, '106,107'::text AS ids",
            "acme",
            &["106", "107"],
        ),
        (
            "'acme' AS tenant, 'EAAGx' AS token, '[\"106\", 107]'::jsonb AS ids",
            "acme",
            &["106", "107"],
        ),
        (
            "'acme' AS tenant, 'EAAGx' AS token, ARRAY[[1], [2]] AS ids",
            "acme",
            &[],
        ),
        ("'acme' AS tenant, 'EAAGx' AS token, NULL::text AS ids", "acme", &[]),
        ("gen_random_uuid() AS tenant, 'EAAGx' AS token", "", &[]),
        (
            &format!("'{uuid}'::uuid AS tenant, 'EAAGx' AS token, 9 AS app"),
            uuid,
            &[],
        ),
    ] {
        let mut table = open(&database, settings(&format!("SELECT {columns}")));
        let contents = read(&mut table).await;
        let [row] = &contents.rows[..] else {
            panic!("{columns}: {contents:?}");
        };
        let found: Vec<_> = row.object_ids.iter().map(|id| &**id).collect();
        assert_eq!(found, ids, "{columns}");
        assert_eq!(text(row), "EAAGx", "{columns}");
        if name.is_empty() {
            continue;
        }
        assert_eq!(row.id.as_str(), name, "{columns}");
        let same = table.rows().read_row(&row.id).await.unwrap().unwrap();
        assert_eq!((&same.object_ids, &same.app), (&row.object_ids, &row.app), "{columns}");
    }
}

#[tokio::test]
async fn a_query_of_any_form_can_be_narrowed_to_a_tenant_with_several_rows() {
    let database = Database::with(TABLE);
    database.psql("ALTER TABLE tenant_whatsapp_config DROP CONSTRAINT tenant_whatsapp_config_tenant_id_key");
    database.psql(
        "INSERT INTO tenant_whatsapp_config (tenant_id, phone_number_id, access_token) \
         VALUES ('acme', '108', 'EAAGacme')",
    );
    let columns = "tenant_id AS tenant, access_token AS token, phone_number_id AS ids";
    for query in [
        format!("SELECT {columns} FROM tenant_whatsapp_config ORDER BY id LIMIT 50;"),
        format!(
            "WITH a AS (SELECT {columns}, id FROM tenant_whatsapp_config) SELECT tenant, token, ids FROM a ORDER BY id"
        ),
        format!("SELECT {columns} FROM tenant_whatsapp_config WHERE tenant_id <> ';--' -- ; \n ; /* the end; */"),
        format!("(SELECT {columns} FROM tenant_whatsapp_config) UNION ALL SELECT 'more', 'EAAGmore', NULL"),
    ] {
        let mut table = open(&database, settings(&query));
        let contents = read(&mut table).await;
        assert!(contents.faults.is_empty(), "{query}: {:?}", contents.faults);
        let acme = row(&contents, "acme");
        let same = table.rows().read_row(&acme.id).await.unwrap().unwrap();
        for row in [acme, &same] {
            assert_eq!(*row.object_ids, ["106".into(), "108".into()], "{query}");
            assert_eq!(text(row), "EAAGacme", "{query}");
        }
    }
}

#[tokio::test]
async fn a_query_that_cannot_be_read_is_explained_and_fails_the_read() {
    let database = Database::with(TABLE);
    for (query, reason, words) in [
        (
            "SELECT tenant_id AS tenant FROM tenant_whatsapp_config",
            "columns",
            "the column `token`",
        ),
        (
            "SELECT tenant_id, access_token AS token FROM tenant_whatsapp_config",
            "columns",
            "`tenant_id`",
        ),
        (
            "SELECT now() AS tenant, 'EAAGx' AS token",
            "wrong_type",
            "`tenant` has type timestamptz; cast it",
        ),
        ("SELECT 'acme' AS tenant, 5 AS token", "wrong_type", "type int4"),
        (
            "SELECT 'acme' AS tenant, 'EAAGx' AS token, now() AS ids",
            "wrong_type",
            "text[]",
        ),
        (
            "SELECT 'acme' AS tenant, 'EAAGx' AS token, 'soon' AS expires_at",
            "wrong_type",
            "timestamptz",
        ),
        (
            "SELECT 't' || n AS tenant, 'EAAGx' AS token FROM generate_series(1, 200000) AS n",
            "too_many_rows",
            "100000",
        ),
        (
            "DELETE FROM tenant_whatsapp_config RETURNING tenant_id AS tenant, access_token AS token",
            "statement",
            "`query` must be a SELECT",
        ),
        (
            "UPDATE tenant_whatsapp_config SET is_active = true RETURNING tenant_id AS tenant, access_token AS token",
            "statement",
            "`query` must be a SELECT",
        ),
        (
            "WITH gone AS (DELETE FROM tenant_whatsapp_config RETURNING tenant_id, access_token) \
             SELECT tenant_id AS tenant, access_token AS token FROM gone",
            "statement",
            "`query` must be a SELECT",
        ),
        (
            "SELECT tenant_id AS tenant, access_token AS token FROM tenant_whatsapp_config FOR UPDATE",
            "statement",
            "`query` must be a SELECT that changes and locks nothing",
        ),
        (
            "SELECT tenant_id AS tenant, access_token AS token FROM nowhere",
            "statement",
            "does not exist",
        ),
    ] {
        let mut table = open(&database, settings(query));
        let error = table.read().await.unwrap_err();
        let message = error.to_string();
        assert_eq!(error.reason(), reason, "{message}");
        assert!(message.contains(words) && !message.contains("EAAG"), "{message}");
    }
    assert_eq!(database.psql("SELECT count(*) FROM tenant_whatsapp_config"), "2");
}

#[tokio::test]
async fn a_notification_and_a_lost_connection_are_changes() {
    let database = Database::with(TABLE);
    let mut table = open(&database, settings(QUERY));
    assert_eq!(read(&mut table).await.rows.len(), 2);
    assert!(timeout(Duration::from_millis(300), table.changed()).await.is_err());

    database.psql("UPDATE tenant_whatsapp_config SET is_active = false WHERE tenant_id = 'shop'; NOTIFY tenants");
    timeout(MINUTE / 2, table.changed()).await.unwrap();
    assert_eq!(read(&mut table).await.rows.len(), 1);

    database.psql(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = '{}' AND application_name = 'graphward';
         UPDATE tenant_whatsapp_config SET access_token = 'EAAGnext' WHERE tenant_id = 'acme'",
        database.name
    ));
    timeout(MINUTE / 2, table.changed()).await.unwrap();
    assert_eq!(text(row(&read(&mut table).await, "acme")), "EAAGnext");
    database.psql("NOTIFY tenants");
    timeout(MINUTE / 2, table.changed()).await.unwrap();
}

#[tokio::test]
async fn a_table_without_a_channel_is_polled() {
    let database = Database::with(TABLE);
    let polled = PostgresTableSettings {
        listen: None,
        poll_interval: Duration::from_millis(200),
        ..settings(QUERY)
    };
    let mut table = open(&database, polled);
    read(&mut table).await;
    timeout(MINUTE / 2, table.changed()).await.unwrap();
    wait_until("no connection is kept", async || connections(&database) == "0").await;
}

#[tokio::test]
async fn the_trigger_of_the_example_announces_each_change_once() {
    let database = Database::with(TABLE);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/postgres/notify.sql");
    let statements = std::fs::read_to_string(file).unwrap();
    // It can be run again.
    database.psql(&statements);
    database.psql(&statements);
    database.psql("GRANT SELECT, UPDATE, DELETE ON tenant_whatsapp_config TO app");
    let mut table = open(&database, settings(QUERY));
    read(&mut table).await;
    for (change, tenants) in [
        (
            "INSERT INTO tenant_whatsapp_config (tenant_id, access_token) VALUES ('new', 'EAAGnew')",
            3,
        ),
        (
            "SET ROLE app; UPDATE tenant_whatsapp_config SET is_active = false WHERE tenant_id = 'new'",
            2,
        ),
        (
            "SET ROLE app; DELETE FROM tenant_whatsapp_config WHERE tenant_id = 'acme'",
            1,
        ),
        ("TRUNCATE tenant_whatsapp_config", 0),
    ] {
        database.psql(change);
        timeout(MINUTE / 2, table.changed()).await.expect(change);
        assert_eq!(read(&mut table).await.rows.len(), tenants, "{change}");
    }
    database.psql("BEGIN; INSERT INTO tenant_whatsapp_config (tenant_id) VALUES ('gone'); ROLLBACK");
    let is_quiet = timeout(Duration::from_millis(500), table.changed()).await.is_err();
    assert!(is_quiet, "a change that was rolled back is announced");
}
