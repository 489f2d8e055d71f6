//! Asks Graph whether it accepts the current token, when a rejection does not prove that it does not.
//!
//! # Why
//!
//! It runs beside the refresher, not in it: the question must not wait for a source that hangs, nor a source for the
//! question. It is one loop, so there is one question at a time. A newer token ends the question about the one before.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::timeout;

use super::channel::TokenHandle;
use super::credential::Credential;
use super::rejection::Liveness;
use super::traits::LivenessCheck;
use crate::types::{TenantId, lock};

/// Asks the questions of one tenant.
pub(super) struct Confirmation {
    tenant: TenantId,
    tokens: TokenHandle,
    /// `None` if Graph cannot be asked.
    check: Option<Box<dyn LivenessCheck>>,
    /// The one for the next question, if it has changed.
    next_check: LivenessCheckSlot,
}

/// A slot in which the refresher leaves the question after the configuration has changed.
#[derive(Clone, Default)]
pub(super) struct LivenessCheckSlot(Arc<Mutex<Option<Box<dyn LivenessCheck>>>>);

/// The longest wait for an answer: requests are held meanwhile.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

impl LivenessCheckSlot {
    pub(super) fn put(&self, check: Option<Box<dyn LivenessCheck>>) {
        *lock(&self.0) = check;
    }

    fn take(&self) -> Option<Box<dyn LivenessCheck>> {
        lock(&self.0).take()
    }
}

impl Confirmation {
    pub(super) const fn new(tenant: TenantId, tokens: TokenHandle, next_check: LivenessCheckSlot) -> Self {
        Self {
            tenant,
            tokens,
            check: None,
            next_check,
        }
    }

    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        let tokens = self.tokens.clone();
        let rejections = tokens.rejections();
        loop {
            let generation = rejections.next_question().await;
            let current = tokens.current();
            let answer = match current.filter(|current| current.generation() == generation) {
                // Cancel-safe: an answer about an old token changes nothing.
                Some(current) => tokio::select! {
                    // Boxed: at rest its state is not there.
                    answer = Box::pin(self.ask(&current)) => answer,
                    () = rejections.wait_until_replaced(generation) => continue,
                },
                None => Liveness::Unknown,
            };
            rejections.on_answer(generation, answer);
        }
    }

    async fn ask(&mut self, current: &Credential) -> Liveness {
        self.check = self.next_check.take().or_else(|| self.check.take());
        let Some(check) = &mut self.check else {
            return Liveness::Unknown;
        };
        let answer = timeout(ANSWER_TIMEOUT, check.check(current.token())).await;
        let answer = answer.unwrap_or(Liveness::Unknown);
        let (tenant, generation) = (&self.tenant, current.generation().get());
        match &answer {
            Liveness::Alive => tracing::info!(
                %tenant,
                generation,
                "Graph accepts the token: a request that it rejected needs another kind of token, such as a page's, or has a \
                 token of its own in its body"
            ),
            Liveness::Dead(error) => {
                tracing::debug!(%tenant, generation, code = error.code, "Graph confirmed that the token is dead");
            }
            Liveness::Unknown => tracing::warn!(
                %tenant,
                generation,
                "Graph rejected a request and could not be asked whether it still accepts the token"
            ),
        }
        answer
    }
}
