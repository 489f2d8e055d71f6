//! What an app presents as a credential, and how to tell a credential from the lack of one.

/// What is done with a credential that the app sends itself (`heal.presented`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Presented {
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
pub enum QueryCredential {
    /// There is none, or the request is for a token endpoint, where it is data.
    #[default]
    None,
    /// Only what stands for "no token"; taken out.
    Placeholder,
    /// A token; taken out ([`Presented::Replace`]).
    Stale,
    /// An app token, meant as such; left in place. Nothing of ours may be added.
    AppToken,
    /// A token; left in place ([`Presented::Keep`]). Nothing of ours may be added.
    Kept,
}

/// What an `Authorization` header holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HeaderCredential {
    /// No credential: empty, a scheme alone, or what stands for "no token".
    Absent,
    /// An app token, meant as such.
    AppToken(Scheme),
    /// Some other token.
    Token(Scheme),
    /// Another scheme, such as `Basic`, or none.
    Other,
}

/// The schemes under which Graph takes a token. Upload hosts document `OAuth`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// `Bearer`
    Bearer,
    /// `OAuth`
    OAuth,
}

impl QueryCredential {
    /// Whether a credential of ours must stay away: the app's own is left in the query.
    #[must_use]
    pub const fn is_in_place(self) -> bool {
        match self {
            Self::AppToken | Self::Kept => true,
            Self::None | Self::Placeholder | Self::Stale => false,
        }
    }
}

/// What the value of an `Authorization` header is.
#[must_use]
pub fn authorization(value: &[u8]) -> HeaderCredential {
    let value = value.trim_ascii();
    let end = value
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(value.len());
    let Some((scheme, token)) = value.split_at_checked(end) else {
        return HeaderCredential::Other;
    };
    let token = token.trim_ascii();
    let scheme = if scheme.eq_ignore_ascii_case(b"bearer") {
        Scheme::Bearer
    } else if scheme.eq_ignore_ascii_case(b"oauth") {
        Scheme::OAuth
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
    let bare = token.clone().all(|byte| byte.is_ascii_whitespace());
    let named = |name: &[u8]| {
        token
            .clone()
            .map(|byte| byte.to_ascii_lowercase())
            .eq(name.iter().copied())
    };
    bare || named(b"none") || named(b"null") || named(b"undefined")
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
    fn what_stands_for_no_token_is_absent() {
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
                authorization(value.as_bytes()),
                HeaderCredential::Absent,
                "{value:?}"
            );
        }
    }

    #[test]
    fn tokens_are_told_by_scheme_and_form() {
        use HeaderCredential::{AppToken, Other, Token};
        for (value, expected) in [
            ("Bearer EAAG", Token(Scheme::Bearer)),
            ("bEARER  EAAG ", Token(Scheme::Bearer)),
            ("OAuth EAAG", Token(Scheme::OAuth)),
            ("oauth EAAG", Token(Scheme::OAuth)),
            ("Bearer 123|abc", AppToken(Scheme::Bearer)),
            ("OAuth 123|", AppToken(Scheme::OAuth)),
            ("Bearer |abc", Token(Scheme::Bearer)),
            ("Bearer 123", Token(Scheme::Bearer)),
            ("Bearer 12a|b", Token(Scheme::Bearer)),
            ("Bearer nullx", Token(Scheme::Bearer)),
            ("Bearer null EAAG", Token(Scheme::Bearer)),
            ("Basic dXNlcjpwYXNz", Other),
            ("Basic", Other),
            ("EAAG", Other),
            ("BearerEAAG", Other),
            ("null EAAG", Other),
        ] {
            assert_eq!(authorization(value.as_bytes()), expected, "{value:?}");
        }
    }
}
