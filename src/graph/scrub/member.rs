//! What a member of a JSON object is to us.

use super::super::json::unescape;
use super::super::parameter::{Name, Parameter};
use super::super::presented::is_placeholder;

/// The longest name that may mean something, with every byte escaped and its quotes.
pub(super) const LONGEST_NAME: usize = 6 * b"appsecret_proof".len() + 2;

/// What a name means.
pub(super) fn named(name: &[u8]) -> Option<Name> {
    // Most begin otherwise, and go free here.
    match name {
        [b'"' | b'\'', b'a' | b'b' | b'\\', ..] if name.len() <= LONGEST_NAME => {
            Name::of(unescape(name).map(|(byte, _)| byte))
        }
        [b'a' | b'b', ..] => Name::of(name.iter().copied()),
        _ => None,
    }
}

/// What a member of such a name and value is.
pub(super) fn judged(name: Name, value: &[u8]) -> Parameter {
    match value.first() {
        Some(b'"' | b'\'') => Parameter::named(name, unescape(value).map(|(byte, _)| byte)),
        _ if name != Name::Token => Parameter::named(name, value.iter().copied()),
        _ if is_placeholder(value.iter().copied()) => Parameter::Placeholder,
        _ => Parameter::Token,
    }
}

/// What is too long to be looked at is no app's credential, and no placeholder.
pub(super) const fn too_long(name: Name) -> Parameter {
    match name {
        Name::Token => Parameter::Token,
        Name::Proof | Name::Batch => Parameter::Proof,
    }
}
