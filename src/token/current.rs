//! The status of the current token: when it expires, when it is renewed, when it was inspected.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::credential::Credential;
use super::planner::Deadlines;
use super::policy::{RefreshPolicy, Validity};
use super::traits::Renewer;
use super::vetting::REINSPECT_INTERVAL;
use super::warnings::ExpiryWarnings;
use crate::graph::{Expiry, Inspection};
use crate::types::Clock;

/// The status of the current token, and its timers.
#[derive(Debug, Default)]
pub(super) struct CurrentToken {
    /// The time at which its source got it, or graphward first saw it.
    first_seen_at: Option<SystemTime>,
    expiry: Expiry,
    renew_at: Option<SystemTime>,
    // Boxed: a token that Graph was not asked about has none.
    pub(super) inspection: Option<Box<Inspection>>,
    pub(super) inspected_at: Option<SystemTime>,
    /// The permissions that it lacks; `None` while WhatsApp is not called.
    missing_scopes: Option<Vec<&'static str>>,
    /// The time of the next inspection.
    pub(super) inspect_at: Option<Instant>,
    /// Whether the first inspection was hastened.
    is_inspection_hastened: bool,
    /// The time at which Graph was last asked about it because its date had passed.
    expiry_asked_at: Option<Instant>,
    /// The time of the next notice that its expiry is unknown.
    pub(super) expiry_notice_at: Option<Instant>,
    /// The time of the next attempt to store it, if it is not stored.
    pub(super) retry_store_at: Option<Instant>,
    /// Whether its renewal failed.
    pub(super) is_renewal_overdue: bool,
    pub(super) expiry_warnings: ExpiryWarnings,
    pub(super) data_access_warnings: ExpiryWarnings,
}

/// The status of the current token, for metrics and alerts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TokenStatus {
    /// The time at which it was issued, if Graph has said so.
    pub issued_at: Option<SystemTime>,
    /// The time at which its source got it, or graphward first saw it.
    pub first_seen_at: Option<SystemTime>,
    /// Whether the time at which it expires is known, or that it never does.
    pub is_expiry_known: bool,
    /// The time at which it expires; `None` if unknown or never.
    pub expires_at: Option<SystemTime>,
    /// The time at which its data access expires; `None` if unknown or never.
    pub data_access_expires_at: Option<SystemTime>,
    /// The time at which it is renewed; `None` if it is not.
    pub renew_at: Option<SystemTime>,
    /// The time at which it was last inspected.
    pub inspected_at: Option<SystemTime>,
    /// Its permissions, if Graph has listed them.
    pub scopes: Option<Vec<String>>,
    /// The permissions that it lacks and WhatsApp requires; `None` while WhatsApp is not called.
    pub missing_scopes: Option<Vec<&'static str>>,
}

/// The time until the next inspection if one failed.
const INSPECTION_RETRY_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// The time until the first notice that a token's expiry is unknown: an inspection that failed has been repeated by then.
const FIRST_EXPIRY_NOTICE: Duration = Duration::from_secs(60 * 60);
/// The time between attempts to store a token.
const STORE_RETRY_INTERVAL: Duration = Duration::from_secs(60);

impl CurrentToken {
    /// The status of a credential that has just become current.
    pub(super) fn new(
        credential: &Credential,
        inspection: Option<Inspection>,
        now: SystemTime,
        policy: &RefreshPolicy,
    ) -> Self {
        let mut current = Self {
            first_seen_at: Some(credential.token().modified_at.map_or(now, |since| since.min(now))),
            expiry: credential.expires_at().map_or(Expiry::Unknown, Expiry::At),
            expiry_notice_at: Some(Instant::now() + FIRST_EXPIRY_NOTICE),
            // With jitter: many tenants may have opened at the same moment.
            inspect_at: Some(
                Instant::now()
                    + INSPECTION_RETRY_INTERVAL
                        .min(policy.inspect_interval)
                        .mul_f64(0.5 + fastrand::f64() / 2.0),
            ),
            retry_store_at: Some(Instant::now() + STORE_RETRY_INTERVAL),
            ..Self::default()
        };
        if let Some(inspection) = inspection {
            current.record_inspection(inspection, now, policy);
        }
        current
    }

    /// Records an inspection.
    pub(super) fn record_inspection(&mut self, inspection: Inspection, now: SystemTime, policy: &RefreshPolicy) {
        self.expiry = match (inspection.expires_at, self.expiry) {
            // Graph accepts it, so the date is wrong.
            (Expiry::Unknown, Expiry::At(_)) if self.has_expired(now) && inspection.error.is_none() => Expiry::Unknown,
            (Expiry::Unknown, known) => known,
            (reported, _) => reported,
        };
        self.inspection = Some(Box::new(inspection));
        self.inspected_at = Some(now);
        // With jitter, so that replicas do not inspect at the same moment.
        let interval = policy.inspect_interval.mul_f64(0.9 + fastrand::f64() / 10.0);
        self.inspect_at = Some(Instant::now() + interval);
    }

    /// Decides when it is renewed.
    pub(super) fn schedule_renewal(&mut self, policy: &RefreshPolicy, renewer: Option<&dyn Renewer>) {
        self.renew_at = match (renewer, self.issued_at().or(self.first_seen_at), self.expiry) {
            (Some(renewer), Some(issued_at), Expiry::At(expires_at)) => {
                let due = policy.renew_at(Validity { issued_at, expires_at }, fastrand::f64());
                Some(due.max(renewer.earliest_renewal(issued_at)).min(expires_at))
            }
            (Some(renewer), Some(issued_at), Expiry::Unknown) => renewer.renew_at_if_expiry_unknown(issued_at),
            (_, _, _) => None,
        };
    }

    /// Returns when it was issued, if Graph has said so.
    fn issued_at(&self) -> Option<SystemTime> {
        self.inspection.as_ref()?.issued_at
    }

    pub(super) fn has_expired(&self, now: SystemTime) -> bool {
        let expires_at = self.expiry.as_system_time();
        expires_at.is_some_and(|at| certainly_expired_at(at) <= now)
    }

    /// Returns whether Graph is to be asked about it now because its date has passed.
    pub(super) fn take_expiry_question(&mut self, now: SystemTime) -> bool {
        let asked_lately = self.expiry_asked_at.is_some_and(|at| at.elapsed() < REINSPECT_INTERVAL);
        if asked_lately || !self.has_expired(now) {
            return false;
        }
        self.expiry_asked_at = Some(Instant::now());
        true
    }

    /// Returns when the operator is to be told that its expiry is unknown.
    pub(super) fn next_expiry_notice(&self) -> Option<Instant> {
        let is_unknown = self.expiry == Expiry::Unknown && !self.is_auto_renewed();
        self.expiry_notice_at.filter(|_| is_unknown)
    }

    /// Returns whether it is renewed, and its renewal has not failed.
    pub(super) const fn is_auto_renewed(&self) -> bool {
        self.renew_at.is_some() && !self.is_renewal_overdue
    }

    /// Returns the permissions that it lacks, if they have changed.
    pub(super) fn take_newly_missing_scopes(&mut self) -> Vec<&'static str> {
        let missing = self.inspection.as_deref().map(Inspection::missing_scopes);
        let missing = missing.unwrap_or_default();
        let known = self.missing_scopes.replace(missing.clone()).unwrap_or_default();
        if known == missing { Vec::new() } else { missing }
    }

    /// Returns its dates on the monotonic clock, by the current relation of the two clocks.
    pub(super) fn deadlines(&self, clock: &Clock) -> Deadlines {
        let instant = |at: SystemTime| clock.instant_at(at);
        Deadlines {
            renew_at: self.renew_at.map(instant),
            expires_at: self.expiry.as_system_time().map(|at| instant(certainly_expired_at(at))),
        }
    }

    /// Lets it be inspected now, if that has not been tried yet.
    pub(super) fn hasten_first_inspection(&mut self) {
        if self.inspected_at.is_none() && !std::mem::replace(&mut self.is_inspection_hastened, true) {
            self.inspect_at = self.inspect_at.map(|_| Instant::now());
        }
    }

    /// Sets the time of the next inspection after one that failed.
    pub(super) fn postpone_inspection(&mut self) {
        self.inspect_at = Some(Instant::now() + INSPECTION_RETRY_INTERVAL);
    }

    /// Sets the time of the next attempt to store it after one that failed.
    pub(super) fn postpone_store(&mut self) {
        self.retry_store_at = Some(Instant::now() + STORE_RETRY_INTERVAL);
    }

    pub(super) fn status(&self) -> TokenStatus {
        let inspection = self.inspection.as_ref();
        TokenStatus {
            issued_at: self.issued_at(),
            first_seen_at: self.first_seen_at,
            is_expiry_known: self.expiry != Expiry::Unknown,
            expires_at: self.expiry.as_system_time(),
            data_access_expires_at: inspection.and_then(|it| it.data_access_expires_at.as_system_time()),
            renew_at: self.renew_at,
            inspected_at: self.inspected_at,
            scopes: inspection.and_then(|it| it.scopes.clone()),
            missing_scopes: self.missing_scopes.clone(),
        }
    }
}

/// Returns the time at which a token has certainly expired: Graph rounds expiries down to whole seconds.
fn certainly_expired_at(expires_at: SystemTime) -> SystemTime {
    expires_at.checked_add(Duration::from_secs(1)).unwrap_or(expires_at)
}
