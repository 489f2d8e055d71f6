//! The app's credentials, and the values that client libraries send when they have none.

/// What is before the name of a tenant in the place of a token.
pub(super) const TOKEN_SLOT_PREFIX: &[u8] = b"tenant:";

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
    /// No credential: an empty value, a scheme alone, or a value that means "no token".
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
pub fn parse_authorization(value: &[u8], signs: SignPolicy) -> HeaderCredential {
    let value = value.trim_ascii();
    let end = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
    let Some((scheme, token)) = value.split_at_checked(end) else {
        return HeaderCredential::Other;
    };
    let token = token.trim_ascii();
    let scheme = if scheme.eq_ignore_ascii_case(b"bearer") {
        AuthScheme::Bearer
    } else if scheme.eq_ignore_ascii_case(b"oauth") {
        AuthScheme::OAuth
    } else if token.is_empty() && is_placeholder(scheme.iter().copied()) {
        return HeaderCredential::Absent;
    } else {
        return HeaderCredential::Other;
    };
    if is_placeholder(token.iter().copied()) {
        HeaderCredential::Absent
    } else if signs == SignPolicy::Read && is_token_slot(token.iter().copied()) {
        HeaderCredential::TokenSlot(scheme)
    } else if is_app_token(token.iter().copied()) {
        HeaderCredential::AppToken(scheme)
    } else {
        HeaderCredential::Token(scheme)
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

/// Returns whether the value in the place of a token is `tenant:NAME`.
pub fn is_token_slot(value: impl Iterator<Item = u8>) -> bool {
    let mut value = value.skip_while(u8::is_ascii_whitespace);
    TOKEN_SLOT_PREFIX.iter().all(|byte| value.next() == Some(*byte))
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
        use HeaderCredential::{AppToken, Other, Token, TokenSlot};
        for (value, expected) in [
            ("Bearer EAAG", Token(AuthScheme::Bearer)),
            ("bEARER  EAAG ", Token(AuthScheme::Bearer)),
            ("OAuth EAAG", Token(AuthScheme::OAuth)),
            ("oauth EAAG", Token(AuthScheme::OAuth)),
            ("Bearer tenant:acme", TokenSlot(AuthScheme::Bearer)),
            ("OAuth tenant:", TokenSlot(AuthScheme::OAuth)),
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
}
