//! The exchange of an OAuth code, as Embedded Signup or a login dialog returns it, for a token.
//!
//! # Why
//!
//! Graph grants the token of a code once, so a request with a code is sent once, and what is asked afterwards may fail: the token is
//! worth more than the ids that it is for.

use serde_json::Value;

use crate::graph::whatsapp_account_ids;
use crate::token::{ObtainError, Token};
use crate::types::{Secret, error_chain};

use super::api::GraphApi;
use super::debug_token::debug_token_request;
use super::request::{AppCredentials, GraphRequest, TokenLifetime};
use super::response::{Remediations, send};

/// Exchanges codes for tokens of an app.
#[derive(Debug)]
pub struct CodeExchange {
    /// Where Graph is asked.
    pub api: GraphApi,
    /// The app that the codes are for.
    pub app: AppCredentials,
}

/// An OAuth code.
#[derive(Clone, Copy, Debug)]
pub struct SignUpCode<'a> {
    /// The code.
    pub code: &'a Secret,
    /// The `redirect_uri` of the dialog; Embedded Signup has none.
    pub redirect_uri: Option<&'a str>,
}

/// What a code stands for.
#[derive(Clone, Debug)]
pub struct SignedUp {
    /// The token.
    pub token: Token,
    /// The id of the WhatsApp Business Account that it is for, if Graph says so.
    pub waba_id: Option<String>,
    /// The ids of its phone numbers.
    pub phone_number_ids: Vec<String>,
}

const REMEDIATIONS: Remediations = Remediations {
    token_dead: "Operator action: check app.id, app.secret and redirect_uri.",
    refused: "Operator action: check app.id, app.secret and redirect_uri.",
};

impl CodeExchange {
    /// Exchanges a code, and asks what its token is for.
    ///
    /// # Errors
    ///
    /// [`ObtainError`] if there is no token. The code may be used up all the same.
    pub async fn exchange(&self, code: SignUpCode<'_>) -> Result<SignedUp, ObtainError> {
        let request = GraphRequest::get(&self.api.origin, "/oauth/access_token")
            .param("client_id", &self.app.id)
            .secret_param("client_secret", &self.app.secret)
            .secret_param("code", code.code);
        let request = match code.redirect_uri {
            Some(uri) => request.param("redirect_uri", uri),
            None => request,
        };
        let lifetime = TokenLifetime::Default;
        let token = self.api.request_token(request, lifetime, REMEDIATIONS).await?;
        let ids = self.account_of(&token).await.unwrap_or_else(|error| {
            let error = error_chain(&error);
            tracing::warn!(
                error,
                "Graph did not say which WhatsApp Business Account the token of a code is for"
            );
            (None, Vec::new())
        });
        let (waba_id, phone_number_ids) = ids;
        Ok(SignedUp {
            token,
            waba_id,
            phone_number_ids,
        })
    }

    /// Asks for the account that a token is for, and for its phone numbers.
    async fn account_of(&self, token: &Token) -> Result<(Option<String>, Vec<String>), ObtainError> {
        let GraphApi { client, origin, .. } = &self.api;
        let app_token = self.app.app_token().map_err(|error| {
            ObtainError::permanent("app_refused", "app.id and app.secret do not form an app token").with_source(error)
        })?;
        let inspected = send(client, debug_token_request(origin, token, &app_token), REMEDIATIONS).await?;
        let Some(account) = whatsapp_account_ids(inspected.response.body()).into_iter().next() else {
            return Ok((None, Vec::new()));
        };
        let path = format!("/{account}/phone_numbers");
        let request = GraphRequest::get(origin, &path)
            .param("fields", "id")
            .appsecret_proof(&self.app.secret, &token.secret)
            .with_token(token);
        let numbers = match send(client, request, REMEDIATIONS).await {
            Ok(numbers) => ids_in(numbers.response.body()),
            Err(_) => Vec::new(),
        };
        Ok((Some(account), numbers))
    }
}

/// The ids of the objects in a list.
fn ids_in(body: &[u8]) -> Vec<String> {
    let list: Value = serde_json::from_slice(body).unwrap_or_default();
    let objects = list.get("data").and_then(Value::as_array).into_iter().flatten();
    let ids = objects.filter_map(|object| object.get("id")?.as_str());
    ids.map(str::to_owned).collect()
}
