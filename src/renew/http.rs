//! An internal credential service that renews: it has the app's secret, or a person's consent, so that graphward needs
//! neither.
//!
//! # Why
//!
//! The request names the outgoing token by its fingerprint and says whether it is dead, so that the service can tell "mine
//! is newer" from "renew it". It never holds the token: the service has it, or needs none.

use bytes::Bytes;
use serde_json::json;

use crate::net::HttpEndpoint;
use crate::source::decode::{Format, decode_token};
use crate::source::errors::{from_decode_error, from_endpoint_error};
use crate::token::{BoxFuture, ObtainError, RenewalRequest, Renewer, Token};
use crate::types::Clock;

/// Renews by a service: `POST {"fingerprint":"01234567","dead":false}`.
#[derive(Debug)]
pub struct HttpRenewer {
    endpoint: HttpEndpoint,
    format: Format,
    clock: Clock,
}

// === impl HttpRenewer ===

impl HttpRenewer {
    /// Renews by the service at this endpoint; `format` says where in the response the token is, and a lifetime in
    /// seconds counts by `clock`.
    #[must_use]
    pub const fn new(endpoint: HttpEndpoint, format: Format, clock: Clock) -> Self {
        Self {
            endpoint,
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
        decode_token(response.body(), &self.format, Some(requested_at))
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
