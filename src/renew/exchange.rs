//! Graph's own exchange of a living token for a longer-lived one.
//!
//! [`fb_exchange_token`](https://developers.facebook.com/docs/facebook-login/guides/access-tokens/get-long-lived), and with
//! `set_token_expires_in_60_days` the [refresh of a system user's
//! token](https://developers.facebook.com/docs/business-management-apis/system-users/install-apps-and-generate-tokens).
//!
//! # Why
//!
//! A dead token is not sent: Graph does not exchange it, however often it is asked. Nor is one whose expiry is unknown, unless
//! the operator wants it: it may be a token that never expires, and the exchange would replace it with one of 60 days.

use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::token::{BoxFuture, ObtainError, RenewalRequest, Renewer, Token};

use super::api::GraphApi;
use super::request::{AppCredentials, GraphRequest, TokenLifetime};
use super::response::Remediations;

/// Exchanges a living token.
#[derive(Debug)]
pub struct ExchangeRenewer {
    api: GraphApi,
    app: AppCredentials,
    settings: ExchangeSettings,
}

/// How tokens are exchanged.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ExchangeSettings {
    /// Whether to ask for 60 days, which has to be done for a system user's token.
    #[serde(default, rename = "set_token_expires_in_60_days")]
    pub lifetime: TokenLifetime,
    /// Whether a token whose expiry is unknown is exchanged, although it may never expire.
    #[serde(default, rename = "when_expiry_unknown")]
    pub unknown_expiry: UnknownExpiry,
}

/// What happens to a token whose expiry is unknown (`when_expiry_unknown`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(from = "bool")]
pub enum UnknownExpiry {
    /// It stays.
    #[default]
    Keep,
    /// It is exchanged once it is a day old.
    Exchange,
}

impl From<bool> for UnknownExpiry {
    fn from(is_exchanged: bool) -> Self {
        if is_exchanged { Self::Exchange } else { Self::Keep }
    }
}

impl ExchangeRenewer {
    /// Exchanges tokens of an app.
    #[must_use]
    pub const fn new(api: GraphApi, app: AppCredentials, settings: ExchangeSettings) -> Self {
        Self { api, app, settings }
    }

    async fn exchange(&self, renewal: RenewalRequest<'_>) -> Result<Token, ObtainError> {
        if renewal.is_dead {
            return Err(REMEDIATIONS.dead_token_error("exchanged"));
        }
        let lifetime = self.settings.lifetime;
        let request = GraphRequest::get(&self.api.origin, "/oauth/access_token")
            .param("grant_type", "fb_exchange_token")
            .param("client_id", &self.app.id)
            .secret_param("client_secret", &self.app.secret)
            .lifetime(lifetime)
            .secret_param("fb_exchange_token", &renewal.token.secret);
        self.api.request_token(request, lifetime, REMEDIATIONS).await
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const REMEDIATIONS: Remediations = Remediations {
    token_dead: "Operator action: create a new token in Meta's dashboard and put it into the token source.",
    refused: "Operator action: look up the code, and check in the app dashboard that the app may exchange this kind of \
        token.",
};

impl Renewer for ExchangeRenewer {
    fn renew<'a>(&'a mut self, request: RenewalRequest<'a>) -> BoxFuture<'a, Result<Token, ObtainError>> {
        Box::pin(self.exchange(request))
    }

    /// An expired token cannot be exchanged, and the response says when the next one expires.
    fn renew_at_if_expiry_unknown(&self, seen_at: SystemTime) -> Option<SystemTime> {
        match self.settings.unknown_expiry {
            UnknownExpiry::Keep => None,
            UnknownExpiry::Exchange => Some(seen_at + DAY),
        }
    }

    fn describe(&self) -> String {
        "fb_exchange_token".to_owned()
    }
}
