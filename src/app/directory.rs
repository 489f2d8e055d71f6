//! The tenants of the proxy: those of the configuration, and those of a table.
//!
//! # Why
//!
//! A tenant that a reload removes stays as an inactive one until the process ends. Its app may not know that yet, and its ids must
//! not become those of no tenant: its messages would be sent with the token of the default one. An id that is taken out of a section
//! that stays is another matter: the operator says that it is not the tenant's.

use std::sync::Arc;

use super::context::BuildContext;
use super::tenants::RunningTenant;
use crate::config::Config;
use crate::proxy::{LazyTenant, OutageLog, RequestTelemetry, Settings, Tenant, TenantShare, Tenants};
use crate::tenants::{AllowRules, Directory, Entry, Standing};
use crate::token::TokenHandle;
use crate::types::TenantId;

/// Builds the tenants of the proxy. One that `before` has, too, goes on with what it has counted and remembered.
pub(super) fn build_tenants(
    config: &Config,
    context: &BuildContext,
    settings: &Arc<Settings>,
    tenants: &[&RunningTenant],
    before: Option<&Tenants>,
    new_share: impl Fn() -> TenantShare,
) -> Tenants {
    let mut directory = Directory::builder();
    let are_several = tenants.len() > 1 || config.tenants_from.is_some();
    let share = |before: Option<&Tenant>| {
        let before = || before.and_then(|before| before.share.clone());
        are_several.then(|| before().unwrap_or_else(&new_share))
    };
    for running in tenants {
        let id = &running.id;
        let before = before.and_then(|before| before.directory.find(id.as_str()));
        let before = before.and_then(|entry| entry.tenant.if_open());
        // Another tenant may have the name now.
        let before = before.filter(|before| before.tokens.is_same(&running.tokens));
        let object_ids = config.tenants.get(id).into_iter().flat_map(|tenant| tenant.ids.iter());
        let entry = Entry {
            id: id.clone(),
            object_ids: object_ids.map(|object_id| object_id.as_str().into()).collect(),
            standing: Standing::Active,
            tenant: LazyTenant::opened(request_tenant(running, settings, before, share(before), context)),
        };
        // The names are keys of one table, so each is there once.
        drop(directory.add(Arc::new(entry)));
    }
    // A row named `default` is only a tenant of that name.
    if config.serves_unnamed {
        directory.serve_unnamed(&TenantId::default());
    }
    let directory = directory.build();
    let unnamed = before.map(|before| &before.unnamed.telemetry);
    let is_named = |entry: &Arc<Entry<LazyTenant>>| entry.id != TenantId::default();
    // Those of earlier configurations, too: what they name must not become a request of another tenant.
    let mut headers = before.map(|before| before.headers.clone()).unwrap_or_default();
    let header = config.routing.header.as_deref().and_then(|header| header.parse().ok());
    headers.extend(header.filter(|header| !headers.contains(header)));
    let reads_signs = !headers.is_empty() || directory.entries().any(is_named);
    let without_rows = Tenants {
        reads_signs: reads_signs || before.is_some_and(|before| before.reads_signs),
        directory,
        headers,
        unnamed: Tenant {
            settings: Arc::clone(settings),
            tokens: TokenHandle::without_token(),
            family: None,
            allow: None,
            uids: None,
            dead_token_cache: Arc::default(),
            telemetry: Arc::new(request_telemetry(&TenantId::unnamed(), config, unnamed, context)),
            share: share(before.map(|before| &before.unnamed)),
        },
        settings: Arc::clone(settings),
        hidden: Vec::new(),
        removed: before.map_or_else(Vec::new, |before| removed_tenants(before, tenants)),
        lookup: before.and_then(|before| before.lookup.clone()),
        first_read: before.and_then(|before| before.first_read.clone()),
    };
    let reloaded = |tenant: &Tenant| Tenant {
        settings: Arc::clone(settings),
        telemetry: Arc::new(RequestTelemetry {
            access_log: config.log.requests,
            ..(*tenant.telemetry).clone()
        }),
        ..tenant.clone()
    };
    let entries = before.map(|before| before.directory.entries().chain(&before.hidden));
    let rows = entries.into_iter().flatten();
    let rows = rows.filter(|entry| entry.tenant.opener().is_some()).map(|entry| Entry {
        id: entry.id.clone(),
        object_ids: entry.object_ids.clone(),
        standing: entry.standing,
        tenant: entry.tenant.with(reloaded),
    });
    let tenants = with_rows(&without_rows, rows.map(Arc::new));
    warn_of_shared_objects(&tenants, before);
    tenants
}

/// The tenants that the configuration does not have any more: without a token, and with the ids that they had.
fn removed_tenants(before: &Tenants, tenants: &[&RunningTenant]) -> Vec<Arc<Entry<LazyTenant>>> {
    let removed = configured(before).map(|entry| Entry {
        id: entry.id.clone(),
        object_ids: entry.object_ids.clone(),
        standing: Standing::Inactive,
        tenant: LazyTenant::opened(before.unnamed.clone()),
    });
    let removed = removed.map(Arc::new).chain(before.removed.iter().map(Arc::clone));
    let is_gone = |entry: &Arc<Entry<_>>| !tenants.iter().any(|running| running.id == entry.id);
    removed.filter(is_gone).collect()
}

/// The tenants that the configuration has.
fn configured(tenants: &Tenants) -> impl Iterator<Item = &Arc<Entry<LazyTenant>>> {
    let entries = tenants.directory.entries();
    entries.filter(|entry| entry.standing == Standing::Active && entry.tenant.opener().is_none())
}

/// Returns a tenant as its requests see it. If it was there `before`, it goes on with what it has counted and remembered.
pub(super) fn request_tenant(
    running: &RunningTenant,
    settings: &Arc<Settings>,
    before: Option<&Tenant>,
    share: Option<TenantShare>,
    context: &BuildContext,
) -> Tenant {
    let RunningTenant { id, config, tokens, .. } = running;
    let mut telemetry = request_telemetry(id, config, before.map(|before| &before.telemetry), context);
    telemetry.sources = Arc::clone(&running.sources);
    let outage = || Arc::new(OutageLog::new(id.clone(), tokens.clone()));
    telemetry.outage.get_or_insert_with(outage);
    Tenant {
        settings: Arc::clone(settings),
        tokens: tokens.clone(),
        family: config.token.family,
        allow: AllowRules::limiting(&config.token.allow),
        uids: config.token.uids.as_deref().map(Arc::from),
        dead_token_cache: before
            .map(|before| Arc::clone(&before.dead_token_cache))
            .unwrap_or_default(),
        telemetry: Arc::new(telemetry),
        share,
    }
}

fn request_telemetry(
    id: &TenantId,
    config: &Config,
    before: Option<&Arc<RequestTelemetry>>,
    context: &BuildContext,
) -> RequestTelemetry {
    RequestTelemetry {
        tenant: id.clone(),
        access_log: config.log.requests,
        metrics: before.map_or_else(|| context.metrics.request_metrics(id), |before| before.metrics.clone()),
        outage: before.and_then(|before| before.outage.clone()),
        sources: Arc::default(),
        notices: before.map(|before| Arc::clone(&before.notices)).unwrap_or_default(),
        answer_pace: before.map(|before| Arc::clone(&before.answer_pace)).unwrap_or_default(),
    }
}

/// The most names in one line of the log.
const MAX_NAMES: usize = 10;

/// Returns the same tenants, with these of a table in place of those that were there.
pub(super) fn with_rows(before: &Tenants, rows: impl Iterator<Item = Arc<Entry<LazyTenant>>>) -> Tenants {
    let mut directory = Directory::builder();
    for entry in configured(before) {
        drop(directory.add(Arc::clone(entry)));
    }
    if let Some(unnamed) = before.directory.fallback() {
        directory.serve_unnamed(&unnamed.id);
    }
    // One of the configuration has priority.
    let hidden = rows.filter_map(|row| directory.add(row).err()).collect();
    before.removed.iter().for_each(|entry| directory.add_removed(entry));
    Tenants {
        settings: Arc::clone(&before.settings),
        directory: directory.build(),
        headers: before.headers.clone(),
        reads_signs: before.reads_signs,
        unnamed: before.unnamed.clone(),
        hidden,
        removed: before.removed.clone(),
        lookup: before.lookup.clone(),
        first_read: before.first_read.clone(),
    }
}

/// Warns of the ids that have become those of two tenants.
pub(super) fn warn_of_shared_objects(tenants: &Tenants, before: Option<&Tenants>) {
    let is_known = |object_id| before.is_some_and(|before| before.directory.claimants().contains_key(object_id));
    let shared = tenants.directory.claimants().iter();
    let new: Vec<_> = shared
        .filter(|(object_id, _)| !is_known(*object_id))
        .map(|(object_id, claimants)| {
            let names: Vec<_> = claimants.iter().take(2).map(TenantId::as_str).collect();
            format!("{object_id} of {}", names.join(" and "))
        })
        .collect();
    if !new.is_empty() {
        tracing::warn!(
            ids = new.get(..MAX_NAMES).unwrap_or(&new).join(", "),
            count = new.len(),
            "two tenants have the same id, so it names neither, and its requests need another sign: remove it from one of them"
        );
    }
}
