//! The tenants and their tokens, as an operator looks at them: page by page, in the order of their names.

use std::collections::BTreeMap;
use std::time::SystemTime;

use http::StatusCode;
use serde::Serialize;

use super::history::{LastEvents, LastRefresh, LastRejection};
use super::probes::ProcessStatus;
use super::query::Listing;
use super::response::{AdminResponse, json_response};
use super::state::Admin;
use super::table::{ListedTenant, ListedToken, is_usable};
use super::tenant::TenantStatus;
use crate::telemetry::metrics::TokenState;
use crate::types::Rfc3339Timestamp;

/// The body of `/admin/token-status`.
#[derive(Serialize)]
struct TokenStatusPage<'a> {
    #[serde(flatten)]
    process: ProcessStatus,
    #[serde(flatten)]
    page: Page<'a, TokenReport<'a>>,
}

/// The body of `/admin/tenants`.
#[derive(Serialize)]
struct Page<'a, T> {
    tenants: Vec<T>,
    /// The number of tokens in each state, of all tenants.
    counts: BTreeMap<&'static str, i64>,
    /// The value of `after` for the next page, if there is one.
    next: Option<&'a str>,
}

/// A tenant in a list of names.
#[derive(Serialize)]
struct TenantName<'a> {
    tenant: &'a str,
    state: &'static str,
    usable: bool,
}

/// The status of a tenant's token. Times are in the format of RFC 3339; `null` is unknown, or never: `expiry` says which.
#[derive(Serialize)]
struct TokenReport<'a> {
    tenant: &'a str,
    usable: bool,
    state: &'static str,
    reason: String,
    /// What to do, if there is something to do.
    advice: Option<String>,
    generation: Option<u64>,
    fingerprint: Option<String>,
    source: Option<String>,
    issued_at: Option<String>,
    first_seen_at: Option<String>,
    expiry: Expiry,
    expires_at: Option<String>,
    days_left: Option<f64>,
    data_access_expires_at: Option<String>,
    renew_at: Option<String>,
    scopes: Option<Vec<String>>,
    missing_scopes: Option<Vec<&'static str>>,
    last_refresh: Option<LastRefresh>,
    last_rejection: Option<LastRejection>,
}

/// What is known of the end of a token.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Expiry {
    /// It ends at `expires_at`.
    At,
    Never,
    Unknown,
}

/// Answers with the status of each token.
pub(super) fn token_status(admin: &Admin, listing: &Listing<'_>) -> AdminResponse {
    let (now, tenants) = (admin.clock.now(), admin.all_tenants());
    let process = ProcessStatus::new(admin, &tenants, now);
    let counts = process.tokens.clone();
    let page = Page::new(&tenants, listing, counts, now, |tenant, now| {
        TokenReport::new(tenant, &process, now)
    });
    json_response(StatusCode::OK, &TokenStatusPage { process, page })
}

/// Answers with the names of the tenants.
pub(super) fn tenants(admin: &Admin, listing: &Listing<'_>) -> AdminResponse {
    let (now, tenants) = (admin.clock.now(), admin.all_tenants());
    let counts = TokenState::count(tenants.iter().map(|tenant| tenant.token.state(now)));
    let page = Page::new(&tenants, listing, counts.into(), now, TenantName::new);
    json_response(StatusCode::OK, &page)
}

// === impl Page ===

impl<'a, T> Page<'a, T> {
    fn new(
        tenants: &'a [ListedTenant],
        listing: &Listing<'_>,
        counts: BTreeMap<&'static str, i64>,
        now: SystemTime,
        describe: impl Fn(&'a ListedTenant, SystemTime) -> T,
    ) -> Self {
        let has_state = |tenant: &ListedTenant| listing.state.is_none_or(|wanted| tenant.token.state(now) == wanted);
        let is_listed = |tenant: &&ListedTenant| listing.has_name(&tenant.id) && has_state(tenant);
        let mut listed: Vec<_> = tenants.iter().filter(is_listed).collect();
        listed.sort_unstable_by_key(|tenant| &tenant.id);
        let has_more = listed.len() > listing.limit;
        listed.truncate(listing.limit);
        let next = listed.last().filter(|_| has_more).map(|last| last.id.as_str());
        Self {
            tenants: listed.into_iter().map(|tenant| describe(tenant, now)).collect(),
            counts,
            next,
        }
    }
}

// === impl TenantName ===

impl<'a> TenantName<'a> {
    fn new(tenant: &'a ListedTenant, now: SystemTime) -> Self {
        let state = tenant.token.state(now);
        Self {
            tenant: tenant.id.as_str(),
            state: state.label(),
            usable: is_usable(state),
        }
    }
}

// === impl TokenReport ===

impl<'a> TokenReport<'a> {
    fn new(tenant: &'a ListedTenant, process: &ProcessStatus, now: SystemTime) -> Self {
        let last = match &tenant.token {
            ListedToken::Open(tenant) => tenant.history.last_events(),
            ListedToken::InRow { .. } | ListedToken::Faulty(_) | ListedToken::Withdrawn => LastEvents::default(),
        };
        let (expires_at, first_seen_at) = match tenant.token {
            ListedToken::InRow {
                expires_at,
                first_seen_at,
            } => (expires_at, first_seen_at),
            ListedToken::Open(_) | ListedToken::Faulty(_) | ListedToken::Withdrawn => {
                (last.status.expires_at, last.status.first_seen_at)
            }
        };
        let text = |at: Option<SystemTime>| at.map(|at| Rfc3339Timestamp(at).to_string());
        let TenantStatus {
            usable,
            reason,
            token,
            generation,
        } = tenant.token.status();
        Self {
            tenant: tenant.id.as_str(),
            usable,
            state: tenant.token.state(now).label(),
            reason,
            advice: advice(tenant, process, &last),
            generation,
            fingerprint: token,
            source: last.source,
            issued_at: text(last.status.issued_at),
            first_seen_at: text(first_seen_at),
            expiry: match expires_at {
                Some(_) => Expiry::At,
                None if last.status.is_expiry_known => Expiry::Never,
                None => Expiry::Unknown,
            },
            expires_at: text(expires_at),
            days_left: expires_at.map(|at| days_between(now, at)),
            data_access_expires_at: text(last.status.data_access_expires_at),
            renew_at: text(last.status.renew_at),
            scopes: last.status.scopes,
            missing_scopes: last.status.missing_scopes,
            last_refresh: last.last_refresh,
            last_rejection: last.last_rejection,
        }
    }
}

/// What the operator has to do: what the last alert says, or what helps if no token can be used.
fn advice(tenant: &ListedTenant, process: &ProcessStatus, last: &LastEvents) -> Option<String> {
    if let Some(alert) = &last.alert {
        return Some(alert.remediation.clone());
    }
    let start = match &tenant.token {
        ListedToken::Open(open) if open.tokens.is_usable() => return None,
        ListedToken::InRow { .. } => return None,
        ListedToken::Withdrawn => return Some("Add the tenant to its place again if it is to be served.".to_owned()),
        ListedToken::Open(_) | ListedToken::Faulty(_) => "Put a valid token into its source",
    };
    // A name has no character that a query encodes.
    let put = format!(", or send one with PUT /admin/token?tenant={}", tenant.id);
    Some(format!("{start}{}.", if process.accepts_changes { &put } else { "" }))
}

/// The days from one time to another, rounded down to a tenth; negative if it has passed.
fn days_between(now: SystemTime, at: SystemTime) -> f64 {
    const DAY: f64 = 24.0 * 60.0 * 60.0;
    let seconds = match at.duration_since(now) {
        Ok(left) => left.as_secs_f64(),
        Err(passed) => -passed.duration().as_secs_f64(),
    };
    (seconds / DAY * 10.0).floor() / 10.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn days_are_rounded_down() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for (hours, days) in [(24, 1.0), (23, 0.9), (1, 0.0), (0, 0.0), (24 * 60 - 1, 59.9)] {
            let at = now + Duration::from_secs(hours * 60 * 60);
            assert!((days_between(now, at) - days).abs() < 1e-9, "{hours}");
        }
        assert!((days_between(now, now - Duration::from_secs(60 * 60)) + 0.1).abs() < 1e-9);
    }
}
