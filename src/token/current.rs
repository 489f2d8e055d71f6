//! What is known of the live token: when it ends, when it is due, when Graph was last asked.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::credential::Credential;
use super::planner::Deadlines;
use super::policy::{RefreshPolicy, Validity};
use super::provider::TokenProvider;
use super::warnings::ExpiryWarnings;
use crate::graph::{Expiry, Inspection};
use crate::types::Clock;

/// What is known of the live token besides its text.
#[derive(Debug, Default)]
pub(super) struct CurrentToken {
    /// When it was issued, or first seen here.
    issued_at: Option<SystemTime>,
    expires_at: Option<SystemTime>,
    renew_at: Option<SystemTime>,
    pub(super) inspection: Option<Inspection>,
    pub(super) inspected_at: Option<SystemTime>,
    /// The permissions that it is known to lack.
    missing_scopes: Vec<&'static str>,
    /// When Graph is asked again.
    inspect_at: Option<Instant>,
    /// When what could not be stored is tried again.
    retry_store_at: Option<Instant>,
    /// Whether it should have been renewed by now, and that failed.
    pub(super) is_renewal_overdue: bool,
    pub(super) expiry_warnings: ExpiryWarnings,
    pub(super) data_access_warnings: ExpiryWarnings,
}

/// What is known of the live token, for whoever shows it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TokenStatus {
    /// When it ends; `None` if unknown or never.
    pub expires_at: Option<SystemTime>,
    /// When its access to data ends; `None` if unknown or never.
    pub data_access_expires_at: Option<SystemTime>,
    /// When it will be renewed; `None` if nobody renews it.
    pub renew_at: Option<SystemTime>,
    /// When Graph was last asked about it.
    pub inspected_at: Option<SystemTime>,
    /// How many permissions it lacks that WhatsApp needs.
    pub missing_scope_count: usize,
}

/// Something to do besides looking and replacing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Maintenance {
    /// Ask Graph about the live token.
    Inspect,
    /// Store what could not be stored.
    RetryStore,
}

/// How soon Graph is asked again when it could not be.
const INSPECTION_RETRY_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// How soon storing is tried again.
const STORE_RETRY_INTERVAL: Duration = Duration::from_secs(60);

impl CurrentToken {
    /// A credential that has just gone into service.
    pub(super) fn new(
        credential: &Credential,
        inspection: Option<Inspection>,
        now: SystemTime,
        schedule: &RefreshPolicy,
    ) -> Self {
        let mut live = Self {
            issued_at: Some(credential.modified_at().map_or(now, |since| since.min(now))),
            expires_at: credential.expires_at(),
            inspect_at: Some(Instant::now() + INSPECTION_RETRY_INTERVAL.min(schedule.inspect_interval)),
            retry_store_at: Some(Instant::now() + STORE_RETRY_INTERVAL),
            ..Self::default()
        };
        if let Some(inspection) = inspection {
            live.record_inspection(inspection, now, schedule);
        }
        live
    }

    /// Takes note of what Graph said.
    pub(super) fn record_inspection(&mut self, inspection: Inspection, now: SystemTime, schedule: &RefreshPolicy) {
        self.issued_at = inspection.issued_at.or(self.issued_at);
        self.expires_at = inspection.expires_at.as_system_time().or(self.expires_at);
        self.inspection = Some(inspection);
        self.inspected_at = Some(now);
        // A fleet does not ask in step.
        let interval = schedule.inspect_interval.mul_f64(0.9 + fastrand::f64() / 10.0);
        self.inspect_at = Some(Instant::now() + interval);
    }

    /// Decides when it is renewed, if this supply renews it.
    pub(super) fn schedule_renewal(&mut self, schedule: &RefreshPolicy, supply: &TokenProvider) {
        self.renew_at = match (self.issued_at, self.expires_at) {
            (Some(begins), Some(ends)) => supply.earliest_renewal(begins).map(|earliest| {
                let due = schedule.renew_at(
                    Validity {
                        issued_at: begins,
                        expires_at: ends,
                    },
                    fastrand::f64(),
                );
                due.max(earliest).min(ends)
            }),
            (Some(begins), None) if !self.never_expires() => supply.renew_at_if_expiry_unknown(begins),
            (_, _) => None,
        };
    }

    fn never_expires(&self) -> bool {
        let inspection = self.inspection.as_ref();
        inspection.is_some_and(|it| it.expires_at == Expiry::Never)
    }

    pub(super) fn has_expired(&self, now: SystemTime) -> bool {
        self.expires_at.is_some_and(|ends| certainly_expired_at(ends) <= now)
    }

    /// Whether somebody renews it, and has not failed to.
    pub(super) const fn is_auto_renewed(&self) -> bool {
        self.renew_at.is_some() && !self.is_renewal_overdue
    }

    /// What it lacks that it was not known to lack.
    pub(super) fn take_newly_missing_scopes(&mut self) -> Vec<&'static str> {
        let missing = self.inspection.as_ref().map(Inspection::missing_scopes);
        let missing = missing.unwrap_or_default();
        if self.missing_scopes == missing {
            return Vec::new();
        }
        self.missing_scopes.clone_from(&missing);
        missing
    }

    /// Its dates on the monotonic clock, by today's relation of the two.
    pub(super) fn deadlines(&self, clock: &Clock) -> Deadlines {
        let instant = |at: SystemTime| clock.instant_at(at);
        Deadlines {
            renew_at: self.renew_at.map(instant),
            expires_at: self.expires_at.map(|ends| instant(certainly_expired_at(ends))),
        }
    }

    /// The next chore, and when.
    pub(super) fn next_maintenance(&self, has_pending_store: bool) -> Option<(Instant, Maintenance)> {
        let retry_store = self.retry_store_at.filter(|_| has_pending_store);
        let settle = retry_store.map(|at| (at, Maintenance::RetryStore));
        let inspect = self.inspect_at.map(|at| (at, Maintenance::Inspect));
        settle.into_iter().chain(inspect).min_by_key(|(at, _)| *at)
    }

    /// Puts a chore off until it is worth another try.
    pub(super) fn postpone(&mut self, task: Maintenance) {
        match task {
            Maintenance::Inspect => {
                self.inspect_at = Some(Instant::now() + INSPECTION_RETRY_INTERVAL);
            }
            Maintenance::RetryStore => {
                self.retry_store_at = Some(Instant::now() + STORE_RETRY_INTERVAL);
            }
        }
    }

    pub(super) fn status(&self) -> TokenStatus {
        let inspection = self.inspection.as_ref();
        TokenStatus {
            expires_at: self.expires_at,
            data_access_expires_at: inspection.and_then(|it| it.data_access_expires_at.as_system_time()),
            renew_at: self.renew_at,
            inspected_at: self.inspected_at,
            missing_scope_count: self.missing_scopes.len(),
        }
    }
}

/// When an end has passed for certain: Graph tells ends in whole seconds, rounded down.
fn certainly_expired_at(expires_at: SystemTime) -> SystemTime {
    expires_at.checked_add(Duration::from_secs(1)).unwrap_or(expires_at)
}
