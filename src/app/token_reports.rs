//! Where operators read what happens to tokens: the audit, the events, the metrics and the alert webhook.
//!
//! # Why
//!
//! A tenant at rest has no refresher that could report anything. So what is reported does not depend on one: a withdrawal takes
//! the same way whether a refresher, a read of the table or a reload has found it.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::context::BuildContext;
use crate::alert::AlertSender;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{AuditAction, AuditLog, AuditRecord, EventLog, InLog};
use crate::token::{Alert, Generation, TokenUse, Withdrawal};
use crate::types::TenantId;

/// The webhook that is configured at the moment, if one is.
pub(super) type SharedAlertSender = Arc<ArcSwapOption<AlertSender>>;

/// Reports what happens to tokens. Clones share everything.
#[derive(Clone)]
pub(super) struct TokenReports {
    metrics: Metrics,
    webhook: SharedAlertSender,
    audit: AuditLog,
    events: EventLog,
}

// === impl TokenReports ===

impl TokenReports {
    /// Creates the reports of a process.
    pub(super) fn new(context: &BuildContext, webhook: &SharedAlertSender) -> Self {
        Self {
            metrics: context.metrics.clone(),
            webhook: Arc::clone(webhook),
            audit: context.audit.clone(),
            events: context.events.clone(),
        }
    }

    /// Records a use of a token by a refresher, which has logged it unless the token was stored.
    pub(super) fn audit(&self, tenant: &TenantId, token_use: &TokenUse<'_>) {
        let TokenUse {
            action,
            source,
            token,
            generation,
        } = *token_use;
        let is_logged = action != AuditAction::Stored;
        let in_log = if is_logged { InLog::Present } else { InLog::Missing };
        let record = AuditRecord {
            tenant: tenant.as_str(),
            action,
            source,
            token: Some(&token.to_string()),
            generation: Some(generation.get()),
            peer: None,
        };
        self.audit.record(&record, in_log);
    }

    /// Shows a use of a token to the operators.
    pub(super) fn show(&self, tenant: &TenantId, token_use: &TokenUse<'_>) {
        let TokenUse {
            action, source, token, ..
        } = *token_use;
        let reason = match action {
            AuditAction::Loaded => format!("The token {token} from {source} is in use."),
            AuditAction::Renewed => format!("The token was renewed by {source}; {token} is in use."),
            AuditAction::Stored => format!("The renewed token {token} was stored in {source}."),
            // An alert says why, and what operators change is recorded where they ask for it.
            AuditAction::Rejected | AuditAction::Withdrawn | AuditAction::Set | AuditAction::RolledBack => return,
            AuditAction::TenantPut | AuditAction::TenantWithdrawn => return,
        };
        self.events.add(tenant, action.label(), reason);
    }

    /// Reports that a place could not be read: that of a tenant's token, or of all tenants.
    pub(super) fn unreadable(&self, tenant: &TenantId, error: &str) {
        self.events.add(tenant, "unreadable", error);
    }

    /// Reports that it could be read again.
    pub(super) fn readable(&self, tenant: &TenantId, reason: &str) {
        self.events.add(tenant, "readable", reason);
    }

    /// Reports tokens that were withdrawn: an audit record for each, and one alert of all. A refresher has logged and counted its own.
    pub(super) fn withdrawn(&self, withdrawals: &[Withdrawal], in_log: InLog) {
        for withdrawal in withdrawals {
            let token = withdrawal.token.map(|token| token.to_string());
            let record = AuditRecord {
                tenant: withdrawal.tenant.as_str(),
                action: AuditAction::Withdrawn,
                source: &withdrawal.source,
                token: token.as_deref(),
                generation: withdrawal.generation.map(Generation::get),
                peer: None,
            };
            self.audit.record(&record, in_log);
        }
        let alerts: Vec<_> = withdrawals.iter().map(Withdrawal::alert).collect();
        match in_log {
            InLog::Present => alerts.iter().for_each(|alert| self.send(alert)),
            InLog::Missing => self.alert(alerts),
        }
    }

    /// Logs alerts about tenants at rest, as digests, counts and sends them.
    pub(super) fn alert(&self, mut alerts: Vec<Alert>) {
        Alert::log_digests(&mut alerts);
        for alert in &alerts {
            self.metrics.count_alert_at_rest(alert.key.cause.label());
            self.send(alert);
        }
    }

    /// Shows an alert that was logged and counted to the operators, and sends it to the webhook, which makes digests.
    pub(super) fn send(&self, alert: &Alert) {
        let (tenant, cause) = (&alert.key.tenant, alert.key.cause.label());
        self.events.add(tenant, cause, alert.summary.as_str());
        if let Some(sender) = &*self.webhook.load() {
            sender.send(alert);
        }
    }
}
