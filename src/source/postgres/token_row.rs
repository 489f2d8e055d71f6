//! The row of a token, and the statements that read and write it.

use tokio_postgres::Row;

use super::super::absent::AbsentPolicy;
use super::super::encoding::TokenEncoding;
use super::advisory_lock::lock_key;
use super::connection::{MAX_ROWS, PgConnection, QueryError};
use super::endpoint::{PgEndpoint, quote_identifier};
use super::row::decode_rows;
use super::settings::PostgresSettings;
use crate::token::{ObtainError, Token};

/// A row in a database, and how it is read and written.
pub(super) struct TokenRow {
    pub(super) endpoint: PgEndpoint,
    pub(super) settings: PostgresSettings,
    pub(super) encoding: TokenEncoding,
    /// What it means if there is no row, or NULL.
    pub(super) absent: AbsentPolicy,
}

/// The server's limit is shorter than the client's.
const BEGIN_READ: &str = "BEGIN; SET LOCAL statement_timeout = '4500ms'";

impl TokenRow {
    /// Connects, and listens if there is a channel.
    pub(super) async fn connect(&self) -> Result<PgConnection, QueryError> {
        let connection = PgConnection::connect(&self.endpoint).await?;
        if let Some(channel) = &self.settings.listen {
            let listen = format!("LISTEN {}", quote_identifier(channel));
            connection.batch_execute(&listen).await?;
        }
        Ok(connection)
    }

    /// Returns the key of the renewal lock.
    pub(super) fn lock_key(&self) -> i64 {
        lock_key(&self.settings.query, &self.settings.params)
    }

    /// Runs `query` in a transaction.
    pub(super) async fn query_in_transaction(&self, connection: &PgConnection) -> Result<Vec<Row>, QueryError> {
        connection.batch_execute(&self.endpoint.begin(BEGIN_READ)).await?;
        let rows = self.query_rows(connection).await?;
        if rows.len() < MAX_ROWS {
            connection.batch_execute("COMMIT").await?;
        }
        Ok(rows)
    }

    /// Runs `query`.
    pub(super) async fn query_rows(&self, connection: &PgConnection) -> Result<Vec<Row>, QueryError> {
        let params: Vec<_> = self.settings.params.iter().map(String::as_str).collect();
        connection.query(&self.settings.query, &params).await
    }

    /// Returns the token in the rows of `query`.
    pub(super) fn decode(&self, rows: &[Row]) -> Result<Token, ObtainError> {
        decode_rows(&self.endpoint.display_name, rows, &self.encoding, self.absent)
    }

    /// Explains why no token can be stored here, and what to do.
    pub(super) fn read_only_reason(&self) -> String {
        format!(
            "{} is read-only; set `update` (UPDATE … SET access_token = $1 WHERE … = $2) on the source, or set token.store",
            self.endpoint.display_name
        )
    }
}

/// Returns whether a statement uses the parameter with this number.
pub(super) fn uses_parameter(statement: &str, number: usize) -> bool {
    let mut after_dollar = statement.split('$').skip(1);
    after_dollar.any(|text| {
        let end = text.find(|sign: char| !sign.is_ascii_digit());
        let digits = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
        digits.parse() == Ok(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_used_by_its_whole_number() {
        let update = "UPDATE t SET a = $1, e = to_timestamp($12) WHERE b = $2";
        for number in [1, 2, 12] {
            assert!(uses_parameter(update, number));
        }
        assert!(!uses_parameter(update, 3));
        assert!(!uses_parameter("a = $11$2x", 1));
        assert!(uses_parameter("a = $1", 1));
    }
}
