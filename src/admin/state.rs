//! What the admin listener reports and changes.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, watch};

use super::access::{AccessPolicy, AdminAddress};
use super::comparison::TokenComparison;
use super::table::{ListedTenant, ListedToken, TenantRegistry};
use super::tenant::AdminTenant;
use super::used_codes::UsedCodes;
use crate::net::{Lifecycle, Tasks};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{AuditLog, EventLog, LineLimit};
use crate::tenants::ObservedCalls;
use crate::types::Clock;

/// The tenants that need a usable token for the process to be ready.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadinessPolicy {
    /// At least one.
    #[default]
    Any,
    /// All tokens.
    All,
    /// No token.
    Ignore,
}

/// When graphward is ready.
#[derive(Clone, Copy, Debug, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadyConfig {
    /// How many tokens have to be usable.
    pub tokens: ReadinessPolicy,
}

/// The state that the admin listener reports.
#[derive(Debug)]
pub struct Admin {
    /// The stage of the process.
    pub lifecycle: Lifecycle,
    /// The tenants of the configuration.
    pub tenants: ArcSwap<Vec<Arc<AdminTenant>>>,
    /// The tenants of a table, if there is one.
    pub table: Option<Arc<dyn TenantRegistry>>,
    /// The listener.
    pub address: AdminAddress,
    /// The URL of the proxy, for a client that has mistaken this listener for it.
    pub proxy_url: String,
    /// Who may use it, and for what.
    pub access: ArcSwap<AccessPolicy>,
    /// Compares a new token with the one in use; `None` if tokens are not compared.
    pub comparison: Option<Arc<dyn TokenComparison>>,
    /// Identifies the sources of the token, so that a command finds out whether it has the same configuration.
    pub source_identity: ArcSwap<String>,
    /// The readiness policy.
    pub readiness: ArcSwap<ReadinessPolicy>,
    /// Wall time.
    pub clock: Clock,
    /// Records changes of tokens.
    pub audit: AuditLog,
    /// The last events.
    pub events: EventLog,
    /// The calls of the requests that were only observed.
    pub observed_calls: Arc<ObservedCalls>,
    /// Bounds the lines of the log about requests that are not accepted.
    pub(crate) refusals: LineLimit,
    /// The clients that wait for an event, so that they leave connections to the probes.
    pub event_waits: Semaphore,
    /// The OAuth codes that are not sent again.
    pub used_codes: Arc<UsedCodes>,
    /// Each change in progress has a receiver: a stop waits until all are dropped.
    pub changes: watch::Sender<()>,
    /// All metrics.
    pub metrics: Metrics,
    /// The tasks whose panics are counted.
    pub tasks: Tasks,
}

/// The most clients that wait for an event at a time; further ones are answered at once.
pub const MAX_EVENT_WAITS: usize = 32;

impl Admin {
    /// Returns all tenants.
    pub(super) fn all_tenants(&self) -> Vec<ListedTenant> {
        let tenants = self.tenants.load();
        let configured = tenants.iter().map(|tenant| ListedTenant {
            id: tenant.id.clone(),
            token: ListedToken::Open(Arc::clone(tenant)),
        });
        let mut all: Vec<_> = configured.collect();
        all.extend(self.table.iter().flat_map(|table| table.all()));
        all
    }

    /// Returns the tenants whose token can be changed: those of the configuration, and the named one of the table, which is opened.
    pub(super) fn open_tenants(&self, name: Option<&str>) -> Vec<Arc<AdminTenant>> {
        let mut tenants = Vec::clone(&self.tenants.load());
        let of_table = self.table.as_ref().zip(name);
        tenants.extend(of_table.and_then(|(table, name)| table.open(name)));
        tenants
    }
}
