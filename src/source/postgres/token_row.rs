//! The row of a token, and the statements that read and write it.

use tokio_postgres::Row;

use super::super::absent::AbsentPolicy;
use super::super::encoding::TokenEncoding;
use super::advisory_lock::lock_key;
use super::connection::{ReadLimits, Select};
use super::endpoint::PgEndpoint;
use super::row::{ColumnLayout, RowDecoder};
use crate::token::{ObtainError, Token};

/// A row in a database, or several with the same token, and how it is read and written.
pub(super) struct TokenRow {
    pub(super) endpoint: PgEndpoint,
    /// Describes it for messages.
    pub(super) display_name: String,
    pub(super) statements: RowStatements,
    pub(super) encoding: TokenEncoding,
    pub(super) layout: ColumnLayout,
    /// What it means if there is no row, or NULL.
    pub(super) absent: AbsentPolicy,
    /// The most rows that have the token.
    pub(super) limits: ReadLimits,
}

/// The statements that read and write a row.
pub(super) struct RowStatements {
    pub(super) query: String,
    /// The query's `$1`, `$2`, …, and those of `update` after the token.
    pub(super) params: Vec<String>,
    pub(super) update: Option<String>,
    /// The channel that a store notifies.
    pub(super) listen: Option<String>,
}

/// The server's limit is shorter than the client's.
pub(super) const BEGIN_READ: &str = "BEGIN; SET LOCAL statement_timeout = '4500ms'";

impl TokenRow {
    /// Returns the key of the renewal lock.
    pub(super) fn lock_key(&self) -> i64 {
        lock_key(&self.statements.query, &self.statements.params)
    }

    /// Returns `query` in a transaction of its own.
    pub(super) fn select(&self) -> Select<'_> {
        Select {
            begin: BEGIN_READ,
            query: &self.statements.query,
            params: &self.statements.params,
            limits: self.limits,
        }
    }

    /// Returns the token in the rows of `query`.
    pub(super) fn decode(&self, rows: &[Row]) -> Result<Token, ObtainError> {
        let decoder = RowDecoder {
            source: &self.display_name,
            encoding: &self.encoding,
            absent: self.absent,
        };
        decoder.only_token(rows, self.layout)
    }

    /// Explains why no token can be stored here, and what to do.
    pub(super) fn read_only_reason(&self) -> String {
        format!(
            "{} is read-only; set `update` (UPDATE … SET access_token = $1 WHERE … = $2) on the source, or set token.store",
            self.display_name
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
