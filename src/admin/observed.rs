//! What graphward would have done with the requests that it only observed, by the rule that would allow their calls.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Serialize;

use super::query::Listing;
use super::response::{AdminResponse, json_response};
use super::state::Admin;
use crate::tenants::CallCounts;
use crate::types::TenantId;

/// The body of `/admin/observed`.
#[derive(Serialize)]
struct ObservedPage<'a> {
    tenants: Vec<ObservedTenant<'a>>,
    /// The value of `after` for the next page, if there is one.
    next: Option<&'a str>,
}

/// What was observed of a tenant.
#[derive(Serialize)]
struct ObservedTenant<'a> {
    /// Its name; `null` is for requests that name no tenant, or none that there is.
    tenant: Option<&'a str>,
    /// The setting with all rules, ready to paste.
    allow: String,
    rules: &'a BTreeMap<String, CallCounts>,
    others: &'a CallCounts,
}

/// Answers with the calls of each tenant.
pub(super) fn observed(admin: &Admin, listing: &Listing<'_>) -> AdminResponse {
    let is_listed = |tenant: &TenantId| listing.has_name(tenant);
    let found = admin.observed_calls.by_tenant(is_listed, listing.limit + 1);
    let tenants = found.iter().take(listing.limit);
    let tenants = tenants.map(|(tenant, calls)| ObservedTenant {
        tenant: tenant.name(),
        allow: calls.to_setting(),
        rules: &calls.rules,
        others: &calls.others,
    });
    let last = found.keys().nth(listing.limit - 1);
    let next = last.filter(|_| found.len() > listing.limit).map(TenantId::as_str);
    let page = ObservedPage {
        tenants: tenants.collect(),
        next,
    };
    json_response(StatusCode::OK, &page)
}
