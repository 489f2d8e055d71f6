//! A system user's token, minted with an admin's: the one renewal that a dead token does not hinder.
//!
//! [`POST /{system-user-id}/access_tokens`](https://developers.facebook.com/docs/business-management-apis/system-users/install-apps-and-generate-tokens).

use crate::graph::Origin;
use crate::net::HttpClient;
use crate::token::{BoxFuture, ObtainError, RenewalRequest, Renewer, Token};
use crate::types::{Clock, Secret};

use super::client_credentials::ClientCredentials;
use super::exchange::TokenLifetime;
use super::request::RequestBuilder;
use super::response::{DefaultExpiry, GraphEndpoint, Method, Remediations};

/// Mints with an admin's token.
#[derive(Debug)]
pub struct MintRenewer {
    caller: HttpClient,
    origin: Origin,
    app: ClientCredentials,
    admin_token: Secret,
    path: String,
    scope: String,
    lifetime: TokenLifetime,
    clock: Clock,
}

/// What is minted, and with what.
#[derive(Clone, Debug)]
pub struct MintSettings {
    /// The system user's id.
    pub system_user: String,
    /// The token of an admin, or of an admin system user: it outlives those that are minted with it.
    pub token: Secret,
    /// What minted tokens may do.
    pub scopes: Vec<String>,
    /// How long they live; without it, for ever.
    pub lifetime: TokenLifetime,
}

impl MintRenewer {
    /// At an origin, for an app.
    #[must_use]
    pub fn new(
        settings: MintSettings,
        caller: HttpClient,
        origin: Origin,
        app: ClientCredentials,
        clock: Clock,
    ) -> Self {
        Self {
            caller,
            origin,
            app,
            admin_token: settings.token,
            path: format!("/{}/access_tokens", settings.system_user),
            scope: settings.scopes.join(","),
            lifetime: settings.lifetime,
            clock,
        }
    }

    async fn mint(&self) -> Result<Token, ObtainError> {
        let mut builder = RequestBuilder::new(&self.origin, &self.path)
            .param("business_app", &self.app.id)
            .param("scope", &self.scope);
        // The answer does not say when the token ends.
        let default_expiry = match self.lifetime {
            TokenLifetime::Default => DefaultExpiry::Unknown,
            TokenLifetime::SixtyDays => {
                builder = builder.param("set_token_expires_in_60_days", "true");
                DefaultExpiry::SixtyDays
            }
        };
        let builder = builder
            .appsecret_proof(&self.app.secret, &self.admin_token)
            .secret_param("access_token", &self.admin_token);
        let endpoint = GraphEndpoint::new(&builder, REMEDIATIONS);
        let requested_at = self.clock.now();
        let response = endpoint.send(&self.caller, &builder, Method::Post).await?;
        endpoint.parse_token(&response, requested_at, default_expiry)
    }
}

const REMEDIATIONS: Remediations = Remediations {
    token_dead: "The admin token of `mint` is dead: an operator has to create a new one in Business settings, System users.",
    refused: "An operator has to check `mint.system_user` and `mint.scopes`, and that the app is installed for the system \
        user (POST /{system-user-id}/applications, once).",
};

impl Renewer for MintRenewer {
    fn renew<'a>(&'a mut self, _request: RenewalRequest<'a>) -> BoxFuture<'a, Result<Token, ObtainError>> {
        Box::pin(self.mint())
    }

    fn describe(&self) -> String {
        "mint".to_owned()
    }
}
