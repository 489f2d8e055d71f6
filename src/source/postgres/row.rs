//! The result of a query: a token in the first column, perhaps its expiry in the second.

use std::time::{Duration, SystemTime};

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use super::super::absent::AbsentPolicy;
use super::super::encoding::TokenEncoding;
use crate::token::{ObtainError, Token};

/// Returns the token in these rows, of which there must be one.
pub(super) fn decode_rows(
    source: &str,
    rows: &[Row],
    encoding: &TokenEncoding,
    absent: AbsentPolicy,
) -> Result<Token, ObtainError> {
    let row = match rows {
        [row] => row,
        [] => {
            let what =
                format!("`query` returned no row from {source}; insert the row, or fix the WHERE clause and `params`");
            return Err(absent.apply(ObtainError::transient("missing", what)));
        }
        _ => {
            let what = format!(
                "`query` returned several rows from {source}; narrow its WHERE clause, or add ORDER BY … LIMIT 1"
            );
            return Err(ObtainError::permanent("multiple_rows", what));
        }
    };
    if !(1..=2).contains(&row.len()) {
        let what = format!(
            "`query` must select one column (the token) or two (the token and its expiry); it selects {} from {source}",
            row.len()
        );
        return Err(ObtainError::permanent("column_count", what));
    }
    let column = token_column(source, row, absent)?;
    let mut token = encoding.decode(column).map_err(|error| {
        let what = format!("the token in {source} was rejected: {error}");
        ObtainError::permanent(error.label(), what).about_content(column)
    })?;
    if row.len() == 2 {
        token.expires_at = expiry_column(source, row)?;
        token.expiry_key = row.columns().get(1).map(|column| column.name().into());
    }
    Ok(token)
}

/// The bytes of a column of any type; `None` for NULL.
struct RawColumn<'a>(Option<&'a [u8]>);

impl<'a> FromSql<'a> for RawColumn<'a> {
    fn from_sql(_type: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(Some(raw)))
    }

    fn from_sql_null(_type: &Type) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(None))
    }

    fn accepts(_type: &Type) -> bool {
        true
    }
}

fn raw_column(row: &Row, index: usize) -> Option<(&Type, Option<&[u8]>)> {
    let column_type = row.columns().get(index)?.type_();
    let RawColumn(bytes) = row.try_get(index).ok()?;
    Some((column_type, bytes))
}

fn token_column<'a>(source: &str, row: &'a Row, absent: AbsentPolicy) -> Result<&'a [u8], ObtainError> {
    let (column_type, bytes) = raw_column(row, 0).unwrap_or((&Type::UNKNOWN, None));
    let hint = match *column_type {
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::BYTEA => None,
        Type::JSON | Type::JSONB => Some("select a text value, for example config->>'access_token'"),
        _ if column_type.name() == "citext" => None,
        _ => Some("select the column that holds the token"),
    };
    if let Some(hint) = hint {
        let what = format!(
            "the first column of `query` on {source} has type {}, not text or bytea; {hint}",
            column_type.name()
        );
        return Err(ObtainError::permanent("wrong_type", what));
    }
    bytes.ok_or_else(|| {
        let what = format!("the token column in {source} is NULL; store a token in it");
        absent.apply(ObtainError::permanent("empty", what))
    })
}

/// Returns the token's expiry, from a timestamp or from Unix time; NULL, 0 and infinity mean never.
fn expiry_column(source: &str, row: &Row) -> Result<Option<SystemTime>, ObtainError> {
    let Some((column_type, Some(bytes))) = raw_column(row, 1) else {
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
                "the second column of `query` on {source} has type {}; it must be the token's expiry as timestamptz or as \
                 Unix time in seconds (::bigint)",
                column_type.name()
            );
            return Err(ObtainError::permanent("wrong_type", what));
        }
    };
    Ok(seconds.and_then(from_unix_time))
}

/// Decodes an integer of 4 or 8 bytes.
fn decode_integer(bytes: &[u8]) -> Option<i64> {
    if let Ok(eight) = bytes.try_into() {
        return Some(i64::from_be_bytes(eight));
    }
    let four = bytes.try_into().ok()?;
    Some(i64::from(i32::from_be_bytes(four)))
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
        assert_eq!(decode_integer(&7_i32.to_be_bytes()), Some(7));
        assert_eq!(decode_integer(&7_i64.to_be_bytes()), Some(7));
        assert_eq!(decode_integer(b"x"), None);
    }
}
