//! What the parameters of a request say about it, besides its credentials.
//!
//! # Why
//!
//! Hints never change a request. A wrong one costs little: a short success is read before it is delivered, or a warning comes
//! too early. So a body is searched for the names as text, whatever its format.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::host::is_media_path;
use super::parameter::{form_decode, split_parameter};
use super::path::segments_without_version;

/// What is known of a request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RequestHints {
    /// Whether it asks Graph for status 200 whatever happens, so that only the body tells an error.
    pub hides_status: bool,
    /// Whether it is a call of WhatsApp.
    pub is_whatsapp: bool,
}

/// The parameters that make Graph answer 200 whatever happens; `callback` asks for JSON-P.
const STATUS_HIDING_PARAMETERS: [&[u8]; 3] = [b"suppress_http_code", b"suppress_response_codes", b"callback"];
/// A part of each name of such a parameter that a body may have.
static SUPPRESS_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("suppress_"));
/// The name that is in every message of WhatsApp, and in no request to another service.
static WHATSAPP_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("messaging_product"));

// === impl RequestHints ===

impl RequestHints {
    /// Reads the path and the query.
    #[must_use]
    pub fn from_target(path: &str, query: Option<&str>) -> Self {
        let hides_status = |parameter: &[u8]| {
            let (name, _value) = split_parameter(parameter);
            let is_named = |known: &&[u8]| form_decode(name).eq(known.iter().copied());
            STATUS_HIDING_PARAMETERS.iter().any(is_named)
        };
        let is_whatsapp = |segment: &[u8]| segment.starts_with(b"whatsapp_") || segment == b"message_templates";
        let query = query.unwrap_or_default().as_bytes();
        Self {
            hides_status: query.split(|byte| *byte == b'&').any(hides_status),
            is_whatsapp: is_media_path(path) || segments_without_version(path).any(is_whatsapp),
        }
    }

    /// Reads a body of any format.
    #[must_use]
    pub fn from_body(body: &[u8]) -> Self {
        Self {
            hides_status: SUPPRESS_FINDER.find(body).is_some(),
            is_whatsapp: WHATSAPP_FINDER.find(body).is_some(),
        }
    }

    /// Adds what is known from elsewhere.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self {
            hides_status: self.hides_status || other.hides_status,
            is_whatsapp: self.is_whatsapp || other.is_whatsapp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_asks_for_status_200_is_recognized() {
        for query in [
            "suppress_http_code=1",
            "fields=id&suppress_response_codes=true",
            "%73uppress%5Fhttp_code=1&fields=id",
            "callback=cb",
            "suppress_http_code",
        ] {
            assert!(
                RequestHints::from_target("/v25.0/me", Some(query)).hides_status,
                "{query}"
            );
        }
        for query in [
            None,
            Some(""),
            Some("fields=callback"),
            Some("callback_url=x"),
            Some("xsuppress_http_code=1"),
        ] {
            assert!(!RequestHints::from_target("/me", query).hides_status, "{query:?}");
        }
        for body in [
            &b"message=x&suppress_http_code=1"[..],
            br#"{"suppress_response_codes":true}"#,
            b"--b\r\nContent-Disposition: form-data; name=\"suppress_http_code\"\r\n\r\n1\r\n--b--",
        ] {
            assert!(RequestHints::from_body(body).hides_status);
        }
        assert!(!RequestHints::from_body(br#"{"callback":"suppressed"}"#).hides_status);
    }

    #[test]
    fn a_call_of_whatsapp_is_recognized_by_path_or_body() {
        for path in [
            "/v25.0/1/message_templates",
            "/1/whatsapp_business_profile",
            "/whatsapp_business/attachments/",
        ] {
            assert!(RequestHints::from_target(path, None).is_whatsapp, "{path}");
        }
        for path in ["/me", "/v25.0/1/messages", "/1/feed", "/1/videos"] {
            assert!(!RequestHints::from_target(path, None).is_whatsapp, "{path}");
        }
        assert!(RequestHints::from_body(br#"{"messaging_product":"whatsapp","to":"1"}"#).is_whatsapp);
        assert!(!RequestHints::from_body(br#"{"recipient":{"id":"1"},"message":{"text":"hi"}}"#).is_whatsapp);
    }
}
