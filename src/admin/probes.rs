//! The probes: whether the process has started, and whether it is ready.
//!
//! # Why
//!
//! Readiness is about this process and its tokens, not about Graph: a probe that follows the upstream takes every replica
//! out of service when it is needed most. One dead account must not take the others out of service either, hence the
//! policy.

use std::collections::BTreeMap;
use std::time::SystemTime;

use http::StatusCode;
use serde::Serialize;

use super::access::Guard;
use super::response::{AdminResponse, TEXT, json_response, respond};
use super::state::{Admin, ReadinessPolicy};
use super::table::{ListedTenant, ReadFailure, is_usable};
use super::tenant::TenantStatus;
use crate::net::Stage;
use crate::telemetry::metrics::TokenState;

/// What is known of the process.
#[derive(Serialize)]
pub(super) struct ProcessStatus {
    ready: bool,
    stage: &'static str,
    /// Whether the listener changes tokens, and why not.
    pub(super) accepts_changes: bool,
    changes_refused: Option<String>,
    source_identity: String,
    /// The number of tenants.
    tenant_count: usize,
    /// The place of the tenants, if it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenants_from: Option<ReadFailure>,
    /// The number of tokens in each state.
    pub(super) tokens: BTreeMap<&'static str, i64>,
}

/// The body of `/readyz`.
#[derive(Serialize)]
struct Readiness<'a> {
    #[serde(flatten)]
    process: ProcessStatus,
    /// All tenants if they are few, or else the first of those without a usable token.
    tenants: BTreeMap<&'a str, TenantStatus>,
}

/// The most tenants that are listed.
const MAX_LISTED: usize = 20;

/// Answers whether the process has started.
pub(super) fn startup(admin: &Admin) -> AdminResponse {
    const STARTING: &str = "starting: waiting for the first token source check\n";
    const READING: &str =
        "starting: waiting for the tenants of tenants_from; if they cannot be read, the log says why\n";
    let starting = if admin.table.is_some() { READING } else { STARTING };
    if admin.lifecycle.current() >= Stage::Serving {
        respond(StatusCode::OK, TEXT, "started\n")
    } else {
        respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, starting)
    }
}

/// Answers whether the process is ready.
pub(super) fn readiness(admin: &Admin) -> AdminResponse {
    let (now, tenants) = (admin.clock.now(), admin.all_tenants());
    let process = ProcessStatus::new(admin, &tenants, now);
    let mut listed: Vec<_> = tenants.iter().collect();
    if tenants.len() > MAX_LISTED {
        listed.retain(|tenant| !is_usable(tenant.token.state(now)));
    }
    // A withdrawn tenant may be meant so, and stays until the process ends: it hides no other one.
    listed.sort_unstable_by_key(|tenant| (tenant.token.state(now) == TokenState::Withdrawn, &tenant.id));
    let listed = listed.into_iter().take(MAX_LISTED);
    let status = if process.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let readiness = Readiness {
        process,
        tenants: listed
            .map(|tenant| (tenant.id.as_str(), tenant.token.status()))
            .collect(),
    };
    json_response(status, &readiness)
}

// === impl ProcessStatus ===

impl ProcessStatus {
    /// The status of the process with all these tenants.
    pub(super) fn new(admin: &Admin, tenants: &[ListedTenant], now: SystemTime) -> Self {
        let stage = admin.lifecycle.current();
        let states = || tenants.iter().map(|tenant| tenant.token.state(now));
        let table = admin.table.as_ref().map(|table| table.state());
        // A table has been read by now. It may list none yet, and one that cannot list them may have others.
        let may_have_others = table
            .as_ref()
            .is_some_and(|table| tenants.is_empty() || !table.lists_tenants);
        let has_any = may_have_others || states().any(is_usable);
        let tokens_ready = match **admin.readiness.load() {
            ReadinessPolicy::Any => has_any,
            // A withdrawn tenant needs no token.
            ReadinessPolicy::All => has_any && states().all(|state| is_usable(state) || state == TokenState::Withdrawn),
            ReadinessPolicy::Ignore => true,
        };
        let change_refusal = Guard {
            policy: &admin.access.load(),
            address: &admin.address,
        }
        .change_refusal();
        Self {
            ready: stage == Stage::Serving && tokens_ready,
            stage: stage.label(),
            accepts_changes: change_refusal.is_none(),
            changes_refused: change_refusal.map(|error| error.to_string()),
            source_identity: admin.source_identity.load().to_string(),
            tenant_count: tenants.len(),
            tenants_from: table.and_then(|table| table.failure.clone()),
            tokens: TokenState::count(states()).into(),
        }
    }
}
