//! What Graph says a token is worth: [`debug_token`](https://developers.facebook.com/docs/graph-api/reference/debug_token).
//!
//! # Why
//!
//! It is asked with the app token, which does not end, and which is told of dead tokens, too. Where there is none, or
//! Graph refuses it (a wrong secret, a token of another app), the token is asked about itself: that is allowed, and a
//! refusal is then an answer. Instagram and Threads have no such endpoint; there it is only seen whether `/me` answers.

use std::time::Duration;

use tokio::time::timeout;

use crate::graph::{Destinations, Family, GraphError, Inspection, Origin, Service};
use crate::net::Caller;
use crate::token::{BoxFuture, Inspector, ObtainError, Token};
use crate::types::Secret;

use super::answer::{Asked, Method, Remedies};
use super::app::AppKey;
use super::ask::{self, Ask};

/// Asks Graph about tokens.
#[derive(Debug)]
pub struct DebugToken {
    caller: Caller,
    destinations: Destinations,
    key: Option<AppKey>,
    /// What makes the proof of a token that asks about itself: some apps demand one of every call.
    app_secret: Option<Secret>,
    standing: Standing,
}

/// How the app token stands with Graph, as far as has been told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    Good,
    Refused,
}

/// A token that is waited for by a start, or by a person who has just dropped it, is not waited for longer.
const LIMIT: Duration = Duration::from_secs(3);

impl DebugToken {
    /// With an app's key, or without; tokens of other families are asked about at those of their hosts that are among the
    /// destinations.
    #[must_use]
    pub fn new(caller: &Caller, destinations: Destinations, key: Option<AppKey>) -> Self {
        Self {
            caller: caller.within(LIMIT),
            destinations,
            app_secret: key.as_ref().map(|key| key.secret.clone()),
            key,
            standing: Standing::Good,
        }
    }

    /// The same with the app's secret, where its id is not known: a token that asks about itself proves that it is ours.
    #[must_use]
    pub fn proving(self, app_secret: Option<Secret>) -> Self {
        Self {
            app_secret: app_secret.or(self.app_secret),
            ..self
        }
    }

    async fn inspected(&mut self, token: &Token) -> Result<Inspection, ObtainError> {
        let main = self.destinations.main().family;
        let family = ask::family(&token.secret).or(main);
        let family = family.unwrap_or(Family::Facebook);
        let Some(origin) = self.home(family) else {
            let what = format!(
                "no host of {} is listed that could be asked about the token",
                family.name()
            );
            return Err(ObtainError::transient("no_host", what));
        };
        match family {
            Family::Facebook => {}
            Family::Instagram | Family::Threads => return self.probed(&origin, token).await,
        }
        let Some(key) = &self.key else {
            return self.by_itself(&origin, token).await;
        };
        match self.by_app(&origin, token, key).await {
            Err(error @ ObtainError::Permanent { .. }) => {
                if self.standing == Standing::Good {
                    tracing::warn!(%error, "Graph does not tell the app, by app.id and app.secret, what the token is worth; the token is asked about itself");
                }
                self.standing = Standing::Refused;
                self.by_itself(&origin, token).await
            }
            answer => {
                if answer.is_ok() {
                    self.standing = Standing::Good;
                }
                answer
            }
        }
    }

    /// Where a family's tokens are asked about. A main host of no known name, such as a fake's, takes all of them.
    fn home(&self, family: Family) -> Option<Origin> {
        let main = self.destinations.main();
        let mut all = self.destinations.all();
        let own = all.find(|one| one.service == Service::Graph && one.family == Some(family));
        let home = own.or_else(|| main.family.is_none().then_some(main));
        home.map(|home| home.origin.clone())
    }

    async fn by_app(
        &self,
        origin: &Origin,
        token: &Token,
        key: &AppKey,
    ) -> Result<Inspection, ObtainError> {
        let app_token = key.app_token().map_err(|error| {
            let what = "app.id and app.secret make no app token: an operator has to correct them";
            ObtainError::permanent("app_refused", what).because(error)
        })?;
        let ask = debug_token(origin, token, &app_token);
        let asked = Asked::new(&ask, REMEDIES);
        let answer = asked.send(&self.caller, &ask, Method::Get).await?;
        match known(answer.body()) {
            Some(Known::Token(inspection)) if answer.status().is_success() => Ok(inspection),
            Some(Known::Stranger) => Err(stranger()),
            Some(Known::Token(_)) | None => Err(asked.refused(&answer)),
        }
    }

    /// With the proof that some apps demand of every call; and without, as a wrong one is refused by all of them.
    async fn by_itself(&self, origin: &Origin, token: &Token) -> Result<Inspection, ObtainError> {
        let bare = debug_token(origin, token, &token.secret);
        let Some(app_secret) = &self.app_secret else {
            return self.by_itself_asking(bare).await;
        };
        let proven = debug_token(origin, token, &token.secret).proof(app_secret, &token.secret);
        match self.by_itself_asking(proven).await {
            Err(ObtainError::Permanent { .. }) => self.by_itself_asking(bare).await,
            answer => answer,
        }
    }

    async fn by_itself_asking(&self, ask: Ask<'_>) -> Result<Inspection, ObtainError> {
        let asked = Asked::new(&ask, REMEDIES);
        let answer = asked.send(&self.caller, &ask, Method::Get).await?;
        match known(answer.body()) {
            Some(Known::Token(inspection)) if answer.status().is_success() => Ok(inspection),
            Some(Known::Stranger) => Err(stranger()),
            // Whoever asks with a dead token is told that it is dead.
            Some(Known::Token(_)) | None => {
                let dead = Inspection::of_probe(answer.status(), answer.body());
                let dead = dead.filter(|said| said.dead.is_some());
                dead.ok_or_else(|| asked.refused(&answer))
            }
        }
    }

    async fn probed(&self, origin: &Origin, token: &Token) -> Result<Inspection, ObtainError> {
        let ask = Ask::new(origin, "/me")
            .plain("fields", "id")
            .secret("access_token", &token.secret);
        let asked = Asked::new(&ask, REMEDIES);
        let answer = asked.send(&self.caller, &ask, Method::Get).await?;
        let said = Inspection::of_probe(answer.status(), answer.body());
        said.ok_or_else(|| asked.refused(&answer))
    }
}

const REMEDIES: Remedies = Remedies {
    dead: "An operator has to correct app.id and app.secret, or to put a living token where the token's source looks.",
    refused: "An operator has to set app.id and app.secret of the app that the token was created for.",
};

impl Inspector for DebugToken {
    fn inspect<'a>(
        &'a mut self,
        token: &'a Token,
    ) -> BoxFuture<'a, Result<Inspection, ObtainError>> {
        Box::pin(async move {
            let late = |_elapsed| {
                let what = format!("Graph says nothing of the token within {LIMIT:?}");
                Err(ObtainError::transient("late", what))
            };
            let asked = timeout(LIMIT, self.inspected(token));
            asked.await.unwrap_or_else(late)
        })
    }
}

fn debug_token<'a>(origin: &'a Origin, token: &'a Token, asking: &'a Secret) -> Ask<'a> {
    Ask::new(origin, "/debug_token")
        .secret("input_token", &token.secret)
        .secret("access_token", asking)
}

/// What an answer of `debug_token` knows.
enum Known {
    Token(Inspection),
    /// The token is another app's, which is told nothing of it: that it is not valid is not so.
    Stranger,
}

fn known(body: &[u8]) -> Option<Known> {
    let inspection = Inspection::of_debug_token(body)?;
    let code = |error: &GraphError| error.code;
    match inspection.dead.as_ref().and_then(code) {
        Some(100) => Some(Known::Stranger),
        Some(_) | None => Some(Known::Token(inspection)),
    }
}

fn stranger() -> ObtainError {
    let what = format!(
        "debug_token tells nothing of another app's token. {}",
        REMEDIES.refused
    );
    ObtainError::permanent("app_refused", what)
}
