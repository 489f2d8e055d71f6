//! A service of the house that mints: it has the app's secret, or a person's consent, and we need not.
//!
//! # Why
//!
//! It is told which token goes, by the fingerprint, and whether that is dead, so that it can tell "mine is newer" from
//! "mint one". It is never sent the token: it has it, or needs none.

use bytes::Bytes;
use http::{HeaderMap, Uri};
use serde_json::json;

use crate::net::{Caller, Endpoint};
use crate::source::decode::{Format, token};
use crate::source::why::{unanswered, undecoded};
use crate::token::{BoxFuture, ObtainError, Outgoing, Renewer, Token};
use crate::types::Clock;

/// A renewal by a service: `POST {"fingerprint":"01234567","dead":false}`.
#[derive(Debug)]
pub struct Service {
    endpoint: Endpoint,
    format: Format,
    clock: Clock,
}

// === impl Service ===

impl Service {
    /// Renewals by the service at this absolute address. The headers are taken for secrets; `format` says where in the
    /// answer the token is; by the clock a life of so many seconds is counted.
    #[must_use]
    pub fn new(url: Uri, format: Format, headers: HeaderMap, caller: Caller, clock: Clock) -> Self {
        Self {
            endpoint: Endpoint::new(url, headers, caller),
            format,
            clock,
        }
    }

    async fn ask(&self, outgoing: Outgoing<'_>) -> Result<Token, ObtainError> {
        let fingerprint = outgoing.token.secret.fingerprint().to_string();
        let document = json!({ "fingerprint": fingerprint, "dead": outgoing.dead });
        let said = self.clock.wall();
        let answer = self.endpoint.post(Bytes::from(document.to_string())).await;
        let answer = answer.map_err(|error| unanswered(&self.describe(), &error))?;
        token(answer.body(), &self.format, Some(said))
            .map_err(|error| undecoded(&self.describe(), error))
    }
}

impl Renewer for Service {
    fn renew<'a>(
        &'a mut self,
        outgoing: Outgoing<'a>,
    ) -> BoxFuture<'a, Result<Token, ObtainError>> {
        Box::pin(self.ask(outgoing))
    }

    fn describe(&self) -> String {
        format!("service {}", self.endpoint)
    }
}
