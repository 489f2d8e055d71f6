//! Who is told of what a refresher does: the metrics, and the webhook.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::alert::Bell;
use crate::telemetry::metrics::{Refresh, TokenMetrics};
use crate::token::{Errand, ObtainError, Outlook, Report, Told};

/// Counts what a refresher does, and rings when a person should hear of it.
pub(super) fn observer(metrics: TokenMetrics, bell: Option<Bell>) -> impl Fn(&Told<'_>) + Send {
    move |told| match told {
        Told::Report(report) => count(&metrics, report),
        Told::Outlook(outlook) => show(&metrics, outlook),
        Told::Notice(notice) => {
            metrics.noticed(notice.cause.label());
            if let Some(bell) = &bell {
                bell.ring(notice);
            }
        }
    }
}

fn count(metrics: &TokenMetrics, report: &Report<'_>) {
    let (result, refresh) = match &report.outcome {
        Ok(Some(_)) if report.minted => ("obtained", Refresh::Renewed),
        Ok(Some(_)) => ("obtained", Refresh::Found),
        Ok(None) | Err(ObtainError::NothingNew) => ("nothing_new", Refresh::NothingNew),
        Err(ObtainError::Transient { .. }) => ("failed", Refresh::Failed),
        Err(ObtainError::Permanent { .. }) if report.minted => ("refused", Refresh::Refused),
        Err(ObtainError::Permanent { reason, .. }) => {
            metrics.refused_drop(reason);
            // The supply's words for a token that it does not take.
            match *reason {
                "quarantined" | "rejected_before" | "expired" => ("refused", Refresh::Quarantined),
                _ => ("refused", Refresh::Refused),
            }
        }
    };
    metrics.attempt(report.errand.label(), result, report.took.as_secs_f64());
    // A look that shows what is known is nobody's search.
    match (report.errand, refresh) {
        (Errand::Look, Refresh::NothingNew) => {}
        (Errand::Look | Errand::Replace, refresh) => metrics.refreshed(refresh),
    }
    if let Ok(Some(credential)) = report.outcome {
        let ends = credential.expires_at().map(seconds);
        metrics.live(credential.generation().get(), ends);
    }
}

fn show(metrics: &TokenMetrics, outlook: &Outlook) {
    metrics.due(outlook.due.map(seconds));
    // Before Graph has said anything, only a source may have told an end, and nobody what the token lacks.
    if let Some(at) = outlook.inspected_at {
        metrics.known(
            outlook.ends.map(seconds),
            outlook.data_access_ends.map(seconds),
            outlook.missing,
        );
        metrics.inspected(seconds(at));
    }
}

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}
