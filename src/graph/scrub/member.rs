//! Recognizes the members of a JSON object that are credentials, proofs or batches.

use super::super::credential::is_placeholder;
use super::super::json::Member;
use super::super::parameter::{ParameterKind, ParameterName};
use super::super::text::{SourceText, unescape};
use super::state::MAX_FIELD_BYTES;

/// The longest name that may mean something, with every byte escaped, and its quotes.
const MAX_NAME_BYTES: usize = 6 * b"appsecret_proof".len() + 2;

/// The meaning of the name of a member.
pub(super) fn parse_name(name: &[u8]) -> Option<ParameterName> {
    // Most names start otherwise, and need no further look.
    match name {
        [b'"' | b'\'', b'a' | b'b' | b'\\', ..] if name.len() <= MAX_NAME_BYTES => {
            ParameterName::from_decoded(unescape(name).map(|(byte, _)| byte))
        }
        [b'a' | b'b', ..] => ParameterName::from_decoded(name.iter().copied()),
        _ => None,
    }
}

/// Classifies a member. One that is too long is no app token, and no placeholder.
pub(super) fn classify_member(text: &SourceText<'_>, member: &Member) -> ParameterKind {
    let value = text.slice(member.value.clone());
    match (parse_name(text.slice(member.name.clone())), value.first()) {
        (None | Some(ParameterName::Batch), _) => ParameterKind::Other,
        (Some(ParameterName::Proof), _) => ParameterKind::Proof,
        (Some(ParameterName::Token), _) if member.value.end - member.name.start > MAX_FIELD_BYTES => {
            ParameterKind::Token
        }
        (Some(name), Some(b'"' | b'\'')) => ParameterKind::from_decoded(name, unescape(value).map(|(byte, _)| byte)),
        (Some(_), _) if is_placeholder(value.iter().copied()) => ParameterKind::Placeholder,
        (Some(_), _) => ParameterKind::Token,
    }
}

/// The decoded value of a member that is a string.
pub(super) fn unescape_member<'text>(
    text: &'text SourceText<'_>,
    member: &Member,
) -> impl Iterator<Item = u8> + use<'text> {
    unescape(text.slice(member.value.clone())).map(|(byte, _)| byte)
}
