//! A credential service: `GET http://tenant-service:3007/tenants/acme/credentials/meta`.

use std::fmt;
use std::time::Duration;

use ::http::header::ETAG;
use ::http::{HeaderMap, HeaderValue, Uri};

use super::decode::{Format, token};
use super::every::Every;
use super::why::{unanswered, undecoded};
use crate::net::{Caller, Endpoint};
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
    pub every: Duration,
    /// The longest wait for the whole answer.
    pub timeout: Duration,
}

/// A token that a service answers.
#[derive(Debug)]
pub struct HttpSource {
    endpoint: Endpoint,
    format: Format,
    every: Every,
    known: Option<Known>,
    clock: Clock,
}

/// What was answered last, by the tag that the service gave it.
#[derive(Debug)]
struct Known {
    tag: HeaderValue,
    token: Token,
}

// === impl HttpSource ===

impl HttpSource {
    /// The token that this service answers. By the clock a life of so many seconds is counted.
    #[must_use]
    pub fn new(settings: HttpSettings, caller: Caller, clock: Clock) -> Self {
        let HttpSettings {
            url,
            format,
            headers,
            every,
            timeout,
        } = settings;
        Self {
            endpoint: Endpoint::new(url, headers, caller.within(timeout)),
            format,
            every: Every::new(Some(every)),
            known: None,
            clock,
        }
    }

    async fn ask(&mut self) -> Result<Token, ObtainError> {
        let tag = self.known.as_ref().map(|known| &known.tag);
        let said = self.clock.wall();
        let answer = self.endpoint.get(tag).await;
        let answer = answer.map_err(|error| unanswered(&self.describe(), &error))?;
        let Some(answer) = answer else {
            let known = self.known.as_ref().map(|known| known.token.clone());
            return known.ok_or(ObtainError::NothingNew);
        };
        // What cannot be used is asked for again, tag or no tag.
        self.known = None;
        let found = token(answer.body(), &self.format, Some(said))
            .map_err(|error| undecoded(&self.describe(), error))?;
        self.known = answer.headers().get(ETAG).map(|tag| Known {
            tag: tag.clone(),
            token: found.clone(),
        });
        Ok(found)
    }
}

impl Source for HttpSource {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        Box::pin(async {
            // At the beginning, too: a look that is given up is a look.
            self.every.restart();
            let found = self.ask().await;
            self.every.restart();
            found
        })
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.every.due())
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
            .field("every", &self.every)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
