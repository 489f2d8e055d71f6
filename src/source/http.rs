//! An internal credential service: `GET http://tenant-service:3007/tenants/acme/credentials/meta`.

use std::time::Duration;

use ::http::HeaderValue;
use ::http::header::ETAG;

use super::decode::{Format, decode_token};
use super::errors::{from_decode_error, from_endpoint_error};
use super::poll_interval::PollInterval;
use crate::net::HttpEndpoint;
use crate::token::{BoxFuture, ObtainError, Source, Token};
use crate::types::Clock;

/// A token that a service returns.
#[derive(Debug)]
pub struct HttpSource {
    endpoint: HttpEndpoint,
    format: Format,
    poll_interval: PollInterval,
    cached: Option<CachedToken>,
    clock: Clock,
}

/// The last token, and the entity tag that the service gave it.
#[derive(Debug)]
struct CachedToken {
    etag: HeaderValue,
    token: Token,
}

// === impl HttpSource ===

impl HttpSource {
    /// Reads the token from this endpoint, about once every `poll_interval`; `format` says where in the response the token
    /// is, and a lifetime in seconds counts by `clock`.
    #[must_use]
    pub const fn new(endpoint: HttpEndpoint, format: Format, poll_interval: Duration, clock: Clock) -> Self {
        Self {
            endpoint,
            format,
            poll_interval: PollInterval::new(Some(poll_interval)),
            cached: None,
            clock,
        }
    }

    async fn fetch(&mut self) -> Result<Token, ObtainError> {
        let etag = self.cached.as_ref().map(|cached| &cached.etag);
        let requested_at = self.clock.now();
        let response = self.endpoint.get(etag).await;
        let response = response.map_err(|error| from_endpoint_error(&self.describe(), &error))?;
        let Some(response) = response else {
            let cached = self.cached.as_ref().map(|cached| cached.token.clone());
            return cached.ok_or(ObtainError::NothingNew);
        };
        // An unusable response must be fetched again, whatever its entity tag.
        self.cached = None;
        let found = decode_token(response.body(), &self.format, Some(requested_at))
            .map_err(|error| from_decode_error(&self.describe(), error))?;
        self.cached = response.headers().get(ETAG).map(|etag| CachedToken {
            etag: etag.clone(),
            token: found.clone(),
        });
        Ok(found)
    }
}

impl Source for HttpSource {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        Box::pin(async {
            // Reset first, too: a load that is canceled counts as one.
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
