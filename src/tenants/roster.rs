//! Decides which tenants of a table are withdrawn: a pure function of what its reads listed.
//!
//! # Why
//!
//! A row may be deleted and inserted again, and a read may see the moment between, so one read withdraws nothing. And a
//! truncated table, or the wrong database after a failover, looks exactly like ten thousand tenants that all left at once, and an
//! emptied column like ten thousand that have lost their tokens. Such a read is not used for some minutes, since no real loss is
//! that urgent, and the operator is told.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::loss::Loss;
use crate::types::TenantId;

/// The tenants that a table has.
#[derive(Debug, Default)]
pub struct Roster {
    /// Their names.
    known: HashSet<TenantId>,
    /// Those that the last read lacked, with the time of the first of the reads in a row that lack them.
    missing_since: HashMap<TenantId, Instant>,
    /// The time of the first of the reads in a row that were withheld.
    withheld_since: Option<Instant>,
    accepts_loss: bool,
}

/// What follows from a read.
#[derive(Debug, Eq, PartialEq)]
pub enum RosterDecision {
    /// The read is to be used.
    Apply {
        /// The tenants that are withdrawn by it.
        withdrawn: Vec<TenantId>,
        /// When the table is to be read again, because a tenant is missing in it for the first time.
        confirm_at: Option<Instant>,
    },
    /// Too much is missing in it at once. What was there before stays in use.
    Withhold {
        /// What is missing, if the read before it was used, so that the operator is told.
        new_loss: Option<Loss>,
        /// When the table is to be read again.
        read_again_at: Instant,
    },
}

/// The shortest time between the two reads that withdraw a tenant, or that decide who has an id.
pub(super) const CONFIRMATION_INTERVAL: Duration = Duration::from_secs(2);
/// How long reads with a large loss are withheld. Then the loss is accepted.
const WITHHOLD_TIME: Duration = Duration::from_secs(5 * 60);
/// The time between two reads while reads are withheld.
const LOSS_RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// The smallest loss that is doubted, unless nothing is left …
const MIN_DOUBTED_LOSS: usize = 5;
/// … and the part of the tenants that it has to exceed: one in ten.
const DOUBTED_PART: usize = 10;

// === impl Roster ===

impl Roster {
    /// Decides about a read that listed these tenants, whose rows have this loss.
    pub fn on_read(&mut self, listed: &HashSet<&TenantId>, mut loss: Loss, now: Instant) -> RosterDecision {
        loss.known = self.known.len();
        loss.tenants = self.known.iter().filter(|id| !listed.contains(id)).count();
        let is_many = |lost: usize| lost >= MIN_DOUBTED_LOSS && lost * DOUBTED_PART > loss.known;
        let lacks_many = (loss.tenants > 0 && listed.is_empty()) || is_many(loss.tenants);
        let is_doubted = lacks_many || loss.is_total || is_many(loss.tenants + loss.rows);
        let is_believed = std::mem::take(&mut self.accepts_loss)
            || self.withheld_since.is_some_and(|since| now >= since + WITHHOLD_TIME);
        if is_doubted && !is_believed {
            let new_loss = self.withheld_since.is_none().then_some(loss);
            let since = *self.withheld_since.get_or_insert(now);
            let read_again_at = (now + LOSS_RETRY_INTERVAL)
                .min(since + WITHHOLD_TIME)
                .max(now + CONFIRMATION_INTERVAL);
            return RosterDecision::Withhold {
                new_loss,
                read_again_at,
            };
        }
        self.withheld_since = None;
        let (mut withdrawn, mut confirm_at) = (Vec::new(), None);
        self.missing_since.retain(|id, _| !listed.contains(id));
        for id in self.known.iter().filter(|id| !listed.contains(id)) {
            let missing_since = self.missing_since.entry(id.clone()).or_insert(now);
            let confirmed_at = *missing_since + CONFIRMATION_INTERVAL;
            // The reads that were withheld lacked it, too, or the operator has looked.
            if lacks_many || now >= confirmed_at {
                withdrawn.push(id.clone());
            } else {
                confirm_at = Some(confirmed_at);
            }
        }
        withdrawn.iter().for_each(|id| self.on_removed(id));
        for id in listed {
            if !self.known.contains(*id) {
                self.known.insert((*id).clone());
            }
        }
        RosterDecision::Apply { withdrawn, confirm_at }
    }

    /// Notes that the row of a tenant was read alone.
    pub fn on_row(&mut self, id: &TenantId) {
        self.missing_since.remove(id);
        self.known.insert(id.clone());
    }

    /// Notes that the operator has removed a tenant: that it is missing from now on is no loss.
    pub fn on_removed(&mut self, id: &TenantId) {
        self.missing_since.remove(id);
        self.known.remove(id);
    }

    /// Lets the next read be used, whatever is missing in it: the operator has looked.
    pub fn accept_loss(&mut self) {
        self.accepts_loss = true;
    }

    /// Returns whether the last read was withheld.
    #[must_use]
    pub const fn is_withholding(&self) -> bool {
        self.withheld_since.is_some()
    }
}

#[cfg(test)]
mod tests;
