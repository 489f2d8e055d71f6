//! A system user's token, minted with an admin's: the one renewal that works with a dead token.
//!
//! [`POST /{system-user-id}/access_tokens`](https://developers.facebook.com/docs/business-management-apis/system-users/install-apps-and-generate-tokens).

use schemars::JsonSchema;
use serde::Deserialize;

use crate::token::{BoxFuture, ObtainError, RenewalRequest, Renewer, Token};
use crate::types::Secret;

use super::api::GraphApi;
use super::request::{AppCredentials, GraphRequest, TokenLifetime};
use super::response::Remediations;

/// Mints tokens of a system user.
#[derive(Debug)]
pub struct MintRenewer {
    settings: MintSettings,
    /// The token of an admin, or of an admin system user: it outlives those that are minted with it.
    admin_token: Token,
    api: GraphApi,
    app: AppCredentials,
}

/// The kind of token that is minted, and the system user it is for.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
pub struct MintSettings {
    /// The id of the system user whose token it is.
    #[schemars(extend("pattern" = r"^[0-9]{1,32}$", "patternErrorMessage" = "must be a numeric id in quotes"))]
    pub system_user: String,
    /// The permissions of the new token.
    #[schemars(length(min = 1), extend("pattern" = r"^[a-z0-9_]{1,100}$", "patternErrorMessage" = "must be a permission name, such as \"whatsapp_business_messaging\""))]
    pub scopes: Vec<String>,
    /// Whether the new token expires after 60 days.
    #[serde(default, rename = "set_token_expires_in_60_days")]
    pub lifetime: TokenLifetime,
}

impl MintRenewer {
    /// Mints tokens of an app.
    #[must_use]
    pub const fn new(settings: MintSettings, admin_token: Secret, api: GraphApi, app: AppCredentials) -> Self {
        Self {
            settings,
            admin_token: Token::without_expiry(admin_token),
            api,
            app,
        }
    }

    async fn mint(&self) -> Result<Token, ObtainError> {
        let MintSettings {
            system_user,
            scopes,
            lifetime,
        } = &self.settings;
        let path = format!("/{system_user}/access_tokens");
        let request = GraphRequest::post(&self.api.origin, &path)
            .param("business_app", &self.app.id)
            .param("scope", &scopes.join(","))
            .lifetime(*lifetime)
            .appsecret_proof(&self.app.secret, &self.admin_token.secret)
            .secret_param("access_token", &self.admin_token.secret);
        self.api.request_token(request, *lifetime, REMEDIATIONS).await
    }
}

const REMEDIATIONS: Remediations = Remediations {
    token_dead: "The admin token of `mint` is no longer valid. Operator action: create a new one in Business settings, \
        System users.",
    refused: "Operator action: check `mint.system_user` and `mint.scopes`, and that the app is installed for the system \
        user (POST /{system-user-id}/applications, once).",
};

impl Renewer for MintRenewer {
    fn renew<'a>(&'a mut self, _request: RenewalRequest<'a>) -> BoxFuture<'a, Result<Token, ObtainError>> {
        Box::pin(self.mint())
    }

    fn own_token(&self) -> Option<&Token> {
        Some(&self.admin_token)
    }

    fn describe(&self) -> String {
        "mint".to_owned()
    }
}
