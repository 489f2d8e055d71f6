//! The responses that graphward generates itself.
//!
//! A refusal can be told from a response of Graph's by `Proxy-Status: graphward; error=…` (RFC 9209). Its body is an
//! error in Graph's format, because client libraries parse that and would otherwise report something unrelated. Its code
//! is not one of Graph's, so that no app starts a login because of it.

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode, Version};

use crate::graph::TargetError;
use crate::graph::scrub::ScrubError;
use crate::net::{ConnectFailure, ConnectFailureKind};
use crate::tenants::{NotAllowed, RouteError};
use crate::token::{ObtainError, RefreshError};
use crate::types::{TenantId, TokenFamily};

/// The reason why graphward answers a request itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The process is shutting down.
    #[error("graphward is shutting down and does not accept new requests")]
    Draining,
    /// The number of requests in flight is at its limit.
    #[error("graphward has too many requests in flight; reduce concurrency")]
    Overloaded,
    /// The tenant's requests in flight are at its share of that limit.
    #[error(
        "graphward has too many requests in flight for this tenant, which may have as many as it leaves free for others; reduce its \
         concurrency"
    )]
    TenantShareInUse,
    /// No memory is left in which the body could be searched, in the share of the tenant or in all.
    #[error(
        "graphward has no memory left to search the body of this request; reduce concurrency, or raise heal.memory_total, of \
         which a tenant among several may take as much as it leaves free"
    )]
    MemoryInUse,
    /// There is no token, and none arrived in time.
    #[error("graphward has no token for this request: {reason}{}", if *permanent { "" } else { ". Retry the request" })]
    NoCredential {
        /// The refresher's error.
        reason: String,
        /// Whether an operator has to act.
        permanent: bool,
    },
    /// The task that refreshes the token has stopped, because a reload replaces it or graphward stops: another request gets one.
    #[error("graphward has no token for this request while it reloads its configuration or stops: retry the request")]
    RefresherStopped,
    /// The source of the token says that it has no token.
    #[error("graphward has no token for this request, because its source says that it has no token: {0}")]
    TokenWithdrawn(Arc<ObtainError>),
    /// Graph has rejected the token, and there is no newer one.
    #[error(
        "Graph has rejected graphward's token, so this request was not sent (heal.dead_token = \"refuse\"): {reason}"
    )]
    DeadToken {
        /// The meaning of the rejection, and what to do.
        reason: String,
    },
    /// The request names a host that graphward does not serve.
    #[error("graphward does not serve the host {host}; {advice}")]
    HostNotAllowed {
        /// The host.
        host: String,
        /// What to do.
        advice: &'static str,
    },
    /// TRACE.
    #[error("graphward does not support TRACE, which would echo credentials")]
    Trace,
    /// CONNECT on a connection that cannot become a tunnel.
    #[error("graphward cannot open a CONNECT tunnel to {host} here: {reason}")]
    TunnelNotPossible {
        /// The requested host and port.
        host: String,
        /// The reason, and what to do.
        reason: &'static str,
    },
    /// CONNECT to a host that is not configured.
    #[error("graphward opens no CONNECT tunnel to {host}, {reason}")]
    TunnelNotAllowed {
        /// The requested host and port.
        host: String,
        /// The reason, and what to do.
        reason: String,
    },
    /// A request that must not be forwarded.
    #[error("graphward cannot forward this request: {0}")]
    MalformedRequest(&'static str),
    /// The head is larger than that of any known client.
    #[error("the request headers are larger than graphward's limit of 64 KiB")]
    HeadTooLarge,
    /// A web page of another site sent the request.
    #[error("graphward rejects cross-site browser requests")]
    CrossSite,
    /// The app sent a credential, and the configuration forbids that.
    #[error("this request has a client credential in its {0}; heal.client_credentials = \"refuse\" rejects it")]
    ClientCredential(&'static str),
    /// The parameters of the request cannot be read, or a client credential among them cannot be removed.
    #[error("graphward cannot search the parameters of this request: {0}")]
    ScrubFailed(&'static str),
    /// The host does not accept tokens of this family.
    #[error(
        "the configured token is for {token}, but {host} does not accept {token} tokens; the request was not sent. \
         Configure a token for this host, or let upstream.origin or the request name a host of {token}"
    )]
    FamilyMismatch {
        /// The family of the token.
        token: TokenFamily,
        /// The host of the request.
        host: String,
    },
    /// A body of unknown length that is too large to buffer, with a method that cannot stream one.
    #[error("a {0} request with a body of this size requires a Content-Length header")]
    LengthRequired(http::Method),
    /// The app did not send the body in time.
    #[error("timed out waiting for the request body")]
    BodyTimeout,
    /// The app did not send the whole body, or framed it wrongly.
    #[error("the request body is malformed or incomplete")]
    BodyInterrupted,
    /// The signs of the request name no tenant, or not one.
    #[error("{0}; the request was not sent")]
    Route(RouteError),
    /// No sign names a tenant. With the ways to name one.
    #[error("{error}: {0}; the request was not sent", error = RouteError::Unnamed)]
    Unnamed(String),
    /// The rules of the tenant do not allow a call that the request makes.
    #[error("graphward does not forward this request because of the rules of `{place}`: {error}")]
    NotAllowed {
        /// The setting.
        place: String,
        /// What is not allowed.
        error: NotAllowed,
    },
    /// The process that connected may not use the tenant.
    #[error(
        "graphward does not forward this request because `{place}` does not have {}",
        uid.map_or_else(
            || "its process, whose user id is known on Unix sockets only, not over TCP".to_owned(),
            |uid| format!("the user id of its process, {uid}")
        )
    )]
    UidNotAllowed {
        /// The setting.
        place: String,
        /// The user id, unless the connection is TCP.
        uid: Option<u32>,
    },
    /// There are rules, and the body cannot be searched for what they may not allow.
    #[error(
        "graphward cannot check this request against the rules of `allow`, because its body cannot be searched for a batch or \
         another method: it is neither a form nor JSON, or compressed, or too large. Send a form or JSON of up to 8 MiB, or a file \
         as a multipart form"
    )]
    CallsUnsearched,
    /// Only the body can name the tenant, and it is too large to be searched, or compressed.
    #[error(
        "graphward does not know which tenant this request is for, and its body is compressed, or too large to be searched for a \
         name. Name the tenant in the Authorization header as tenant:NAME, in the path as /-/NAME/…, or in the header of \
         routing.header if there is one"
    )]
    Unsearchable,
    /// There is no connection to the host.
    #[error("graphward {0}; the request was not sent")]
    Connect(ConnectFailure),
    /// Graph sent no response in time.
    #[error("timed out waiting for Graph's response; Graph may or may not have processed the request")]
    ResponseTimeout,
    /// The connection ended before the response.
    #[error(
        "the connection to Graph closed before a response arrived; Graph may or may not have processed the request"
    )]
    ConnectionTerminated,
    /// Graph has refused to process the request, and it could not be sent again.
    #[error("Graph refused the request before it processed any of it. Retry the request")]
    NotProcessed,
}

/// RFC 9209.
pub(crate) const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
/// The methods that graphward forwards.
pub(crate) const ALLOWED_METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// The longest `details` of `Proxy-Status`: a host name has at most 253 characters.
const MAX_DETAILS: usize = 400;

/// The fixed properties of a variant.
struct ErrorProperties {
    status: StatusCode,
    /// The error type of RFC 9209, section 2.3.
    error: &'static str,
    label: &'static str,
    /// 990001 and up, which Graph does not use.
    code: u32,
    /// Whether a later retry can help *and* can do no harm.
    transient: bool,
}

// === impl Refusal ===

impl Refusal {
    /// Refuses a response that the upstream ended early, and whose meaning is therefore unknown.
    pub(crate) fn response_interrupted(error: &dyn Display) -> Self {
        tracing::debug!(%error, "response body interrupted");
        Self::ConnectionTerminated
    }

    /// The label for metrics and logs.
    pub(crate) const fn label(&self) -> &'static str {
        self.properties().label
    }

    /// The tenant that it is about, or the first of two.
    pub(crate) const fn tenant(&self) -> Option<&TenantId> {
        if let Self::Route(
            RouteError::Inactive(id) | RouteError::Former(id) | RouteError::Disagreement { first: (_, id), .. },
        ) = self
        {
            return Some(id);
        }
        None
    }

    /// The status of the response.
    pub(crate) const fn status(&self) -> StatusCode {
        self.properties().status
    }

    const fn properties(&self) -> ErrorProperties {
        use ConnectFailureKind as K;
        use StatusCode as S;
        const DENIED: &str = "http_request_denied";
        const REQUEST_ERROR: &str = "http_request_error";
        const CONFIGURATION_ERROR: &str = "proxy_configuration_error";
        #[rustfmt::skip]
        let (status, error, label, code, transient) = match self {
            Self::Draining => (S::SERVICE_UNAVAILABLE, DENIED, "refused_draining", 990_001, true),
            Self::Overloaded | Self::TenantShareInUse | Self::MemoryInUse => (S::SERVICE_UNAVAILABLE, "connection_limit_reached", "refused_overloaded", 990_002, true),
            Self::NoCredential { permanent: false, .. } | Self::RefresherStopped | Self::Route(RouteError::Undecided) => (S::SERVICE_UNAVAILABLE, "proxy_internal_error", "refused_no_token", 990_003, true),
            Self::NoCredential { permanent: true, .. } => (S::SERVICE_UNAVAILABLE, CONFIGURATION_ERROR, "refused_no_token", 990_003, false),
            Self::HostNotAllowed { .. } => (S::MISDIRECTED_REQUEST, DENIED, "refused_host_not_allowed", 990_004, false),
            Self::Trace | Self::TunnelNotPossible { .. } => (S::METHOD_NOT_ALLOWED, DENIED, "refused_method_not_allowed", 990_005, false),
            Self::MalformedRequest(_) => (S::BAD_REQUEST, REQUEST_ERROR, "refused_malformed", 990_006, false),
            Self::HeadTooLarge => (S::REQUEST_HEADER_FIELDS_TOO_LARGE, REQUEST_ERROR, "refused_head_too_large", 990_007, false),
            Self::CrossSite => (S::FORBIDDEN, DENIED, "refused_cross_site", 990_008, false),
            Self::ClientCredential(_) => (S::FORBIDDEN, DENIED, "refused_client_credential", 990_009, false),
            Self::LengthRequired(_) => (S::LENGTH_REQUIRED, REQUEST_ERROR, "refused_length_required", 990_010, false),
            Self::BodyTimeout => (S::REQUEST_TIMEOUT, REQUEST_ERROR, "request_body_timeout", 990_011, false),
            Self::BodyInterrupted => (S::BAD_REQUEST, REQUEST_ERROR, "request_body_incomplete", 990_012, false),
            Self::Connect(ConnectFailure { kind: K::Name, .. }) => (S::BAD_GATEWAY, "dns_error", "upstream_connect_failed", 990_013, true),
            Self::Connect(ConnectFailure { kind: K::Refused, .. }) => (S::BAD_GATEWAY, "connection_refused", "upstream_connect_failed", 990_013, true),
            Self::Connect(ConnectFailure { kind: K::EgressDenied, .. }) => (S::BAD_GATEWAY, CONFIGURATION_ERROR, "upstream_connect_failed", 990_013, false),
            Self::Connect(ConnectFailure { kind: K::Unroutable, .. }) => (S::BAD_GATEWAY, "destination_ip_unroutable", "upstream_connect_failed", 990_013, true),
            Self::Connect(ConnectFailure { kind: K::TimedOut, .. }) => (S::GATEWAY_TIMEOUT, "connection_timeout", "upstream_connect_timeout", 990_014, true),
            Self::Connect(ConnectFailure { kind: K::Certificate, .. }) => (S::BAD_GATEWAY, "tls_certificate_error", "upstream_tls_failed", 990_015, false),
            Self::Connect(ConnectFailure { kind: K::TlsAlert, .. }) => (S::BAD_GATEWAY, "tls_alert_received", "upstream_tls_failed", 990_015, false),
            Self::Connect(ConnectFailure { kind: K::Tls, .. }) => (S::BAD_GATEWAY, "tls_protocol_error", "upstream_tls_failed", 990_015, false),
            Self::Connect(ConnectFailure { kind: K::Exhausted, .. }) => (S::SERVICE_UNAVAILABLE, "proxy_internal_error", "refused_exhausted", 990_022, true),
            Self::ResponseTimeout => (S::GATEWAY_TIMEOUT, "http_response_timeout", "upstream_response_timeout", 990_016, false),
            Self::ConnectionTerminated => (S::BAD_GATEWAY, "connection_terminated", "upstream_connection_terminated", 990_017, false),
            Self::NotProcessed => (S::SERVICE_UNAVAILABLE, "connection_terminated", "upstream_not_processed", 990_031, true),
            Self::ScrubFailed(_) => (S::BAD_REQUEST, REQUEST_ERROR, "refused_scrub_failed", 990_018, false),
            Self::FamilyMismatch { .. } => (S::MISDIRECTED_REQUEST, CONFIGURATION_ERROR, "refused_token_family", 990_019, false),
            Self::TunnelNotAllowed { .. } => (S::FORBIDDEN, DENIED, "refused_tunnel_not_allowed", 990_020, false),
            Self::DeadToken { .. } => (S::SERVICE_UNAVAILABLE, CONFIGURATION_ERROR, "refused_dead_token", 990_021, false),
            Self::Unnamed(_) | Self::Route(RouteError::Unnamed) => (S::BAD_REQUEST, REQUEST_ERROR, "refused_no_tenant", 990_024, false),
            Self::Route(RouteError::Unknown { .. } | RouteError::Token(_)) => (S::NOT_FOUND, DENIED, "refused_unknown_tenant", 990_025, false),
            Self::Route(RouteError::Inactive(_) | RouteError::Former(_)) => (S::FORBIDDEN, DENIED, "refused_inactive_tenant", 990_026, false),
            Self::Route(RouteError::Disagreement { .. }) => (S::FORBIDDEN, DENIED, "refused_tenants_disagree", 990_027, false),
            Self::NotAllowed { .. } => (S::FORBIDDEN, DENIED, "refused_not_allowed", 990_029, false),
            Self::UidNotAllowed { .. } => (S::FORBIDDEN, DENIED, "refused_uid_not_allowed", 990_030, false),
            Self::Unsearchable | Self::CallsUnsearched => (S::PAYLOAD_TOO_LARGE, REQUEST_ERROR, "refused_body_unsearched", 990_028, false),
            Self::TokenWithdrawn(_) => (S::FORBIDDEN, CONFIGURATION_ERROR, "refused_token_withdrawn", 990_023, false),
        };
        ErrorProperties {
            status,
            error,
            label,
            code,
            transient,
        }
    }

    /// The host and the cause, as `details` of `Proxy-Status` (RFC 9209, section 2.1.5): visible ASCII.
    fn details(&self) -> Option<String> {
        let text = if let Self::HostNotAllowed { host, .. }
        | Self::TunnelNotAllowed { host, .. }
        | Self::TunnelNotPossible { host, .. } = self
        {
            host.clone()
        } else if let Self::Connect(ConnectFailure { host, cause, .. }) = self {
            format!("{host}: {cause}")
        } else {
            return None;
        };
        let is_plain = |letter: &char| matches!(letter, ' '..='~') && !matches!(letter, '"' | '\\');
        Some(text.chars().filter(is_plain).take(MAX_DETAILS).collect())
    }

    /// The response: an error in Graph's format, without a token, not to be cached.
    pub(crate) fn into_response(self, version: Version) -> Response<Bytes> {
        let properties = self.properties();
        let (code, transient) = (properties.code, properties.transient);
        // serde_json writes keys in the order given here, and clients look for `{"error"` at the very start.
        let message = serde_json::Value::String(format!("{self}."));
        let body = format!(
            r#"{{"error":{{"message":{message},"type":"GraphwardException","code":{code},"is_transient":{transient},"fbtrace_id":"graphward"}}}}"#
        );
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = properties.status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=UTF-8"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let details = self.details().map(|details| format!("; details=\"{details}\""));
        let proxy_status = format!("graphward; error={}{}", properties.error, details.unwrap_or_default());
        if let Ok(value) = HeaderValue::from_str(&proxy_status) {
            headers.insert(PROXY_STATUS, value);
        }
        if properties.status == StatusCode::SERVICE_UNAVAILABLE && transient {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if properties.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, ALLOWED_METHODS);
        }
        if self.closes_connection(version) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Returns whether the body of the request may still be on its way, as what it is said to be.
    pub(crate) const fn leaves_body_unread(&self) -> bool {
        !matches!(
            self,
            Self::MalformedRequest(_) | Self::HeadTooLarge | Self::BodyTimeout | Self::BodyInterrupted
        )
    }

    /// Returns whether the connection ends with the response. After some requests the next one cannot be found in what
    /// the client still sends. HTTP/2 has no `Connection` header (RFC 9113, section 8.2.2).
    fn closes_connection(&self, version: Version) -> bool {
        version < Version::HTTP_2
            && matches!(
                self,
                Self::Draining
                    // A client that wanted a tunnel may be sending its first bytes already.
                    | Self::Trace
                    | Self::TunnelNotPossible { .. }
                    | Self::TunnelNotAllowed { .. }
                    | Self::MalformedRequest(_)
                    | Self::HeadTooLarge
                    | Self::BodyTimeout
                    | Self::BodyInterrupted
                    | Self::ScrubFailed(_)
                    | Self::Unsearchable
                    | Self::CallsUnsearched
            )
    }
}

impl From<ScrubError> for Refusal {
    fn from(error: ScrubError) -> Self {
        match error {
            ScrubError::ClientCredential => Self::ClientCredential("body"),
            ScrubError::CannotScrub(reason) => Self::ScrubFailed(reason),
        }
    }
}

impl From<TargetError> for Refusal {
    fn from(error: TargetError) -> Self {
        match error {
            TargetError::NotAPath => Self::MalformedRequest("the request target must be a path"),
            TargetError::Scrub(ScrubError::ClientCredential) => Self::ClientCredential("query"),
            TargetError::Scrub(ScrubError::CannotScrub(reason)) => Self::ScrubFailed(reason),
        }
    }
}

impl From<RefreshError> for Refusal {
    fn from(error: RefreshError) -> Self {
        let (reason, permanent) = match &error {
            RefreshError::Failed(reason) if reason.is_absence() => return Self::TokenWithdrawn(Arc::clone(reason)),
            RefreshError::Failed(reason) => (reason.to_string(), !Arc::as_ref(reason).is_transient()),
            RefreshError::TimedOut | RefreshError::StillValid => (error.to_string(), false),
            RefreshError::Closed => return Self::RefresherStopped,
        };
        Self::NoCredential { reason, permanent }
    }
}
