//! The kinds of parameters of a request: credentials, their proofs, ids of objects, and all others.

use std::iter;

use super::credential::{SignPolicy, is_app_token, is_placeholder, read_decoded_token_slot};

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
    /// `input_token`: the token that the request is about. It is data, but it may be the name of a tenant.
    InputToken,
}

// === impl ParameterKind ===

impl ParameterKind {
    /// Classifies a parameter by its name and its decoded value.
    #[must_use]
    pub fn from_decoded(name: ParameterName, value: impl Iterator<Item = u8> + Clone, signs: SignPolicy) -> Self {
        let has_slot = || signs == SignPolicy::Read && read_decoded_token_slot(value.clone(), |_name| ()).is_some();
        match name {
            ParameterName::Batch | ParameterName::ObjectIds | ParameterName::InputToken => Self::Other,
            ParameterName::Proof => Self::Proof,
            ParameterName::Token if is_placeholder(value.clone()) => Self::Placeholder,
            ParameterName::Token if has_slot() => Self::TokenSlot,
            ParameterName::Token if is_app_token(value) => Self::AppToken,
            ParameterName::Token => Self::Token,
        }
    }
}

// === impl ParameterName ===

impl ParameterName {
    const ALL: [(&'static [u8], Self); 8] = [
        (b"access_token", Self::Token),
        (b"appsecret_proof", Self::Proof),
        (b"appsecret_time", Self::Proof),
        (b"batch", Self::Batch),
        (b"id", Self::ObjectIds),
        (b"ids", Self::ObjectIds),
        (b"phone_number_id", Self::ObjectIds),
        (b"input_token", Self::InputToken),
    ];

    /// Compares the decoded name of a member of a JSON object. Names are compared whole: `fb_exchange_token` is data.
    /// `ids`, `ids[]` and `ids[0]` are one list, and `access_token[]` is one, too.
    #[must_use]
    pub fn of_member(name: impl Iterator<Item = u8> + Clone) -> Option<Self> {
        let found = Self::ALL.into_iter().find(|(known, meaning)| {
            let name = name.clone();
            let name = name.take_while(|byte| *byte != b'[' || matches!(meaning, Self::Proof | Self::Batch));
            name.eq(known.iter().copied())
        });
        found.map(|(_, name)| name)
    }

    /// Compares the decoded name of a parameter of a query or a form, in each of its spellings.
    #[must_use]
    pub fn of_field(name: impl Iterator<Item = u8> + Clone) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|(known, _)| is_spelling(name.clone(), known));
        found.map(|(_, name)| name)
    }

    /// Reads a form-encoded parameter, `name=value` or `name`: its name, if it is known, and its value, still encoded.
    #[must_use]
    pub fn of_parameter(parameter: &[u8]) -> Option<(Self, &[u8])> {
        // Most parameters start otherwise, and need no further look.
        if !matches!(
            parameter.first(),
            Some(b'a' | b'b' | b'i' | b'p' | b'%' | b'+' | 0..=b' ')
        ) {
            return None;
        }
        let (name, value) = split_parameter(parameter);
        Self::of_field(form_decode(name)).map(|name| (name, value))
    }
}

/// Returns whether a decoded name of a parameter is read as `known`.
///
/// # Why
///
/// PHP skips blanks before a name, ends it at NUL or `[`, and turns `.`, a blank, and a `[` that is not closed into `_`. Others
/// trim it. A spelling too many here costs an unusual request; one too few a token, a tenant or an account.
pub(super) fn is_spelling(name: impl Iterator<Item = u8>, known: &[u8]) -> bool {
    let mut name = name.skip_while(|byte| *byte <= b' ').take_while(|byte| *byte != b'\0');
    let is_letter = |byte: u8, letter: u8| byte == letter || (letter == b'_' && matches!(byte, b'.' | b' ' | b'['));
    known
        .iter()
        .all(|letter| name.next().is_some_and(|byte| is_letter(byte, *letter)))
        && name
            .find(|byte| !byte.is_ascii_whitespace())
            .is_none_or(|byte| byte == b'[')
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
#[must_use]
pub fn overrides_method(query: &str) -> bool {
    query
        .as_bytes()
        .split(|byte| matches!(byte, b'&' | b';'))
        .any(|parameter| {
            let (name, value) = split_parameter(parameter);
            let name = form_decode(name).map(|byte| byte.to_ascii_lowercase());
            let is_named = |known: &[u8]| is_spelling(name.clone(), known);
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
            ("access_token[]", ParameterName::Token),
            ("access_token%5B0%5D", ParameterName::Token),
            ("appsecret_time", ParameterName::Proof),
            ("%62atch", ParameterName::Batch),
            ("phone_number_id", ParameterName::ObjectIds),
            ("%69d", ParameterName::ObjectIds),
            ("ids[]", ParameterName::ObjectIds),
            ("ids%5B0%5D", ParameterName::ObjectIds),
            ("input_token", ParameterName::InputToken),
        ] {
            assert_eq!(name(known), Some(expected), "{known}");
        }
        assert_eq!(
            ParameterName::of_parameter(b"ids=a=%20"),
            Some((ParameterName::ObjectIds, &b"a=%20"[..]))
        );
        for other in [
            "",
            "access_token2",
            "accesstoken",
            "access__token",
            "access-token",
            "input_tokens",
            "%2561ccess_token",
            "Access_token",
            "a[access_token]",
            "access_token_",
            "ids.0",
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
    fn a_name_is_found_in_each_spelling_that_php_reads() {
        let blanks = "+".repeat(10_000);
        let many_blanks = format!("{blanks}access_token{blanks}[");
        let long_key = format!("phone_number_id[{blanks}]");
        for (spelling, expected) in [
            ("+access_token", ParameterName::Token),
            (" \taccess_token", ParameterName::Token),
            ("%20%09%0Aaccess_token", ParameterName::Token),
            ("access.token", ParameterName::Token),
            ("access+token", ParameterName::Token),
            ("access%20token", ParameterName::Token),
            ("access[token", ParameterName::Token),
            ("access_token[]", ParameterName::Token),
            ("access_token%00x", ParameterName::Token),
            ("access_token+", ParameterName::Token),
            (&many_blanks, ParameterName::Token),
            ("appsecret.proof", ParameterName::Proof),
            ("+batch", ParameterName::Batch),
            ("+ids", ParameterName::ObjectIds),
            ("%20ids[]", ParameterName::ObjectIds),
            ("phone.number.id", ParameterName::ObjectIds),
            ("phone_number%2Eid", ParameterName::ObjectIds),
            ("phone.number[id", ParameterName::ObjectIds),
            (&long_key, ParameterName::ObjectIds),
        ] {
            let found = ParameterName::of_parameter(spelling.as_bytes());
            assert_eq!(found.map(|(name, _)| name), Some(expected), "{spelling:.40}");
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
            ("access_token=Bearer+tenant%253Aacme", ParameterKind::TokenSlot),
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
