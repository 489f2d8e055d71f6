//! The inspection of a token: [`debug_token`](https://developers.facebook.com/docs/graph-api/reference/debug_token).
//!
//! # Why
//!
//! The app token asks, because it does not expire and Graph tells it about dead tokens, too. It is `<id>|<secret>`; some apps
//! accept only one that Graph has issued for their secret, so that is asked for where the other is refused. Without an app
//! token (no secret, a wrong one, a token of another app), the token inspects itself, and a rejection is then a result. Graph
//! allows that to users who develop the app, but not to system users: there, and at Instagram and Threads, which have no
//! such endpoint, only `/me` shows whether the token is accepted, and nothing shows when it expires.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::timeout;

use crate::graph::{Inspection, Origin};
use crate::token::{BoxFuture, Inspector, ObtainError, ProofAnswer, Token};
use crate::types::{Fingerprint, Secret, TokenFamily, error_chain, lock};

use super::me::MeRequest;
use super::request::{self, AppCredentials, GraphRequest};
use super::response::{GraphResponse, Remediations, send};

/// Inspects tokens.
#[derive(Debug)]
pub struct DebugTokenInspector {
    /// Asks where `debug_token` cannot. It has the app's secret even if the app's id is unknown, and signs the proof of a token
    /// that inspects itself.
    me: Arc<MeRequest>,
    app: Option<AppCredentials>,
    /// The app token that Graph has issued, where it refuses `<id>|<secret>`.
    issued_app_token: Option<Secret>,
    rejected_apps: RejectedApps,
}

/// The apps, each with its id and its secret, of which the log says that Graph rejects them. A clone knows the same: what is wrong
/// with one app is said once, and not by each of its tenants.
#[derive(Clone, Debug, Default)]
pub struct RejectedApps(Arc<Mutex<HashSet<(String, Fingerprint)>>>);

/// A start, or an operator who has just replaced a token, waits for an inspection for at most this long.
const INSPECTION_TIMEOUT: Duration = Duration::from_secs(3);

impl DebugTokenInspector {
    /// Inspects with an app's credentials, or without. Tokens of other families are inspected at those of their hosts that
    /// are among the destinations of `me`.
    #[must_use]
    pub fn new(me: Arc<MeRequest>, app: Option<AppCredentials>) -> Self {
        Self {
            me,
            app,
            issued_app_token: None,
            rejected_apps: RejectedApps::default(),
        }
    }

    /// Shares with other inspectors which apps the log names.
    #[must_use]
    pub fn with_rejected_apps(self, rejected_apps: RejectedApps) -> Self {
        Self { rejected_apps, ..self }
    }

    /// Asks with the app's credentials alone; `None` without them, and for tokens of other families.
    ///
    /// # Errors
    ///
    /// [`ObtainError`], with the reason `app_refused` if the credentials are wrong, or if the token is of another app.
    pub async fn inspect_as_app(&mut self, token: &Token) -> Option<Result<Inspection, ObtainError>> {
        let family = request::token_family(&token.secret);
        let app = self
            .app
            .clone()
            .filter(|_| family.is_none_or(|family| family == TokenFamily::Facebook))?;
        let origin = self.me.origin(TokenFamily::Facebook).cloned();
        Some(match origin {
            Ok(origin) => self.inspect_with_app_token(&origin, token, &app).await,
            Err(error) => Err(error),
        })
    }

    /// Asks at the host of the token's family. If nothing tells the family, and the likeliest host cannot read the token, the
    /// others are asked: the one that calls it valid is right. Each call is bounded, and [`Inspector::inspect`] bounds all.
    ///
    /// # Errors
    ///
    /// [`ObtainError`] if Graph could not be asked.
    pub async fn inspect_token(&mut self, token: &Token) -> Result<Inspection, ObtainError> {
        let me = Arc::clone(&self.me);
        let destinations = &me.destinations;
        let known = request::token_family(&token.secret).or_else(|| destinations.configured_family());
        let first = known.unwrap_or_else(|| destinations.default_family());
        let result = self.inspect_at(first, token).await;
        let cannot_be_read = match &result {
            Ok(inspection) => inspection.error.as_ref().is_some_and(|error| error.subcode.is_none()),
            Err(error) => !error.is_transient(),
        };
        if known.is_some() || !cannot_be_read {
            return result;
        }
        let main = &destinations.main().origin;
        for family in TokenFamily::ALL.into_iter().filter(|family| *family != first) {
            let origin = destinations.graph_origin(family).filter(|origin| *origin != main);
            if let Some(origin) = origin
                && let Ok(inspection) = self.me.ask_without_proof(origin, token).await
                && inspection.error.is_none()
            {
                return Ok(Inspection {
                    family: Some(family),
                    ..inspection
                });
            }
        }
        result
    }

    async fn inspect_at(&mut self, family: TokenFamily, token: &Token) -> Result<Inspection, ObtainError> {
        let origin = self.me.origin(family)?.clone();
        let app = match (family, &self.app) {
            (TokenFamily::Instagram | TokenFamily::Threads, _) => {
                return self.me.ask_without_proof(&origin, token).await;
            }
            (TokenFamily::Facebook, None) => return self.inspect_with_own_token(&origin, token).await,
            (TokenFamily::Facebook, Some(app)) => app,
        };
        let app = app.clone();
        match self.inspect_with_app_token(&origin, token, &app).await {
            Err(error) if !error.is_transient() => {
                if self.rejected_apps.add(&app) {
                    tracing::warn!(
                        app = app.id,
                        error = error_chain(&error),
                        "Graph rejected app.id and app.secret for debug_token, so the expiry of the token may be unknown. \
                         Check that app.id and app.secret belong to the token's app"
                    );
                }
                self.inspect_with_own_token(&origin, token).await
            }
            result => result,
        }
    }

    async fn inspect_with_app_token(
        &mut self,
        origin: &Origin,
        token: &Token,
        app: &AppCredentials,
    ) -> Result<Inspection, ObtainError> {
        let app_token = match &self.issued_app_token {
            Some(issued) => issued.clone(),
            None => app.app_token().map_err(|error| {
                let message = "app.id and app.secret do not form a valid app token; fix them";
                ObtainError::permanent("app_refused", message).with_source(error)
            })?,
        };
        match self.inspect_as(&app_token, origin, token).await {
            Err(error) if error.reason() == "token_rejected" => {}
            result => return result,
        }
        self.issued_app_token = None;
        let issued = self.send(app_token_request(origin, app)).await?.secret()?;
        let inspection = self.inspect_as(&issued, origin, token).await?;
        self.issued_app_token = Some(issued);
        Ok(inspection)
    }

    async fn inspect_as(&self, app_token: &Secret, origin: &Origin, token: &Token) -> Result<Inspection, ObtainError> {
        let response = self.send(debug_token_request(origin, token, app_token)).await?;
        parse_debug_token(&response)?.ok_or_else(|| response.error())
    }

    /// Sends the proof that some apps demand of every call; then none, because every app refuses a wrong one. A token that
    /// may not inspect itself is sent to `/me`.
    async fn inspect_with_own_token(&self, origin: &Origin, token: &Token) -> Result<Inspection, ObtainError> {
        let without_proof = debug_token_request(origin, token, &token.secret);
        let inspected = match &self.me.app_secret {
            None => self.send_own_token_request(without_proof).await,
            Some(app_secret) => {
                let with_proof = debug_token_request(origin, token, &token.secret);
                let with_proof = with_proof.appsecret_proof(app_secret, &token.secret);
                match self.send_own_token_request(with_proof).await {
                    Err(error) if error.reason() == "app_refused" => self.send_own_token_request(without_proof).await,
                    result => result,
                }
            }
        };
        match inspected {
            Err(error) if !error.is_transient() => self.me.ask_facebook(origin, token).await,
            result => result,
        }
    }

    async fn send_own_token_request(&self, request: GraphRequest<'_>) -> Result<Inspection, ObtainError> {
        let response = self.send(request).await?;
        if let Some(inspection) = parse_debug_token(&response)? {
            return Ok(inspection);
        }
        // Graph rejects a call with a dead token, which says that it is dead.
        let probe = response.inspection()?;
        if probe.error.is_some() {
            Ok(probe)
        } else {
            Err(response.error())
        }
    }

    async fn send(&self, request: GraphRequest<'_>) -> Result<GraphResponse, ObtainError> {
        send(&self.me.client, request, REMEDIATIONS).await
    }
}

impl RejectedApps {
    /// Adds an app; returns whether it was not there.
    fn add(&self, app: &AppCredentials) -> bool {
        let mut apps = lock(&self.0);
        apps.insert((app.id.clone(), app.secret.fingerprint()))
    }
}

const REMEDIATIONS: Remediations = Remediations {
    token_dead: "Operator action: fix app.id and app.secret, or put a valid token into the token source.",
    refused: "Operator action: set app.id and app.secret of the app that the token was created for.",
};

impl Inspector for DebugTokenInspector {
    fn inspect<'a>(&'a mut self, token: &'a Token) -> BoxFuture<'a, Result<Inspection, ObtainError>> {
        Box::pin(async move {
            let timed_out = |_elapsed| {
                let message = format!("token inspection timed out after {INSPECTION_TIMEOUT:?}");
                Err(ObtainError::transient("timeout", message))
            };
            let inspection = timeout(INSPECTION_TIMEOUT, self.inspect_token(token));
            inspection.await.unwrap_or_else(timed_out)
        })
    }

    fn check_proof<'a>(&'a mut self, token: &'a Token) -> BoxFuture<'a, ProofAnswer> {
        self.me.check_proof(token)
    }
}

pub(super) fn debug_token_request<'a>(origin: &'a Origin, token: &Token, access_token: &Secret) -> GraphRequest<'a> {
    GraphRequest::get(origin, "/debug_token")
        .secret_param("input_token", &token.secret)
        .secret_param("access_token", access_token)
}

pub(super) fn app_token_request<'a>(origin: &'a Origin, app: &AppCredentials) -> GraphRequest<'a> {
    GraphRequest::get(origin, "/oauth/access_token")
        .param("grant_type", "client_credentials")
        .param("client_id", &app.id)
        .secret_param("client_secret", &app.secret)
}

/// Reads the response of `debug_token`; `None` if it is not one.
fn parse_debug_token(response: &GraphResponse) -> Result<Option<Inspection>, ObtainError> {
    let response = &response.response;
    let Some(inspection) = Inspection::from_debug_token(response.body()) else {
        return Ok(None);
    };
    // Graph tells an app nothing about another app's token; that it says "not valid" is not so.
    if inspection.error.as_ref().and_then(|error| error.code) == Some(100) {
        let message = format!(
            "debug_token does not report on tokens of another app. {}",
            REMEDIATIONS.refused
        );
        return Err(ObtainError::permanent("app_refused", message));
    }
    Ok(response.status().is_success().then_some(inspection))
}
