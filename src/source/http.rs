//! A credential service: `GET http://tenant-service:3007/tenants/acme/credentials/meta`.

use std::fmt;
use std::time::Duration;

use ::http::header::ETAG;
use ::http::{HeaderMap, HeaderValue, Uri};

use super::decode::{Format, token};
use super::errors::{from_decode_error, from_endpoint_error};
use super::poll_interval::PollInterval;
use crate::net::{HttpClient, HttpEndpoint};
use crate::token::{BoxFuture, ObtainError, Source, Token};
use crate::types::Clock;

/// How a credential service is asked.
#[derive(Clone)]
pub struct HttpSettings {
    /// The absolute address; what is shown of it ends before the query.
    pub url: Uri,
    /// Where in the answer the token is.
    pub format: Format,
    /// What is sent with each question; taken for secrets.
    pub headers: HeaderMap,
    /// How often it is asked, a tenth more or less.
    pub poll_interval: Duration,
    /// The longest wait for the whole answer.
    pub timeout: Duration,
}

/// A token that a service answers.
#[derive(Debug)]
pub struct HttpSource {
    endpoint: HttpEndpoint,
    format: Format,
    poll_interval: PollInterval,
    cached: Option<CachedToken>,
    clock: Clock,
}

/// What was answered last, by the tag that the service gave it.
#[derive(Debug)]
struct CachedToken {
    etag: HeaderValue,
    token: Token,
}

// === impl HttpSource ===

impl HttpSource {
    /// The token that this service answers. By the clock a life of so many seconds is counted.
    #[must_use]
    pub fn new(settings: HttpSettings, caller: HttpClient, clock: Clock) -> Self {
        let HttpSettings {
            url,
            format,
            headers,
            poll_interval,
            timeout,
        } = settings;
        Self {
            endpoint: HttpEndpoint::new(url, headers, caller.with_timeout(timeout)),
            format,
            poll_interval: PollInterval::new(Some(poll_interval)),
            cached: None,
            clock,
        }
    }

    async fn fetch(&mut self) -> Result<Token, ObtainError> {
        let etag = self.cached.as_ref().map(|known| &known.etag);
        let requested_at = self.clock.now();
        let answer = self.endpoint.get(etag).await;
        let answer = answer.map_err(|error| from_endpoint_error(&self.describe(), &error))?;
        let Some(answer) = answer else {
            let known = self.cached.as_ref().map(|known| known.token.clone());
            return known.ok_or(ObtainError::NothingNew);
        };
        // What cannot be used is asked for again, tag or no tag.
        self.cached = None;
        let found = token(answer.body(), &self.format, Some(requested_at))
            .map_err(|error| from_decode_error(&self.describe(), error))?;
        self.cached = answer.headers().get(ETAG).map(|etag| CachedToken {
            etag: etag.clone(),
            token: found.clone(),
        });
        Ok(found)
    }
}

impl Source for HttpSource {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        Box::pin(async {
            // At the beginning, too: a look that is given up is a look.
            self.poll_interval.reset();
            let found = self.fetch().await;
            self.poll_interval.reset();
            found
        })
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.poll_interval.tick())
    }

    fn describe(&self) -> String {
        format!("service {}", self.endpoint)
    }
}

// === impl HttpSettings ===

impl fmt::Debug for HttpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the address nor the headers: both hold secrets.
        f.debug_struct("HttpSettings")
            .field("format", &self.format)
            .field("every", &self.poll_interval)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
