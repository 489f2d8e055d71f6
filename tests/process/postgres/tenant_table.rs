//! The table of tenants that the tests of tables have in common.

use std::time::Duration;

use graphward::net::Tasks;
use graphward::source::{
    PlainTokens, PostgresTable, PostgresTableSettings, TableContents, TenantRow, TenantTable as _,
};
use graphward::types::TenantId;

use super::server::Database;

/// The table of a service that many businesses share: a tenant's name may be missing, and its phone number is not unique.
pub(crate) const TABLE: &str = "
    CREATE TABLE tenant_whatsapp_config (
        id serial PRIMARY KEY, tenant_id text UNIQUE NULL, waba_id text, phone_number_id text, access_token text,
        business_id text, business_account_id text, is_active boolean NOT NULL DEFAULT true, expires_at timestamptz);
    INSERT INTO tenant_whatsapp_config (tenant_id, phone_number_id, waba_id, access_token) VALUES
        ('acme', '106', '206', 'EAAGacme'), ('shop', '107', NULL, 'EAAGshop')";
pub(crate) const QUERY: &str =
    "SELECT tenant_id AS tenant, access_token AS token, ARRAY[phone_number_id, waba_id] AS ids, expires_at
    FROM tenant_whatsapp_config WHERE is_active; -- all that are active; no others";
pub(crate) const UPDATE: &str =
    "UPDATE tenant_whatsapp_config SET access_token = $1, expires_at = to_timestamp($3::bigint)
    WHERE tenant_id = $2";
/// The table is read this often at most, so what comes sooner was announced.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn settings(query: &str) -> PostgresTableSettings {
    PostgresTableSettings {
        upsert: None,
        withdraw: None,
        query: query.to_owned(),
        update: Some(UPDATE.to_owned()),
        listen: Some("tenants".to_owned()),
        poll_interval: MINUTE,
        ca_file: None,
        renewals: 4.try_into().unwrap(),
    }
}

pub(crate) fn open(database: &Database, settings: PostgresTableSettings) -> PostgresTable {
    PostgresTable::new(&database.url(), settings, None, PlainTokens::Refuse, Tasks::default()).unwrap()
}

pub(crate) fn id(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

pub(crate) async fn read(table: &mut PostgresTable) -> TableContents {
    table.read().await.unwrap().unwrap()
}

pub(crate) fn row<'a>(contents: &'a TableContents, name: &str) -> &'a TenantRow {
    contents.rows.iter().find(|row| row.id.as_str() == name).unwrap()
}

pub(crate) fn text(row: &TenantRow) -> String {
    row.token.as_ref().unwrap().secret.expose().to_owned()
}

pub(crate) fn reason(row: &TenantRow) -> &'static str {
    row.token.as_ref().unwrap_err().reason()
}

pub(crate) fn connections(database: &Database) -> String {
    let name = &database.name;
    database.psql(&format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND application_name = 'graphward'"
    ))
}
