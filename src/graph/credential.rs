//! The app's credentials, and the values that client libraries send when they have none.
//!
//! # Why
//!
//! No token of Meta has a colon. So `tenant:` anywhere in the place of a token names a tenant: after one scheme, two
//! or none, in quotes, in an array, percent-encoded once more, as the user and the password of `Basic`. What a client
//! library does to a token it does to the name, too, and a name that went unread would give the request the token of
//! the default tenant. Rejected: to take only `tenant:NAME` itself for one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use memchr::memchr2;
use percent_encoding::percent_decode;

/// What is before the colon and the name of a tenant in the place of a token, in any case.
const TOKEN_SLOT_WORD: &[u8] = b"tenant";

/// The policy for credentials that the app sends (`heal.client_credentials`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCredentialPolicy {
    /// It is removed and the tenant's token is used: the app's counts as a stale copy.
    #[default]
    Replace,
    /// The request is refused.
    Refuse,
    /// It stays, and the tenant's token is not used.
    Keep,
    /// It stays, with its proofs: another part of the request has a credential that is kept. This is not a setting.
    #[serde(skip)]
    KeepAll,
}

/// Whether what a request says about its tenant is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SignPolicy {
    /// It is read, and `tenant:NAME` in the place of a token is removed.
    Read,
    /// There is one tenant only: `tenant:NAME` is a token like any other.
    Ignore,
}

/// The credentials among the parameters of a request, and what became of them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ParameterCredential {
    /// The request has no credential, or is for a token endpoint, where it is data.
    #[default]
    None,
    /// Only values that mean "no token", or name a tenant; they are removed.
    Placeholder,
    /// A token; it is removed ([`ClientCredentialPolicy::Replace`]).
    Removed,
    /// An app token; it is kept, and the tenant's token must not be added.
    AppToken,
    /// A token; it is kept ([`ClientCredentialPolicy::Keep`]), and the tenant's token must not be added.
    Kept,
}

/// The content of an `Authorization` header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HeaderCredential {
    /// No credential: an empty value, a scheme alone, a value that means "no token", or the name of a tenant without a scheme.
    Absent,
    /// `tenant:NAME`: the name of a tenant in the place of its token.
    TokenSlot(AuthScheme),
    /// An app token.
    AppToken(AuthScheme),
    /// Some other token.
    Token(AuthScheme),
    /// Another scheme, such as `Basic`, or no scheme.
    Other,
}

/// The schemes under which Graph takes a token. Upload hosts document `OAuth`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuthScheme {
    /// `Bearer`
    Bearer,
    /// `OAuth`
    OAuth,
}

impl ParameterCredential {
    /// Returns whether the app's credential is kept, so that the tenant's must not be added.
    #[must_use]
    pub const fn is_forwarded(self) -> bool {
        match self {
            Self::AppToken | Self::Kept => true,
            Self::None | Self::Placeholder | Self::Removed => false,
        }
    }
}

/// Reads the value of an `Authorization` header.
#[must_use]
fn parse_authorization(value: &[u8], signs: SignPolicy) -> HeaderCredential {
    let value = value.trim_ascii();
    let end = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
    let Some((scheme, token)) = value.split_at_checked(end) else {
        return HeaderCredential::Other;
    };
    let token = token.trim_ascii();
    let has_slot = signs == SignPolicy::Read && read_token_slot(value, |_name| ()).is_some();
    let scheme = if scheme.eq_ignore_ascii_case(b"bearer") {
        AuthScheme::Bearer
    } else if scheme.eq_ignore_ascii_case(b"oauth") {
        AuthScheme::OAuth
    } else if has_slot || (token.is_empty() && is_placeholder(scheme.iter().copied())) {
        return HeaderCredential::Absent;
    } else {
        return HeaderCredential::Other;
    };
    if is_placeholder(token.iter().copied()) {
        HeaderCredential::Absent
    } else if has_slot {
        HeaderCredential::TokenSlot(scheme)
    } else if is_app_token(token.iter().copied()) {
        HeaderCredential::AppToken(scheme)
    } else {
        HeaderCredential::Token(scheme)
    }
}

/// Reads the values of all `Authorization` headers. None of several takes precedence: they count as one that is not an app token.
#[must_use]
pub fn parse_authorizations<V: AsRef<[u8]>>(
    mut values: impl Iterator<Item = V>,
    signs: SignPolicy,
) -> HeaderCredential {
    use HeaderCredential::{Absent, AppToken, Other, Token, TokenSlot};
    let first = values.next().map(|first| parse_authorization(first.as_ref(), signs));
    match (first.unwrap_or(Absent), values.next()) {
        (first, None) => first,
        (Token(scheme) | TokenSlot(scheme) | AppToken(scheme), Some(_)) => Token(scheme),
        (Absent | Other, Some(_)) => Other,
    }
}

/// Returns whether this is a value that client libraries send when they have no token: empty, white space, or their
/// language's null (`None`, `null`, `undefined`, in any case).
pub fn is_placeholder(token: impl Iterator<Item = u8> + Clone) -> bool {
    let is_blank = token.clone().all(|byte| byte.is_ascii_whitespace());
    let lowercase = token.map(|byte| byte.to_ascii_lowercase());
    is_blank
        || ["none", "null", "undefined"]
            .iter()
            .any(|null| lowercase.clone().eq(null.bytes()))
}

/// Reads the name of a tenant in what stands in the place of a token, without the quotes, brackets and white space around it. It
/// need not be valid. `None` if there is no `tenant:` in it.
pub fn read_token_slot<R>(value: &[u8], read: impl FnOnce(&str) -> R) -> Option<R> {
    let basic = decode_basic(value).filter(|basic| find_token_slot(basic).is_some());
    let value = basic.as_deref().unwrap_or(value);
    // A token has neither, and needs no further look.
    memchr2(b':', b'%', value)?;
    let text = percent_decode(value).decode_utf8_lossy();
    let name = text.get(find_token_slot(text.as_bytes())?..)?;
    let name = name.strip_prefix(':').unwrap_or(name);
    let is_around = |char: char| char.is_whitespace() || "\"'()<>[]{}".contains(char);
    Some(read(name.trim_matches(is_around)))
}

/// The position of the colon before the name of a tenant. What is still encoded is no valid name.
fn find_token_slot(text: &[u8]) -> Option<usize> {
    let mut windows = text.windows(TOKEN_SLOT_WORD.len() + 1);
    let start = windows.position(|window| match window.split_last() {
        Some((b':' | b'%', word)) => word.eq_ignore_ascii_case(TOKEN_SLOT_WORD),
        Some(_) | None => false,
    });
    start.map(|start| start + TOKEN_SLOT_WORD.len())
}

/// Decodes the `user:password` after `Basic`; of several, with commas between them. `None` if there is no such scheme.
fn decode_basic(value: &[u8]) -> Option<Vec<u8>> {
    let is_basic = |word: &&[u8]| word.eq_ignore_ascii_case(b"basic");
    let words = value.split(|byte| byte.is_ascii_whitespace() || b",\"'".contains(byte));
    let mut words = words.skip_while(|word| !is_basic(word)).peekable();
    words.peek()?;
    let credentials = words.filter(|word| !word.is_empty() && !is_basic(word));
    Some(credentials.map(decode_base64).collect::<Vec<_>>().join(&b","[..]))
}

/// Decodes Base64 in either alphabet, up to the first byte that is in neither. Empty if it is not valid.
fn decode_base64(encoded: &[u8]) -> Vec<u8> {
    let digits = encoded.iter().map(|byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => *other,
    });
    let digits = digits.take_while(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(byte));
    STANDARD_NO_PAD.decode(digits.collect::<Vec<u8>>()).unwrap_or_default()
}

/// Reads the name of a tenant in the same way from decoded bytes.
pub fn read_decoded_token_slot<R>(
    mut value: impl Iterator<Item = u8> + Clone,
    read: impl FnOnce(&str) -> R,
) -> Option<R> {
    let whole = value.clone();
    let is_candidate = value.any(|byte| matches!(byte, b':' | b'%'));
    is_candidate.then(|| read_token_slot(&whole.collect::<Vec<_>>(), read))?
}

/// Returns whether this is an app token, `<app id>|<secret>`, which apps send where Graph accepts nothing else.
pub fn is_app_token(token: impl Iterator<Item = u8>) -> bool {
    let mut digits = 0_usize;
    for byte in token {
        match byte {
            b'0'..=b'9' => digits += 1,
            other => return other == b'|' && digits > 0,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_counts_as_absent() {
        for value in [
            "",
            " ",
            "Bearer",
            "bearer ",
            "Bearer  ",
            "OAuth",
            "Bearer None",
            "Bearer null",
            "BEARER Undefined",
            "OAuth NULL",
            "null",
            "None",
            "undefined",
            "Bearer\tnull",
        ] {
            assert_eq!(
                parse_authorization(value.as_bytes(), SignPolicy::Read),
                HeaderCredential::Absent,
                "{value:?}"
            );
        }
    }

    #[test]
    fn tokens_are_recognized_by_scheme_and_format() {
        use HeaderCredential::{Absent, AppToken, Other, Token, TokenSlot};
        for (value, expected) in [
            ("Bearer EAAG", Token(AuthScheme::Bearer)),
            ("bEARER  EAAG ", Token(AuthScheme::Bearer)),
            ("OAuth EAAG", Token(AuthScheme::OAuth)),
            ("oauth EAAG", Token(AuthScheme::OAuth)),
            ("Bearer tenant:acme", TokenSlot(AuthScheme::Bearer)),
            ("OAuth tenant:", TokenSlot(AuthScheme::OAuth)),
            ("Bearer Bearer tenant:acme", TokenSlot(AuthScheme::Bearer)),
            ("oauth 'TENANT%3aacme'", TokenSlot(AuthScheme::OAuth)),
            ("tenant:acme", Absent),
            ("Token tenant:acme", Absent),
            ("Basic dGVuYW50OmFjbWU=", Absent),
            ("bearer basic dGVuYW50OmFjbWU", TokenSlot(AuthScheme::Bearer)),
            ("Bearer 123|abc", AppToken(AuthScheme::Bearer)),
            ("OAuth 123|", AppToken(AuthScheme::OAuth)),
            ("Bearer |abc", Token(AuthScheme::Bearer)),
            ("Bearer 123", Token(AuthScheme::Bearer)),
            ("Bearer 12a|b", Token(AuthScheme::Bearer)),
            ("Bearer nullx", Token(AuthScheme::Bearer)),
            ("Bearer null EAAG", Token(AuthScheme::Bearer)),
            ("Basic dXNlcjpwYXNz", Other),
            ("Basic", Other),
            ("EAAG", Other),
            ("BearerEAAG", Other),
            ("null EAAG", Other),
        ] {
            assert_eq!(
                parse_authorization(value.as_bytes(), SignPolicy::Read),
                expected,
                "{value:?}"
            );
        }
        let slot = parse_authorization(b"OAuth tenant:acme", SignPolicy::Ignore);
        assert_eq!(slot, Token(AuthScheme::OAuth));
    }

    #[test]
    fn a_name_is_read_from_whatever_a_client_makes_of_it() {
        for (value, name) in [
            ("tenant:acme", "acme"),
            (" Tenant: Acme ", "Acme"),
            ("tenant:a:b@c", "a:b@c"),
            ("tenant:", ""),
            ("Bearer\ttenant:acme", "acme"),
            ("Bearertenant:acme", "acme"),
            ("%74enant%3Aac%6De", "acme"),
            (r#"[["tenant:acme"]]"#, "acme"),
            (r#"{"a":"tenant:acme"}"#, "acme"),
            ("Basic tenant:acme", "acme"),
            // No tenant has such a name.
            ("tenant:acme, Bearer tenant:shop", "acme, Bearer tenant:shop"),
            ("tenant%25253Aacme", "%253Aacme"),
            ("tenant:tenant:acme", "tenant:acme"),
        ] {
            let of_bytes = read_token_slot(value.as_bytes(), str::to_owned);
            assert_eq!(
                of_bytes,
                read_decoded_token_slot(value.bytes(), str::to_owned),
                "{value}"
            );
            assert_eq!(of_bytes.as_deref(), Some(name), "{value}");
        }
        for value in ["", "tenant", "tenant acme", "EAAG", "12|tenant", "a:b", "%74enant"] {
            assert_eq!(read_token_slot(value.as_bytes(), str::to_owned), None, "{value}");
        }
    }
}
