//! The origin of an upstream: scheme, host and port.

use http::uri::{Authority, InvalidUri, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};

/// An upstream's scheme, which is always `https`, and authority.
#[derive(Clone, Debug, Eq, PartialEq, derive_more::Display)]
#[display("https://{authority}")]
pub struct Origin {
    authority: Authority,
    /// The length of the host, which the authority begins with: to find it out costs more than a request should.
    host_length: usize,
    host_header: HeaderValue,
}

/// The reason why a text cannot be an origin.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// Not a URI.
    #[error("not a valid URI; expected, for example, `https://graph.facebook.com`")]
    Uri(#[from] InvalidUri),
    /// Another scheme, or none.
    #[error("must start with `https://`; tokens are never sent over plain http")]
    Scheme,
    /// No host, or an invalid port.
    #[error("the host is empty, or the port is not between 1 and 65535")]
    Authority,
    /// `user:password@`.
    #[error("must not contain user info (`user:password@`)")]
    UserInfo,
    /// A path, query or fragment.
    #[error("must not contain a path, query or fragment; the path comes from the app's request")]
    Path,
}

impl Origin {
    /// Reads `https://host` or `https://host:port`, with or without a slash at the end.
    ///
    /// # Errors
    ///
    /// [`OriginError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let parts = text.parse::<Uri>()?.into_parts();
        if parts.scheme != Some(Scheme::HTTPS) {
            return Err(OriginError::Scheme);
        }
        let Some(authority) = parts.authority else {
            return Err(OriginError::Authority);
        };
        if authority.as_str().contains('@') {
            return Err(OriginError::UserInfo);
        }
        let host = authority.host();
        let port = authority.as_str().strip_prefix(host);
        if host.is_empty() || (port != Some("") && authority.port_u16().unwrap_or(0) == 0) {
            return Err(OriginError::Authority);
        }
        let path = parts.path_and_query.as_ref().map_or("", PathAndQuery::as_str);
        if !matches!(path, "" | "/") || text.contains('#') {
            return Err(OriginError::Path);
        }
        let host_header = HeaderValue::from_str(authority.as_str()).map_err(|_error| OriginError::Authority)?;
        Ok(Self {
            host_length: authority.host().len(),
            authority,
            host_header,
        })
    }

    /// The host alone; an IPv6 address in its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.authority.as_str().get(..self.host_length).unwrap_or_default()
    }

    /// The value of `Host`.
    #[must_use]
    pub const fn host_header(&self) -> &HeaderValue {
        &self.host_header
    }

    /// Host, and port if one was given.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_https_a_host_and_perhaps_a_port() {
        for (text, host, authority) in [
            ("https://graph.facebook.com", "graph.facebook.com", "graph.facebook.com"),
            (
                "https://graph.facebook.com/",
                "graph.facebook.com",
                "graph.facebook.com",
            ),
            ("HTTPS://localhost:8443", "localhost", "localhost:8443"),
            ("https://[::1]:8443/", "[::1]", "[::1]:8443"),
        ] {
            let origin = Origin::parse(text).unwrap();
            assert_eq!((origin.host(), origin.authority().as_str()), (host, authority));
            assert_eq!(origin.to_string(), format!("https://{authority}"));
        }
        let refused = |text: &str| Origin::parse(text).unwrap_err();
        for text in [
            "http://graph.facebook.com",
            "graph.facebook.com",
            "/x",
            "ftp://x",
            "graph:443",
        ] {
            assert!(matches!(refused(text), OriginError::Scheme), "{text}");
        }
        for text in [
            "https://x/v19.0",
            "https://x?",
            "https://x/?a",
            "https://x//",
            "https://x#f",
            "https://x/#",
        ] {
            assert!(matches!(refused(text), OriginError::Path), "{text}");
        }
        for text in ["https://user@x", "https://user:pass@x", "https://x@y:443/"] {
            assert!(matches!(refused(text), OriginError::UserInfo), "{text}");
        }
        for text in ["https://x:0", "https://x:99999", "https://x:"] {
            let error = refused(text);
            assert!(
                matches!(error, OriginError::Authority | OriginError::Uri(_)),
                "{text} {error:?}"
            );
        }
        for text in ["", "https://", "https:///x", "https://a b", "https://:443"] {
            let error = refused(text);
            assert!(!matches!(error, OriginError::Path), "{text} {error:?}");
        }
    }
}
