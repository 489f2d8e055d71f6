//! Graph's own exchange of a living token for a longer-lived one.
//!
//! [`fb_exchange_token`](https://developers.facebook.com/docs/facebook-login/guides/access-tokens/get-long-lived), and with
//! `set_token_expires_in_60_days` the [refresh of a system user's
//! token](https://developers.facebook.com/docs/business-management-apis/system-users/install-apps-and-generate-tokens).
//!
//! # Why
//!
//! It is a GET, secrets in its query, because that is what is documented. Graph takes a form as well, as one client
//! library's option shows, but nobody promises that, and this call is made every seven weeks: it would be missed on the
//! day on which it is needed. The address is seen by Graph alone, since it travels inside TLS, and no error or log of
//! ours shows it.
//!
//! A dead token is not sent: Graph does not exchange it, however often it is asked.

use std::time::{Duration, SystemTime};

use crate::graph::Origin;
use crate::net::HttpClient;
use crate::token::{BoxFuture, ObtainError, RenewalRequest, Renewer, Token};
use crate::types::Clock;

use super::client_credentials::ClientCredentials;
use super::request::RequestBuilder;
use super::response::{DefaultExpiry, GraphEndpoint, Method, Remediations};

/// Exchanges a living token.
#[derive(Debug)]
pub struct ExchangeRenewer {
    caller: HttpClient,
    origin: Origin,
    app: ClientCredentials,
    lifetime: TokenLifetime,
    clock: Clock,
}

/// How long an exchanged token is to live.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TokenLifetime {
    /// As long as Graph likes: some 60 days for a person's token.
    #[default]
    Default,
    /// 60 days, which has to be asked for with a system user's token.
    SixtyDays,
}

impl ExchangeRenewer {
    /// At an origin, for an app.
    #[must_use]
    pub const fn new(
        caller: HttpClient,
        origin: Origin,
        app: ClientCredentials,
        lifetime: TokenLifetime,
        clock: Clock,
    ) -> Self {
        Self {
            caller,
            origin,
            app,
            lifetime,
            clock,
        }
    }

    async fn exchange(&self, request: RenewalRequest<'_>) -> Result<Token, ObtainError> {
        if request.is_dead {
            let message = format!("a dead token cannot be exchanged. {}", REMEDIATIONS.token_dead);
            return Err(ObtainError::permanent("token_dead", message));
        }
        let mut builder = RequestBuilder::new(&self.origin, "/oauth/access_token")
            .param("grant_type", "fb_exchange_token")
            .param("client_id", &self.app.id)
            .secret_param("client_secret", &self.app.secret);
        let default_expiry = match self.lifetime {
            TokenLifetime::Default => DefaultExpiry::Unknown,
            TokenLifetime::SixtyDays => {
                builder = builder.param("set_token_expires_in_60_days", "true");
                DefaultExpiry::SixtyDays
            }
        };
        let builder = builder.secret_param("fb_exchange_token", &request.token.secret);
        let endpoint = GraphEndpoint::new(&builder, REMEDIATIONS);
        let requested_at = self.clock.now();
        let response = endpoint.send(&self.caller, &builder, Method::Get).await?;
        endpoint.parse_token(&response, requested_at, default_expiry)
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const REMEDIATIONS: Remediations = Remediations {
    token_dead: "An operator has to create a new token in Meta's dashboard and to put it where the token's source looks.",
    refused: "An operator has to look the code up, and to see in the app's dashboard whether the app may exchange \
        tokens of this kind.",
};

impl Renewer for ExchangeRenewer {
    fn renew<'a>(&'a mut self, request: RenewalRequest<'a>) -> BoxFuture<'a, Result<Token, ObtainError>> {
        Box::pin(self.exchange(request))
    }

    /// Once it has ended it is too late, and the answer says when the next one ends.
    fn renew_at_if_expiry_unknown(&self, seen_at: SystemTime) -> Option<SystemTime> {
        Some(seen_at + DAY)
    }

    fn describe(&self) -> String {
        "fb_exchange_token".to_owned()
    }
}
