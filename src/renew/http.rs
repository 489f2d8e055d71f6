//! An internal credential service that renews: it has the app's secret, or a person's consent, so that graphward needs
//! neither.
//!
//! # Why
//!
//! The request names the outgoing token by its fingerprint and says whether it is dead, so that the service can tell "mine
//! is newer" from "renew it". It never holds the token: the service has it, or needs none.

use bytes::Bytes;
use serde_json::json;

use crate::source::TokenService;
use crate::token::{BoxFuture, ObtainError, RenewalRequest, Renewer, Token};

/// Renews by a service: `POST {"fingerprint":"01234567","dead":false}`.
impl Renewer for TokenService {
    fn renew<'a>(&'a mut self, request: RenewalRequest<'a>) -> BoxFuture<'a, Result<Token, ObtainError>> {
        let fingerprint = request.token.secret.fingerprint().to_string();
        let body = json!({ "fingerprint": fingerprint, "dead": request.is_dead });
        Box::pin(self.post(Bytes::from(body.to_string())))
    }

    fn describe(&self) -> String {
        self.to_string()
    }
}
