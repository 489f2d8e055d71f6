//! Where the webhook is: a secret, of which the scheme and the host may be shown.

use std::fmt;

use http::Uri;

use crate::types::Secret;

/// A webhook's address.
pub(super) struct Address {
    uri: Uri,
    shown: String,
}

/// Why a text is no webhook's address. The text itself is never part of the message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WebhookUrlError {
    /// It is no address, or not of the web.
    #[error("it is no http:// or https:// address with a host")]
    NotHttp,
    /// It has a user's name or password before its host, which would not be sent.
    #[error("it has a name or a password before its host; put what the webhook needs into its path or query")]
    UserInfo,
}

// === impl Address ===

impl Address {
    /// Takes a secret as an address.
    ///
    /// # Errors
    ///
    /// [`WebhookUrlError`] if nothing can be sent there.
    pub(super) fn parse(secret: &Secret) -> Result<Self, WebhookUrlError> {
        // What the parser says may be about any part of the text, so it is not repeated.
        let Ok(uri) = secret.expose().parse::<Uri>() else {
            return Err(WebhookUrlError::NotHttp);
        };
        let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(WebhookUrlError::NotHttp);
        };
        if authority.as_str().contains('@') {
            return Err(WebhookUrlError::UserInfo);
        }
        if authority.host().is_empty() {
            return Err(WebhookUrlError::NotHttp);
        }
        let shown = format!("{scheme}://{authority}");
        Ok(Self { uri, shown })
    }

    /// The address, for sending.
    pub(super) fn uri(&self) -> Uri {
        self.uri.clone()
    }

    /// Whether a text stands in what must not be shown.
    pub(super) fn hides(&self, text: &str) -> bool {
        let path = self.uri.path_and_query();
        path.is_some_and(|path| path.as_str().contains(text))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, WebhookUrlError> {
        Address::parse(&Secret::new(text).unwrap())
    }

    #[test]
    fn only_the_scheme_and_the_host_are_shown() {
        let address = parse("https://hooks.slack.com/services/T0/B0/s3cret?x=y2").unwrap();
        assert_eq!(address.to_string(), "https://hooks.slack.com");
        assert_eq!(format!("{address:?}"), "Address(https://hooks.slack.com)");
        assert_eq!(address.uri().path(), "/services/T0/B0/s3cret");
        assert!(address.hides("s3cret") && address.hides("y2"));
        assert!(!address.hides("slack"));
        let here = parse("http://[::1]:9093/hook").unwrap();
        assert_eq!(here.to_string(), "http://[::1]:9093");
    }

    #[test]
    fn what_nothing_can_be_sent_to_is_refused_without_being_repeated() {
        for (text, why) in [
            ("hooks.slack.com/services/s3cret", WebhookUrlError::NotHttp),
            ("/services/s3cret", WebhookUrlError::NotHttp),
            ("ftp://hooks.slack.com/s3cret", WebhookUrlError::NotHttp),
            ("https:///s3cret", WebhookUrlError::NotHttp),
            ("https://:8443/s3cret", WebhookUrlError::NotHttp),
            ("https://s3cret:s3cret@slack.com/", WebhookUrlError::UserInfo),
            ("s3cret", WebhookUrlError::NotHttp),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, why, "{text}");
            assert!(!format!("{error} {error:?}").contains("s3cret"));
        }
    }
}
