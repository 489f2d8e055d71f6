//! Puts tenants of the operator into a table, and withdraws them: one statement each, in a transaction that is undone unless `query`
//! shows what was asked for.

use std::time::Duration;

use tokio::time::timeout;

use super::super::encoding::{TokenEncoding, encode_secret, same_secret};
use super::super::tenant_table::{NewTenant, Removal, TenantRow};
use super::connection::{PgConnection, QueryError, ReadLimits};
use super::contents::ContentsDecoder;
use super::endpoint::PgEndpoint;
use super::error::into_obtain_error;
use super::token_row::uses_parameter;
use crate::token::ObtainError;
use crate::types::{TenantId, unix_seconds};

/// The statements of a table.
pub(super) struct TableStatements {
    /// The query of all tenants.
    pub(super) query: String,
    /// The query of one tenant's rows.
    pub(super) narrowed: String,
    /// The query of the rows of all others.
    pub(super) others: String,
    pub(super) update: Option<String>,
    pub(super) upsert: Option<String>,
    pub(super) withdraw: Option<String>,
    /// The channel that a store notifies.
    pub(super) listen: Option<String>,
}

/// Changes of one tenant.
pub(super) struct TenantChanges<'a> {
    pub(super) endpoint: &'a PgEndpoint,
    pub(super) encoding: &'a TokenEncoding,
    pub(super) statements: &'a TableStatements,
    pub(super) tenant: &'a TenantId,
    /// Describes it for messages.
    pub(super) place: String,
}

/// A statement of the configuration.
#[derive(Clone, Copy)]
struct Statement<'a> {
    key: &'static str,
    sql: &'a str,
}

/// The most rows of one tenant.
pub(super) const TENANT_LIMITS: ReadLimits = ReadLimits {
    rows: 100,
    ..ReadLimits::ONE_ROW
};
/// The limit for a change.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(15);
/// The most parameters of a statement.
const MAX_PARAMETERS: usize = 5;
const BEGIN_CHANGE: &str = "BEGIN READ WRITE; SET LOCAL statement_timeout = '4500ms'; SET LOCAL lock_timeout = '3s'";

impl TenantChanges<'_> {
    /// Checks whether there is a statement that puts tenants.
    pub(super) fn check_put(&self) -> Result<(), ObtainError> {
        self.statement("upsert", self.statements.upsert.as_deref()).map(drop)
    }

    /// Checks whether that statement stores the ids that a tenant has.
    pub(super) fn check_ids(&self, new: &NewTenant<'_>) -> Result<(), ObtainError> {
        let upsert = self.statement("upsert", self.statements.upsert.as_deref())?;
        for (id, name, number) in [(new.waba_id, "wabaId", 3), (new.phone_number_id, "phoneNumberId", 4)] {
            if id.is_some() && !uses_parameter(upsert.sql, number) {
                let problem = format!("does not store `{name}`: use ${number} in it, or leave `{name}` out");
                return Err(self.statement_error(upsert, &problem));
            }
        }
        Ok(())
    }

    /// Puts the tenant into the table, or replaces its token and its ids.
    pub(super) async fn put(self, new: NewTenant<'_>) -> Result<(), ObtainError> {
        let upsert = self.statement("upsert", self.statements.upsert.as_deref())?;
        let value = encode_secret(&new.token.secret, self.encoding.fernet.as_ref());
        let expires_at = new.token.expires_at.map(|at| unix_seconds(at).to_string());
        let parameters = [
            Some(value.as_str()),
            Some(self.tenant.as_str()),
            new.waba_id,
            new.phone_number_id,
            expires_at.as_deref(),
        ];
        let change = async {
            let connection = self.begin().await?;
            if self.execute(&connection, upsert, &parameters).await? != 1 {
                return Err(self.statement_error(upsert, "has to insert or update one row"));
            }
            let is_stored = self.read(&connection).await?.is_some_and(|row| {
                let token = row.token.as_ref();
                token.is_ok_and(|token| same_secret(&token.secret, &new.token.secret))
            });
            if !is_stored {
                return Err(self.statement_error(
                    upsert,
                    "does not store what `query` reads: `query` does not return the tenant with the token after it",
                ));
            }
            self.commit(&connection).await
        };
        timeout(CHANGE_TIMEOUT, change)
            .await
            .unwrap_or_else(|_elapsed| Err(self.failed(QueryError::TimedOut)))
    }

    /// Withdraws the tenant.
    pub(super) async fn remove(self) -> Result<Removal, ObtainError> {
        let withdraw = self.statement("withdraw", self.statements.withdraw.as_deref())?;
        let change = async {
            let connection = self.begin().await?;
            if self.read(&connection).await?.is_none() {
                return Ok(Removal::NotFound);
            }
            let others = self.count_others(&connection).await?;
            self.execute(&connection, withdraw, &[Some(self.tenant.as_str())])
                .await?;
            if self.count_others(&connection).await? < others {
                let problem = "withdraws other tenants, too: compare their names as they are, case included";
                return Err(self.statement_error(withdraw, problem));
            }
            if self.read(&connection).await?.is_some() {
                return Err(self.statement_error(withdraw, "does not withdraw it: `query` returns the tenant after it"));
            }
            self.commit(&connection).await?;
            Ok(Removal::Done(self.place.clone()))
        };
        timeout(CHANGE_TIMEOUT, change)
            .await
            .unwrap_or_else(|_elapsed| Err(self.failed(QueryError::TimedOut)))
    }

    fn statement<'s>(&self, key: &'static str, sql: Option<&'s str>) -> Result<Statement<'s>, ObtainError> {
        sql.map(|sql| Statement { key, sql }).ok_or_else(|| {
            let what = format!(
                "{} cannot be changed without `{key}`; set the statement in [tenants_from]",
                self.place
            );
            ObtainError::permanent("not_writable", what)
        })
    }

    async fn begin(&self) -> Result<PgConnection, ObtainError> {
        let begun = async {
            let connection = PgConnection::connect(self.endpoint).await?;
            connection.batch_execute(&self.endpoint.begin(BEGIN_CHANGE)).await?;
            Ok(connection)
        };
        begun.await.map_err(|failed| self.failed(failed))
    }

    /// Runs a statement with those of the parameters that it uses.
    async fn execute(
        &self,
        connection: &PgConnection,
        statement: Statement<'_>,
        parameters: &[Option<&str>],
    ) -> Result<u64, ObtainError> {
        let last_used = (1..=MAX_PARAMETERS)
            .rev()
            .find(|number| uses_parameter(statement.sql, *number));
        let used = parameters.get(..last_used.unwrap_or_default()).unwrap_or(parameters);
        let done = connection.execute(statement.sql, used).await;
        done.map_err(|failed| self.failed(failed))
    }

    async fn read(&self, connection: &PgConnection) -> Result<Option<TenantRow>, ObtainError> {
        let parameters = [self.tenant.as_str().to_owned()];
        let rows = connection
            .query(&self.statements.narrowed, &parameters, TENANT_LIMITS)
            .await;
        let rows = rows.map_err(|failed| self.failed(failed))?;
        let decoder = ContentsDecoder {
            source: &self.endpoint.display_name,
            encoding: self.encoding,
        };
        Ok(decoder.decode(&rows)?.rows.into_iter().next())
    }

    /// Returns the number of rows of other tenants.
    async fn count_others(&self, connection: &PgConnection) -> Result<u64, ObtainError> {
        let name = [Some(self.tenant.as_str())];
        let count = connection.execute(&self.statements.others, &name).await;
        count.map_err(|failed| self.failed(failed))
    }

    async fn commit(&self, connection: &PgConnection) -> Result<(), ObtainError> {
        let committed = async {
            if let Some(channel) = &self.statements.listen {
                connection.execute("SELECT pg_notify($1, '')", &[Some(channel)]).await?;
            }
            connection.batch_execute("COMMIT").await
        };
        committed.await.map_err(|failed| self.failed(failed))
    }

    fn statement_error(&self, statement: Statement<'_>, problem: &str) -> ObtainError {
        let what = format!("`{}` {problem}; nothing was changed in {}", statement.key, self.place);
        ObtainError::permanent("update_statement", what)
    }

    fn failed(&self, failed: QueryError) -> ObtainError {
        into_obtain_error(&self.place, "change the tenant in", failed)
    }
}
