//! The paths of the admin listener: one table, which the router, the answers to a wrong method and the description use.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

/// A method of a path.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: Method,
    /// `{tenant}` at its end stands for a name.
    pub(super) path: &'static str,
    pub(super) access: Access,
    pub(super) endpoint: Endpoint,
    /// The parameters that it knows. Those of a route that is open to all are not looked at: probes and scrapers add their own.
    pub(super) parameters: &'static [&'static str],
}

/// Who may send a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Access {
    /// Every client that reaches the listener: probes and scrapers.
    Open,
    /// An operator who looks.
    Read,
    /// An operator who changes something.
    Write,
}

/// What answers a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Endpoint {
    Liveness,
    Startup,
    Readiness,
    Metrics,
    Description,
    TokenStatus,
    Tenants,
    Events,
    LastHour,
    Observed,
    Page,
    SetToken,
    RollBack,
    Refresh,
    SignUp,
    PutTenant,
    WithdrawTenant,
}

const TENANT: &str = "/admin/tenants/{tenant}";

/// All routes.
pub(super) static ROUTES: [Route; 21] = [
    route(Method::GET, "/livez", Access::Open, Endpoint::Liveness),
    route(Method::GET, "/healthz", Access::Open, Endpoint::Liveness),
    route(Method::GET, "/startupz", Access::Open, Endpoint::Startup),
    route(Method::GET, "/readyz", Access::Open, Endpoint::Readiness),
    route(Method::GET, "/metrics", Access::Open, Endpoint::Metrics),
    route(Method::GET, "/openapi.json", Access::Open, Endpoint::Description),
    route(Method::GET, "/admin/token-status", Access::Read, Endpoint::TokenStatus),
    route(Method::GET, "/admin/tenants", Access::Read, Endpoint::Tenants),
    route(Method::GET, "/admin/events", Access::Read, Endpoint::Events),
    route(Method::GET, "/admin/last-hour", Access::Read, Endpoint::LastHour),
    route(Method::GET, "/admin/observed", Access::Read, Endpoint::Observed),
    route(Method::GET, "/", Access::Open, Endpoint::Page),
    route(Method::GET, "/page.css", Access::Open, Endpoint::Page),
    route(Method::GET, "/page.js", Access::Open, Endpoint::Page),
    route(Method::GET, "/draw.js", Access::Open, Endpoint::Page),
    route(Method::PUT, "/admin/token", Access::Write, Endpoint::SetToken),
    route(Method::POST, "/admin/rollback", Access::Write, Endpoint::RollBack),
    route(Method::POST, "/admin/refresh-token", Access::Write, Endpoint::Refresh),
    route(Method::POST, "/admin/signup", Access::Write, Endpoint::SignUp),
    route(Method::PUT, TENANT, Access::Write, Endpoint::PutTenant),
    route(Method::DELETE, TENANT, Access::Write, Endpoint::WithdrawTenant),
];

/// What the table has for a request.
#[derive(Debug)]
pub(super) enum Found {
    /// This answers it.
    Route(&'static Route),
    /// The path takes other methods.
    Allows(String),
    /// The path does not exist.
    Nothing,
}

const fn route(method: Method, path: &'static str, access: Access, endpoint: Endpoint) -> Route {
    let parameters: &[&str] = match endpoint {
        Endpoint::TokenStatus | Endpoint::Tenants => &["tenant", "search", "state", "after", "limit"],
        Endpoint::Refresh => &["tenant", "limit"],
        Endpoint::Observed => &["tenant", "search", "after", "limit"],
        Endpoint::Events => &["after", "wait"],
        Endpoint::SetToken => &["tenant", "force"],
        Endpoint::RollBack => &["tenant"],
        Endpoint::PutTenant | Endpoint::SignUp => &["force"],
        Endpoint::Liveness | Endpoint::Startup | Endpoint::Readiness | Endpoint::Metrics => &[],
        Endpoint::Description | Endpoint::Page | Endpoint::LastHour | Endpoint::WithdrawTenant => &[],
    };
    Route {
        method,
        path,
        access,
        endpoint,
        parameters,
    }
}

/// Finds what answers a request.
pub(super) fn find(method: &Method, path: &str) -> Found {
    let of_path: Vec<_> = ROUTES.iter().filter(|route| route.has_path(path)).collect();
    if of_path.is_empty() {
        return Found::Nothing;
    }
    match of_path.iter().find(|route| route.takes(method)) {
        Some(route) => Found::Route(route),
        None => Found::Allows(of_path.into_iter().map(Route::methods).collect::<Vec<_>>().join(", ")),
    }
}

/// Returns the name of the tenant in a path, decoded.
pub(super) fn tenant_in(path: &str) -> Cow<'_, str> {
    let name = path.rsplit('/').next().unwrap_or_default();
    percent_decode_str(name).decode_utf8_lossy()
}

// === impl Route ===

impl Route {
    /// Returns whether its requests have a body.
    pub(super) const fn has_body(&self) -> bool {
        matches!(
            self.endpoint,
            Endpoint::SetToken | Endpoint::PutTenant | Endpoint::SignUp
        )
    }

    fn has_path(&self, path: &str) -> bool {
        match self.path.strip_suffix("{tenant}") {
            Some(start) => path
                .strip_prefix(start)
                .is_some_and(|name| !name.is_empty() && !name.contains('/')),
            None => path == self.path,
        }
    }

    fn takes(&self, method: &Method) -> bool {
        self.method == *method || (self.method == Method::GET && *method == Method::HEAD)
    }

    fn methods(&self) -> &'static str {
        match self.method {
            Method::GET => "GET, HEAD",
            Method::PUT => "PUT",
            Method::DELETE => "DELETE",
            _ => "POST",
        }
    }
}
