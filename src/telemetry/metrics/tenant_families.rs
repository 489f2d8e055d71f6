//! The families of the tenants, which a scrape collects from them.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::time::Instant;

use super::labels::TenantLabels;
use super::places::{Places, Sample};
use super::series::EncodeSeries;
use super::tenant_series::TenantSeries;
use super::token_values::TokenValues;

/// Collects the series of the tenants.
#[derive(Debug)]
pub(super) struct TenantFamilies(pub(super) Arc<Places>);

#[derive(Debug)]
struct TenantFamily {
    name: &'static str,
    help: &'static str,
    read: Read,
}

/// Where the series of a family are.
#[derive(Clone, Copy, Debug)]
enum Read {
    Counter(fn(&TenantSeries) -> &dyn EncodeSeries),
    Histogram(fn(&TenantSeries) -> &dyn EncodeSeries),
    /// Of what may be absent.
    Gauge(fn(&TenantSeries) -> Option<&dyn EncodeSeries>),
    Number(fn(&TokenValues) -> Option<i64>),
    /// A point in time, in seconds since 1970.
    Time(fn(&TokenValues) -> Option<f64>),
}

/// All families with the label `tenant`.
#[rustfmt::skip]
const FAMILIES: [TenantFamily; 24] = {
    use Read::{Counter, Gauge, Histogram, Number, Time};
    [
        family("requests", "Requests by outcome", Counter(|all| &all.requests)),
        family("upstream_responses", "Responses from Graph by verdict", Counter(|all| &all.responses)),
        family("upstream_attempts", "Attempts to send a request to Graph: the first, and the second after a rejected token was replaced", Counter(|all| &all.attempts)),
        family("client_credentials_replaced", "App credentials that graphward replaced", Counter(|all| &all.client_credentials)),
        family("unsearched_bodies", "Bodies forwarded without a search for credentials", Counter(|all| &all.unsearched_bodies)),
        family("observations", "Requests that graphward only observed, by what it would have done", Counter(|all| &all.observations)),
        family("request_duration_seconds", "Time from request head to end of response", Histogram(|all| &all.request_seconds)),
        family("upstream_response_head_seconds", "Time from request to response head", Histogram(|all| &all.head_seconds)),
        family("graph_rate_limit_usage_ratio", "Used share of a Graph rate limit, as last reported by Graph (1 = limit reached)", Gauge(|all| all.usage.as_ref().map(|usage| &usage.used_ratio as _))),
        family("graph_rate_limit_regain_access_seconds", "Estimated time until a throttled account regains access, as last reported by Graph", Gauge(|all| all.usage.as_ref().map(|usage| &usage.regain_access_seconds as _))),
        family("token_generation", "Generation number of the current token", Number(|token| token.generation)),
        family("token_expiry_timestamp_seconds", "Expiry of the current token; absent if unknown or never", Time(|token| token.expires_at)),
        family("token_expiry_known", "1 if the expiry of the current token is known, or that it never expires; otherwise 0", Number(|token| token.expiry_known)),
        family("token_data_access_expiry_timestamp_seconds", "Expiry of the current token's data access; absent if unknown or never", Time(|token| token.data_access_expires_at)),
        family("token_missing_scopes", "Number of permissions required by WhatsApp that the current token lacks; absent if unknown", Number(|token| token.missing_scopes)),
        family("token_last_inspected_timestamp_seconds", "Time of the last successful debug_token inspection; absent if there was none", Time(|token| token.inspected_at)),
        family("token_renewal_due_timestamp_seconds", "Time at which the token is due for renewal; absent if no renewal is scheduled", Time(|token| token.renewal_due_at)),
        family("token_usable", "1 if graphward has a token that Graph has not rejected, otherwise 0", Number(|token| token.usable)),
        family("token_waiting_requests", "Requests waiting for a token", Number(|token| token.waiters)),
        family("token_refreshes", "Token refreshes by outcome", Counter(|all| &all.refreshes)),
        family("token_alerts", "Alerts raised about the token", Counter(|all| &all.alerts)),
        family("token_attempts", "Attempts to obtain a token by operation and result", Counter(|all| &all.token_attempts)),
        family("token_attempt_duration_seconds", "Duration of attempts to obtain a token", Histogram(|all| &all.token_attempt_seconds)),
        family("token_files_rejected", "Token source reads that an operator has to fix, by reason", Counter(|all| &all.rejected_files)),
    ]
};

const fn family(name: &'static str, help: &'static str, read: Read) -> TenantFamily {
    TenantFamily { name, help, read }
}

// === impl TenantFamilies ===

impl Collector for TenantFamilies {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let samples = self.0.scrape(Instant::now());
        for TenantFamily { name, help, read } in &FAMILIES {
            let help = format!("{help}.");
            let mut family = encoder.encode_descriptor(name, &help, None, read.metric_type())?;
            samples.iter().try_for_each(|sample| read.encode(sample, &mut family))?;
        }
        Ok(())
    }
}

// === impl Read ===

impl Read {
    const fn metric_type(self) -> MetricType {
        match self {
            Self::Counter(_) => MetricType::Counter,
            Self::Histogram(_) => MetricType::Histogram,
            Self::Gauge(_) | Self::Number(_) | Self::Time(_) => MetricType::Gauge,
        }
    }

    fn encode(self, sample: &Sample, family: &mut MetricEncoder<'_>) -> fmt::Result {
        let Sample { series, token } = sample;
        let tenant = &*series.label;
        let labels = TenantLabels { tenant, pairs: [] };
        match self {
            Self::Counter(read) | Self::Histogram(read) => read(series).encode(tenant, family),
            Self::Gauge(read) => read(series).map_or(Ok(()), |series| series.encode(tenant, family)),
            Self::Number(read) => read(token).map_or(Ok(()), |value| {
                ConstGauge::new(value).encode(family.encode_family(&labels)?)
            }),
            Self::Time(read) => read(token).map_or(Ok(()), |value| {
                ConstGauge::new(value).encode(family.encode_family(&labels)?)
            }),
        }
    }
}
