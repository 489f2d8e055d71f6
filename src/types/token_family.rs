//! The families of Meta's tokens: their prefixes, and the domains that accept them.

/// The API that a host belongs to, or that a token is for (`token.family`).
#[derive(Clone, Copy, Debug, Eq, PartialEq, derive_more::Display, schemars::JsonSchema, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenFamily {
    /// Facebook, WhatsApp, Pages, Marketing.
    Facebook,
    /// Instagram with Instagram login.
    Instagram,
    /// Threads.
    Threads,
}

/// The prefixes of tokens. Facebook's are those of page, user and system user tokens. Meta documents none of them, and has
/// changed them before: `IGQ` and `THQ` are those of older tokens.
pub const TOKEN_PREFIXES: [(&str, TokenFamily); 5] = [
    ("EAA", TokenFamily::Facebook),
    ("IGAA", TokenFamily::Instagram),
    ("IGQ", TokenFamily::Instagram),
    ("THAA", TokenFamily::Threads),
    ("THQ", TokenFamily::Threads),
];

// === impl TokenFamily ===

impl TokenFamily {
    /// All families.
    pub const ALL: [Self; 3] = [Self::Facebook, Self::Instagram, Self::Threads];

    /// The family of a token, by its prefix; `None` for an unknown prefix.
    #[must_use]
    pub fn from_token(token: &str) -> Option<Self> {
        let family = TOKEN_PREFIXES.iter().find(|(prefix, _)| token.starts_with(prefix));
        family.map(|(_, family)| *family)
    }

    /// The family whose tokens a host accepts, by its domain; `None` for a domain that is not Meta's.
    #[must_use]
    pub fn from_host(host: &str) -> Option<Self> {
        let mut labels = host.rsplit('.');
        let (top_level, domain) = (labels.next()?, labels.next()?);
        match format!("{domain}.{top_level}").to_ascii_lowercase().as_str() {
            "facebook.com" | "fbsbx.com" => Some(Self::Facebook),
            "instagram.com" => Some(Self::Instagram),
            "threads.net" | "threads.com" => Some(Self::Threads),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_only_ends_like_metas_has_no_family() {
        for host in ["evilfacebook.com", "facebook.com.evil.example", "fbsbx.co"] {
            assert_eq!(TokenFamily::from_host(host), None, "{host}");
        }
        for host in ["graph.beta.facebook.com", "facebook.com", "LOOKASIDE.FBSBX.COM"] {
            assert_eq!(TokenFamily::from_host(host), Some(TokenFamily::Facebook), "{host}");
        }
    }

    #[test]
    fn tokens_are_distinguished_by_their_prefix() {
        for (token, family) in [
            ("EAABsbCS1", Some(TokenFamily::Facebook)),
            ("IGAAJ", Some(TokenFamily::Instagram)),
            ("IGQVJ", Some(TokenFamily::Instagram)),
            ("THAAB", Some(TokenFamily::Threads)),
            ("THQWJ", Some(TokenFamily::Threads)),
            ("IGZZJ", None),
            ("THAB", None),
            ("123|abc", None),
            ("", None),
        ] {
            assert_eq!(TokenFamily::from_token(token), family, "{token}");
        }
    }
}
