//! The exchange of an OAuth code, as Embedded Signup or a login dialog returns it, for a token.
//!
//! # Why
//!
//! Graph grants the token of a code once, so a request with a code is sent once, and what is asked afterwards may fail: the token is
//! worth more than the ids that it is for. But it is stored once as well, and nothing asks for the ids later. So a failure that may
//! pass is not the last word on them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::token::{ObtainError, Token};
use crate::types::{Secret, error_chain};

use super::account::AccountReader;
use super::api::GraphApi;
use super::debug_token::DebugTokenInspector;
use super::me::MeRequest;
use super::request::{AppCredentials, GraphRequest, TokenLifetime};
use super::response::Remediations;

/// Exchanges codes for tokens of an app.
#[derive(Debug)]
pub struct CodeExchange {
    api: GraphApi,
    app: AppCredentials,
    inspector: DebugTokenInspector,
    accounts: AccountReader,
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

/// The time in which Graph is asked again for ids that it did not tell.
const RETRY_WINDOW: Duration = Duration::from_secs(10);
/// The time between two attempts.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
const REMEDIATIONS: Remediations = Remediations {
    token_dead: "Operator action: check app.id, app.secret and redirect_uri.",
    refused: "Operator action: check app.id, app.secret and redirect_uri.",
};

impl CodeExchange {
    /// Exchanges codes at this host. What their tokens are for is asked through the client of this request, and with its proofs.
    #[must_use]
    pub fn new(api: GraphApi, app: AppCredentials, me: Arc<MeRequest>) -> Self {
        Self {
            inspector: DebugTokenInspector::new(Arc::clone(&me), Some(app.clone())),
            accounts: AccountReader::new(me),
            api,
            app,
        }
    }

    /// Exchanges a code, and asks what its token is for.
    ///
    /// # Errors
    ///
    /// [`ObtainError`] if there is no token. The code may be used up all the same.
    pub async fn exchange(mut self, code: SignUpCode<'_>) -> Result<SignedUp, ObtainError> {
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
        let mut signed_up = SignedUp {
            token,
            waba_id: None,
            phone_number_ids: Vec::new(),
        };
        let deadline = Instant::now() + RETRY_WINDOW;
        while let Err(error) = self.read_ids(&mut signed_up).await {
            if !error.is_transient() || Instant::now() + RETRY_PAUSE >= deadline {
                let error = error_chain(&error);
                tracing::warn!(
                    error,
                    "Graph did not say which WhatsApp Business Account, or which phone numbers, the token of a code is for"
                );
                break;
            }
            sleep(RETRY_PAUSE).await;
        }
        Ok(signed_up)
    }

    /// Asks for the account that a token is for, unless Graph has told it, and for the account's phone numbers.
    async fn read_ids(&mut self, signed_up: &mut SignedUp) -> Result<(), ObtainError> {
        let token = &signed_up.token;
        if signed_up.waba_id.is_none() {
            let inspection = self.inspector.inspect_as_app(token).await.transpose()?;
            signed_up.waba_id = inspection.and_then(|inspection| inspection.whatsapp_accounts.into_iter().next());
        }
        if let Some(account) = &signed_up.waba_id {
            let numbers = self.accounts.phone_numbers(token, account).await?;
            signed_up.phone_number_ids = numbers.into_iter().map(|number| number.id).collect();
        }
        Ok(())
    }
}
