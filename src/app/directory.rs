//! The tenants of the proxy: those of the configuration, and those of a table.
//!
//! # Why
//!
//! A tenant that a reload removes stays as an inactive one until the process ends: its app may not know that yet. The directory keeps
//! its ids reserved, as it does those of rows. An id that is taken out of a section that stays is another matter: the operator says
//! that it is not the tenant's.

use std::sync::Arc;

use tokio::time::Instant;

use super::context::BuildContext;
use super::tenants::RunningTenant;
use crate::config::Config;
use crate::proxy::{LazyTenant, OutageLog, RequestTelemetry, Settings, Tenant, TenantShare, Tenants};
use crate::tenants::{AllowRules, Directory, Entry, Holder, Standing, Unowned, UnownedReason};
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
        let object_ids = config.ids_of(id).iter();
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
    if config.has_default_tenant {
        directory.set_default_tenant(&TenantId::default());
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
            is_row: false,
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
    let rows = rows.filter(|entry| entry.tenant.is_row()).map(|entry| Entry {
        id: entry.id.clone(),
        object_ids: Arc::clone(&entry.object_ids),
        standing: entry.standing,
        tenant: entry.tenant.with(reloaded),
    });
    let tenants = with_rows(&without_rows, before.unwrap_or(&without_rows), rows.map(Arc::new));
    warn_of_shared_objects(&tenants, before);
    tenants
}

/// The tenants that the configuration does not have any more, without a token.
fn removed_tenants(before: &Tenants, tenants: &[&RunningTenant]) -> Vec<Arc<Entry<LazyTenant>>> {
    let removed = configured(before).map(|entry| Entry {
        id: entry.id.clone(),
        object_ids: Arc::default(),
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
    entries.filter(|entry| entry.standing == Standing::Active && !entry.tenant.is_row())
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
        is_row: false,
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

/// Returns the tenants of the configuration, those of `base`, with these of a table, and with the ids reserved that others had `before`.
pub(super) fn with_rows(
    base: &Tenants,
    before: &Tenants,
    rows: impl Iterator<Item = Arc<Entry<LazyTenant>>>,
) -> Tenants {
    let mut directory = Directory::builder();
    for entry in configured(base) {
        drop(directory.add(Arc::clone(entry)));
    }
    if let Some(entry) = base.directory.default_tenant() {
        directory.set_default_tenant(&entry.id);
    }
    // One of the configuration has priority.
    let rows: Vec<_> = rows.collect();
    directory.make_room_for(&rows);
    let hidden: Vec<_> = rows.into_iter().filter_map(|row| directory.add(row).err()).collect();
    for entry in &base.removed {
        // Another one may have its name now.
        drop(directory.add(Arc::clone(entry)));
    }
    let mut directory = directory.build();
    let is_of_table = |entry: &Entry<LazyTenant>| entry.tenant.is_row();
    let has_section = |id: &TenantId| {
        base.directory
            .find(id.as_str())
            .is_some_and(|entry| !is_of_table(entry))
    };
    let is_released = |entry: &Entry<LazyTenant>| !is_of_table(entry) && has_section(&entry.id);
    let now = base.lookup.as_ref().map(|_| Instant::now());
    directory.carry_over(&before.directory, now, is_released, is_of_table);
    let is_default_tenant = |id: &TenantId| base.directory.default_tenant().is_some_and(|entry| entry.id == *id);
    for row in hidden.iter().filter(|row| !is_default_tenant(&row.id)) {
        for object_id in &*row.object_ids {
            directory.reserve(object_id, Unowned::former(vec![row.id.clone()], None));
        }
    }
    Tenants {
        settings: Arc::clone(&base.settings),
        directory,
        headers: base.headers.clone(),
        reads_signs: base.reads_signs,
        unnamed: base.unnamed.clone(),
        hidden,
        removed: base.removed.clone(),
        lookup: base.lookup.clone(),
        first_read: base.first_read.clone(),
    }
}

/// Warns of the ids that have become those of two tenants.
pub(super) fn warn_of_shared_objects(tenants: &Tenants, before: Option<&Tenants>) {
    let is_shared = |unowned: &Unowned| unowned.reason == UnownedReason::Shared && !unowned.is_undecided();
    let is_known = |object_id: &str| match before.and_then(|before| before.directory.holder_of(object_id)) {
        Some(Holder::Unowned(unowned)) => is_shared(unowned),
        Some(Holder::Tenant(_)) | None => false,
    };
    let unowned = tenants.directory.unowned();
    let new: Vec<_> = unowned
        .filter(|(object_id, unowned)| is_shared(unowned) && !is_known(object_id))
        .map(|(object_id, unowned)| {
            let names: Vec<_> = unowned.claimants.iter().take(2).map(TenantId::as_str).collect();
            format!("{object_id} of {}", names.join(" and "))
        })
        .collect();
    if !new.is_empty() {
        tracing::warn!(
            ids = first_names(new.iter()),
            count = new.len(),
            "two tenants have the same id, so it names neither, and its requests need another sign: remove it from one of them"
        );
    }
}

/// The first of several names, as one text for a line of the log.
pub(super) fn first_names<T: ToString>(names: impl Iterator<Item = T>) -> String {
    /// The most names in one line of the log.
    const MAX_NAMES: usize = 10;
    let names: Vec<_> = names.take(MAX_NAMES).map(|name| name.to_string()).collect();
    names.join(", ")
}
