//! The admin listener: liveness, readiness, metrics, and changes of the token.
//!
//! | request | response |
//! |---|---|
//! | `GET /livez`, `/healthz` | 200 while the process serves |
//! | `GET /startupz` | 200 once the listeners are bound and the first check of the token sources is done |
//! | `GET /readyz` | 200 or 503, with the reason, as JSON |
//! | `GET /metrics` | Prometheus text, or OpenMetrics, whichever the scraper asks for |
//! | `GET /admin/token-status` | 200, with the same JSON as `/readyz` |
//! | `PUT /admin/token` | `{"access_token": …}`: check the token, store it, use it |
//! | `POST /admin/refresh-token` | look at the sources, and renew what is due: 200 when that is done |
//! | `POST /admin/rollback` | restore the previous token, and use it |
//!
//! # Why
//!
//! Readiness is about this process and its tokens, not about Graph: a probe that follows the upstream takes every replica
//! out of service when it is needed most. One dead account must not take the others out of service either, hence the
//! policy.

mod changes;
mod response;
mod table;
mod tenant;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::future::{OptionFuture, join, join_all};
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use serde::Serialize;

use crate::net::{ConnectionInfo, Lifecycle, Stage, Tasks};
use crate::telemetry::AuditLog;
use crate::telemetry::metrics::{ExpositionFormat, Metrics, TokenState};
use crate::types::Clock;

use changes::{Asked, Change, ChangeError, Target, check_access, refuse, tenant_name};
use response::{TEXT, json_response, not_allowed, respond};
use table::is_usable;
use tenant::TenantStatus;

pub use table::{ReadFailure, TableState, TableTenant, TableTenants, TableToken};
pub use tenant::AdminTenant;

/// The tenants that need a usable token for the process to be ready.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadinessPolicy {
    /// At least one.
    #[default]
    Any,
    /// All tokens.
    All,
    /// No token.
    Ignore,
}

/// When graphward is ready.
#[derive(Clone, Copy, Debug, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadyConfig {
    /// How many tokens have to be usable.
    pub tokens: ReadinessPolicy,
}

/// The state that the admin listener reports.
#[derive(Debug)]
pub struct Admin {
    /// The stage of the process.
    pub lifecycle: Lifecycle,
    /// The tenants of the configuration.
    pub tenants: ArcSwap<Vec<Arc<AdminTenant>>>,
    /// The tenants of a table, if there is one.
    pub table: Option<Arc<dyn TableTenants>>,
    /// The address of the listener, if other machines can reach it: then it changes no token.
    pub exposed_on: Option<SocketAddr>,
    /// Identifies the sources of the token, so that a command finds out whether it has the same configuration.
    pub source_identity: ArcSwap<String>,
    /// The readiness policy.
    pub readiness: ArcSwap<ReadinessPolicy>,
    /// Wall time.
    pub clock: Clock,
    /// Records changes of tokens.
    pub audit: AuditLog,
    /// All metrics.
    pub metrics: Metrics,
    /// The tasks whose panics are counted.
    pub tasks: Tasks,
}

/// The body of `/readyz` and of `/admin/token-status`.
#[derive(Serialize)]
struct Readiness<'a> {
    ready: bool,
    stage: &'static str,
    /// Whether the listener changes tokens.
    accepts_changes: bool,
    source_identity: &'a str,
    /// The number of tenants.
    tenant_count: usize,
    /// The place of the tenants, if it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenants_from: Option<&'a ReadFailure>,
    /// The number of tokens in each state.
    tokens: BTreeMap<&'static str, i64>,
    /// All tenants if they are few, or else the first of those without a usable token.
    tenants: BTreeMap<&'a str, TenantStatus>,
}

/// The most tenants that are listed.
const MAX_LISTED: usize = 20;

// === impl Admin ===

impl Admin {
    /// Returns the service of a connection.
    pub fn service(
        self: &Arc<Self>,
        info: &ConnectionInfo,
    ) -> impl Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + use<> {
        let (admin, peer) = (Arc::clone(self), info.describe_peer());
        service_fn(move |request: Request<Incoming>| {
            let (admin, peer) = (Arc::clone(&admin), peer.clone());
            async move { Ok(admin.respond(request, &peer).await) }
        })
    }

    async fn respond(&self, request: Request<Incoming>, peer: &str) -> Response<Full<Bytes>> {
        if request.uri().path() == "/admin/refresh-token" {
            return self.refresh(&request, peer).await;
        }
        let Some(change) = Change::from_path(request.uri().path()) else {
            return self.respond_to_read(&request);
        };
        if request.method() != change.method() {
            return not_allowed(change.method());
        }
        let mut tenants = Vec::clone(&self.tenants.load());
        let name = request.uri().query().and_then(tenant_name);
        tenants.extend(
            self.table
                .as_ref()
                .zip(name)
                .and_then(|(table, name)| table.open(&name)),
        );
        let targets = tenants.iter().map(|tenant| Target {
            id: &tenant.id,
            operator: &tenant.operator,
        });
        let asked = Asked {
            exposed_on: self.exposed_on,
            peer,
            audit: &self.audit,
        };
        change.respond(targets.collect(), asked, request).await
    }

    /// Looks at the sources of the named tenant, or of all, and renews what is due; answers when that is done. A table is read again,
    /// and used whatever is missing in it: the operator has looked.
    async fn refresh<B>(&self, request: &Request<B>, peer: &str) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            return not_allowed("POST");
        }
        if let Err(error) = check_access(self.exposed_on, request) {
            return refuse(&error, None, peer);
        }
        let mut tenants = Vec::clone(&self.tenants.load());
        if let Some(query) = request.uri().query() {
            let name = tenant_name(query).unwrap_or_default();
            tenants.retain(|tenant| tenant.id.as_str() == name);
            tenants.extend(self.table.as_ref().and_then(|table| table.open(&name)));
            let Some(tenant) = tenants.first() else {
                return refuse(&ChangeError::NoSuchTenant, None, peer);
            };
            tracing::info!(tenant = %tenant.id, peer, "the operator asked for a look at the sources of the token");
            tenant.operator.refresh().await;
            return json_response(StatusCode::OK, &BTreeMap::from([(tenant.id.as_str(), tenant.status())]));
        }
        tracing::info!(peer, "the operator asked for a look at the sources of all tokens");
        let table = OptionFuture::from(self.table.as_ref().map(|table| table.read_again()));
        let refreshed = join_all(tenants.iter().map(|tenant| tenant.operator.refresh()));
        drop(join(table, refreshed).await);
        self.readiness(StatusCode::OK)
    }

    fn respond_to_read<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        const NOT_FOUND: &str = "not found; available paths: /livez /healthz /startupz /readyz /metrics /admin/token-status \
             /admin/token /admin/refresh-token /admin/rollback\n";
        let method = request.method();
        let response = match request.uri().path() {
            "/livez" | "/healthz" => respond(StatusCode::OK, TEXT, "ok\n"),
            "/startupz" => self.startup(),
            "/readyz" => self.readiness(StatusCode::SERVICE_UNAVAILABLE),
            "/admin/token-status" => self.readiness(StatusCode::OK),
            "/metrics" => self.metrics(request.headers()),
            _ => return respond(StatusCode::NOT_FOUND, TEXT, NOT_FOUND),
        };
        if *method == Method::GET || *method == Method::HEAD {
            return response;
        }
        not_allowed("GET, HEAD")
    }

    fn startup(&self) -> Response<Full<Bytes>> {
        const STARTING: &str = "starting: waiting for the first token source check\n";
        const READING: &str =
            "starting: waiting for the tenants of tenants_from; if they cannot be read, the log says why\n";
        let starting = if self.table.is_some() { READING } else { STARTING };
        if self.lifecycle.current() >= Stage::Serving {
            respond(StatusCode::OK, TEXT, "started\n")
        } else {
            respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, starting)
        }
    }

    /// Returns what is known of the process and its tokens, with status 200 if it is ready.
    fn readiness(&self, status_if_not_ready: StatusCode) -> Response<Full<Bytes>> {
        let stage = self.lifecycle.current();
        let (now, tenants) = (self.clock.now(), self.all_tenants());
        let is_good = |tenant: &&TableTenant| is_usable(tenant.token.state(now));
        let table = self.table.as_ref().map(|table| table.state());
        // A table has been read by now. It may list none yet, and one that cannot list them may have others.
        let may_have_others = table
            .as_ref()
            .is_some_and(|table| tenants.is_empty() || !table.is_listed);
        let has_any = may_have_others || tenants.iter().any(|tenant| is_good(&tenant));
        // A withdrawn tenant needs no token.
        let is_withdrawn = |tenant: &TableTenant| matches!(tenant.token, TableToken::Withdrawn);
        let tokens_ready = match **self.readiness.load() {
            ReadinessPolicy::Any => has_any,
            ReadinessPolicy::All => has_any && tenants.iter().all(|tenant| is_good(&tenant) || is_withdrawn(tenant)),
            ReadinessPolicy::Ignore => true,
        };
        let mut listed: Vec<_> = tenants.iter().collect();
        if tenants.len() > MAX_LISTED {
            listed.retain(|tenant| !is_good(tenant));
        }
        listed.sort_unstable_by_key(|tenant| &tenant.id);
        let listed = listed.into_iter().take(MAX_LISTED);
        let readiness = Readiness {
            ready: stage == Stage::Serving && tokens_ready,
            stage: stage.label(),
            accepts_changes: self.exposed_on.is_none(),
            source_identity: &self.source_identity.load(),
            tenant_count: tenants.len(),
            tenants_from: table.as_ref().and_then(|table| table.failure.as_ref()),
            tokens: TokenState::count(tenants.iter().map(|tenant| tenant.token.state(now))).into(),
            tenants: listed
                .map(|tenant| (tenant.id.as_str(), tenant.token.status()))
                .collect(),
        };
        let status = if readiness.ready {
            StatusCode::OK
        } else {
            status_if_not_ready
        };
        json_response(status, &readiness)
    }

    /// Returns all tenants.
    fn all_tenants(&self) -> Vec<TableTenant> {
        let tenants = self.tenants.load();
        let configured = tenants.iter().map(|tenant| TableTenant {
            id: tenant.id.clone(),
            token: TableToken::Open(Arc::clone(tenant)),
        });
        let mut all: Vec<_> = configured.collect();
        all.extend(self.table.iter().flat_map(|table| table.all()));
        all
    }

    fn metrics(&self, accepted: &HeaderMap) -> Response<Full<Bytes>> {
        self.metrics.set_task_panics(self.tasks.panic_count());
        let (now, tenants) = (self.clock.now(), self.all_tenants());
        for tenant in &tenants {
            if let TableToken::Open(tenant) = &tenant.token {
                let AdminTenant { tokens, metrics, .. } = &**tenant;
                metrics.set_availability(i64::from(tokens.is_usable()), tokens.waiters());
            }
        }
        self.metrics
            .set_tokens(tenants.iter().map(|tenant| tenant.token.state(now)));
        let open_metrics = quality(accepted, ACCEPT, "application/openmetrics-text");
        let format = if open_metrics > 0.0 && open_metrics >= quality(accepted, ACCEPT, "text/plain") {
            ExpositionFormat::OpenMetrics
        } else {
            ExpositionFormat::Text
        };
        let text = self.metrics.encode(format).into_bytes();
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
