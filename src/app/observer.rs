//! Who is told of what a refresher does: the metrics.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::telemetry::metrics::TokenMetrics;
use crate::token::{ObtainError, Outlook, Report, Told};

/// Counts what a refresher does.
pub(super) fn observer(metrics: TokenMetrics) -> impl Fn(&Told<'_>) + Send {
    move |told| match told {
        Told::Report(report) => count(&metrics, report),
        Told::Outlook(outlook) => show(&metrics, outlook),
        Told::Notice(_notice) => {}
    }
}

fn count(metrics: &TokenMetrics, report: &Report<'_>) {
    let result = match &report.outcome {
        Ok(Some(_)) => "obtained",
        Ok(None) | Err(ObtainError::NothingNew) => "nothing_new",
        Err(ObtainError::Transient { .. }) => "failed",
        Err(ObtainError::Permanent { reason, .. }) => {
            metrics.refused_drop(reason);
            "refused"
        }
    };
    metrics.attempt(report.errand.label(), result, report.took.as_secs_f64());
    if let Ok(Some(credential)) = report.outcome {
        let ends = credential.expires_at().map(seconds);
        metrics.live(credential.generation().get(), ends);
    }
}

fn show(_metrics: &TokenMetrics, _outlook: &Outlook) {}

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}
