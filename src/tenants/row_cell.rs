//! The row of one tenant of a table, as it was read last, and the source of its token.
//!
//! # Why
//!
//! A tenant at rest is only this cell. The refresher of a tenant in use reads it as a source: what the table says is there
//! already, so its first load and one after a change ask no database. Only a load that would return the same token again asks
//! for the row, because it has a reason: the token is dead, or about to be renewed.
//!
//! A read of the whole table takes a while, and a token may be stored meanwhile. What such a read says of that row is older than
//! what the cell has, and would bring a token back that was replaced. So each write has a time, and an older one changes nothing.

use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::source::{StoredToken, TenantRow, TenantRows};
use crate::token::{BoxFuture, LookInterval, ObtainError, RefreshLock, Source, StoreFuture, StoreOutcome, Token};
use crate::types::{Fingerprint, TenantId, lock};

/// The row of a tenant, as it was read last.
#[derive(Debug)]
pub struct RowCell {
    id: TenantId,
    /// `None` if the tenant was withdrawn.
    row: ArcSwap<Option<TenantRow>>,
    known: Mutex<Known>,
    /// The token in it has changed.
    changed: Notify,
    /// The cell whose place it took. Requests that began with that one may be held until there is another token.
    predecessor: Weak<Self>,
}

/// What is known of a row besides what was read.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// When the read began that returned the row, or when graphward had stored its token, or when the tenant was withdrawn.
    at: Instant,
    /// The token with which the tenant was last in use.
    last_used: Option<Fingerprint>,
}

/// What a row that was read means for its cell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RowChange {
    /// Its token is the same, or has the same fault.
    Same,
    /// Its token is another one, or the tenant was withdrawn.
    Changed,
    /// The cell has a token that became known after the read began, and keeps it.
    Outdated,
}

/// The token in a row, as a source.
#[derive(derive_more::Debug)]
#[debug("RowSource({})", self.describe())]
pub struct RowSource {
    cell: Arc<RowCell>,
    rows: Arc<dyn TenantRows>,
    /// The row that the last load returned.
    returned: Option<Arc<Option<TenantRow>>>,
    has_returned_token: bool,
    next_poll: Option<Instant>,
}

/// The longest time between two reads of a row while its token is dead and no request needs it. If an app is disabled, the tokens of
/// all its tenants are dead at once, while a change in the place is announced, or found by its poll.
const LONGEST_LOOK_INTERVAL: Duration = Duration::from_secs(30);

// === impl RowCell ===

impl RowCell {
    /// Creates the cell of a row; the read that returned it began at `read_at`.
    #[must_use]
    pub fn new(row: TenantRow, read_at: Instant) -> Self {
        Self {
            id: row.id.clone(),
            row: ArcSwap::from_pointee(Some(row)),
            known: Mutex::new(Known {
                at: read_at,
                last_used: None,
            }),
            changed: Notify::new(),
            predecessor: Weak::new(),
        }
    }

    /// Creates the cell that takes the place of this one. What has begun with this one goes on with its row, and is told if the
    /// token is another one, now or later: then it reads the row itself.
    #[must_use]
    pub fn successor(self: &Arc<Self>, row: TenantRow, read_at: Instant) -> Self {
        let successor = Self {
            predecessor: Arc::downgrade(self),
            ..Self::new(with_age_of(&self.row(), row), read_at)
        };
        if !has_same_token(&self.row(), &successor.row()) {
            self.notify();
        }
        lock(&successor.known).last_used = lock(&self.known).last_used;
        successor
    }

    /// Notes the token with which the tenant is in use; returns the one before, if it was in use before.
    pub fn note_use(&self, token: Fingerprint) -> Option<Fingerprint> {
        lock(&self.known).last_used.replace(token)
    }

    /// The tenant's name.
    #[must_use]
    pub const fn id(&self) -> &TenantId {
        &self.id
    }

    /// The row; `None` if the tenant was withdrawn.
    #[must_use]
    pub fn row(&self) -> Arc<Option<TenantRow>> {
        self.row.load_full()
    }

    /// When the read began that returned the row, or when graphward had stored its token, or when the tenant was withdrawn.
    #[must_use]
    pub fn known_at(&self) -> Instant {
        lock(&self.known).at
    }

    /// Replaces the row by that of a read that began at `read_at`; `None` withdraws the tenant. If the token is another one, its
    /// refresher is told.
    pub fn update(&self, row: Option<TenantRow>, read_at: Instant) -> RowChange {
        let change = self.update_quietly(row, read_at);
        if change == RowChange::Changed {
            self.notify();
        }
        change
    }

    fn notify(&self) {
        self.changed.notify_one();
        if let Some(predecessor) = self.predecessor.upgrade() {
            predecessor.notify();
        }
    }

    /// Keeps the time at which the token of its row expires, as Graph reported it while the tenant was open.
    pub fn keep_reported_expiry(&self, token: Fingerprint, expires_at: SystemTime) {
        let _known = lock(&self.known);
        let mut row = (*self.row()).clone();
        if let Some(row) = &mut row
            && row.token.as_ref().is_ok_and(|own| own.secret.fingerprint() == token)
        {
            row.reported_expires_at = Some(expires_at);
        }
        self.row.store(Arc::new(row));
    }

    fn update_quietly(&self, row: Option<TenantRow>, read_at: Instant) -> RowChange {
        let mut known = lock(&self.known);
        let before = self.row();
        let is_same = has_same_token(&before, &row);
        if read_at >= known.at {
            known.at = read_at;
            self.row.store(Arc::new(row.map(|row| with_age_of(&before, row))));
        } else if !is_same {
            return RowChange::Outdated;
        }
        if is_same { RowChange::Same } else { RowChange::Changed }
    }
}

/// Returns a row that was read, with the time at which its token was first seen, and the end that Graph has reported. A token is
/// renewed by its age, and its tenant may be closed and opened many times before that.
fn with_age_of(before: &Option<TenantRow>, mut row: TenantRow) -> TenantRow {
    row.reported_expires_at = None;
    if let (Some(before), Ok(token)) = (before, &mut row.token)
        && let Ok(token_before) = &before.token
        && is_same(token_before, token)
    {
        token.modified_at = token_before.modified_at.or(token.modified_at);
        row.reported_expires_at = before.reported_expires_at;
    }
    row
}

/// Returns whether two rows have the same token, or the same fault.
fn has_same_token(one: &Option<TenantRow>, other: &Option<TenantRow>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => match (&one.token, &other.token) {
            (Ok(one), Ok(other)) => is_same(one, other),
            (Err(one), Err(other)) => one.to_string() == other.to_string(),
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        },
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn is_same(one: &Token, other: &Token) -> bool {
    one.secret.fingerprint() == other.secret.fingerprint() && one.expires_at == other.expires_at
}

// === impl RowSource ===

impl RowSource {
    /// Creates the source of a tenant's token.
    #[must_use]
    pub fn new(cell: Arc<RowCell>, rows: Arc<dyn TenantRows>) -> Self {
        Self {
            cell,
            rows,
            returned: None,
            has_returned_token: false,
            next_poll: None,
        }
    }

    const ROW_GONE: &str = "missing";

    /// Returns the error for a tenant that this place no longer has.
    #[must_use]
    pub fn row_gone(place: &str) -> ObtainError {
        ObtainError::absent(
            Self::ROW_GONE,
            format!("{place} no longer has this tenant; add it there"),
        )
    }

    /// Returns whether an error of a tenant of [`tenants_from`](crate::config::Config::tenants_from) is that one.
    #[must_use]
    pub fn is_row_gone(error: &ObtainError) -> bool {
        error.reason() == Self::ROW_GONE
    }

    async fn load_row(&mut self) -> Result<Token, ObtainError> {
        self.restart_period();
        let mut row = self.cell.row();
        // The same token, or a row that was gone, is read from its place again.
        let has_reason = |before: &Arc<Option<TenantRow>>| before.is_none() || has_same_token(before, &row);
        if self.returned.as_ref().is_some_and(has_reason) {
            // What is read in its turn is newer than what was read while it waited.
            let (_turn, read_at) = (self.rows.take_turn().await, Instant::now());
            let read = match (self.rows.read_row(&self.cell.id).await, &*row) {
                // A failed read says nothing, so the row still has its fault. It withdraws no token that is in use. Only a read of the
                // table, or a reload, finds an app that is configured by now, and opens the tenant with its secret.
                (read, Some(TenantRow { token: Err(fault), .. }))
                    if fault.reason() == TenantRow::UNKNOWN_APP || (read.is_err() && !self.has_returned_token) =>
                {
                    return Err(fault.repeat());
                }
                (read, _) => read?,
            };
            // A row that is gone is withdrawn by the reads of the whole table, or by the second load in a row that says so.
            row = match read {
                Some(read) => {
                    self.cell.update_quietly(Some(self.with_own_ids(read)?), read_at);
                    self.cell.row()
                }
                None => Arc::new(None),
            };
        }
        self.returned = Some(Arc::clone(&row));
        self.has_returned_token |= row.as_ref().as_ref().is_some_and(|row| row.token.is_ok());
        match &*row {
            Some(row) => row.token.clone().map_err(|error| error.repeat()),
            None => Err(Self::row_gone(&self.describe())),
        }
    }

    /// Returns a row that was read alone with the ids that the requests of this cell may have. The others come with a read of the
    /// table, which changes the ids of all tenants at once.
    ///
    /// # Errors
    ///
    /// The row no longer has one of these ids, so that its token may be that of other objects; or it names another app, whose secret
    /// this tenant does not have.
    fn with_own_ids(&self, read: TenantRow) -> Result<TenantRow, ObtainError> {
        let Some(own) = &*self.cell.row() else {
            // It is in use again when the directory has it, with a cell of its own.
            return Err(Self::row_gone(&self.describe()));
        };
        let lost = own.object_ids.iter().find(|id| !read.object_ids.contains(id));
        let lost = lost.map(|id| format!("no longer has the id {id}"));
        if let Some(change) = lost.or_else(|| (read.app != own.app).then(|| "names another app".to_owned())) {
            let place = self.describe();
            let message = format!("{place} {change} for this tenant: its token is used when all tenants are read");
            return Err(ObtainError::transient("row_changed", message));
        }
        let object_ids = Arc::clone(&own.object_ids);
        Ok(TenantRow { object_ids, ..read })
    }

    fn restart_period(&mut self) {
        let jittered = |period: Duration| Instant::now() + period.mul_f64(0.9 + 0.2 * fastrand::f64());
        self.next_poll = self.rows.poll_interval().map(jittered);
    }
}

impl Source for RowSource {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        Box::pin(self.load_row())
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let poll = async {
                match self.next_poll {
                    // Boxed: most tables are not polled row by row.
                    Some(at) => Box::pin(sleep_until(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.cell.changed.notified() => {}
                () = poll => self.restart_period(),
            }
        })
    }

    fn look_interval(&self) -> Option<LookInterval> {
        Some(LookInterval {
            first: self.rows.look_interval(),
            longest: LONGEST_LOOK_INTERVAL,
        })
    }

    fn describe(&self) -> String {
        self.rows.describe(&self.cell.id)
    }

    fn check_writable(&self) -> Result<(), String> {
        self.rows.check_writable(&self.cell.id)
    }

    fn lock(&mut self) -> BoxFuture<'_, Result<RefreshLock, ObtainError>> {
        self.rows.lock(&self.cell.id)
    }

    fn store<'a>(&'a mut self, token: &'a Token, expected: Option<Fingerprint>) -> StoreFuture<'a> {
        Box::pin(async move {
            // Another token of an app that is not configured would be of no use.
            if let Some(TenantRow { token: Err(fault), .. }) = &*self.cell.row()
                && fault.reason() == TenantRow::UNKNOWN_APP
            {
                return Err(fault.repeat());
            }
            let outcome = self.rows.store(&self.cell.id, StoredToken { token, expected }).await?;
            if outcome == StoreOutcome::Stored
                && let Some(row) = &*self.cell.row()
            {
                let token = Ok(token.clone());
                self.cell
                    .update_quietly(Some(TenantRow { token, ..row.clone() }), Instant::now());
                self.returned = Some(self.cell.row());
            }
            Ok(outcome)
        })
    }
}

#[cfg(test)]
mod tests;
