//! The webhook's URL, and the results of its requests.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Response, Uri};

use crate::net::host_name;
use crate::types::error_chain;

/// The reason why a text cannot be a webhook's URL. The message never repeats the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WebhookUrlError {
    /// Not a URL, or one with another scheme or without a host.
    #[error("not an http:// or https:// URL with a host")]
    NotHttp,
    /// `user:password@`, which graphward would not send.
    #[error(
        "a user or password before the host is not supported; put the webhook's credentials into the path or query"
    )]
    UserInfo,
}

/// The reason why the webhook did not accept an alert.
pub(super) struct Failure {
    pub(super) error: String,
    /// The operator's action, if no later attempt can succeed without one.
    pub(super) advice: Option<&'static str>,
    /// The pause that the webhook asked for.
    pub(super) retry_after: Option<Duration>,
}

/// A delivered cause is suppressed for this long, and the webhook may ask for no longer pause.
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Checks that requests can be sent to a URL, and returns the part that may be shown: the scheme and the host.
pub(super) fn shown_part(url: &str) -> Result<String, WebhookUrlError> {
    // The parser's error may quote any part of the text.
    let uri = url.parse::<Uri>().unwrap_or_default();
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(WebhookUrlError::NotHttp);
    };
    match authority.host() {
        _ if authority.as_str().contains('@') => Err(WebhookUrlError::UserInfo),
        host if host_name(host).is_err() => Err(WebhookUrlError::NotHttp),
        _ => Ok(format!("{scheme}://{authority}")),
    }
}

/// Checks the response of the webhook with this URL.
pub(super) fn check(response: &Response<Bytes>, url: &str, now: SystemTime) -> Result<(), Failure> {
    let status = response.status().as_u16();
    let advice = match status {
        200..=299 => return Ok(()),
        408 | 425 | 429 | 500.. => None,
        300..=399 => Some("redirects are not followed; set alerts.url to the redirect target"),
        401 | 403 => Some("not authorized; check that the webhook is still enabled and that alerts.url is complete"),
        404 | 410 => Some("the webhook does not exist; create a new one and set alerts.url to it"),
        _ => Some("check that alerts.url accepts a JSON POST with a `text` member, like a Slack incoming webhook"),
    };
    let pause = response.headers().get(RETRY_AFTER);
    Err(Failure {
        error: format!("status {status}{}", word(response.body(), url)),
        advice,
        retry_after: pause.and_then(|value| retry_after(value.to_str().ok()?, now)),
    })
}

impl<E: std::error::Error + 'static> From<E> for Failure {
    /// Without a response, a later attempt may succeed.
    fn from(error: E) -> Self {
        Self {
            error: error_chain(&error),
            advice: None,
            retry_after: None,
        }
    }
}

/// A space and the response body, if it is one of the words with which Slack answers (`channel_is_archived`) and no part
/// of the URL, which error pages like to repeat.
fn word(body: &[u8], url: &str) -> String {
    let word = std::str::from_utf8(body).unwrap_or_default().trim();
    let is_plain = word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_'));
    let shown = (1..=40).contains(&word.len()) && is_plain && !url.contains(word);
    if shown { format!(" {word}") } else { String::new() }
}

/// Reads `Retry-After` (RFC 9110, section 10.2.3): a number of seconds, or a date. `None` if it is neither.
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let seconds = text.trim().parse().ok().map(Duration::from_secs);
    let date = || httpdate::parse_http_date(text.trim()).ok();
    let pause = seconds.or_else(|| Some(date()?.duration_since(now).unwrap_or_default()))?;
    // "At once" must not become a busy loop.
    Some(pause.clamp(Duration::from_secs(1), DAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        let now = at(784_111_777);
        for (text, pause) in [
            ("0", Some(1)),
            ("9999999999", Some(24 * 60 * 60)),
            (" 120 ", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(1)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(1)),
            ("Sun, 06 Nov 1994 08:50:37 PST", None),
            ("Sun, 06 Nov 1994 08:50 GMT", None),
            ("Sun, 06 Foo 1994 08:50:37 GMT", None),
            ("Sun, +6 Nov 1994 08:50:37 GMT", None),
            ("Sun, 06 Nov 1994 08:50:37 09 GMT", None),
            ("Sun, 06 Nov 99999999999999999999 08:50:37 GMT", None),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            let pause = pause.map(Duration::from_secs);
            assert_eq!(retry_after(text, now), pause, "{text:?}");
        }
    }

    #[test]
    fn only_the_scheme_and_the_host_are_shown() {
        let shown = shown_part("https://hooks.slack.com/services/T0/B0/s3cret?x=y2").unwrap();
        assert_eq!(shown, "https://hooks.slack.com");
        let shown = shown_part("http://[::1]:9093/hook").unwrap();
        assert_eq!(shown, "http://[::1]:9093");
    }

    #[test]
    fn an_unusable_url_is_an_error_that_does_not_repeat_it() {
        for (text, expected) in [
            ("hooks.slack.com/services/s3cret", WebhookUrlError::NotHttp),
            ("/services/s3cret", WebhookUrlError::NotHttp),
            ("ftp://hooks.slack.com/s3cret", WebhookUrlError::NotHttp),
            ("https:///s3cret", WebhookUrlError::NotHttp),
            ("https://:8443/s3cret", WebhookUrlError::NotHttp),
            ("https://s3cret:s3cret@slack.com/", WebhookUrlError::UserInfo),
            ("s3cret", WebhookUrlError::NotHttp),
            ("https://$s3cret/x", WebhookUrlError::NotHttp),
            ("https://%s3cret%:8443/x", WebhookUrlError::NotHttp),
        ] {
            let error = shown_part(text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!format!("{error} {error:?}").contains("s3cret"));
        }
    }

    #[test]
    fn a_word_is_shown_unless_it_is_a_part_of_the_url() {
        let url = "https://hooks.slack.com/services/T0/B0/s3cret?x=y2";
        assert_eq!(word(b"no_service\n", url), " no_service");
        for body in [&b"s"[..], b"services", b"", b"two words", b"\xff", &[b'a'; 41]] {
            assert_eq!(word(body, url), "", "{body:?}");
        }
    }
}
