//! A table of tenants in PostgreSQL, or any query of them.
//!
//! # The statements
//!
//! * `query` returns all tenants. Its columns are `tenant` and `token`, and perhaps `ids`, `app` and `expires_at`, in any order.
//!   `ids` is an array, or a text with commas.
//! * `update` gets the new token as `$1`, the tenant's name as `$2`, and, if it uses `$3`, the new token's expiry. The rest is as
//!   for one row.
//!
//! * `upsert`, for the operator, gets the token as `$1`, the tenant's name as `$2`, the id of its WABA as `$3`, that of its phone
//!   number as `$4`, and the token's expiry as `$5`; `withdraw` gets the name as `$1`.
//!
//! ```sql
//! SELECT tenant_id AS tenant, access_token AS token, ARRAY[phone_number_id, waba_id] AS ids
//!     FROM tenant_whatsapp_config WHERE is_active
//! UPDATE tenant_whatsapp_config SET access_token = $1 WHERE tenant_id = $2 AND is_active
//! ```
//!
//! # Why
//!
//! * Ten thousand rows are read by one statement in less than 100 ms, and decoded on a thread that may block: decrypting them
//!   takes as long again.
//! * A busy table causes no more than a tenth of the work that reading it without a pause would be.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::decode::Format;
use super::super::encoding::{PlainTokens, TokenEncoding};
use super::super::fernet::Fernet;
use super::super::tenant_table::{TableContents, TenantRows, TenantTable};
use super::advisory_lock::lock_key;
use super::connection::{QueryError, ReadLimits, Select};
use super::contents::ContentsDecoder;
use super::deliveries::PostgresDeliveries;
use super::endpoint::{PgEndpoint, PostgresError};
use super::error::into_read_error;
use super::listener::Listener;
use super::narrowed::{narrowed, others};
use super::settings::PostgresTableSettings;
use super::tenant_changes::TableStatements;
use super::tenant_rows::PostgresRows;
use super::token_row::uses_parameter;
use crate::net::Tasks;
use crate::token::{BoxFuture, ObtainError};

/// A table of tenants.
#[derive(derive_more::Debug)]
#[debug("PostgresTable({})", rows.endpoint.display_name)]
pub struct PostgresTable {
    listener: Listener,
    rows: Arc<PostgresRows>,
}

/// The limits of a read of all rows.
const TABLE_LIMITS: ReadLimits = ReadLimits {
    rows: 100_000,
    timeout: Duration::from_secs(20),
};
const BEGIN_TABLE_READ: &str = "BEGIN READ ONLY; SET LOCAL statement_timeout = '19500ms'";
/// The limit for a read of all rows, connecting included.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// After a read, notifications cause none for so many times as long as it took …
const PAUSE_FACTOR: u32 = 9;
/// … and no longer than this.
const MAX_PAUSE: Duration = Duration::from_secs(2);

// === impl PostgresTable ===

impl PostgresTable {
    /// Creates a table of the tenants that `query` returns. The server need not be reachable yet. `keys` are those that the
    /// tokens are encrypted with, if they are.
    ///
    /// # Errors
    ///
    /// [`PostgresError`] if the database cannot be reached like this.
    pub fn new(
        url: &str,
        settings: PostgresTableSettings,
        keys: Option<Fernet>,
        plain: PlainTokens,
        tasks: Tasks,
    ) -> Result<Self, PostgresError> {
        if uses_parameter(&settings.query, 1) {
            return Err(PostgresError::QueryWithParameter);
        }
        if settings
            .update
            .as_ref()
            .is_some_and(|update| !uses_parameter(update, 2))
        {
            return Err(PostgresError::UpdateOfAll);
        }
        let endpoint = PgEndpoint::new(url, settings.ca_file.as_deref(), tasks)?;
        let mut encoding = TokenEncoding::new(Format::Raw);
        encoding.encrypt_with(keys, plain);
        let statements = TableStatements {
            narrowed: narrowed(&settings.query),
            others: others(&settings.query),
            query: settings.query,
            update: settings.update,
            upsert: settings.upsert,
            withdraw: settings.withdraw,
            listen: settings.listen.clone(),
        };
        let listener = Listener::new(endpoint.clone(), settings.listen, settings.poll_interval);
        let rows = Arc::new(PostgresRows::new(endpoint, encoding, statements, settings.renewals));
        Ok(Self { listener, rows })
    }

    /// Returns what replicas that read this table know about each other's alerts.
    #[must_use]
    pub fn deliveries(&self) -> PostgresDeliveries {
        PostgresDeliveries::new(self.rows.endpoint.clone(), lock_key(&self.rows.statements.query, &[]))
    }

    async fn read_all(&mut self) -> Result<TableContents, ObtainError> {
        let started = Instant::now();
        let contents = self.read_contents().await;
        let pause = started.elapsed().saturating_mul(PAUSE_FACTOR).min(MAX_PAUSE);
        self.listener.schedule_after(contents.as_ref().err(), pause);
        contents
    }

    async fn read_contents(&mut self) -> Result<TableContents, ObtainError> {
        let source = &self.rows.endpoint.display_name;
        let select = Select {
            begin: BEGIN_TABLE_READ,
            query: &self.rows.statements.query,
            params: &[],
            limits: TABLE_LIMITS,
        };
        let rows = match self.listener.select(&select, READ_TIMEOUT).await {
            Ok(rows) => rows,
            Err(QueryError::TooManyRows) => {
                let what = format!(
                    "`query` returned more than {} rows, or more than 128 MiB, from {source}; narrow it",
                    TABLE_LIMITS.rows
                );
                return Err(ObtainError::permanent("too_many_rows", what));
            }
            Err(failed) => return Err(into_read_error(source, failed)),
        };
        let table = Arc::clone(&self.rows);
        let decoded = tokio::task::spawn_blocking(move || {
            let decoder = ContentsDecoder {
                source: &table.endpoint.display_name,
                encoding: &table.encoding,
            };
            decoder.decode(&rows)
        });
        decoded.await.unwrap_or_else(|panicked| {
            let what = format!("failed to decode the tenants of {source}");
            Err(ObtainError::transient("internal", what).with_source(panicked))
        })
    }
}

impl TenantTable for PostgresTable {
    fn read(&mut self) -> BoxFuture<'_, Result<Option<TableContents>, ObtainError>> {
        Box::pin(async { self.read_all().await.map(Some) })
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.listener.wait_for_change())
    }

    fn rows(&self) -> Arc<dyn TenantRows> {
        Arc::<PostgresRows>::clone(&self.rows)
    }

    fn has_ids(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU8;

    use super::*;

    #[test]
    fn statements_that_could_not_work_are_refused_before_a_token_is_renewed() {
        let refused = |query: &str, update: &str| {
            let settings = PostgresTableSettings {
                query: query.to_owned(),
                update: Some(update.to_owned()),
                upsert: None,
                withdraw: None,
                listen: None,
                poll_interval: Duration::from_secs(60),
                ca_file: None,
                renewals: NonZeroU8::MIN,
            };
            let url = "postgres://app@db/app";
            let table = PostgresTable::new(url, settings, None, PlainTokens::Refuse, Tasks::default());
            table.err().map(|error| error.to_string())
        };
        let (query, update) = (
            "SELECT tenant, token FROM t",
            "UPDATE t SET token = $1 WHERE tenant = $2",
        );
        assert_eq!(refused(query, update), None);
        let with_parameter = refused("SELECT tenant, token FROM t WHERE tenant = $1", update);
        assert!(with_parameter.unwrap().contains("remove $1"));
        let of_all = refused(query, "UPDATE t SET token = $1");
        assert!(of_all.unwrap().contains("WHERE tenant_id = $2"));
    }
}
