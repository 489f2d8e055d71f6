//! The value of a column of any type.

use std::borrow::Cow;

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Kind, Type};

/// The bytes of a value; `None` for NULL.
struct RawValue<'a>(Option<&'a [u8]>);

impl<'a> FromSql<'a> for RawValue<'a> {
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

/// Returns the type of a column, and the bytes in it unless it is NULL.
pub(super) fn raw_value(row: &Row, index: usize) -> Option<(&Type, Option<&[u8]>)> {
    let column_type = row.columns().get(index)?.type_();
    let RawValue(bytes) = row.try_get(index).ok()?;
    Some((column_type, bytes))
}

/// Returns the elements of an array that are not NULL, with their type, or none if it is nested; `None` if the column has no
/// arrays.
pub(super) fn array_elements(row: &Row, index: usize) -> Option<(&Type, Option<Vec<&[u8]>>)> {
    let Kind::Array(element) = row.columns().get(index)?.type_().kind() else {
        return None;
    };
    let elements: Option<Option<Vec<RawValue<'_>>>> = row.try_get(index).ok();
    let elements = elements.map(|elements| {
        let elements = elements.unwrap_or_default().into_iter();
        elements.filter_map(|RawValue(bytes)| bytes).collect()
    });
    Some((element, elements))
}

/// Returns a name or a number as PostgreSQL would as text; `None` for another type.
pub(super) fn to_text<'a>(value_type: &Type, bytes: &'a [u8]) -> Option<Cow<'a, str>> {
    match *value_type {
        Type::BPCHAR => Some(Cow::Borrowed(str::from_utf8(bytes).ok()?.trim_end_matches(' '))),
        Type::UUID => Some(Cow::Owned(uuid(bytes))),
        Type::INT2 | Type::INT4 | Type::INT8 => Some(Cow::Owned(decode_integer(bytes)?.to_string())),
        _ if is_text(value_type) => str::from_utf8(bytes).ok().map(Cow::Borrowed),
        _ => None,
    }
}

/// Returns whether the bytes of a type are its text.
pub(super) fn is_text(value_type: &Type) -> bool {
    let is_built_in = matches!(
        *value_type,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN
    );
    is_built_in || value_type.name() == "citext"
}

/// Decodes an integer of 2, 4 or 8 bytes.
pub(super) fn decode_integer(bytes: &[u8]) -> Option<i64> {
    if let Ok(eight) = bytes.try_into() {
        return Some(i64::from_be_bytes(eight));
    }
    if let Ok(two) = bytes.try_into() {
        return Some(i64::from(i16::from_be_bytes(two)));
    }
    let four = bytes.try_into().ok()?;
    Some(i64::from(i32::from_be_bytes(four)))
}

fn uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_have_the_text_that_a_cast_would_give_them() {
        let uuid = 0x6f1d_8c1e_4b1a_4c55_9a57_0d3c_3f6e_2a11_u128.to_be_bytes();
        for (value_type, bytes, text) in [
            (Type::TEXT, &b"acme"[..], Some("acme")),
            (Type::BPCHAR, b"acme   ", Some("acme")),
            (
                Type::INT8,
                &109_876_543_210_987_i64.to_be_bytes(),
                Some("109876543210987"),
            ),
            (Type::INT4, &7_i32.to_be_bytes(), Some("7")),
            (Type::INT2, &(-7_i16).to_be_bytes(), Some("-7")),
            (Type::UUID, &uuid, Some("6f1d8c1e-4b1a-4c55-9a57-0d3c3f6e2a11")),
            (Type::DATE, &7_i32.to_be_bytes(), None),
            (Type::BYTEA, b"acme", None),
        ] {
            assert_eq!(to_text(&value_type, bytes).as_deref(), text, "{value_type}");
        }
        assert_eq!(decode_integer(b"x"), None);
    }
}
