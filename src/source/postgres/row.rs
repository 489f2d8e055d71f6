//! The result of a query: a row with a token, and perhaps with its expiry.

use std::time::{Duration, SystemTime};

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::absent::AbsentPolicy;
use super::super::encoding::{TokenEncoding, same_secret};
use super::value::{decode_integer, is_text, raw_value};
use crate::token::{ObtainError, Token};

/// How the columns of a query are told apart.
#[derive(Clone, Copy)]
pub(super) enum ColumnLayout {
    /// The first is the token, the second its expiry.
    ByPosition,
    /// `token` and `expires_at`, among others.
    ByName,
}

/// The positions of a token and of its expiry in a row.
#[derive(Clone, Copy)]
pub(super) struct TokenColumns {
    pub(super) token: usize,
    pub(super) expires_at: Option<usize>,
}

/// Decodes the tokens in rows.
pub(super) struct RowDecoder<'a> {
    /// Where they are from, for messages.
    pub(super) source: &'a str,
    pub(super) encoding: &'a TokenEncoding,
    pub(super) absent: AbsentPolicy,
}

/// The names of the columns, if they are told apart by name.
pub(super) const TOKEN_COLUMN: &str = "token";
pub(super) const EXPIRY_COLUMN: &str = "expires_at";
/// The reason of an error about a column's type, which all rows have in common.
pub(super) const WRONG_TYPE: &str = "wrong_type";

// === impl ColumnLayout ===

impl ColumnLayout {
    fn columns_of(self, row: &Row) -> Option<TokenColumns> {
        let position = |name| row.columns().iter().position(|column| column.name() == name);
        match self {
            Self::ByPosition if (1..=2).contains(&row.len()) => Some(TokenColumns {
                token: 0,
                expires_at: (row.len() == 2).then_some(1),
            }),
            Self::ByPosition => None,
            Self::ByName => Some(TokenColumns {
                token: position(TOKEN_COLUMN)?,
                expires_at: position(EXPIRY_COLUMN),
            }),
        }
    }
}

// === impl RowDecoder ===

impl RowDecoder<'_> {
    /// Returns the token in these rows, which all of them must have.
    pub(super) fn only_token(&self, rows: &[Row], layout: ColumnLayout) -> Result<Token, ObtainError> {
        let source = self.source;
        let Some((row, others)) = rows.split_first() else {
            let what =
                format!("`query` returned no row from {source}; insert the row, or fix the WHERE clause and `params`");
            return Err(self.absent.apply(ObtainError::transient("missing", what)));
        };
        let columns = layout.columns_of(row).ok_or_else(|| {
            let what = format!(
                "`query` must select one column (the token) or two (the token and its expiry); it selects {} from {source}",
                row.len()
            );
            ObtainError::permanent("column_count", what)
        })?;
        let token = self.token(row, columns)?;
        for other in others {
            if !same_secret(&self.token(other, columns)?.secret, &token.secret) {
                let what =
                    format!("`query` returns rows with different tokens from {source}; they must have the same one");
                return Err(ObtainError::permanent("several_tokens", what));
            }
        }
        Ok(token)
    }

    /// Returns the token in these columns.
    pub(super) fn token(&self, row: &Row, columns: TokenColumns) -> Result<Token, ObtainError> {
        let column = self.token_column(row, columns.token)?;
        let mut token = self.encoding.decode(column).map_err(|error| {
            let what = format!("the token in {} was rejected: {error}", self.source);
            ObtainError::permanent(error.label(), what).about_content(column)
        })?;
        if let Some(index) = columns.expires_at {
            token.expires_at = self.expiry(row, index)?;
            token.expiry_key = row.columns().get(index).map(|column| column.name().into());
        }
        Ok(token)
    }

    fn token_column<'a>(&self, row: &'a Row, index: usize) -> Result<&'a [u8], ObtainError> {
        let source = self.source;
        let (column_type, bytes) = raw_value(row, index).unwrap_or((&Type::UNKNOWN, None));
        let hint = match *column_type {
            Type::BYTEA => None,
            _ if is_text(column_type) => None,
            Type::JSON | Type::JSONB => Some("select a text value, for example config->>'access_token'"),
            _ => Some("select the column that holds the token"),
        };
        if let Some(hint) = hint {
            let what = format!(
                "the token column of `query` on {source} has type {}, not text or bytea; {hint}",
                column_type.name()
            );
            return Err(ObtainError::permanent(WRONG_TYPE, what));
        }
        bytes.ok_or_else(|| {
            let what = format!("the token column in {source} is NULL; store a token in it");
            self.absent.apply(ObtainError::permanent("empty", what))
        })
    }

    /// Returns the token's expiry, from a timestamp or from Unix time; NULL, 0 and infinity mean never.
    fn expiry(&self, row: &Row, index: usize) -> Result<Option<SystemTime>, ObtainError> {
        let Some((column_type, Some(bytes))) = raw_value(row, index) else {
            return Ok(None);
        };
        let seconds = match *column_type {
            Type::TIMESTAMPTZ | Type::TIMESTAMP => {
                return Ok(decode_integer(bytes).and_then(from_postgres_micros));
            }
            Type::INT8 | Type::INT4 => decode_integer(bytes),
            #[expect(clippy::cast_possible_truncation, reason = "a float is cut to whole seconds")]
            Type::FLOAT8 => decode_integer(bytes).map(|bits| f64::from_bits(bits.cast_unsigned()) as i64),
            _ => {
                let what = format!(
                    "the expiry column of `query` on {} has type {}; it must be the token's expiry as timestamptz or as \
                     Unix time in seconds (::bigint)",
                    self.source,
                    column_type.name()
                );
                return Err(ObtainError::permanent(WRONG_TYPE, what));
            }
        };
        Ok(seconds.and_then(from_unix_time))
    }
}

/// Converts microseconds since 2000. The largest number is infinity, and a date before 1970 is 1970: it has passed.
fn from_postgres_micros(micros: i64) -> Option<SystemTime> {
    const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;
    if micros == i64::MAX {
        return None;
    }
    let since_1970 = micros.saturating_add(POSTGRES_EPOCH_MICROS).max(0).unsigned_abs();
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(since_1970))
}

/// Converts Unix time in seconds, or in milliseconds where seconds would be the year 5138 or later.
fn from_unix_time(number: i64) -> Option<SystemTime> {
    const MIN_MILLISECONDS: u64 = 100_000_000_000;
    let since_1970 = match u64::try_from(number) {
        Ok(0) => return None,
        Ok(seconds) if seconds < MIN_MILLISECONDS => Duration::from_secs(seconds),
        Ok(millis) => Duration::from_millis(millis),
        Err(_before_1970) => Duration::ZERO,
    };
    SystemTime::UNIX_EPOCH.checked_add(since_1970)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_a_timestamp_or_a_number_and_zero_is_never() {
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(from_postgres_micros(0), at(946_684_800));
        assert_eq!(from_postgres_micros(-1_000_000), at(946_684_799));
        assert_eq!(from_postgres_micros(i64::MAX), None);
        assert_eq!(from_postgres_micros(i64::MIN), at(0));
        assert_eq!(from_unix_time(1_767_225_600), at(1_767_225_600));
        assert_eq!(from_unix_time(1_767_225_600_000), at(1_767_225_600));
        assert_eq!(from_unix_time(0), None);
        assert_eq!(from_unix_time(-5), at(0));
        assert_eq!(
            from_unix_time(i64::MAX),
            at(9_223_372_036_854_775).map(|at| at + Duration::from_millis(807))
        );
    }
}
