//! The refresh of Instagram and Threads tokens, which needs no app secret.
//!
//! [Instagram](https://developers.facebook.com/documentation/instagram-platform/reference/refresh_access_token),
//! [Threads](https://developers.facebook.com/docs/threads/get-started/long-lived-tokens/): not in a token's first 24 hours,
//! never once it has expired, for 60 days more.

use std::time::{Duration, SystemTime};

use crate::token::{BoxFuture, ObtainError, RenewalRequest, Renewer, Token};

use super::api::GraphApi;
use super::request::{GraphRequest, TokenLifetime};
use super::response::Remediations;

/// Refreshes a living token of Instagram or of Threads.
#[derive(Debug)]
pub struct RefreshRenewer {
    api: GraphApi,
    grant_type: &'static str,
}

impl RefreshRenewer {
    /// Refreshes Instagram tokens, at `graph.instagram.com`.
    #[must_use]
    pub const fn instagram(api: GraphApi) -> Self {
        let grant_type = "ig_refresh_token";
        Self { api, grant_type }
    }

    /// Refreshes Threads tokens, at `graph.threads.net`.
    #[must_use]
    pub const fn threads(api: GraphApi) -> Self {
        let grant_type = "th_refresh_token";
        Self { api, grant_type }
    }

    async fn refresh(&self, renewal: RenewalRequest<'_>) -> Result<Token, ObtainError> {
        if renewal.is_dead {
            return Err(REMEDIATIONS.dead_token_error("refreshed"));
        }
        let request = GraphRequest::get(&self.api.origin, "/refresh_access_token")
            .param("grant_type", self.grant_type)
            .secret_param("access_token", &renewal.token.secret);
        let lifetime = TokenLifetime::Default;
        self.api.request_token(request, lifetime, REMEDIATIONS).await
    }
}

const REMEDIATIONS: Remediations = Remediations {
    token_dead: "Operator action: have the user log in again, and put the new long-lived token into the token source.",
    refused: "Only long-lived tokens that are at least 24 hours old and have the basic permission can be refreshed. \
        Operator action: check these, then look up the code.",
};
const MIN_TOKEN_AGE: Duration = Duration::from_secs(24 * 60 * 60);

impl Renewer for RefreshRenewer {
    fn renew<'a>(&'a mut self, request: RenewalRequest<'a>) -> BoxFuture<'a, Result<Token, ObtainError>> {
        Box::pin(self.refresh(request))
    }

    fn earliest_renewal(&self, issued_at: SystemTime) -> SystemTime {
        issued_at + MIN_TOKEN_AGE
    }

    /// No endpoint says when these tokens expire, but the response to a refresh does.
    fn renew_at_if_expiry_unknown(&self, seen_at: SystemTime) -> Option<SystemTime> {
        Some(self.earliest_renewal(seen_at))
    }

    fn describe(&self) -> String {
        self.grant_type.to_owned()
    }
}
