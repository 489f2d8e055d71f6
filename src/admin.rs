//! The admin listener: liveness, readiness, metrics, the state of all tokens, and changes of them.
//!
//! `admin/routes.rs` lists all paths; `docs/admin.md` says what they answer.

mod access;
mod changes;
mod comparison;
mod events;
mod history;
mod observed;
mod openapi;
mod page;
mod probes;
mod query;
mod response;
mod routes;
mod scrape;
mod state;
mod status;
mod table;
mod tenant;
mod tenant_changes;
mod used_codes;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{join, join_all, ready};
use futures_util::stream;
use http::{Request, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::net::ConnectionInfo;
use crate::types::TenantId;

use access::Guard;
use changes::{Change, ChangeError, Requester, change_token};
use events::events;
use observed::observed;
use openapi::description;
use page::page;
use probes::{readiness, startup};
use query::{Listing, Parameters, QueryError};
use response::{AdminResponse, TEXT, error_response, json_response, not_allowed, respond};
use routes::{Access, Endpoint, Found, Route, find, tenant_in};
use scrape::metrics;
use status::{tenants, token_status};
use tenant_changes::{put_tenant, sign_up, withdraw_tenant};

pub use access::{AccessPolicy, AdminAddress, AdminConfig, CHALLENGE};
pub use comparison::{COMPARED_LATE, COMPARISON_TIMEOUT, ComparisonError, TokenComparison};
pub use history::TokenHistory;
pub use state::{Admin, MAX_EVENT_WAITS, ReadinessPolicy, ReadyConfig};
pub use table::{ListedTenant, ListedToken, ReadFailure, StoredAt, TableState, TenantRegistry};
pub use tenant::AdminTenant;
pub use used_codes::UsedCodes;

/// How many open tenants of `[tenants_from]` are looked at at the same time.
const REFRESHED_AT_A_TIME: usize = 8;
/// The longest look at the sources of all tokens: less than the page and the commands wait for it.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(50);

// === impl Admin ===

impl Admin {
    /// Returns the service of a connection.
    pub fn service(
        self: &Arc<Self>,
        info: &ConnectionInfo,
    ) -> impl Service<Request<Incoming>, Response = AdminResponse, Error = Infallible, Future: Send> + Clone + Send + use<>
    {
        let (admin, peer) = (Arc::clone(self), info.describe_peer());
        service_fn(move |request: Request<Incoming>| {
            let (admin, peer) = (Arc::clone(&admin), peer.clone());
            async move { Ok(admin.respond(request, peer).await) }
        })
    }

    /// Answers a request. A change goes on when its client leaves, and a stop waits for it: what it has begun is stored and recorded,
    /// and a code that is used up is not lost. A look at the sources changes nothing that a stop would lose: a renewal is waited for
    /// in any case.
    async fn respond(self: Arc<Self>, request: Request<Incoming>, peer: String) -> AdminResponse {
        let route = match find(request.method(), request.uri().path()) {
            Found::Route(route) => route,
            Found::Allows(methods) => return not_allowed(&methods, &self.explain_listener()),
            Found::Nothing => {
                let message = format!("not found: {}", self.explain_listener());
                return error_response(StatusCode::NOT_FOUND, &message);
            }
        };
        let policy = self.access.load_full();
        let guard = Guard {
            policy: &policy,
            address: &self.address,
        };
        if let Err(error) = guard.check(route, &request) {
            if let Some(not_logged) = self.refusals.admit() {
                tracing::warn!(reason = %error, peer, not_logged, "refused a request to the admin listener");
            }
            return guard.refuse(error, route, request.uri());
        }
        let (is_change, tasks) = (route.access == Access::Write, self.tasks.clone());
        let is_awaited = is_change && route.endpoint != Endpoint::Refresh;
        let in_progress = is_awaited.then(|| self.changes.subscribe());
        let (reply, answered) = oneshot::channel();
        let answer = async move {
            let requester = Requester {
                admin: &self,
                peer: &peer,
                reply: &reply,
            };
            let answer = self.answer(route, request, requester).await;
            drop((reply.send(answer), in_progress));
        };
        if is_change {
            drop(tasks.spawn(answer));
        } else {
            answer.await;
        }
        let panicked = "graphward failed in the middle of the change; look at its log and at the status";
        answered
            .await
            .unwrap_or_else(|_panicked| error_response(StatusCode::INTERNAL_SERVER_ERROR, &panicked))
    }

    /// Says which listener this is, for an app that has its address in place of the proxy's.
    fn explain_listener(&self) -> String {
        let proxy = &self.proxy_url;
        format!(
            "this is graphward's admin listener, whose paths GET /openapi.json lists; requests for Graph go to {proxy}"
        )
    }

    /// Answers a request that is accepted.
    async fn answer(&self, route: &Route, request: Request<Incoming>, requester: Requester<'_>) -> AdminResponse {
        let (head, body) = request.into_parts();
        // What is in it would be ignored. Some clients send `{}`, which says nothing.
        let is_said = body.size_hint().exact().is_none_or(|length| length > 2);
        if route.access == Access::Write && !route.has_body() && is_said {
            let message = "the request takes no body, only the parameters in its URL";
            return error_response(StatusCode::BAD_REQUEST, &message);
        }
        let known = route.parameters;
        let parameters = match route.access {
            Access::Open => Ok(Parameters::default()),
            Access::Read | Access::Write => Parameters::parse(head.uri.query(), known),
        };
        let answer = async {
            let parameters = parameters?;
            Ok::<_, QueryError>(match route.endpoint {
                Endpoint::Liveness => respond(StatusCode::OK, TEXT, "ok\n"),
                Endpoint::Startup => startup(self),
                Endpoint::Readiness => readiness(self),
                Endpoint::Metrics => metrics(self, &head.headers),
                Endpoint::Description => description(),
                Endpoint::TokenStatus => token_status(self, &parameters.of_list()?),
                Endpoint::Tenants => tenants(self, &parameters.of_list()?),
                Endpoint::Observed => observed(self, &parameters.of_list()?),
                Endpoint::Events => events(self, &parameters).await?,
                Endpoint::LastHour => json_response(StatusCode::OK, &self.metrics.last_hour()),
                Endpoint::Page => page(head.uri.path()),
                Endpoint::SetToken => change_token(Change::Set, parameters.of_change()?, body, requester).await,
                Endpoint::RollBack => change_token(Change::RollBack, parameters.of_change()?, body, requester).await,
                Endpoint::Refresh => self.refresh(&parameters.of_list()?, requester).await,
                Endpoint::SignUp => sign_up(parameters.of_change()?, body, requester).await,
                Endpoint::PutTenant => {
                    let name = tenant_in(head.uri.path()).into_owned();
                    put_tenant(&name, parameters.of_change()?, body, requester).await
                }
                Endpoint::WithdrawTenant => withdraw_tenant(head.uri.path(), requester).await,
            })
        };
        let answer = answer.await;
        answer.unwrap_or_else(|error| error_response(StatusCode::BAD_REQUEST, &error))
    }

    /// Looks at the sources of the named tenant, or of all, and renews what is due; answers when that is done, or that it takes too
    /// long. The answer lists them as `token-status` does.
    async fn refresh(&self, listing: &Listing<'_>, requester: Requester<'_>) -> AdminResponse {
        let peer = requester.peer;
        let answer = |is_done| match is_done {
            true => token_status(self, listing),
            false => requester.refuse(&ChangeError::LateLook, None),
        };
        let Some(name) = listing.tenant.as_deref() else {
            tracing::info!(peer, "the operator asked for a look at the sources of all tokens");
            self.add_look(&TenantId::unnamed(), peer);
            return answer(timeout(REFRESH_TIMEOUT, self.refresh_all()).await.unwrap_or(false));
        };
        let tenants = self.open_tenants(Some(name));
        let Some(tenant) = tenants.iter().find(|tenant| tenant.id.as_str() == name) else {
            return requester.refuse(&ChangeError::NoSuchTenant, None);
        };
        tracing::info!(tenant = %tenant.id, peer, "the operator asked for a look at the sources of the token");
        self.add_look(&tenant.id, peer);
        answer(tenant.operator.refresh().await)
    }

    /// Looks at the sources of all tokens. A table is read again, and used whatever is missing in it: the operator has looked. Its
    /// open tenants are looked at after that: some places list no tenants, and a renewal that failed is tried again. Returns whether
    /// no look took too long.
    async fn refresh_all(&self) -> bool {
        let configured = self.open_tenants(None);
        let configured = join_all(configured.iter().map(|tenant| tenant.operator.refresh()));
        let of_table = async {
            let Some(table) = &self.table else { return true };
            table.read_again().await;
            let open = table.all().into_iter().filter_map(|tenant| match tenant.token {
                ListedToken::Open(open) => Some(open),
                ListedToken::InRow { .. } | ListedToken::Faulty(_) | ListedToken::Withdrawn => None,
            });
            let looks = stream::iter(open).map(|tenant| async move { tenant.operator.refresh().await });
            looks
                .buffer_unordered(REFRESHED_AT_A_TIME)
                .fold(true, |all, is_done| ready(all && is_done))
                .await
        };
        let (configured, of_table) = join(configured, of_table).await;
        of_table && configured.into_iter().all(|is_done| is_done)
    }

    fn add_look(&self, tenant: &TenantId, peer: &str) {
        let reason = format!("The operator ({peer}) asked for a look at the sources.");
        self.events.add(tenant, "refresh_requested", reason);
    }
}
