//! Tokens of Instagram and Threads renew themselves, without the app's secret.
//!
//! [Instagram](https://developers.facebook.com/documentation/instagram-platform/reference/refresh_access_token),
//! [Threads](https://developers.facebook.com/docs/threads/get-started/long-lived-tokens/): not in their first 24 hours,
//! never once they have expired, for 60 days more.

use std::time::{Duration, SystemTime};

use crate::graph::Origin;
use crate::net::HttpClient;
use crate::token::{BoxFuture, ObtainError, RenewalRequest, Renewer, Token};
use crate::types::Clock;

use super::request::RequestBuilder;
use super::response::{DefaultExpiry, GraphEndpoint, Method, Remediations};

/// Refreshes a living token of Instagram or of Threads.
#[derive(Debug)]
pub struct RefreshRenewer {
    caller: HttpClient,
    origin: Origin,
    grant_type: &'static str,
    clock: Clock,
}

impl RefreshRenewer {
    /// Of Instagram, at `graph.instagram.com`.
    #[must_use]
    pub const fn instagram(caller: HttpClient, origin: Origin, clock: Clock) -> Self {
        Self::new("ig_refresh_token", caller, origin, clock)
    }

    /// Of Threads, at `graph.threads.net`.
    #[must_use]
    pub const fn threads(caller: HttpClient, origin: Origin, clock: Clock) -> Self {
        Self::new("th_refresh_token", caller, origin, clock)
    }

    const fn new(grant_type: &'static str, caller: HttpClient, origin: Origin, clock: Clock) -> Self {
        Self {
            caller,
            origin,
            grant_type,
            clock,
        }
    }

    async fn refresh(&self, request: RenewalRequest<'_>) -> Result<Token, ObtainError> {
        if request.is_dead {
            let message = format!("a dead token cannot be refreshed. {}", REMEDIATIONS.token_dead);
            return Err(ObtainError::permanent("token_dead", message));
        }
        let builder = RequestBuilder::new(&self.origin, "/refresh_access_token")
            .param("grant_type", self.grant_type)
            .secret_param("access_token", &request.token.secret);
        let endpoint = GraphEndpoint::new(&builder, REMEDIATIONS);
        let requested_at = self.clock.now();
        let response = endpoint.send(&self.caller, &builder, Method::Get).await?;
        endpoint.parse_token(&response, requested_at, DefaultExpiry::Unknown)
    }
}

const REMEDIATIONS: Remediations = Remediations {
    token_dead: "Its user has to log in again, and an operator has to put the long-lived token of that login where the token's \
        source looks.",
    refused: "A token can be refreshed once it is 24 hours old, is a long-lived one, and its user has granted the basic \
        permission; if all that is so, an operator has to look the code up.",
};
const MIN_TOKEN_AGE: Duration = Duration::from_secs(24 * 60 * 60);

impl Renewer for RefreshRenewer {
    fn renew<'a>(&'a mut self, request: RenewalRequest<'a>) -> BoxFuture<'a, Result<Token, ObtainError>> {
        Box::pin(self.refresh(request))
    }

    fn earliest_renewal(&self, issued_at: SystemTime) -> SystemTime {
        issued_at + MIN_TOKEN_AGE
    }

    /// There is no endpoint that says when these tokens end, but the answer to a renewal does.
    fn renew_at_if_expiry_unknown(&self, seen_at: SystemTime) -> Option<SystemTime> {
        Some(self.earliest_renewal(seen_at))
    }

    fn describe(&self) -> String {
        self.grant_type.to_owned()
    }
}
