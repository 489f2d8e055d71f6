//! Graph's statements about an app and about WhatsApp phone numbers, for commands that check a configuration.

use std::sync::Arc;

use bytes::Bytes;

use crate::graph::{Origin, PhoneNumber};
use crate::token::{ObtainError, Token};
use crate::types::TokenFamily;

use super::debug_token::app_token_request;
use super::me::MeRequest;
use super::request::{AppCredentials, GraphRequest};
use super::response::{Remediations, send};

/// Asks Graph about an app and its phone numbers.
#[derive(Clone, Debug)]
pub struct AccountReader(Arc<MeRequest>);

const REMEDIATIONS: Remediations = Remediations {
    token_dead: "Operator action: put a valid token into the token source.",
    refused: "Operator action: check the id, and that the token's account may use it.",
};

impl AccountReader {
    /// Asks through the client of this request, and with its proofs.
    #[must_use]
    pub const fn new(me: Arc<MeRequest>) -> Self {
        Self(me)
    }

    /// Asks whether the app's id and secret belong together.
    ///
    /// # Errors
    ///
    /// [`ObtainError`] if they do not, or if Graph could not be asked: then it is transient.
    pub async fn check_app(&self, app: &AppCredentials) -> Result<(), ObtainError> {
        let request = app_token_request(self.origin()?, app);
        send(&self.0.client, request, REMEDIATIONS).await?.secret().map(drop)
    }

    /// Reads a phone number by its id.
    ///
    /// # Errors
    ///
    /// [`ObtainError`] if the token may not read it, if the id is not that of a phone number, or if Graph could not be asked.
    pub async fn phone_number(&self, token: &Token, id: &str) -> Result<PhoneNumber, ObtainError> {
        let path = format!("/{id}");
        let body = self.read(token, &path).await?;
        PhoneNumber::from_response(&body).ok_or_else(|| {
            let message = format!("{path} is not a phone number. {}", REMEDIATIONS.refused);
            ObtainError::permanent("refused", message)
        })
    }

    /// Reads the phone numbers of a WhatsApp Business Account, the first hundred.
    ///
    /// # Errors
    ///
    /// [`ObtainError`] if the token may not read them, if the id is not that of an account, or if Graph could not be asked.
    pub async fn phone_numbers(&self, token: &Token, account: &str) -> Result<Vec<PhoneNumber>, ObtainError> {
        let path = format!("/{account}/phone_numbers");
        let body = self.read(token, &path).await?;
        PhoneNumber::list_from_response(&body).ok_or_else(|| {
            let message = format!("{path} returned no list of phone numbers");
            ObtainError::transient("not_understood", message)
        })
    }

    /// Sends the proof that some apps demand of every call; then none, because every app refuses a wrong one.
    async fn read(&self, token: &Token, path: &str) -> Result<Bytes, ObtainError> {
        let request = GraphRequest::get(self.origin()?, path).with_token(token);
        let request = request.param("fields", PhoneNumber::FIELDS).param("limit", "100");
        let Some(app_secret) = &self.0.app_secret else {
            return self.send(request).await;
        };
        match self
            .send(request.clone().appsecret_proof(app_secret, &token.secret))
            .await
        {
            Err(error) if error.reason() == "app_refused" => self.send(request).await,
            result => result,
        }
    }

    async fn send(&self, request: GraphRequest<'_>) -> Result<Bytes, ObtainError> {
        let response = send(&self.0.client, request, REMEDIATIONS).await?;
        if response.response.status().is_success() {
            Ok(response.response.into_body())
        } else {
            Err(response.error())
        }
    }

    fn origin(&self) -> Result<&Origin, ObtainError> {
        self.0.origin(TokenFamily::Facebook)
    }
}
