//! The metrics, in the format and the encoding that the scraper asks for.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::response::{AdminResponse, respond};
use super::state::Admin;
use super::table::ListedToken;
use super::tenant::AdminTenant;
use crate::telemetry::metrics::ExpositionFormat;

/// Answers with all metrics.
pub(super) fn metrics(admin: &Admin, accepted: &HeaderMap) -> AdminResponse {
    let metrics = &admin.metrics;
    metrics.set_task_panics(admin.tasks.panic_count());
    let (now, tenants) = (admin.clock.now(), admin.all_tenants());
    for tenant in &tenants {
        if let ListedToken::Open(tenant) = &tenant.token {
            let AdminTenant { tokens, metrics, .. } = &**tenant;
            metrics.set_availability(i64::from(tokens.is_usable()), tokens.waiters());
        }
    }
    metrics.set_tokens(tenants.iter().map(|tenant| tenant.token.state(now)));
    if let Some(table) = &admin.table {
        metrics.set_tenants_readable(i64::from(table.state().failure.is_none()));
    }
    let open_metrics = quality(accepted, ACCEPT, "application/openmetrics-text");
    let format = if open_metrics > 0.0 && open_metrics >= quality(accepted, ACCEPT, "text/plain") {
        ExpositionFormat::OpenMetrics
    } else {
        ExpositionFormat::Text
    };
    let text = metrics.encode(format).into_bytes();
    if quality(accepted, ACCEPT_ENCODING, "gzip") <= 0.0 {
        return respond(StatusCode::OK, format.content_type(), text);
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let Ok(compressed) = gzip.write_all(&text).and_then(|()| gzip.finish()) else {
        return respond(StatusCode::OK, format.content_type(), text);
    };
    let mut response = respond(StatusCode::OK, format.content_type(), compressed);
    let headers = response.headers_mut();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response
}

/// The weight that an `Accept` field gives to a value (RFC 9110, section 12.4.2); 0 if it does not name it.
fn quality(headers: &HeaderMap, field: HeaderName, wanted: &str) -> f32 {
    let fields = headers.get_all(field).into_iter();
    let items = fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','));
    let weights = items.filter_map(|item| {
        let mut parts = item.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case(wanted) {
            return None;
        }
        let weight = parts.find_map(|part| part.strip_prefix("q="));
        weight.map_or(Some(1.0), |weight| weight.parse().ok())
    });
    weights.fold(0.0, f32::max)
}
