//! What requests observe besides rejections, and the operator may have to know.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::credential::Generation;
use crate::graph::GraphError;

/// The observations so far.
#[derive(Debug, Default)]
pub struct Observations {
    whatsapp_called: AtomicBool,
    /// Never locked across an await.
    account_lock: Mutex<AccountLock>,
    proof_rejection: Mutex<ProofRejection>,
    changed: Notify,
}

/// The last observation that Meta has locked the account.
#[derive(Debug, Default)]
struct AccountLock {
    observed_at: Option<Instant>,
    /// The error, until it is reported.
    unreported: Option<GraphError>,
}

/// The last observation that Graph rejected a proof.
#[derive(Debug, Default)]
struct ProofRejection {
    observed: Option<(Generation, Instant)>,
    is_unhandled: bool,
}

/// The shortest interval between questions to Graph because of a rejected proof.
const PROOF_QUESTION_INTERVAL: Duration = Duration::from_secs(60);
/// The interval at which a lock is reported again.
const LOCK_REPORT_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

impl Observations {
    /// Records that the app has called WhatsApp. The common case costs one atomic load.
    pub fn add_whatsapp_call(&self) {
        if !self.is_whatsapp_called() && !self.whatsapp_called.swap(true, Ordering::Relaxed) {
            self.changed.notify_one();
        }
    }

    /// Returns whether the app has called WhatsApp.
    pub(super) fn is_whatsapp_called(&self) -> bool {
        self.whatsapp_called.load(Ordering::Relaxed)
    }

    /// Records that Graph reports the account as locked. A repetition within a day changes nothing.
    pub fn add_account_lock(&self, error: &GraphError) {
        let mut lock = self.account_lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.observed_at.is_none_or(|at| at.elapsed() >= LOCK_REPORT_INTERVAL) {
            *lock = AccountLock {
                observed_at: Some(Instant::now()),
                unreported: Some(error.clone()),
            };
            self.changed.notify_one();
        }
    }

    /// Returns the lock that is still to be reported.
    pub(super) fn take_account_lock(&self) -> Option<GraphError> {
        let mut lock = self.account_lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.unreported.take()
    }

    /// Records that Graph rejected a proof. A repetition within a minute changes nothing.
    pub fn add_proof_rejection(&self, generation: Generation) {
        let mut rejection = self.proof_rejection.lock().unwrap_or_else(PoisonError::into_inner);
        let is_repetition = rejection
            .observed
            .is_some_and(|(known, at)| known == generation && at.elapsed() < PROOF_QUESTION_INTERVAL);
        if !is_repetition {
            *rejection = ProofRejection {
                observed: Some((generation, Instant::now())),
                is_unhandled: true,
            };
            self.changed.notify_one();
        }
    }

    /// Returns whether a rejected proof is still to be handled.
    pub(super) fn take_proof_rejection(&self) -> bool {
        let mut rejection = self.proof_rejection.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut rejection.is_unhandled)
    }

    /// Forgets the last rejected proof: the next one is about another secret, and no repetition.
    pub(super) fn forget_proof_rejection(&self) {
        *self.proof_rejection.lock().unwrap_or_else(PoisonError::into_inner) = ProofRejection::default();
    }

    /// Completes after a new observation. Cancel-safe.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}
