//! What a member of a JSON object is to us.

use super::super::credential::is_placeholder;
use super::super::lenient_json::unescape;
use super::super::parameter::{ParameterKind, ParameterName};

/// The longest name that may mean something, with every byte escaped and its quotes.
pub(super) const MAX_NAME_BYTES: usize = 6 * b"appsecret_proof".len() + 2;

/// What a name means.
pub(super) fn parse_name(name: &[u8]) -> Option<ParameterName> {
    // Most begin otherwise, and go free here.
    match name {
        [b'"' | b'\'', b'a' | b'b' | b'\\', ..] if name.len() <= MAX_NAME_BYTES => {
            ParameterName::from_decoded(unescape(name).map(|(byte, _)| byte))
        }
        [b'a' | b'b', ..] => ParameterName::from_decoded(name.iter().copied()),
        _ => None,
    }
}

/// What a member of such a name and value is.
pub(super) fn classify_member(name: ParameterName, value: &[u8]) -> ParameterKind {
    match value.first() {
        Some(b'"' | b'\'') => ParameterKind::from_decoded(name, unescape(value).map(|(byte, _)| byte)),
        _ if name != ParameterName::Token => ParameterKind::from_decoded(name, value.iter().copied()),
        _ if is_placeholder(value.iter().copied()) => ParameterKind::Placeholder,
        _ => ParameterKind::Token,
    }
}

/// What is too long to be looked at is no app's credential, and no placeholder.
pub(super) const fn classify_oversized(name: ParameterName) -> ParameterKind {
    match name {
        ParameterName::Token => ParameterKind::Token,
        ParameterName::Proof | ParameterName::Batch => ParameterKind::Proof,
    }
}
