//! What requests observe besides rejections, and the operator may have to know.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::credential::Generation;
use crate::graph::GraphError;
use crate::types::lock;

/// The observations so far.
#[derive(Debug, Default)]
pub struct Observations {
    whatsapp_called: AtomicBool,
    /// Never locked across an await.
    rejections: Mutex<ObservedRejections>,
    /// Whether the refresher is to be told of the next request that waits for a token.
    is_wait_awaited: AtomicBool,
    changed: Notify,
}

/// Rejections that are not about the token.
#[derive(Debug, Default)]
struct ObservedRejections {
    /// When Meta was last seen to have locked the account, by the code of the error.
    locked_at: BTreeMap<Option<i64>, Instant>,
    /// The errors that are still to be reported.
    unreported_locks: Vec<GraphError>,
    /// When Graph was last seen to reject a proof, and of which token.
    proof_at: Option<(Generation, Instant)>,
    is_proof_unhandled: bool,
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

    /// Records that Graph reports the account as locked. A repetition of the code within a day changes nothing.
    pub fn add_account_lock(&self, error: &GraphError) {
        let mut rejections = lock(&self.rejections);
        let last = rejections.locked_at.get(&error.code);
        if last.is_none_or(|at| at.elapsed() >= LOCK_REPORT_INTERVAL) {
            rejections.locked_at.insert(error.code, Instant::now());
            rejections.unreported_locks.push(error.clone());
            self.changed.notify_one();
        }
    }

    /// Returns the locks that are still to be reported.
    pub(super) fn take_account_locks(&self) -> Vec<GraphError> {
        std::mem::take(&mut lock(&self.rejections).unreported_locks)
    }

    /// Records that Graph rejected a proof. A repetition within a minute changes nothing.
    pub fn add_proof_rejection(&self, generation: Generation) {
        let mut rejections = lock(&self.rejections);
        let is_repeated =
            |(known, at): (Generation, Instant)| known == generation && at.elapsed() < PROOF_QUESTION_INTERVAL;
        if !rejections.proof_at.is_some_and(is_repeated) {
            rejections.proof_at = Some((generation, Instant::now()));
            rejections.is_proof_unhandled = true;
            self.changed.notify_one();
        }
    }

    /// Returns whether a rejected proof is still to be handled.
    pub(super) fn take_proof_rejection(&self) -> bool {
        std::mem::take(&mut lock(&self.rejections).is_proof_unhandled)
    }

    /// Forgets the last rejected proof: the next one is about another secret, and no repetition.
    pub(super) fn forget_proof_rejection(&self) {
        let mut rejections = lock(&self.rejections);
        (rejections.proof_at, rejections.is_proof_unhandled) = (None, false);
    }

    /// Records that a request waits for a token. The common case costs one atomic load.
    pub(super) fn add_wait(&self) {
        if self.is_wait_awaited.load(Ordering::Relaxed) && self.is_wait_awaited.swap(false, Ordering::Relaxed) {
            self.changed.notify_one();
        }
    }

    /// Lets the refresher be told of the next request that waits for a token.
    pub(super) fn await_next_wait(&self) {
        self.is_wait_awaited.store(true, Ordering::Relaxed);
    }

    /// Completes after a new observation. Cancel-safe.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}
