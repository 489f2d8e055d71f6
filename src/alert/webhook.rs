//! The task that tells the webhook.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode};

use super::address::{Address, WebhookUrlError};
use super::bell::AlertSender;
use super::desk::Desk;
use super::letter::{days, letter};
use super::moment::retry_after;
use super::pile::{Again, Key};
use crate::net::HttpClient;
use crate::telemetry::metrics::AlertMetrics;
use crate::token::Alert;
use crate::types::{Clock, Secret, error_chain};

/// What the webhook is told by.
#[derive(Debug)]
pub struct WebhookSettings {
    /// Its address, `http` or `https`.
    pub url: Secret,
    /// Where it is counted what becomes of notices.
    pub metrics: AlertMetrics,
}

/// Sends what was rung, one at a time.
#[derive(Debug)]
pub struct Webhook {
    desk: Arc<Desk>,
    address: Address,
    caller: HttpClient,
}

/// How a try ended.
#[derive(Debug)]
enum Sent {
    /// It is told.
    Delivered,
    /// It may be taken later, and at the earliest after the pause that was asked for.
    Later(String, Option<Duration>),
    /// It will not be taken: why not, and what to do.
    Never(String, &'static str),
}

/// The longest that one try may take.
const LONGEST_TRY: Duration = Duration::from_secs(10);
/// The longest pause that is kept when the webhook asks for one.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);
/// The shortest, so that "at once" is no loop.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

// === impl Webhook ===

impl Webhook {
    /// A bell, and the task that tells the webhook of what is rung. Until it runs, what is rung waits.
    ///
    /// # Errors
    ///
    /// [`WebhookUrlError`] if nothing can be sent to the address.
    pub fn new(
        settings: WebhookSettings,
        caller: HttpClient,
        clock: Clock,
    ) -> Result<(AlertSender, Self), WebhookUrlError> {
        let address = Address::parse(&settings.url)?;
        let desk = Arc::new(Desk::new(address.to_string(), clock, settings.metrics));
        let webhook = Self {
            desk: Arc::clone(&desk),
            address,
            caller: caller.with_timeout(LONGEST_TRY),
        };
        Ok((AlertSender::new(desk), webhook))
    }

    /// Runs until [`AlertSender::close`], or until it is dropped: what is rung afterwards is dropped.
    pub async fn run(self) {
        tokio::select! {
            () = self.tell_all() => {}
            () = self.desk.closed() => {}
        }
    }

    async fn tell_all(&self) {
        while let Some((key, notice, rung)) = self.desk.next().await {
            let sent = self.tell(&notice, rung).await;
            self.settle(&key, sent);
        }
    }

    async fn tell(&self, notice: &Alert, rung: SystemTime) -> Sent {
        let mut request = Request::new(Bytes::from(letter(notice, rung)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.address.uri();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        match self.caller.send(request).await {
            Ok(answer) => self.judge(&answer),
            Err(error) => Sent::Later(error_chain(&error), None),
        }
    }

    fn judge(&self, answer: &Response<Bytes>) -> Sent {
        let status = answer.status();
        let said = match self.word(answer.body()) {
            Some(word) => format!("it answered {} {word}", status.as_u16()),
            None => format!("it answered {}", status.as_u16()),
        };
        let passes = matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
        if status.is_success() {
            Sent::Delivered
        } else if passes || status.is_server_error() {
            let asked = answer.headers().get(RETRY_AFTER);
            let asked = asked.and_then(|value| retry_after(value.to_str().ok()?, self.desk.wall()));
            let pause = asked.map(|pause| pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
            Sent::Later(said, pause)
        } else {
            Sent::Never(said, advice(status))
        }
    }

    /// What the webhook says, if it is one of the words that Slack answers with (`channel_is_archived`), and nothing of the
    /// address, which error pages like to repeat.
    fn word<'a>(&self, body: &'a [u8]) -> Option<&'a str> {
        const LONGEST: usize = 40;
        let word = std::str::from_utf8(body).ok()?.trim();
        let plain = word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_'));
        let fits = (1..=LONGEST).contains(&word.len());
        (plain && fits && !self.address.hides(word)).then_some(word)
    }

    fn settle(&self, key: &Key, sent: Sent) {
        let (tenant, cause, days) = (&key.tenant, key.cause.label(), days(key.cause));
        let webhook = &self.address;
        match sent {
            Sent::Delivered => {
                self.desk.delivered(key);
                tracing::info!(%webhook, %tenant, cause, days, "the webhook was told");
            }
            Sent::Later(error, pause) => match self.desk.failed(key, pause) {
                Some(Again { after, tries: 1 }) => {
                    tracing::warn!(%webhook, %tenant, cause, days, error, ?after, "the webhook was not told; it is tried again for an hour");
                }
                Some(Again { after, tries }) => {
                    tracing::debug!(%webhook, %tenant, cause, days, error, ?after, tries, "the webhook was not told again");
                }
                None => {
                    tracing::warn!(%webhook, %tenant, cause, days, error, "the webhook was not told, and was tried often enough: see that it is up and can be reached from here");
                }
            },
            Sent::Never(error, advice) => {
                self.desk.refused(key);
                tracing::warn!(%webhook, %tenant, cause, days, error, "the webhook was not told, and would not be by another try: {advice}");
            }
        }
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.desk.shut();
    }
}

const AGENT: &str = concat!("graphward/", env!("CARGO_PKG_VERSION"));

/// What to do about an answer that another try would not change.
fn advice(status: StatusCode) -> &'static str {
    match status.as_u16() {
        300..=399 => "redirects are not followed, so set alerts.url to where it leads",
        401 | 403 => "it does not let us in, so see that the webhook is still allowed, and that alerts.url is whole",
        404 | 410 => "there is no such webhook, so make a new one and set alerts.url to it",
        _ => "see that alerts.url takes a POST of JSON with a text, as Slack's incoming webhooks do",
    }
}
