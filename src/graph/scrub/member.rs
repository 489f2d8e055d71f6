//! Recognizes the members of a JSON object that are credentials, proofs, batches or ids.

use super::super::json::Member;
use super::super::parameter::{ParameterKind, ParameterName};
use super::super::sign::TenantSigns;
use super::super::text::{SourceText, unescape};
use super::state::{MAX_FIELD_BYTES, ScrubRules};

/// The longest name that may mean something, with every byte escaped, and its quotes.
const MAX_NAME_BYTES: usize = 6 * b"phone_number_id[9999]".len() + 2;

/// The meaning of the name of a member.
pub(super) fn parse_name(name: &[u8]) -> Option<ParameterName> {
    // Most names start otherwise, and need no further look.
    match name {
        [b'"' | b'\'', b'a' | b'b' | b'i' | b'p' | b'\\', ..] if name.len() <= MAX_NAME_BYTES => {
            ParameterName::of_member(unescape(name).map(|(byte, _)| byte))
        }
        [b'a' | b'b' | b'i' | b'p', ..] => ParameterName::of_member(name.iter().copied()),
        _ => None,
    }
}

/// Classifies a member, and adds what it says about the tenant to `signs`. One that is too long, or has no quotes, is no app
/// token. The name of a tenant may also stand in an array or an object.
pub(super) fn classify_member(
    text: &SourceText<'_>,
    member: &Member,
    rules: ScrubRules,
    signs: &mut Option<Box<TenantSigns>>,
) -> ParameterKind {
    let value = text.slice(member.value.clone());
    let is_long = member.value.end - member.name.start > MAX_FIELD_BYTES;
    let name = parse_name(text.slice(member.name.clone()));
    let kind = name.map(|name| rules.classify(name, unescape(value).map(|(byte, _)| byte), signs));
    match (kind, value.first()) {
        (Some(ParameterKind::AppToken), first) if is_long || !matches!(first, Some(b'"' | b'\'')) => {
            ParameterKind::Token
        }
        (kind, _) => kind.unwrap_or(ParameterKind::Other),
    }
}
