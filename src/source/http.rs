//! An internal credential service: `GET http://tenant-service:3007/tenants/acme/credentials/meta`.

use std::time::Duration;

use ::http::HeaderValue;
use ::http::header::ETAG;

use schemars::JsonSchema;
use serde::Deserialize;

use super::absent::AbsentPolicy;
use super::poll_interval::{PollInterval, default_poll_interval};
use super::service::{HttpCallConfig, TokenService};
use crate::token::{BoxFuture, ObtainError, Source, Token};

/// A credential service that is asked for the token.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[schemars(extend("additionalProperties" = false))]
pub struct HttpSourceConfig {
    /// The call.
    #[serde(flatten)]
    pub call: HttpCallConfig,
    /// How often the service is asked, 100ms to 1d.
    #[serde(default = "default_poll_interval")]
    #[schemars(extend("formatMinimum" = "100ms", "formatMaximum" = "1d"))]
    pub poll_interval: Duration,
}

/// A token that a service returns.
#[derive(Debug)]
pub struct HttpSource {
    service: TokenService,
    poll_interval: PollInterval,
    cached: Option<CachedToken>,
}

/// The last token, and the entity tag that the service gave it.
#[derive(Debug)]
struct CachedToken {
    etag: HeaderValue,
    token: Token,
}

/// The time between two requests while the token is dead.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

// === impl HttpSource ===

impl HttpSource {
    /// Creates a source that asks this service about once every `poll_interval`.
    #[must_use]
    pub fn new(service: TokenService, poll_interval: Duration) -> Self {
        Self {
            service: service.with_absent(AbsentPolicy::Withdraw),
            poll_interval: PollInterval::new(Some(poll_interval)),
            cached: None,
        }
    }

    /// Sets what it means if the service says that there is no token; the default is that the token was withdrawn.
    #[must_use]
    pub fn with_absent(mut self, absent: AbsentPolicy) -> Self {
        self.service = self.service.with_absent(absent.or(AbsentPolicy::Withdraw));
        self
    }
}

/// Fetches the token, or returns the cached one if the service says that it is current.
async fn fetch(service: &TokenService, cached: &mut Option<CachedToken>) -> Result<Token, ObtainError> {
    let requested_at = service.now();
    let Some(response) = service.get(cached.as_ref().map(|cached| &cached.etag)).await? else {
        let token = cached.as_ref().map(|cached| cached.token.clone());
        return token.ok_or_else(ObtainError::nothing_new);
    };
    // An unusable response must be fetched again, whatever its entity tag.
    *cached = None;
    let found = service.decode(&response, requested_at)?;
    *cached = response.headers().get(ETAG).map(|etag| CachedToken {
        etag: etag.clone(),
        token: found.clone(),
    });
    Ok(found)
}

impl Source for HttpSource {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        Box::pin(self.poll_interval.poll(fetch(&self.service, &mut self.cached)))
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.poll_interval.tick())
    }

    fn look_interval(&self) -> Option<Duration> {
        Some(LOOK_INTERVAL)
    }

    fn describe(&self) -> String {
        self.service.to_string()
    }
}
