//! What a query shows: a token in the first column, its end perhaps in the second.

use std::time::{Duration, SystemTime};

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use super::super::decode::{Format, token};
use super::super::fernet::Fernet;
use crate::token::{ObtainError, Token};

/// How each Fernet text begins, and no token of Graph's.
const FERNET_PREFIX: &[u8] = b"gAAAA";

/// The token that these rows show.
pub(super) fn decode_rows(source: &str, rows: &[Row], keys: Option<&Fernet>) -> Result<Token, ObtainError> {
    let row = match rows {
        [row] => row,
        [] => {
            let what = format!("{source} has no row for `query`; insert it, or correct the WHERE and `params`");
            return Err(ObtainError::transient("missing", what));
        }
        _ => {
            let what =
                format!("{source} has several rows for `query`; narrow its WHERE, or end it in ORDER BY … LIMIT 1");
            return Err(ObtainError::permanent("many_rows", what));
        }
    };
    if !(1..=2).contains(&row.len()) {
        let what = format!(
            "`query` must select one column, the token, or two, the token and its end; at {source} it selects {}",
            row.len()
        );
        return Err(ObtainError::permanent("columns", what));
    }
    let text = token_column(source, row)?;
    let rejected = |reason, why: String| {
        let what = format!("what {source} shows was refused: {why}");
        ObtainError::permanent(reason, what)
    };
    let found = match keys {
        None if text.trim_ascii_start().starts_with(FERNET_PREFIX) => {
            let why = "it is encrypted with Fernet; add `fernet_key` to the source".to_owned();
            return Err(rejected("fernet_key", why));
        }
        None => token(text, &Format::Raw, None),
        Some(keys) => {
            let ciphertext = std::str::from_utf8(text).unwrap_or_default().trim();
            let plaintext = keys
                .decrypt(ciphertext)
                .map_err(|error| rejected(error.label(), error.to_string()))?;
            token(plaintext.as_bytes(), &Format::Raw, None)
        }
    };
    let mut found = found.map_err(|error| rejected(error.label(), error.to_string()))?;
    if row.len() == 2 {
        found.expires_at = expiry_column(source, row)?;
    }
    Ok(found)
}

/// The bytes of a column, or none if it is NULL; whatever its type.
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

fn raw_column(row: &Row, at: usize) -> Option<(&Type, Option<&[u8]>)> {
    let of = row.columns().get(at)?.type_();
    let RawColumn(bytes) = row.try_get(at).ok()?;
    Some((of, bytes))
}

fn token_column<'a>(source: &str, row: &'a Row) -> Result<&'a [u8], ObtainError> {
    let (of, bytes) = raw_column(row, 0).unwrap_or((&Type::UNKNOWN, None));
    let is_text = [
        Type::TEXT,
        Type::VARCHAR,
        Type::BPCHAR,
        Type::NAME,
        Type::UNKNOWN,
        Type::BYTEA,
    ]
    .contains(of)
        || of.name() == "citext";
    if !is_text {
        let instead = match *of {
            Type::JSON | Type::JSONB => "select a text of it, such as config->>'access_token'",
            _ => "select the column that holds the token",
        };
        let what = format!(
            "the first column that {source} shows is of type {}, not text or bytea; {instead}",
            of.name()
        );
        return Err(ObtainError::permanent("wrong_type", what));
    }
    bytes.ok_or_else(|| {
        let what = format!("{source} shows NULL where the token should be; store one there");
        ObtainError::permanent("empty", what)
    })
}

/// When the token ends, by a date or by seconds since 1970; NULL, 0 and infinity are never.
fn expiry_column(source: &str, row: &Row) -> Result<Option<SystemTime>, ObtainError> {
    let Some((of, Some(bytes))) = raw_column(row, 1) else {
        return Ok(None);
    };
    let seconds = match *of {
        Type::TIMESTAMPTZ | Type::TIMESTAMP => {
            return Ok(decode_integer(bytes).and_then(from_postgres_micros));
        }
        Type::INT8 | Type::INT4 => decode_integer(bytes),
        #[expect(clippy::cast_possible_truncation, reason = "a float is cut to whole seconds")]
        Type::FLOAT8 => decode_integer(bytes).map(|bits| f64::from_bits(bits.cast_unsigned()) as i64),
        _ => {
            let what = format!(
                "the second column that {source} shows is of type {}; it must be the token's end, as timestamptz or as \
                 seconds since 1970 (::bigint)",
                of.name()
            );
            return Err(ObtainError::permanent("wrong_type", what));
        }
    };
    Ok(seconds.and_then(from_unix_time))
}

/// A number of 4 or 8 bytes.
fn decode_integer(bytes: &[u8]) -> Option<i64> {
    if let Ok(eight) = bytes.try_into() {
        return Some(i64::from_be_bytes(eight));
    }
    let four = bytes.try_into().ok()?;
    Some(i64::from(i32::from_be_bytes(four)))
}

/// Microseconds since 2000, of which the last is infinity.
fn from_postgres_micros(micros: i64) -> Option<SystemTime> {
    const POSTGRES_EPOCH: Duration = Duration::from_secs(946_684_800);
    if micros == i64::MAX {
        return None;
    }
    let millennium = SystemTime::UNIX_EPOCH + POSTGRES_EPOCH;
    let distance = Duration::from_micros(micros.unsigned_abs());
    if micros < 0 {
        // What ended before 1970 has ended.
        let before = millennium.checked_sub(distance);
        Some(before.unwrap_or(SystemTime::UNIX_EPOCH).max(SystemTime::UNIX_EPOCH))
    } else {
        millennium.checked_add(distance)
    }
}

/// Seconds since 1970, or milliseconds where seconds would be the year 5138 and later.
fn from_unix_time(number: i64) -> Option<SystemTime> {
    const MIN_MILLISECONDS: u64 = 100_000_000_000;
    let since = match u64::try_from(number) {
        Ok(0) => return None,
        Ok(seconds) if seconds < MIN_MILLISECONDS => Duration::from_secs(seconds),
        Ok(millis) => Duration::from_millis(millis),
        Err(_before_1970) => Duration::ZERO,
    };
    SystemTime::UNIX_EPOCH.checked_add(since)
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
