//! A system user's token, minted with an admin's: the one renewal that a dead token does not hinder.
//!
//! [`POST /{system-user-id}/access_tokens`](https://developers.facebook.com/docs/business-management-apis/system-users/install-apps-and-generate-tokens).

use crate::graph::Origin;
use crate::net::Caller;
use crate::token::{BoxFuture, ObtainError, Outgoing, Renewer, Token};
use crate::types::{Clock, Secret};

use super::answer::{Asked, Method, Remedies, Silence};
use super::app::AppKey;
use super::ask::Ask;
use super::exchange::Lasting;

/// Mints with an admin's token.
#[derive(Debug)]
pub struct Mint {
    caller: Caller,
    origin: Origin,
    key: AppKey,
    token: Secret,
    path: String,
    scope: String,
    lasting: Lasting,
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
    pub lasting: Lasting,
}

impl Mint {
    /// At an origin, for an app.
    #[must_use]
    pub fn new(
        settings: MintSettings,
        caller: Caller,
        origin: Origin,
        key: AppKey,
        clock: Clock,
    ) -> Self {
        Self {
            caller,
            origin,
            key,
            token: settings.token,
            path: format!("/{}/access_tokens", settings.system_user),
            scope: settings.scopes.join(","),
            lasting: settings.lasting,
            clock,
        }
    }

    async fn minted(&self) -> Result<Token, ObtainError> {
        let mut ask = Ask::new(&self.origin, &self.path)
            .plain("business_app", &self.key.id)
            .plain("scope", &self.scope);
        // The answer does not say when the token ends.
        let silence = match self.lasting {
            Lasting::Usual => Silence::Unknown,
            Lasting::SixtyDays => {
                ask = ask.plain("set_token_expires_in_60_days", "true");
                Silence::SixtyDays
            }
        };
        let ask = ask
            .proof(&self.key.secret, &self.token)
            .secret("access_token", &self.token);
        let asked = Asked::new(&ask, REMEDIES);
        let at = self.clock.wall();
        let answer = asked.send(&self.caller, &ask, Method::Post).await?;
        asked.granted(&answer, at, silence)
    }
}

const REMEDIES: Remedies = Remedies {
    dead: "The admin token of `mint` is dead: an operator has to create a new one in Business settings, System users.",
    refused: "An operator has to check `mint.system_user` and `mint.scopes`, and that the app is installed for the system \
        user (POST /{system-user-id}/applications, once).",
};

impl Renewer for Mint {
    fn renew<'a>(
        &'a mut self,
        _outgoing: Outgoing<'a>,
    ) -> BoxFuture<'a, Result<Token, ObtainError>> {
        Box::pin(self.minted())
    }

    fn describe(&self) -> String {
        "mint".to_owned()
    }
}
