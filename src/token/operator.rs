//! Changes that the operator requests from a refresher: another token, the previous one, or another configuration.
//!
//! # Why
//!
//! The refresher alone publishes credentials and writes to the sources, so a change is a message to it. What is not known to
//! work changes nothing: a token is checked before it is stored, and a rollback to a token that may not be used is undone.
//!
//! A command that runs without a refresher changes the sources in the same way, with a provider of its own.

use std::time::{Duration, SystemTime};

use futures_channel::mpsc::{self, UnboundedReceiver, UnboundedSender};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::check::ObtainedToken;
use super::credential::Token;
use super::error::ObtainError;
use super::provider::TokenProvider;
use super::reconfiguration::Reconfiguration;
use super::sources::Reach;
use super::traits::{OperatorCommand, RefreshContext};
use crate::graph::Inspection;
use crate::types::Fingerprint;

/// What has changed; tokens are shown by their fingerprints.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct TokenChange {
    /// The token that is there now.
    pub token: String,
    /// The valid token that was there before, if there was one.
    pub previous: Option<String>,
    /// The description of the source.
    pub stored_in: String,
    /// Whether Graph was asked about the token, and calls it valid.
    pub inspected: bool,
}

/// Requests changes from a refresher.
#[derive(Clone, Debug)]
pub struct OperatorHandle(UnboundedSender<OperatorRequest>);

/// A request to a refresher.
#[derive(Debug)]
pub(super) enum OperatorRequest {
    /// Change the token, and send the result.
    Change(Box<OperatorCommand>, oneshot::Sender<Result<TokenChange, ObtainError>>),
    /// Continue with what this has.
    Reconfigure(Box<Reconfiguration>),
    /// Do what is due, and send when the token has to be renewed next.
    Visit(oneshot::Sender<VisitReport>),
    /// The same after a look at the sources.
    Refresh(oneshot::Sender<VisitReport>),
}

/// The state of a token after a visit.
#[derive(Clone, Copy, Debug, Default)]
pub struct VisitReport {
    /// The time at which it is renewed; `None` if it is not, or if no time is known.
    pub renew_at: Option<SystemTime>,
    /// The time at which it expires; `None` if unknown or never.
    pub expires_at: Option<SystemTime>,
    /// Whether it is not renewed now because another replica does that.
    pub is_locked: bool,
}

/// The longest wait for a change: longer than one that waits for the renewal lock takes.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(45);

// === impl OperatorHandle ===

impl OperatorHandle {
    /// Creates the operator's end and the refresher's end. Tokio's channel keeps room for 32 requests, and this one for none.
    pub(super) fn channel() -> (Self, UnboundedReceiver<OperatorRequest>) {
        let (sender, requests) = mpsc::unbounded();
        (Self(sender), requests)
    }

    /// Lets the refresher continue with other sources, another renewer and other proofs. A refresher that has ended does not.
    pub fn reconfigure(&self, new: Reconfiguration) {
        drop(self.0.unbounded_send(OperatorRequest::Reconfigure(Box::new(new))));
    }

    /// Lets the refresher do what is due now: ask Graph about a token that it has not been asked about, renew one. Waits until it
    /// is done, or has failed. `None` if the refresher has ended.
    pub async fn visit(&self) -> Option<VisitReport> {
        let (reply, report) = oneshot::channel();
        self.0.unbounded_send(OperatorRequest::Visit(reply)).ok()?;
        report.await.ok()
    }

    /// Lets the refresher read all sources, and do what is due now; a renewal that failed is tried again. Waits until it is done, or
    /// has failed; returns whether it did so in time.
    pub async fn refresh(&self) -> bool {
        let (reply, report) = oneshot::channel();
        // If the refresher has ended, the send fails and drops the reply.
        drop(self.0.unbounded_send(OperatorRequest::Refresh(reply)));
        timeout(CHANGE_TIMEOUT, report).await.is_ok()
    }

    /// Requests a change of the token, and waits until it is stored and in use.
    ///
    /// # Errors
    ///
    /// [`ObtainError`] if nothing has changed; after a timeout it is unknown whether something has.
    pub async fn request(&self, command: OperatorCommand) -> Result<TokenChange, ObtainError> {
        let (reply, changed) = oneshot::channel();
        // If the refresher has ended, the send fails and drops the reply.
        drop(self.0.unbounded_send(OperatorRequest::Change(Box::new(command), reply)));
        match timeout(CHANGE_TIMEOUT, changed).await {
            Ok(Ok(changed)) => changed,
            Ok(Err(_)) | Err(_) => {
                let limit = CHANGE_TIMEOUT.as_secs();
                let message = format!(
                    "it was not done within {limit} s, or before a stop; look at the status before another attempt"
                );
                Err(ObtainError::transient("timeout", message))
            }
        }
    }
}

// === impl TokenProvider ===

impl TokenProvider {
    /// Changes the token where no refresher runs.
    ///
    /// # Errors
    ///
    /// [`ObtainError`] if nothing has changed.
    pub async fn change_token(
        &mut self,
        command: OperatorCommand,
        now: SystemTime,
    ) -> Result<TokenChange, ObtainError> {
        let context = RefreshContext {
            current: None,
            current_is_dead: true,
            now,
        };
        // Whether there is a token or not, the active source is known after this.
        let found = self.check(Reach::Due, context).await.found.ok().flatten();
        let changed = self.apply(command, context).await?;
        Ok(changed.change_from(found.map(|found| found.token.secret.fingerprint())))
    }

    /// Asks Graph about a token of the operator that is not in a source yet; `None` if Graph could not be asked.
    ///
    /// # Errors
    ///
    /// [`ObtainError`] if it may not be used. A token that has not expired may be used if Graph cannot be asked about it.
    pub async fn check_token(&mut self, token: &Token, now: SystemTime) -> Result<Option<Inspection>, ObtainError> {
        let context = RefreshContext {
            current: None,
            current_is_dead: true,
            now,
        };
        self.vetting.admit_chosen(token, "the operator", context).await
    }

    /// Changes the token in its source, and returns the one that is there now.
    pub(super) async fn apply(
        &mut self,
        command: OperatorCommand,
        context: RefreshContext<'_>,
    ) -> Result<ObtainedToken, ObtainError> {
        let inspection = match &command {
            OperatorCommand::Set(token) => Some(self.vetting.admit_chosen(token, "the operator", context).await?),
            OperatorCommand::RollBack => None,
        };
        let (token, source) = self.sources.change(&command).await?;
        let admitted = match inspection {
            Some(inspection) => Ok(inspection),
            None => self.vetting.admit_chosen(&token, &source, context).await,
        };
        match admitted {
            Ok(inspection) => {
                self.pending_store = None;
                Ok(ObtainedToken::new(token, inspection, source))
            }
            Err(error) => {
                // A second rollback undoes the first.
                self.sources.change(&command).await?;
                Err(error)
            }
        }
    }
}

// === impl ObtainedToken ===

impl ObtainedToken {
    /// Describes the change that led to it.
    pub(super) fn change_from(&self, previous: Option<Fingerprint>) -> TokenChange {
        TokenChange {
            token: self.token.secret.fingerprint().to_string(),
            previous: previous.map(|previous| previous.to_string()),
            stored_in: self.source.clone(),
            inspected: self.inspection.is_some(),
        }
    }
}
