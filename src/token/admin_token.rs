//! The token that the renewer depends on: the admin token of `mint`. Renewals fail once it is dead, so it is inspected and
//! warned about like the current one.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::traits::Renewer;
use super::warnings::ExpiryWarnings;
use crate::graph::{Expiry, Inspection};
use crate::types::Fingerprint;

/// What is known about the token that the renewer depends on.
#[derive(Debug, Default)]
pub(super) struct AdminToken {
    fingerprint: Option<Fingerprint>,
    /// The time of the next check; `None` without such a token.
    pub(super) check_at: Option<Instant>,
    inspect_at: Option<Instant>,
    expiry: Expiry,
    warnings: ExpiryWarnings,
    is_rejected: bool,
}

/// The time between checks, and until the next inspection if one failed.
const CHECK_INTERVAL: Duration = Duration::from_secs(60 * 60);

// === impl AdminToken ===

impl AdminToken {
    /// Continues with this renewer. What is known about the same token stays.
    pub(super) fn set_renewer(&mut self, renewer: Option<&dyn Renewer>) {
        let fingerprint = renewer
            .and_then(Renewer::own_token)
            .map(|token| token.secret.fingerprint());
        if fingerprint != self.fingerprint || fingerprint.is_none() {
            let now = Some(Instant::now());
            *self = Self {
                fingerprint,
                check_at: fingerprint.and(now),
                inspect_at: now,
                ..Self::default()
            };
        }
    }

    /// Returns whether it is to be inspected now.
    pub(super) fn take_inspection(&mut self) -> bool {
        let now = Instant::now();
        self.check_at = Some(now + CHECK_INTERVAL);
        if self.inspect_at.is_some_and(|at| at > now) {
            return false;
        }
        self.inspect_at = self.check_at;
        true
    }

    /// Records an inspection; the next one is after `interval`. Returns whether Graph has begun to reject the token.
    pub(super) fn record_inspection(&mut self, inspection: &Inspection, interval: Duration) -> bool {
        self.inspect_at = Some(Instant::now() + interval);
        self.expiry = inspection.expires_at;
        let was_rejected = std::mem::replace(&mut self.is_rejected, inspection.error.is_some());
        self.is_rejected && !was_rejected
    }

    /// Returns the time of its expiry if a warning is due now, with the days left.
    pub(super) fn take_warning(&mut self, now: SystemTime) -> Option<(SystemTime, u8)> {
        let expires_at = self.expiry.as_system_time().filter(|_| !self.is_rejected)?;
        let days = self.warnings.take_due(expires_at, now)?;
        Some((expires_at, days))
    }
}
