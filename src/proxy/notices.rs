//! Which requests the log has; what it says once: the first request, and an app that still sends a token of its own; and what it
//! says of only a few requests: that they are for unknown tenants.
//!
//! # Why
//!
//! A new installation that does not work is most often one that the app does not use. With the default log, requests that
//! succeed leave no line, so graphward logs the first one that it sends to Graph, whatever its outcome. A refused one has a line of
//! its own, and a tunnel says nothing: what is in it may be for another host, or the app may reject graphward's certificate.

use std::sync::OnceLock;

use crate::telemetry::LineLimit;
use crate::telemetry::metrics::RequestMetrics;
use crate::types::TenantId;

/// Selects the requests that are written to the log.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLogFilter {
    /// No requests.
    None,
    /// All but those that were delivered with a status below 400.
    #[default]
    Problems,
    /// All requests.
    All,
}

/// The notices that were given.
#[derive(Debug, Default)]
pub struct OnceNotices {
    first_request: OnceLock<()>,
    client_credential: OnceLock<()>,
    unknown_tenants: LineLimit,
}

impl OnceNotices {
    /// Returns how many lines about requests for unknown tenants were left out before this one; `None` if it is left out, too.
    pub(crate) fn admit_unknown_tenant(&self) -> Option<u64> {
        self.unknown_tenants.admit()
    }

    /// Says how many such lines were left out, if no line has said it.
    pub fn report_unknown_tenants(&self) {
        let not_logged = self.unknown_tenants.take_left_out();
        if not_logged > 0 {
            tracing::warn!(not_logged, "more requests for unknown tenants were refused");
        }
    }

    /// Gives the notices that are due after a request that was sent to Graph.
    pub(crate) fn give(&self, tenant: &TenantId, outcome: &str, metrics: &RequestMetrics) {
        self.first_request.get_or_init(|| {
            tracing::info!(
                tenant = tenant.name(),
                outcome,
                "the first request has arrived: the app goes through graphward"
            );
        });
        if let Some(location) = metrics.client_credential_location() {
            self.client_credential.get_or_init(|| {
                tracing::warn!(
                    %tenant,
                    location,
                    "the app still sends a token of its own, which graphward replaces: remove it from the app, which then \
                     needs no secret (see heal.client_credentials)"
                );
            });
        }
    }
}
