//! What the task that reads the table does with single rows: those that were looked up, and those of tenants that are not used.

use std::slice::from_ref;
use std::sync::Arc;

use super::known_rows::RowUpdate;
use super::table_reader::TableReader;
use super::tenant_look_ups::{LookUpReason, LookedUp};
use crate::tenants::RowSource;

impl TableReader {
    /// Uses what a look-up found.
    pub(super) fn on_looked_up(&mut self, found: LookedUp) {
        let LookedUp { request, read_at, row } = found;
        let (name, reason) = (request.name.clone(), request.reason);
        let state = self.tenants.table_state();
        if row.is_ok() && state.failure.is_some() {
            self.read_soon.notify_one();
        }
        let has_row = matches!(row, Ok(Some(_)));
        let result = match row {
            // It began before the tenant was removed.
            Ok(Some(_)) if reason == LookUpReason::Unlisted && self.look_ups.is_outdated(&name, read_at) => Ok(()),
            Ok(Some(row)) => {
                if !state.lists_tenants {
                    self.close_idle(1);
                }
                let is_outdated = matches!(self.update(row, read_at), RowUpdate::Outdated);
                if is_outdated && reason == LookUpReason::Put {
                    // What became known during the read may be older than what the operator has put.
                    return self.look_ups.read(request);
                }
                if !is_outdated && state.lists_tenants {
                    self.roster.on_row(&name);
                }
                Ok(())
            }
            Err(error) if reason != LookUpReason::Removed => Err(Arc::new(error)),
            // No row has this name; or the read after a removal failed, which its place has confirmed already.
            Ok(None) | Err(_) => {
                if reason != LookUpReason::Unlisted {
                    // It is recorded that the operator has asked for it, and needs no alert.
                    drop(self.withdraw(from_ref(&name)));
                    self.roster.on_removed(&name);
                }
                self.look_ups.note_unknown(name.clone());
                if reason == LookUpReason::Put {
                    Err(Arc::new(RowSource::row_gone(&self.tenants.rows().describe(&name))))
                } else {
                    Ok(())
                }
            }
        };
        // Those who wait read the proxy's tenants when they are told.
        self.publish();
        if has_row && self.proxy.tenants.load().directory.confirm_at().is_some() {
            self.read_soon.notify_one();
        }
        if !state.lists_tenants
            && let Some(entry) = self.proxy.tenants.load().directory.find(name.as_str())
        {
            // A tenant that is not listed is forgotten when it is closed, so it has to be open.
            entry.tenant.get();
        }
        self.look_ups.finish(request, &result);
    }

    /// Replaces tenants that are not used any more by closed ones, and the least recently used ones until `more` can be opened. If
    /// the table lists none, they are forgotten.
    pub(super) fn close_idle(&mut self, more: usize) {
        for id in self.tenants.close_idle(more) {
            if self.tenants.table_state().lists_tenants {
                self.rows.close(&id);
            } else {
                self.visits.cancel(&id);
                self.rows.forget(&id);
            }
        }
    }
}
