//! Decides which tenants of a table are withdrawn: a pure function of what its reads listed.
//!
//! # Why
//!
//! A row may be deleted and inserted again, and a read may see the moment between, so one read withdraws nothing. And a
//! truncated table, or the wrong database after a failover, looks exactly like ten thousand tenants that all left at once. Such
//! a read is not used for some minutes, since no real loss is that urgent, and the operator is told.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::types::TenantId;

/// The tenants that a table has, or had.
#[derive(Debug, Default)]
pub struct Roster {
    known: HashMap<TenantId, Presence>,
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
    /// Too many tenants are missing in it at once. What was there before stays in use.
    Withhold {
        /// The number of tenants that are missing.
        missing: usize,
        /// Of this many.
        known: usize,
        /// When the table is to be read again.
        read_again_at: Instant,
        /// Whether the read before it was used, so that the operator is told.
        is_first: bool,
    },
}

/// Whether a tenant is in the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Presence {
    Listed,
    /// The reads lack it since then.
    Missing(Instant),
    Withdrawn,
}

/// The time between the two reads that withdraw a tenant.
const CONFIRMATION_INTERVAL: Duration = Duration::from_secs(2);
/// How long a loss of many tenants lasts before it is believed.
const LOSS_PATIENCE: Duration = Duration::from_secs(5 * 60);
/// The time between two reads while a loss is not believed.
const LOSS_RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// The smallest loss that is doubted, unless nothing is left …
const MIN_DOUBTED_LOSS: usize = 5;
/// … and the part of the tenants that it has to exceed: one in ten.
const DOUBTED_PART: usize = 10;

// === impl Roster ===

impl Roster {
    /// Decides about a read that listed these tenants.
    pub fn on_read(&mut self, listed: &HashSet<&TenantId>, now: Instant) -> RosterDecision {
        let here = self
            .known
            .iter()
            .filter(|(_, presence)| **presence != Presence::Withdrawn);
        let known = here.clone().count();
        let missing = here.filter(|(id, _)| !listed.contains(id)).count();
        let is_doubted =
            missing > 0 && (listed.is_empty() || (missing >= MIN_DOUBTED_LOSS && missing * DOUBTED_PART > known));
        let is_believed = std::mem::take(&mut self.accepts_loss)
            || self.withheld_since.is_some_and(|since| now >= since + LOSS_PATIENCE);
        if is_doubted && !is_believed {
            let is_first = self.withheld_since.is_none();
            let since = *self.withheld_since.get_or_insert(now);
            return RosterDecision::Withhold {
                missing,
                known,
                read_again_at: (now + LOSS_RETRY_INTERVAL)
                    .min(since + LOSS_PATIENCE)
                    .max(now + CONFIRMATION_INTERVAL),
                is_first,
            };
        }
        self.withheld_since = None;
        let (mut withdrawn, mut confirm_at) = (Vec::new(), None);
        for (id, presence) in &mut self.known {
            *presence = match *presence {
                _ if listed.contains(id) => Presence::Listed,
                Presence::Withdrawn => Presence::Withdrawn,
                Presence::Missing(since) if now >= since + CONFIRMATION_INTERVAL => Presence::Withdrawn,
                // The reads that were withheld lacked it, too, or the operator has looked.
                Presence::Listed | Presence::Missing(_) if is_doubted => Presence::Withdrawn,
                Presence::Missing(since) => Presence::Missing(since),
                Presence::Listed => Presence::Missing(now),
            };
            match presence {
                Presence::Missing(since) => confirm_at = Some(*since + CONFIRMATION_INTERVAL),
                Presence::Withdrawn => withdrawn.push(id.clone()),
                Presence::Listed => {}
            }
        }
        self.known.retain(|_, presence| *presence != Presence::Withdrawn);
        for id in listed {
            if !self.known.contains_key(*id) {
                self.known.insert((*id).clone(), Presence::Listed);
            }
        }
        RosterDecision::Apply { withdrawn, confirm_at }
    }

    /// Notes that the row of a tenant was read alone.
    pub fn on_row(&mut self, id: &TenantId) {
        self.known.insert(id.clone(), Presence::Listed);
    }

    /// Notes that the operator has removed a tenant: that it is missing from now on is no loss.
    pub fn on_removed(&mut self, id: &TenantId) {
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
