//! The tenants of a table that are open, and which of them are closed next.
//!
//! # Why
//!
//! An open tenant takes some kilobytes. One that is not used for a while gives them back, and so do the least recently used ones
//! when there are too many: an app that names ever more tenants does not take ever more memory. None is closed that has a request
//! in flight.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::tenants::RunningTenant;
use crate::proxy::TenantShare;
use crate::tenants::RowCell;
use crate::token::TokenHandle;
use crate::types::TenantId;

/// The tenants that are open.
#[derive(Default)]
pub(super) struct OpenRows {
    // Boxed, because a table of them is half empty.
    pub(super) by_name: HashMap<TenantId, Box<OpenRow>>,
    /// Closed tenants that requests may still be using. The oldest is first.
    closing: Vec<OpenRow>,
}

/// A tenant that is open.
pub(super) struct OpenRow {
    pub(super) cell: Arc<RowCell>,
    pub(super) running: RunningTenant,
    pub(super) share: TenantShare,
    pub(super) opened_at: Instant,
    /// The last time at which it was seen in use.
    pub(super) used_at: Instant,
    /// How long it stays open without being used.
    pub(super) idle: Duration,
    pub(super) is_visited: bool,
    /// The settings have changed since it was opened.
    pub(super) is_outdated: bool,
}

/// Which tenants stay open.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenLimits {
    /// How long a tenant stays open after its last request.
    pub(super) idle: Duration,
    /// The most tenants that are open at the same time.
    pub(super) max_open: usize,
}

/// The shortest time that a tenant stays open: the request for which it was opened may not have reached it yet.
const MIN_OPEN_TIME: Duration = Duration::from_secs(1);
/// How long a tenant stays after the directory has a closed one in its place: requests that began before may still use it.
const CLOSING_TIME: Duration = Duration::from_secs(30);
/// The most of these tenants, besides those that are busy.
const MAX_CLOSING: usize = 1_000;

// === impl OpenRows ===

impl OpenRows {
    /// Takes out the tenants that these limits close. They end when no request can use them any more.
    pub(super) fn take_idle(&mut self, limits: OpenLimits, now: Instant) -> Vec<TenantId> {
        self.closing
            .retain(|row| now < row.used_at + CLOSING_TIME || row.is_busy());
        let count = self.by_name.len();
        let (mut idle, mut unused) = (Vec::new(), Vec::new());
        for (id, row) in &mut self.by_name {
            if row.share.take_used() {
                (row.used_at, row.idle) = (now, limits.idle);
            }
            if row.is_outdated {
                idle.push(id.clone());
            } else if row.is_busy() {
                row.used_at = now;
            } else if now >= row.used_at + row.idle {
                idle.push(id.clone());
            } else if now >= row.opened_at + MIN_OPEN_TIME {
                unused.push((row.used_at, id));
            }
        }
        let excess = (count - idle.len()).saturating_sub(limits.max_open);
        if excess > 0 {
            unused.sort_unstable_by_key(|(used_at, _)| *used_at);
            idle.extend(unused.into_iter().take(excess).map(|(_, id)| id.clone()));
        }
        self.close(&idle, now);
        idle
    }

    /// Adds a tenant. One in its place ends when no request can use it any more.
    pub(super) fn insert(&mut self, row: OpenRow) {
        if let Some(replaced) = self.by_name.insert(row.cell.id().clone(), Box::new(row)) {
            self.closing.push(*replaced);
        }
    }

    /// Adds a tenant that the directory does not have any more, for a request that began before.
    pub(super) fn insert_closing(&mut self, row: OpenRow) {
        self.closing.push(row);
    }

    /// The tokens of the tenants that close, and may be renewing theirs.
    pub(super) fn closing_tokens(&self) -> Vec<TokenHandle> {
        self.closing.iter().map(|row| row.running.tokens.clone()).collect()
    }

    /// Closes tenants. They end when no request can use them any more.
    pub(super) fn close(&mut self, ids: &[TenantId], now: Instant) {
        for id in ids {
            if let Some(mut row) = self.by_name.remove(id) {
                row.keep_expiry();
                row.used_at = now;
                self.closing.push(*row);
            }
        }
        let mut excess = self.closing.len().saturating_sub(MAX_CLOSING);
        self.closing.retain(|row| {
            let ends = excess > 0 && !row.is_busy();
            excess -= usize::from(ends);
            !ends
        });
    }
}

// === impl OpenRow ===

impl OpenRow {
    /// Lets the tenant at rest know when its token expires.
    fn keep_expiry(&self) {
        if let (Some(current), Some(at)) = (self.running.tokens.current(), self.running.admin.expires_at()) {
            self.cell.keep_reported_expiry(current.fingerprint(), at);
        }
    }

    /// Whether it is visited, has a request in flight, or renews its token.
    fn is_busy(&self) -> bool {
        self.is_visited || self.share.inflight() > 0 || self.running.tokens.is_renewing()
    }
}
