//! The kinds of parameters of a request: credentials, their proofs, ids of objects, and all others.

use std::iter;

use super::credential::{SignPolicy, is_app_token, is_placeholder, is_token_slot};

/// The kind of a parameter. Later kinds outweigh earlier ones where several are taken together.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ParameterKind {
    /// A parameter that graphward does not touch.
    Other,
    /// `appsecret_proof`, `appsecret_time`
    Proof,
    /// `access_token` with nothing in it
    Placeholder,
    /// `access_token` with the name of a tenant
    TokenSlot,
    /// `access_token` with an app token
    AppToken,
    /// `access_token` with any other
    Token,
}

/// A name that graphward knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ParameterName {
    /// `access_token`
    Token,
    /// `appsecret_proof`, `appsecret_time`
    Proof,
    /// `batch`: its items may hold credentials of their own.
    Batch,
    /// `id`, `ids`, `phone_number_id`: the objects that the request is about.
    ObjectIds,
}

// === impl ParameterKind ===

impl ParameterKind {
    /// Classifies a parameter by its name and its decoded value.
    #[must_use]
    pub fn from_decoded(name: ParameterName, value: impl Iterator<Item = u8> + Clone, signs: SignPolicy) -> Self {
        match name {
            ParameterName::Batch | ParameterName::ObjectIds => Self::Other,
            ParameterName::Proof => Self::Proof,
            ParameterName::Token if is_placeholder(value.clone()) => Self::Placeholder,
            ParameterName::Token if signs == SignPolicy::Read && is_token_slot(value.clone()) => Self::TokenSlot,
            ParameterName::Token if is_app_token(value) => Self::AppToken,
            ParameterName::Token => Self::Token,
        }
    }
}

// === impl ParameterName ===

impl ParameterName {
    /// The longest, with every byte percent-encoded.
    pub const MAX_ENCODED_BYTES: usize = 3 * b"phone_number_id[9999]".len();

    const ALL: [(&'static [u8], Self); 7] = [
        (b"access_token", Self::Token),
        (b"appsecret_proof", Self::Proof),
        (b"appsecret_time", Self::Proof),
        (b"batch", Self::Batch),
        (b"id", Self::ObjectIds),
        (b"ids", Self::ObjectIds),
        (b"phone_number_id", Self::ObjectIds),
    ];

    /// Compares a decoded name. Names are compared whole: `input_token` or `fb_exchange_token` are data. `ids`, `ids[]` and
    /// `ids[0]` are one list to PHP.
    #[must_use]
    pub fn from_decoded(name: impl Iterator<Item = u8> + Clone) -> Option<Self> {
        let found = Self::ALL.into_iter().find(|(known, meaning)| {
            let name = name.clone();
            let name = name.take_while(|byte| *byte != b'[' || *meaning != Self::ObjectIds);
            name.eq(known.iter().copied())
        });
        found.map(|(_, name)| name)
    }

    /// Reads a form-encoded parameter, `name=value` or `name`: its name, if it is known, and its value, still encoded.
    #[must_use]
    pub fn of_parameter(parameter: &[u8]) -> Option<(Self, &[u8])> {
        // Most parameters start otherwise, and need no further look.
        if !matches!(parameter.first(), Some(b'a' | b'b' | b'i' | b'p' | b'%')) {
            return None;
        }
        let (name, value) = split_parameter(parameter);
        let is_short = name.len() <= Self::MAX_ENCODED_BYTES;
        let name = is_short.then(|| Self::from_decoded(form_decode(name))).flatten();
        name.map(|name| (name, value))
    }
}

/// The number that hexadecimal digits, eight at most, stand for.
pub(super) fn parse_hex(digits: &[u8]) -> Option<u32> {
    let mut digits = digits.iter();
    digits.try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))
}

/// Splits a form-encoded parameter, `name=value` or `name`, at its first `=`.
pub(super) fn split_parameter(parameter: &[u8]) -> (&[u8], &[u8]) {
    let mut halves = parameter.splitn(2, |byte| *byte == b'=');
    (halves.next().unwrap_or_default(), halves.next().unwrap_or_default())
}

/// Whether a query makes Graph do something else than the request's method says: `method=delete` deletes, and a batch does
/// what its items say.
///
/// # Why
///
/// Graph reads parameters as PHP does, in more spellings than one, and which ones is not documented. A spelling too many
/// here costs an unusual link; one too few deletes an object.
#[must_use]
pub fn overrides_method(query: &str) -> bool {
    query
        .as_bytes()
        .split(|byte| matches!(byte, b'&' | b';'))
        .any(|parameter| {
            let (name, value) = split_parameter(parameter);
            let name = form_decode(name).skip_while(|byte| *byte == b' ');
            let name = name.take_while(|byte| !matches!(byte, b'[' | b'\0'));
            let is_named = |known: &[u8]| {
                name.clone()
                    .map(|byte| byte.to_ascii_lowercase())
                    .eq(known.iter().copied())
            };
            let is_get = || form_decode(value).map(|byte| byte.to_ascii_lowercase()).eq(*b"get");
            is_named(b"batch") || (is_named(b"method") && !is_get())
        })
}

/// The bytes of a form-encoded text, without a copy: `+` is a space, `%` without two digits is itself.
pub fn form_decode(text: &[u8]) -> impl Iterator<Item = u8> + Clone {
    form_decode_with_len(text).map(|(byte, _)| byte)
}

/// The same, with the length that each byte has in the text: one, or three.
pub fn form_decode_with_len(text: &[u8]) -> impl Iterator<Item = (u8, usize)> + Clone {
    let mut rest = text;
    iter::from_fn(move || {
        let (first, after) = rest.split_first()?;
        rest = after;
        if *first == b'%'
            && let Some((digits, beyond)) = after.split_at_checked(2)
            && let Some(byte) = parse_hex(digits)
        {
            rest = beyond;
            return Some((u8::try_from(byte).ok()?, 3));
        }
        Some((if *first == b'+' { b' ' } else { *first }, 1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_whole_and_decoded() {
        let name = |parameter: &str| ParameterName::of_parameter(parameter.as_bytes()).map(|(name, _)| name);
        for (known, expected) in [
            ("access_token", ParameterName::Token),
            ("%61ccess%5ftoken", ParameterName::Token),
            ("appsecret_time", ParameterName::Proof),
            ("%62atch", ParameterName::Batch),
            ("phone_number_id", ParameterName::ObjectIds),
            ("%69d", ParameterName::ObjectIds),
            ("ids[]", ParameterName::ObjectIds),
            ("ids%5B0%5D", ParameterName::ObjectIds),
        ] {
            assert_eq!(name(known), Some(expected), "{known}");
        }
        let longest: String = b"phone_number_id[9999]".map(|byte| format!("%{byte:02X}")).concat();
        assert_eq!(longest.len(), ParameterName::MAX_ENCODED_BYTES);
        assert_eq!(name(&longest), Some(ParameterName::ObjectIds));
        assert_eq!(
            ParameterName::of_parameter(b"ids=a=%20"),
            Some((ParameterName::ObjectIds, &b"a=%20"[..]))
        );
        for other in [
            "",
            "access_token2",
            "access+token",
            "input_token",
            "%2561ccess_token",
            "Access_token",
            "access_token[]",
            "xid",
            "idx",
            "ID",
            "i",
            "phone_number",
        ] {
            assert_eq!(name(other), None, "{other}");
        }
    }

    #[test]
    fn a_query_overrides_the_method_by_its_decoded_names() {
        for query in [
            "method=delete",
            "a=b&%6Dethod=POST",
            "method=",
            "method",
            "method=get&method=delete",
            "batch=[]",
            "METHOD=delete",
            "method[]=delete",
            "method%5B0%5D=delete",
            "fields=id;method=delete",
            "+method=delete",
            "method%00x=delete",
        ] {
            assert!(overrides_method(query), "{query}");
        }
        for query in [
            "",
            "method=GET",
            "fields=method",
            "a=method=delete",
            "payment_method=x",
            "method_type=delete",
        ] {
            assert!(!overrides_method(query), "{query}");
        }
    }

    #[test]
    fn a_parameter_is_classified_by_its_decoded_value() {
        for (text, expected) in [
            ("access_token=EAAG", ParameterKind::Token),
            ("access_token=12%7cs", ParameterKind::AppToken),
            ("access_token=%6eull", ParameterKind::Placeholder),
            ("access_token=tenant%3Aacme", ParameterKind::TokenSlot),
            ("access_token", ParameterKind::Placeholder),
            ("appsecret_proof=", ParameterKind::Proof),
            ("batch=[]", ParameterKind::Other),
            ("ids=1", ParameterKind::Other),
        ] {
            let (name, value) = ParameterName::of_parameter(text.as_bytes()).unwrap();
            assert_eq!(
                ParameterKind::from_decoded(name, form_decode(value), SignPolicy::Read),
                expected,
                "{text}"
            );
        }
    }
}
