//! The progress of a request body that is being sent.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::body_error::{BodyError, BodyFailure};

/// The progress of a request body: the wait for the head of the response begins with its last byte.
#[derive(Debug)]
pub(crate) struct UploadProgress {
    started_at: Instant,
    last_progress_millis: AtomicU64,
    /// The app has to send the next byte. The idle timeout bounds that wait.
    waiting_for_client: AtomicBool,
    failure: OnceLock<BodyFailure>,
}

// === impl UploadProgress ===

impl UploadProgress {
    /// The progress of a body of which nothing has been sent.
    pub(crate) fn start() -> Self {
        Self {
            started_at: Instant::now(),
            last_progress_millis: AtomicU64::new(0),
            waiting_for_client: AtomicBool::new(false),
            failure: OnceLock::new(),
        }
    }

    /// Records that the app has to send the next byte.
    pub(crate) fn wait_for_client(&self) {
        self.waiting_for_client.store(true, Ordering::Relaxed);
    }

    /// Records what comes next in the body.
    pub(crate) fn record(&self, next: Option<&Result<Bytes, BodyError>>) {
        let millis = u64::try_from(self.started_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_progress_millis.store(millis, Ordering::Relaxed);
        self.waiting_for_client.store(false, Ordering::Relaxed);
        if let Some(Err(error)) = next {
            self.record_failure(error);
        }
    }

    fn record_failure(&self, error: &BodyError) {
        // The first error counts.
        let _first = self.failure.get_or_init(|| error.into());
    }

    /// The reason why the body ended early, if it did.
    pub(crate) fn failure(&self) -> Option<BodyFailure> {
        self.failure.get().cloned()
    }

    /// The time at which a byte was last handed over; now, while the app has to send the next one.
    pub(crate) fn last_progress(&self) -> Instant {
        if self.waiting_for_client.load(Ordering::Relaxed) {
            return Instant::now();
        }
        self.started_at + Duration::from_millis(self.last_progress_millis.load(Ordering::Relaxed))
    }
}
