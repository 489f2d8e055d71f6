//! What the tenants of a table have in common: the settings of their requests, and the Meta apps of their tokens.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::StartError;
use super::secrets;
use crate::config::{AppConfig, Config};
use crate::proxy::Settings;
use crate::source::TenantRow;
use crate::tenants::{RowCell, VisitPolicy};
use crate::token::{ObtainError, ProofSettings, RefreshPolicy};
use crate::types::Secret;

/// What the tenants of a table have in common. A reload replaces it.
pub(super) struct RowSettings {
    pub(super) proxy: Arc<Settings>,
    /// The app of `[app]`.
    own_app: RowApp,
    /// The apps of `[tenants]`, by their ids.
    other_apps: HashMap<String, RowApp>,
}

/// A Meta app to which tokens of a table belong.
pub(super) struct RowApp {
    /// The configuration as it is for a tenant of this app.
    pub(super) config: Arc<Config>,
    pub(super) secret: Option<Secret>,
    pub(super) proofs: Option<ProofSettings>,
}

// === impl RowSettings ===

impl RowSettings {
    /// Reads what the tenants of a table have in common.
    ///
    /// # Errors
    ///
    /// [`StartError`] if a secret cannot be read.
    pub(super) fn new(config: &Config, proxy: Arc<Settings>) -> Result<Self, StartError> {
        let mut other_apps = HashMap::new();
        for app in config.tenants.values().map(|tenant| &tenant.app) {
            if let Some(id) = &app.id {
                other_apps.insert(id.clone(), RowApp::new(config, app)?);
            }
        }
        Ok(Self {
            proxy,
            own_app: RowApp::new(config, &config.app)?,
            other_apps,
        })
    }

    /// Returns the app with this id, or that of `[app]` without one; `None` if no such app is configured.
    pub(super) fn app(&self, id: Option<&str>) -> Option<&RowApp> {
        match id {
            Some(id) if self.own_app.config.app.id.as_deref() != Some(id) => self.other_apps.get(id),
            Some(_) | None => Some(&self.own_app),
        }
    }

    /// The same, or that of `[app]` if it is not configured: the token in such a row cannot be used anyway.
    pub(super) fn app_or_own(&self, id: Option<&str>) -> &RowApp {
        self.app(id).unwrap_or(&self.own_app)
    }

    /// Notes in a row if its app is not configured.
    pub(super) fn check(&self, row: &mut TenantRow) {
        if let Some(app) = &row.app
            && self.app(Some(app)).is_none()
        {
            let message = format!(
                "the row of {} names the app {app}, which is neither that of [app] nor of one of [tenants]; add it",
                row.id
            );
            row.token = Err(Arc::new(ObtainError::permanent(TenantRow::UNKNOWN_APP, message)));
        }
    }

    /// The cell with which a tenant is opened: one without the token if a reload has removed the app since the row was read. The
    /// tenant's own cell keeps it, for another reload.
    pub(super) fn cell_to_open(&self, cell: &Arc<RowCell>) -> Arc<RowCell> {
        let Some(mut row) = (*cell.row()).clone() else {
            return Arc::clone(cell);
        };
        self.check(&mut row);
        if row.has_unknown_app() {
            Arc::new(RowCell::new(row, cell.known_at()))
        } else {
            Arc::clone(cell)
        }
    }

    /// What visits are for.
    pub(super) fn visit_policy(&self) -> VisitPolicy {
        let token = &self.own_app.config.token;
        VisitPolicy {
            renews: token.renew.is_some(),
            verifies: token.verify,
            refresh: RefreshPolicy {
                renew_before: token.renew_before,
                ..RefreshPolicy::default()
            },
        }
    }
}

// === impl RowApp ===

impl RowApp {
    fn new(config: &Config, app: &AppConfig) -> Result<Self, StartError> {
        let secret = secrets::app_secret(app)?;
        Ok(Self {
            proofs: secret.as_ref().map(|secret| ProofSettings::new(secret, app.proof)),
            secret,
            config: Arc::new(config.of_row(app)),
        })
    }
}
