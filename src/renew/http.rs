//! A service of the house that mints: it has the app's secret, or a person's consent, and we need not.
//!
//! # Why
//!
//! It is told which token goes, by the fingerprint, and whether that is dead, so that it can tell "mine is newer" from
//! "mint one". It is never sent the token: it has it, or needs none.

use bytes::Bytes;
use http::{HeaderMap, Uri};
use serde_json::json;

use crate::net::{HttpClient, HttpEndpoint};
use crate::source::decode::{Format, token};
use crate::source::errors::{from_decode_error, from_endpoint_error};
use crate::token::{BoxFuture, ObtainError, RenewalRequest, Renewer, Token};
use crate::types::Clock;

/// A renewal by a service: `POST {"fingerprint":"01234567","dead":false}`.
#[derive(Debug)]
pub struct HttpRenewer {
    endpoint: HttpEndpoint,
    format: Format,
    clock: Clock,
}

// === impl Service ===

impl HttpRenewer {
    /// Renewals by the service at this absolute address. The headers are taken for secrets; `format` says where in the
    /// answer the token is; by the clock a life of so many seconds is counted.
    #[must_use]
    pub fn new(url: Uri, format: Format, headers: HeaderMap, caller: HttpClient, clock: Clock) -> Self {
        Self {
            endpoint: HttpEndpoint::new(url, headers, caller),
            format,
            clock,
        }
    }

    async fn request_token(&self, request: RenewalRequest<'_>) -> Result<Token, ObtainError> {
        let fingerprint = request.token.secret.fingerprint().to_string();
        let body = json!({ "fingerprint": fingerprint, "dead": request.is_dead });
        let requested_at = self.clock.now();
        let response = self.endpoint.post(Bytes::from(body.to_string())).await;
        let response = response.map_err(|error| from_endpoint_error(&self.describe(), &error))?;
        token(response.body(), &self.format, Some(requested_at))
            .map_err(|error| from_decode_error(&self.describe(), error))
    }
}

impl Renewer for HttpRenewer {
    fn renew<'a>(&'a mut self, request: RenewalRequest<'a>) -> BoxFuture<'a, Result<Token, ObtainError>> {
        Box::pin(self.request_token(request))
    }

    fn describe(&self) -> String {
        format!("service {}", self.endpoint)
    }
}
