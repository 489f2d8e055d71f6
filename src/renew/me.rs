//! `GET /me?fields=id`: shows whether Graph accepts a token where nothing else does.
//!
//! # Why
//!
//! Every living token of a user, a page or a system user may read its own id, and Graph answers 190 or 102 if it is dead.
//! Whatever else Graph answers says nothing about the token.

use std::sync::Arc;

use crate::graph::{Destinations, Inspection, Origin};
use crate::net::HttpClient;
use crate::token::{BoxFuture, Inspector, ObtainError, ProofAnswer, Token};
use crate::types::{Secret, TokenFamily};

use super::request::{self, GraphRequest};
use super::response::{Remediations, send};

/// The call of `/me`, at the host of the token's family.
#[derive(Debug)]
pub struct MeRequest {
    pub(super) client: HttpClient,
    pub(super) destinations: Destinations,
    /// Signs the proof that some apps demand of every call.
    pub(super) app_secret: Option<Secret>,
}

const REMEDIATIONS: Remediations = Remediations {
    token_dead: "Operator action: put a valid token into the token source.",
    refused: "Operator action: check the token, and app.secret if it is set.",
};

// === impl MeRequest ===

impl MeRequest {
    /// Calls the hosts of these destinations.
    #[must_use]
    pub fn new(client: HttpClient, destinations: Destinations, app_secret: Option<Secret>) -> Arc<Self> {
        Arc::new(Self {
            client,
            destinations,
            app_secret,
        })
    }

    /// Asks: first with the proof, then without, because a wrong proof is refused, whatever the token.
    ///
    /// # Errors
    ///
    /// [`ObtainError`] if there is no answer, or one that says nothing about the token.
    pub async fn ask(&self, token: &Token) -> Result<Inspection, ObtainError> {
        let known = request::token_family(&token.secret);
        let family = known.unwrap_or_else(|| self.destinations.default_family());
        let origin = self.origin(family)?;
        match family {
            TokenFamily::Facebook => self.ask_facebook(origin, token).await,
            TokenFamily::Instagram | TokenFamily::Threads => self.ask_without_proof(origin, token).await,
        }
    }

    /// Returns the host that is asked about tokens of a family.
    pub(super) fn origin(&self, family: TokenFamily) -> Result<&Origin, ObtainError> {
        self.destinations.graph_origin(family).ok_or_else(|| {
            let message = format!("no {family} host is configured to ask about the token; add it to upstream.hosts");
            ObtainError::transient("no_host", message)
        })
    }

    /// Asks a host of Facebook's.
    pub(super) async fn ask_facebook(&self, origin: &Origin, token: &Token) -> Result<Inspection, ObtainError> {
        if let Some(secret) = &self.app_secret
            && let Ok(answer) = self.ask_with_proof(origin, token, secret).await
        {
            return Ok(answer);
        }
        self.ask_without_proof(origin, token).await
    }

    pub(super) async fn ask_without_proof(&self, origin: &Origin, token: &Token) -> Result<Inspection, ObtainError> {
        self.send(GraphRequest::me(origin, token)).await
    }

    async fn ask_with_proof(&self, origin: &Origin, token: &Token, secret: &Secret) -> Result<Inspection, ObtainError> {
        let request = GraphRequest::me(origin, token);
        self.send(request.appsecret_proof(secret, &token.secret)).await
    }

    async fn send(&self, request: GraphRequest<'_>) -> Result<Inspection, ObtainError> {
        send(&self.client, request, REMEDIATIONS).await?.inspection()
    }

    /// Asks whether the proof of the app's secret is accepted.
    pub(super) async fn ask_about_proof(&self, token: &Token) -> ProofAnswer {
        let origin = self.destinations.graph_origin(TokenFamily::Facebook);
        let (Some(origin), Some(app_secret)) = (origin, &self.app_secret) else {
            return ProofAnswer::Unknown;
        };
        let with_proof = self.ask_with_proof(origin, token, app_secret).await;
        match (with_proof, self.ask_without_proof(origin, token).await) {
            (Ok(Inspection { error: None, .. }), _) => ProofAnswer::Accepted,
            (Err(error), without) if error.reason() == "app_refused" => match without {
                Ok(Inspection { error: None, .. }) => ProofAnswer::OnlyWithout,
                Err(error) if error.reason() == "app_refused" => ProofAnswer::Refused,
                Ok(_) | Err(_) => ProofAnswer::Unknown,
            },
            (_, _) => ProofAnswer::Unknown,
        }
    }
}

impl Inspector for Arc<MeRequest> {
    fn inspect<'a>(&'a mut self, token: &'a Token) -> BoxFuture<'a, Result<Inspection, ObtainError>> {
        Box::pin(self.ask(token))
    }

    fn check_proof<'a>(&'a mut self, token: &'a Token) -> BoxFuture<'a, ProofAnswer> {
        Box::pin(self.ask_about_proof(token))
    }
}
