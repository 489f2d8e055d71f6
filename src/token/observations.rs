//! What requests observe besides rejections, and the operator may have to know.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::graph::GraphError;

/// The observations so far.
#[derive(Debug, Default)]
pub(super) struct Observations {
    whatsapp_called: AtomicBool,
    /// Never locked across an await.
    account_lock: Mutex<AccountLock>,
    changed: Notify,
}

/// The last observation that Meta has locked the account.
#[derive(Debug, Default)]
struct AccountLock {
    observed_at: Option<Instant>,
    /// The error, until it is reported.
    unreported: Option<GraphError>,
}

/// The interval at which a lock is reported again.
const LOCK_REPORT_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

impl Observations {
    /// Records that the app has called WhatsApp. The common case costs one atomic load.
    pub(super) fn add_whatsapp_call(&self) {
        if !self.is_whatsapp_called() && !self.whatsapp_called.swap(true, Ordering::Relaxed) {
            self.changed.notify_one();
        }
    }

    /// Returns whether the app has called WhatsApp.
    pub(super) fn is_whatsapp_called(&self) -> bool {
        self.whatsapp_called.load(Ordering::Relaxed)
    }

    /// Records that Graph reports the account as locked. A repetition within a day changes nothing.
    pub(super) fn add_account_lock(&self, error: &GraphError) {
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

    /// Completes after a new observation. Cancel-safe.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}
