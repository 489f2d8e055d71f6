//! What is known of the live token: when it ends, when it is due, when Graph was last asked.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::credential::Credential;
use super::plan::Dates;
use super::schedule::{Life, Schedule};
use super::supply::Supply;
use super::warnings::Warnings;
use crate::graph::{Ends, Inspection};
use crate::types::Clock;

/// What is known of the live token besides its text.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// When it was issued, or first seen here.
    begins: Option<SystemTime>,
    ends: Option<SystemTime>,
    due: Option<SystemTime>,
    pub(super) inspection: Option<Inspection>,
    pub(super) inspected_at: Option<SystemTime>,
    /// The permissions that it is known to lack.
    missing: Vec<&'static str>,
    /// When Graph is asked again.
    inspect_at: Option<Instant>,
    /// When what could not be stored is tried again.
    settle_at: Option<Instant>,
    /// Whether it should have been renewed by now, and that failed.
    pub(super) overdue: bool,
    pub(super) expiry: Warnings,
    pub(super) data_access: Warnings,
}

/// What is known of the live token, for whoever shows it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Outlook {
    /// When it ends; `None` if unknown or never.
    pub ends: Option<SystemTime>,
    /// When its access to data ends; `None` if unknown or never.
    pub data_access_ends: Option<SystemTime>,
    /// When it will be renewed; `None` if nobody renews it.
    pub due: Option<SystemTime>,
    /// When Graph was last asked about it.
    pub inspected_at: Option<SystemTime>,
    /// How many permissions it lacks that WhatsApp needs.
    pub missing: usize,
}

/// Something to do besides looking and replacing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Chore {
    /// Ask Graph about the live token.
    Inspect,
    /// Store what could not be stored.
    Settle,
}

/// How soon Graph is asked again when it could not be.
const INSPECT_AGAIN: Duration = Duration::from_secs(60 * 60);
/// How soon storing is tried again.
const SETTLE_AGAIN: Duration = Duration::from_secs(60);

impl Live {
    /// A credential that has just gone into service.
    pub(super) fn new(
        credential: &Credential,
        inspection: Option<Inspection>,
        now: SystemTime,
        schedule: &Schedule,
    ) -> Self {
        let mut live = Self {
            begins: Some(credential.there_since().map_or(now, |since| since.min(now))),
            ends: credential.expires_at(),
            inspect_at: Some(Instant::now() + INSPECT_AGAIN.min(schedule.inspect_every)),
            settle_at: Some(Instant::now() + SETTLE_AGAIN),
            ..Self::default()
        };
        if let Some(inspection) = inspection {
            live.inspected(inspection, now, schedule);
        }
        live
    }

    /// Takes note of what Graph said.
    pub(super) fn inspected(
        &mut self,
        inspection: Inspection,
        now: SystemTime,
        schedule: &Schedule,
    ) {
        self.begins = inspection.issued_at.or(self.begins);
        self.ends = inspection.expires.at().or(self.ends);
        self.inspection = Some(inspection);
        self.inspected_at = Some(now);
        // A fleet does not ask in step.
        let apart = schedule.inspect_every.mul_f64(0.9 + fastrand::f64() / 10.0);
        self.inspect_at = Some(Instant::now() + apart);
    }

    /// Decides when it is renewed, if this supply renews it.
    pub(super) fn schedule(&mut self, schedule: &Schedule, supply: &Supply) {
        self.due = match (self.begins, self.ends) {
            (Some(begins), Some(ends)) => supply.earliest(begins).map(|earliest| {
                let due = schedule.due(Life { begins, ends }, fastrand::f64());
                due.max(earliest).min(ends)
            }),
            (Some(begins), None) if !self.is_told_to_last() => supply.unless_told(begins),
            (_, _) => None,
        };
    }

    fn is_told_to_last(&self) -> bool {
        let inspection = self.inspection.as_ref();
        inspection.is_some_and(|it| it.expires == Ends::Never)
    }

    pub(super) fn has_ended(&self, now: SystemTime) -> bool {
        self.ends.is_some_and(|ends| over(ends) <= now)
    }

    /// Whether somebody renews it, and has not failed to.
    pub(super) const fn is_looked_after(&self) -> bool {
        self.due.is_some() && !self.overdue
    }

    /// What it lacks that it was not known to lack.
    pub(super) fn newly_missing(&mut self) -> Vec<&'static str> {
        let missing = self.inspection.as_ref().map(Inspection::missing);
        let missing = missing.unwrap_or_default();
        if self.missing == missing {
            return Vec::new();
        }
        self.missing.clone_from(&missing);
        missing
    }

    /// Its dates on the monotonic clock, by today's relation of the two.
    pub(super) fn dates(&self, clock: &Clock) -> Dates {
        let instant = |at: SystemTime| clock.instant_of(at);
        Dates {
            due: self.due.map(instant),
            ends: self.ends.map(|ends| instant(over(ends))),
        }
    }

    /// The next chore, and when.
    pub(super) fn chore(&self, unstored: bool) -> Option<(Instant, Chore)> {
        let settle = self.settle_at.filter(|_| unstored);
        let settle = settle.map(|at| (at, Chore::Settle));
        let inspect = self.inspect_at.map(|at| (at, Chore::Inspect));
        settle.into_iter().chain(inspect).min_by_key(|(at, _)| *at)
    }

    /// Puts a chore off until it is worth another try.
    pub(super) fn put_off(&mut self, chore: Chore) {
        match chore {
            Chore::Inspect => self.inspect_at = Some(Instant::now() + INSPECT_AGAIN),
            Chore::Settle => self.settle_at = Some(Instant::now() + SETTLE_AGAIN),
        }
    }

    pub(super) fn outlook(&self) -> Outlook {
        let inspection = self.inspection.as_ref();
        Outlook {
            ends: self.ends,
            data_access_ends: inspection.and_then(|it| it.data_access.at()),
            due: self.due,
            inspected_at: self.inspected_at,
            missing: self.missing.len(),
        }
    }
}

/// When an end has passed for certain: Graph tells ends in whole seconds, rounded down.
fn over(ends: SystemTime) -> SystemTime {
    ends.checked_add(Duration::from_secs(1)).unwrap_or(ends)
}
