//! The question to Graph whether it accepts a token: its inspection, or else `GET /me?fields=id`.
//!
//! # Why
//!
//! An inspection cannot always answer: Graph inspects some tokens only for an app token that graphward may not have. Every
//! living token of a user, a page or a system user may read its own id, and Graph answers 190 or 102 if it is dead. So `/me`
//! is asked where the inspection fails. Whatever else Graph answers there says nothing about the token.

use crate::graph::{Destinations, Inspection, Origin};
use crate::net::HttpClient;
use crate::token::{BoxFuture, Inspector, Liveness, LivenessCheck, ObtainError, Token};
use crate::types::{Secret, TokenFamily};

use super::debug_token::DebugTokenInspector;
use super::request::{self, GraphRequest};
use super::response::{GraphResponse, Remediations, send};

/// Asks Graph whether it accepts a token.
#[derive(Debug)]
pub struct GraphLivenessCheck {
    inspector: Option<DebugTokenInspector>,
    me: MeRequest,
}

/// The call of `/me`, at the host of the token's family.
#[derive(Clone, Debug)]
pub struct MeRequest {
    client: HttpClient,
    destinations: Destinations,
    /// Signs the proof that some apps demand of every call.
    app_secret: Option<Secret>,
}

const REMEDIATIONS: Remediations = Remediations {
    token_dead: "Operator action: put a valid token into the token source.",
    refused: "Operator action: check the token, and app.secret if it is set.",
};

// === impl GraphLivenessCheck ===

impl GraphLivenessCheck {
    /// Asks with an inspector first, if there is one.
    #[must_use]
    pub const fn new(inspector: Option<DebugTokenInspector>, me: MeRequest) -> Self {
        Self { inspector, me }
    }

    async fn ask(&mut self, token: &Token) -> Result<Inspection, ObtainError> {
        if let Some(inspector) = &mut self.inspector
            && let Ok(inspection) = inspector.inspect(token).await
        {
            return Ok(inspection);
        }
        self.me.ask(token).await
    }
}

impl LivenessCheck for GraphLivenessCheck {
    fn check<'a>(&'a mut self, token: &'a Token) -> BoxFuture<'a, Liveness> {
        Box::pin(async move {
            match self.ask(token).await {
                Ok(Inspection { error: None, .. }) => Liveness::Alive,
                Ok(Inspection { error: Some(error), .. }) if matches!(error.code, Some(190 | 102)) => {
                    Liveness::Dead(error)
                }
                Ok(_) => Liveness::Unknown,
                Err(error) => {
                    tracing::debug!(%error, "Graph did not say whether it accepts the token");
                    Liveness::Unknown
                }
            }
        })
    }
}

// === impl MeRequest ===

impl MeRequest {
    /// Calls the hosts of these destinations.
    #[must_use]
    pub const fn new(client: HttpClient, destinations: Destinations, app_secret: Option<Secret>) -> Self {
        Self {
            client,
            destinations,
            app_secret,
        }
    }

    /// Asks: first with the proof, then without, because a wrong proof is refused, whatever the token.
    ///
    /// # Errors
    ///
    /// [`ObtainError`] if there is no answer, or one that says nothing about the token.
    pub async fn ask(&self, token: &Token) -> Result<Inspection, ObtainError> {
        let main = self.destinations.main().family;
        let family = request::token_family(&token.secret).or(main);
        let origin = self.destinations.graph_origin(family.unwrap_or(TokenFamily::Facebook));
        let origin =
            origin.ok_or_else(|| ObtainError::transient("no_host", "no host of the token's family is configured"))?;
        let secret = self
            .app_secret
            .as_ref()
            .filter(|_| family == Some(TokenFamily::Facebook));
        if let Some(secret) = secret
            && let Ok(answer) = self
                .send(me(origin, token).appsecret_proof(secret, &token.secret))
                .await
        {
            return Ok(answer);
        }
        self.send(me(origin, token)).await
    }

    async fn send(&self, request: GraphRequest<'_>) -> Result<Inspection, ObtainError> {
        let response: GraphResponse = send(&self.client, request, REMEDIATIONS).await?;
        let inspection = Inspection::from_me_response(response.response.status(), response.response.body());
        inspection.ok_or_else(|| response.error())
    }
}

fn me<'a>(origin: &'a Origin, token: &Token) -> GraphRequest<'a> {
    GraphRequest::get(origin, "/me")
        .param("fields", "id")
        .secret_param("access_token", &token.secret)
}
