//! The question to Graph whether it accepts a token: its inspection, or else `GET /me?fields=id`.
//!
//! # Why
//!
//! An inspection cannot always answer: Graph inspects some tokens only for an app token that graphward may not have. Every
//! living token of a user, a page or a system user may read its own id, and Graph answers 190 or 102 if it is dead. So `/me`
//! is asked where the inspection fails. Whatever else Graph answers there says nothing about the token.

use std::sync::Arc;

use crate::graph::Inspection;
use crate::token::{BoxFuture, Inspector, Liveness, LivenessCheck, ObtainError, Token};
use crate::types::error_chain;

use super::debug_token::DebugTokenInspector;
use super::me::MeRequest;

/// Asks Graph whether it accepts a token.
#[derive(Debug)]
pub struct GraphLivenessCheck {
    inspector: Option<DebugTokenInspector>,
    me: Arc<MeRequest>,
}

// === impl GraphLivenessCheck ===

impl GraphLivenessCheck {
    /// Asks with an inspector first, if there is one.
    #[must_use]
    pub const fn new(inspector: Option<DebugTokenInspector>, me: Arc<MeRequest>) -> Self {
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
                    let error = error_chain(&error);
                    tracing::debug!(error, "Graph did not say whether it accepts the token");
                    Liveness::Unknown
                }
            }
        })
    }
}
