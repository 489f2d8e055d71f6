//! What an app presents as a credential, and how to tell a credential from the lack of one.

/// What is done with a credential that the app sends itself (`heal.client_credentials`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCredentialPolicy {
    /// It is taken out and ours is used: the app's is taken for a stale copy.
    #[default]
    Replace,
    /// The request is refused.
    Refuse,
    /// It is left in place and ours is not used.
    Keep,
}

/// What the `access_token` of a query was, and what became of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ParameterCredential {
    /// There is none, or the request is for a token endpoint, where it is data.
    #[default]
    None,
    /// Only what stands for "no token"; taken out.
    Placeholder,
    /// A token; taken out ([`ClientCredentialPolicy::Replace`]).
    Removed,
    /// An app token, meant as such; left in place. Nothing of ours may be added.
    AppToken,
    /// A token; left in place ([`ClientCredentialPolicy::Keep`]). Nothing of ours may be added.
    Kept,
}

/// What an `Authorization` header holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HeaderCredential {
    /// No credential: empty, a scheme alone, or what stands for "no token".
    Absent,
    /// An app token, meant as such.
    AppToken(AuthScheme),
    /// Some other token.
    Token(AuthScheme),
    /// Another scheme, such as `Basic`, or none.
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
    /// Whether a credential of ours must stay away: the app's own is left in the query.
    #[must_use]
    pub const fn is_forwarded(self) -> bool {
        match self {
            Self::AppToken | Self::Kept => true,
            Self::None | Self::Placeholder | Self::Removed => false,
        }
    }
}

/// What the value of an `Authorization` header is.
#[must_use]
pub fn parse_authorization(value: &[u8]) -> HeaderCredential {
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
    } else if is_app_token(token.iter().copied()) {
        HeaderCredential::AppToken(scheme)
    } else {
        HeaderCredential::Token(scheme)
    }
}

/// Whether this is what client libraries send when they have no token: nothing, white space, or the name that their
/// language has for nothing (`None`, `null`, `undefined`, in any case).
pub fn is_placeholder(token: impl Iterator<Item = u8> + Clone) -> bool {
    let is_blank = token.clone().all(|byte| byte.is_ascii_whitespace());
    let equals_ignoring_case = |name: &[u8]| {
        token
            .clone()
            .map(|byte| byte.to_ascii_lowercase())
            .eq(name.iter().copied())
    };
    is_blank || equals_ignoring_case(b"none") || equals_ignoring_case(b"null") || equals_ignoring_case(b"undefined")
}

/// Whether this is an app token, `<app id>|<secret>`: used on purpose, where only an app token will do.
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
                parse_authorization(value.as_bytes()),
                HeaderCredential::Absent,
                "{value:?}"
            );
        }
    }

    #[test]
    fn tokens_are_recognized_by_scheme_and_format() {
        use HeaderCredential::{AppToken, Other, Token};
        for (value, expected) in [
            ("Bearer EAAG", Token(AuthScheme::Bearer)),
            ("bEARER  EAAG ", Token(AuthScheme::Bearer)),
            ("OAuth EAAG", Token(AuthScheme::OAuth)),
            ("oauth EAAG", Token(AuthScheme::OAuth)),
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
            assert_eq!(parse_authorization(value.as_bytes()), expected, "{value:?}");
        }
    }
}
