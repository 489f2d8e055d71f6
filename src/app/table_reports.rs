//! What the log says of the tenants of a table, each thing once.

use std::collections::BTreeSet;

use super::known_rows::KnownRows;
use crate::proxy::Tenants;
use crate::types::TenantId;

/// What the log has said.
#[derive(Debug, Default)]
pub(super) struct TableReports {
    /// The faults of the last read.
    faults: Vec<String>,
    /// The tenants without a usable token.
    unusable: BTreeSet<TenantId>,
    /// The tenants of the configuration whose row is not used.
    hidden: BTreeSet<TenantId>,
}

/// The most names in one line of the log.
const MAX_NAMES: usize = 10;

/// Reports that the table cannot be read, while so many tenants are known.
pub(super) fn report_failure(error: &str, known: usize) {
    match known {
        0 => tracing::error!(error, "cannot read the tenants, and none is known yet"),
        known => tracing::error!(
            error,
            known,
            "cannot read the tenants: those that are known stay in use"
        ),
    }
}

// === impl TableReports ===

impl TableReports {
    /// Reports the rows of a read that are no tenants, if they are others than before.
    pub(super) fn on_faults(&mut self, faults: Vec<String>) {
        if !faults.is_empty() && faults != self.faults {
            let shown: Vec<_> = faults.iter().take(MAX_NAMES).map(String::as_str).collect();
            let (faults, count) = (shown.join("; "), faults.len());
            tracing::warn!(faults, count, "rows of the tenants that are not used; correct them");
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
        let unusable = rows.unusable();
        let newly: Vec<_> = unusable.difference(&self.unusable).collect();
        if let Some(error) = newly.first().and_then(|id| rows.problem(id)) {
            let (tenants, count) = (first_names(newly.iter()), unusable.len());
            tracing::warn!(tenants, count, %error, "tenants whose token cannot be used, with the reason of the first");
        }
        self.unusable = unusable;
    }

    /// Reports the tenants that both the configuration and the table have.
    pub(super) fn on_hidden(&mut self, rows: &KnownRows, tenants: &Tenants) {
        let configured = tenants.directory.entries();
        let configured = configured.filter(|entry| entry.tenant.opener().is_none());
        let hidden = configured.filter(|entry| rows.is_listed(&entry.id) && !self.hidden.contains(&entry.id));
        let newly: BTreeSet<_> = hidden.map(|entry| entry.id.clone()).collect();
        if !newly.is_empty() {
            let (tenants, count) = (first_names(newly.iter()), newly.len());
            tracing::warn!(
                tenants,
                count,
                "tenants of the configuration have a row, too, which is not used: remove the row, or the section"
            );
        }
        self.hidden.extend(newly);
    }
}

/// The first of several names, as one text.
fn first_names<T: ToString>(names: impl Iterator<Item = T>) -> String {
    let names: Vec<_> = names.take(MAX_NAMES).map(|name| name.to_string()).collect();
    names.join(", ")
}
