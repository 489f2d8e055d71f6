//! The hosts of Meta, and whose tokens each accepts.

use std::str::FromStr;

use http::header::HOST;
use http::{HeaderMap, Uri};
use serde::{Deserialize, Serialize};

/// The host that a call was sent to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum VirtualHost {
    /// `graph.facebook.com`, or its beta.
    Graph,
    /// `graph-video.facebook.com`, or its beta: Graph, and video uploads.
    Video,
    /// `rupload.facebook.com`: the bytes of reels.
    Rupload,
    /// `lookaside.fbsbx.com`: WhatsApp's media.
    Lookaside,
    /// `graph.instagram.com` and `api.instagram.com`.
    Instagram,
    /// `graph.threads.net` and `graph.threads.com`.
    Threads,
    /// Any other name: all hosts in one, for clients that reach the fake by an address.
    #[default]
    Any,
}

/// The family of a token. The hosts of its family accept it; others cannot parse it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TokenFamily {
    /// `EAA…`, and app tokens.
    #[default]
    Facebook,
    /// `IGAA…`, `IGQ…`
    Instagram,
    /// `THAA…`
    Threads,
}

/// The host that a request was sent to, in lower case and without its port.
pub(crate) fn requested_host(uri: &Uri, headers: &HeaderMap) -> String {
    let said = headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = uri.authority().map(http::uri::Authority::as_str).or(said);
    let authority = authority.unwrap_or_default();
    let (name, port) = authority.rsplit_once(':').unwrap_or((authority, ""));
    let name = if port.bytes().all(|byte| byte.is_ascii_digit()) {
        name
    } else {
        authority
    };
    name.to_ascii_lowercase()
}

// === impl VirtualHost ===

impl VirtualHost {
    pub(crate) fn from_name(name: &str) -> Self {
        match name {
            "graph.facebook.com" | "graph.beta.facebook.com" => Self::Graph,
            "graph-video.facebook.com" | "graph-video.beta.facebook.com" => Self::Video,
            "rupload.facebook.com" => Self::Rupload,
            "lookaside.fbsbx.com" => Self::Lookaside,
            "graph.instagram.com" | "api.instagram.com" => Self::Instagram,
            "graph.threads.net" | "graph.threads.com" => Self::Threads,
            _ => Self::Any,
        }
    }

    /// Returns whether this host accepts tokens of a family.
    pub(crate) const fn accepts(self, family: TokenFamily) -> bool {
        match self {
            Self::Graph | Self::Video | Self::Rupload | Self::Lookaside => {
                matches!(family, TokenFamily::Facebook)
            }
            Self::Instagram => matches!(family, TokenFamily::Instagram),
            Self::Threads => matches!(family, TokenFamily::Threads),
            Self::Any => true,
        }
    }
}

// === impl TokenFamily ===

impl TokenFamily {
    /// The family of a token, by its first letters; `None` for an unknown beginning.
    pub(crate) fn from_token(token: &str) -> Option<Self> {
        if token.starts_with("IGAA") || token.starts_with("IGQ") {
            Some(Self::Instagram)
        } else if token.starts_with("THAA") || token.starts_with("THQ") {
            Some(Self::Threads)
        } else {
            token.starts_with("EAA").then_some(Self::Facebook)
        }
    }

    /// The first letters of its tokens.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::Facebook => "EAA",
            Self::Instagram => "IGAA",
            Self::Threads => "THAA",
        }
    }
}

impl FromStr for TokenFamily {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "facebook" => Ok(Self::Facebook),
            "instagram" => Ok(Self::Instagram),
            "threads" => Ok(Self::Threads),
            other => Err(format!(
                "{other:?} is not a family: write facebook, instagram or threads"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_names_the_host_before_the_header_does_and_ports_do_not_count() {
        let said = |uri: &str, host: &str| {
            let headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
            requested_host(&uri.parse().unwrap(), &headers)
        };
        assert_eq!(said("/me", "Graph.Facebook.COM:8443"), "graph.facebook.com");
        assert_eq!(said("https://a.example/me", "b.example"), "a.example");
        assert_eq!(said("/me", "[::1]:8443"), "[::1]");
        assert_eq!(said("/me", "[::1]"), "[::1]");
        assert_eq!(VirtualHost::from_name("127.0.0.1"), VirtualHost::Any);
    }
}
