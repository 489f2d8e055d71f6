//! What Graph says a token is worth: [`debug_token_request`](https://developers.facebook.com/docs/graph-api/reference/debug_token).
//!
//! # Why
//!
//! It is asked with the app token, which does not end, and which is told of dead tokens, too. Where there is none, or
//! Graph refuses it (a wrong secret, a token of another app), the token is asked about itself: that is allowed, and a
//! refusal is then an answer. Instagram and Threads have no such endpoint; there it is only seen whether `/me` answers.

use std::time::Duration;

use tokio::time::timeout;

use crate::graph::{Destinations, GraphError, GraphService, Inspection, Origin, TokenFamily};
use crate::net::HttpClient;
use crate::token::{BoxFuture, Inspector, ObtainError, Token};
use crate::types::Secret;

use super::client_credentials::ClientCredentials;
use super::request::{self, RequestBuilder};
use super::response::{GraphEndpoint, Method, Remediations};

/// Asks Graph about tokens.
#[derive(Debug)]
pub struct DebugTokenInspector {
    caller: HttpClient,
    destinations: Destinations,
    app: Option<ClientCredentials>,
    /// What makes the proof of a token that asks about itself: some apps demand one of every call.
    app_secret: Option<Secret>,
    app_token_status: AppTokenStatus,
}

/// How the app token stands with Graph, as far as has been told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum AppTokenStatus {
    Accepted,
    Rejected,
}

/// A token that is waited for by a start, or by a person who has just dropped it, is not waited for longer.
const INSPECTION_TIMEOUT: Duration = Duration::from_secs(3);

impl DebugTokenInspector {
    /// With an app's key, or without; tokens of other families are asked about at those of their hosts that are among the
    /// destinations.
    #[must_use]
    pub fn new(caller: &HttpClient, destinations: Destinations, app: Option<ClientCredentials>) -> Self {
        Self {
            caller: caller.with_timeout(INSPECTION_TIMEOUT),
            destinations,
            app_secret: app.as_ref().map(|key| key.secret.clone()),
            app,
            app_token_status: AppTokenStatus::Accepted,
        }
    }

    /// The same with the app's secret, where its id is not known: a token that asks about itself proves that it is ours.
    #[must_use]
    pub fn with_app_secret(self, app_secret: Option<Secret>) -> Self {
        Self {
            app_secret: app_secret.or(self.app_secret),
            ..self
        }
    }

    async fn inspect_token(&mut self, token: &Token) -> Result<Inspection, ObtainError> {
        let main = self.destinations.main().family;
        let family = request::token_family(&token.secret).or(main);
        let family = family.unwrap_or(TokenFamily::Facebook);
        let Some(origin) = self.origin_for(family) else {
            let message = format!(
                "no host of {} is listed that could be asked about the token",
                family.name()
            );
            return Err(ObtainError::transient("no_host", message));
        };
        match family {
            TokenFamily::Facebook => {}
            TokenFamily::Instagram | TokenFamily::Threads => {
                return self.probe_me(&origin, token).await;
            }
        }
        let Some(app) = &self.app else {
            return self.inspect_with_own_token(&origin, token).await;
        };
        match self.inspect_with_app_token(&origin, token, app).await {
            Err(error @ ObtainError::Permanent { .. }) => {
                if self.app_token_status == AppTokenStatus::Accepted {
                    tracing::warn!(%error, "Graph does not tell the app, by app.id and app.secret, what the token is worth; the token is asked about itself");
                }
                self.app_token_status = AppTokenStatus::Rejected;
                self.inspect_with_own_token(&origin, token).await
            }
            result => {
                if result.is_ok() {
                    self.app_token_status = AppTokenStatus::Accepted;
                }
                result
            }
        }
    }

    /// Where a family's tokens are asked about. A main host of no known name, such as a fake's, takes all of them.
    fn origin_for(&self, family: TokenFamily) -> Option<Origin> {
        let main = self.destinations.main();
        let mut all = self.destinations.all();
        let matching = all.find(|one| one.service == GraphService::Graph && one.family == Some(family));
        let destination = matching.or_else(|| main.family.is_none().then_some(main));
        destination.map(|home| home.origin.clone())
    }

    async fn inspect_with_app_token(
        &self,
        origin: &Origin,
        token: &Token,
        app: &ClientCredentials,
    ) -> Result<Inspection, ObtainError> {
        let app_token = app.app_token().map_err(|error| {
            let message = "app.id and app.secret make no app token: an operator has to correct them";
            ObtainError::permanent("app_refused", message).with_source(error)
        })?;
        let builder = debug_token_request(origin, token, &app_token);
        let endpoint = GraphEndpoint::new(&builder, REMEDIATIONS);
        let response = endpoint.send(&self.caller, &builder, Method::Get).await?;
        match parse_debug_token(response.body()) {
            Some(DebugTokenResult::Token(inspection)) if response.status().is_success() => Ok(inspection),
            Some(DebugTokenResult::OtherApp) => Err(other_app_error()),
            Some(DebugTokenResult::Token(_)) | None => Err(endpoint.error_from_response(&response)),
        }
    }

    /// With the proof that some apps demand of every call; and without, as a wrong one is refused by all of them.
    async fn inspect_with_own_token(&self, origin: &Origin, token: &Token) -> Result<Inspection, ObtainError> {
        let without_proof = debug_token_request(origin, token, &token.secret);
        let Some(app_secret) = &self.app_secret else {
            return self.send_own_token_request(without_proof).await;
        };
        let with_proof = debug_token_request(origin, token, &token.secret).appsecret_proof(app_secret, &token.secret);
        match self.send_own_token_request(with_proof).await {
            Err(ObtainError::Permanent { .. }) => self.send_own_token_request(without_proof).await,
            result => result,
        }
    }

    async fn send_own_token_request(&self, builder: RequestBuilder<'_>) -> Result<Inspection, ObtainError> {
        let endpoint = GraphEndpoint::new(&builder, REMEDIATIONS);
        let response = endpoint.send(&self.caller, &builder, Method::Get).await?;
        match parse_debug_token(response.body()) {
            Some(DebugTokenResult::Token(inspection)) if response.status().is_success() => Ok(inspection),
            Some(DebugTokenResult::OtherApp) => Err(other_app_error()),
            // Whoever asks with a dead token is told that it is dead.
            Some(DebugTokenResult::Token(_)) | None => {
                let probe = Inspection::from_me_response(response.status(), response.body());
                let dead = probe.filter(|said| said.error.is_some());
                dead.ok_or_else(|| endpoint.error_from_response(&response))
            }
        }
    }

    async fn probe_me(&self, origin: &Origin, token: &Token) -> Result<Inspection, ObtainError> {
        let builder = RequestBuilder::new(origin, "/me")
            .param("fields", "id")
            .secret_param("access_token", &token.secret);
        let endpoint = GraphEndpoint::new(&builder, REMEDIATIONS);
        let response = endpoint.send(&self.caller, &builder, Method::Get).await?;
        let inspection = Inspection::from_me_response(response.status(), response.body());
        inspection.ok_or_else(|| endpoint.error_from_response(&response))
    }
}

const REMEDIATIONS: Remediations = Remediations {
    token_dead: "An operator has to correct app.id and app.secret, or to put a living token where the token's source looks.",
    refused: "An operator has to set app.id and app.secret of the app that the token was created for.",
};

impl Inspector for DebugTokenInspector {
    fn inspect<'a>(&'a mut self, token: &'a Token) -> BoxFuture<'a, Result<Inspection, ObtainError>> {
        Box::pin(async move {
            let timed_out = |_elapsed| {
                let message = format!("Graph says nothing of the token within {INSPECTION_TIMEOUT:?}");
                Err(ObtainError::transient("late", message))
            };
            let inspection = timeout(INSPECTION_TIMEOUT, self.inspect_token(token));
            inspection.await.unwrap_or_else(timed_out)
        })
    }
}

fn debug_token_request<'a>(origin: &'a Origin, token: &'a Token, access_token: &'a Secret) -> RequestBuilder<'a> {
    RequestBuilder::new(origin, "/debug_token")
        .secret_param("input_token", &token.secret)
        .secret_param("access_token", access_token)
}

/// What an answer of `debug_token` knows.
enum DebugTokenResult {
    Token(Inspection),
    /// The token is another app's, which is told nothing of it: that it is not valid is not so.
    OtherApp,
}

fn parse_debug_token(body: &[u8]) -> Option<DebugTokenResult> {
    let inspection = Inspection::from_debug_token(body)?;
    let code = |error: &GraphError| error.code;
    match inspection.error.as_ref().and_then(code) {
        Some(100) => Some(DebugTokenResult::OtherApp),
        Some(_) | None => Some(DebugTokenResult::Token(inspection)),
    }
}

fn other_app_error() -> ObtainError {
    let message = format!(
        "debug_token tells nothing of another app's token. {}",
        REMEDIATIONS.refused
    );
    ObtainError::permanent("app_refused", message)
}
