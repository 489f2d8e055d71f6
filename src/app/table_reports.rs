//! What operators are told of the tenants of a table, each thing once.
//!
//! # Why
//!
//! Most tenants are at rest, and have no refresher that could warn of the end of a token. The rows say enough for that: whether
//! a token can be used, and when it ends. A tenant that is open warns itself, and so does one that is visited: its refresher
//! knows whether a renewal succeeds, and what Graph says of the end.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use super::directory::first_names;
use super::known_rows::KnownRows;
use super::row_tenants::RowTenants;
use crate::admin::{ReadFailure, TableState};
use crate::proxy::Tenants;
use crate::source::TenantRow;
use crate::tenants::VisitPolicy;
use crate::token::{Alert, AlertCause, ObtainError, expiry_alert, warning_days};
use crate::types::{Rfc3339Timestamp, TenantId};

/// Reports on a table, and what was reported, so that each thing is reported once.
pub(super) struct TableReports {
    tenants: Arc<RowTenants>,
    /// The faults of the last read.
    faults: Vec<String>,
    /// The tenants of the configuration whose row is not used.
    hidden: BTreeSet<TenantId>,
    /// What is wrong with the tokens of tenants.
    causes: HashMap<TenantId, AlertCause>,
}

// === impl TableReports ===

impl TableReports {
    /// Nothing was reported yet.
    pub(super) fn new(tenants: Arc<RowTenants>) -> Self {
        Self {
            tenants,
            faults: Vec::new(),
            hidden: BTreeSet::new(),
            causes: HashMap::new(),
        }
    }

    /// Reports that the table cannot be read, while so many tenants are known.
    pub(super) fn on_failure(&self, error: String, known: usize) {
        let before = self.tenants.table_state();
        let failure = before.failure.as_ref();
        if failure.is_none_or(|failure| failure.error != error) {
            self.tenants.reports.unreadable(&TenantId::unnamed(), &error);
            match known {
                0 => tracing::error!(error, "cannot read the tenants, and none is known yet"),
                known => tracing::error!(
                    error,
                    known,
                    "cannot read the tenants: those that are known stay in use"
                ),
            }
        }
        let now = || Rfc3339Timestamp(self.tenants.now()).to_string();
        let since = failure.map_or_else(now, |failure| failure.since.clone());
        self.tenants.set_table_state(TableState {
            failure: Some(ReadFailure { error, since }),
            ..*before
        });
    }

    /// Reports that the table was read, if it could not be read before.
    pub(super) fn on_success(&self) {
        if self.tenants.table_state().failure.is_some() {
            tracing::info!("the tenants can be read again");
            let reports = &self.tenants.reports;
            reports.readable(&TenantId::unnamed(), "The tenants can be read again.");
        }
    }

    /// Reports the rows of a read that are not valid tenants, if they have changed.
    pub(super) fn on_faults(&mut self, faults: Vec<String>) {
        if !faults.is_empty() && faults != self.faults {
            let (count, shown) = (faults.len(), first_names(faults.iter()));
            let part = self.tenants.rows().words().part;
            let summary = format!("{part}s of the tenants are not used ({count}): {shown}");
            let (tenant, cause) = (TenantId::unnamed(), AlertCause::SourceTokenRejected);
            let alert = Alert::new(&tenant, cause, "row", &summary, "Correct them");
            self.tenants.reports.alert(vec![alert]);
        }
        self.faults = faults;
    }

    /// Reports what a read has changed.
    pub(super) fn on_change(&mut self, rows: &KnownRows, new: &[TenantId], withdrawn: &[TenantId]) {
        if !new.is_empty() || !withdrawn.is_empty() {
            let all = rows.len();
            let (added, gone) = (first_names(new.iter()), first_names(withdrawn.iter()));
            let (new, withdrawn) = (new.len(), withdrawn.len());
            tracing::info!(new, withdrawn, all, added, gone, "the tenants have changed");
        }
        self.on_tick(rows);
    }

    /// Sends alerts about tokens that cannot be used or expire soon, each once.
    pub(super) fn on_tick(&mut self, rows: &KnownRows) {
        let (now, policy) = (self.tenants.now(), self.tenants.visit_policy());
        let (mut causes, mut alerts) = (HashMap::new(), Vec::new());
        for row in rows.current() {
            if let Some(row) = &*row
                && let Some(alert) = self.alert(row, policy, now)
            {
                let cause = alert.key.cause;
                // An open tenant reports that its token is missing or not valid, but not the other faults of its row.
                let is_unreported = |error: &Arc<ObtainError>| !error.is_absence() && !error.is_refusal();
                let is_unreported = row.token.as_ref().is_err_and(is_unreported);
                if self.causes.get(&row.id) != Some(&cause) && (is_unreported || self.tenants.cell(&row.id).is_none()) {
                    alerts.push(alert);
                }
                causes.insert(row.id.clone(), cause);
            }
        }
        self.causes = causes;
        self.tenants.reports.alert(alerts);
    }

    /// The alert about the token of a row, if it needs one that no visit sends. A token without an expiry needs none: where Graph is
    /// not asked, most may have no expiry.
    fn alert(&self, row: &TenantRow, policy: VisitPolicy, now: SystemTime) -> Option<Alert> {
        let remediation = || format!("Store a new token in {}", self.tenants.rows().describe(&row.id));
        match &row.token {
            Err(error) => {
                let (cause, summary) = (
                    AlertCause::SourceTokenRejected,
                    format!("The token cannot be used: {error}"),
                );
                Some(Alert::new(&row.id, cause, error.reason(), &summary, &remediation()))
            }
            Ok(_) if policy.renews || policy.verifies => None,
            Ok(token) => {
                let expires_at = token.expires_at?;
                let days = warning_days(expires_at, now)?;
                Some(expiry_alert(&row.id, days, expires_at, now, &remediation()))
            }
        }
    }

    /// Reports the tenants that both the configuration and the table have.
    pub(super) fn on_hidden(&mut self, rows: &KnownRows, tenants: &Tenants) {
        let configured = tenants.directory.entries();
        let configured = configured.filter(|entry| !entry.tenant.is_row());
        let hidden = configured.filter(|entry| rows.has_row(&entry.id) && !self.hidden.contains(&entry.id));
        let newly: BTreeSet<_> = hidden.map(|entry| entry.id.clone()).collect();
        if !newly.is_empty() {
            let (tenants, count) = (first_names(newly.iter()), newly.len());
            let part = self.tenants.rows().words().part;
            tracing::warn!(
                tenants,
                count,
                "tenants of the configuration have a {part}, too, which is not used: remove the {part}, or the section"
            );
        }
        self.hidden.extend(newly);
    }
}
