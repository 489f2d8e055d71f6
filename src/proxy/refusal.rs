//! The proxy's own answers.
//!
//! A refusal can be told from Graph's answer at a glance, by `Proxy-Status: graphward; error=…` (RFC 9209). Its
//! body is an error in Graph's envelope, because client libraries parse that and would otherwise throw something
//! unrelated; its code is none of Graph's, so no app starts a login of its own on it.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode, Version};

use super::body::Body;
use crate::graph::TokenFamily;
use crate::token::RefreshError;

/// Why a request is answered here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The process is stopping.
    #[error("graphward is stopping and takes no new requests")]
    Draining,
    /// More requests are under way than may be.
    #[error("graphward has too many requests under way")]
    Overloaded,
    /// There is no token, and none came in time.
    #[error("graphward has no token for this request: {reason}{}", if *permanent { "" } else { ". Send it again" })]
    NoCredential {
        /// What the refresher said.
        reason: String,
        /// Whether a person has to act.
        permanent: bool,
    },
    /// Graph has rejected the token, and there is no newer one.
    #[error("graphward's token is dead, so this request was not sent: {reason} heal.dead_token refuses such requests")]
    DeadToken {
        /// What Graph said of it, and who must do what.
        reason: String,
    },
    /// The request names a host that is not served here.
    #[error("graphward does not serve the host that this request names; set listen.allowed_hosts if it should")]
    HostNotAllowed,
    /// CONNECT or TRACE.
    #[error("graphward does not take {0}")]
    MethodNotAllowed(&'static str),
    /// CONNECT to a host that is not Graph's, nor named by an operator.
    #[error(
        "graphward opens tunnels only to {0}. Name this host in NO_PROXY, so that it is called without graphward, or in \
         listen.tunnel_hosts"
    )]
    TunnelNotAllowed(Arc<str>),
    /// Not a request that may be passed on.
    #[error("graphward cannot pass this request on: {0}")]
    MalformedRequest(&'static str),
    /// The head is larger than any client's is.
    #[error("the head of this request is larger than the 64 KiB that graphward takes")]
    HeadTooLarge,
    /// A web page sent it.
    #[error("graphward does not take requests from web pages of other sites")]
    CrossSite,
    /// The app sent a credential and may not.
    #[error("this request has a credential of its own in its {0}; heal.client_credentials refuses those")]
    ClientCredential(&'static str),
    /// Credentials in its body cannot be told from the rest.
    #[error("graphward cannot take the credentials out of this request's body: {0}")]
    ScrubFailed(&'static str),
    /// The token is another family's than the host.
    #[error(
        "the token is one for {token}, and {host} is not {token}'s; nothing was sent. Give graphward a token of the right kind, or call another host"
    )]
    FamilyMismatch {
        /// Whose token it is.
        token: TokenFamily,
        /// Where the request was to go.
        host: String,
    },
    /// A body of unknown length too large to hold, with a method that cannot stream one.
    #[error("a {0} request with a body this large needs a Content-Length")]
    LengthRequired(http::Method),
    /// The app's body did not come.
    #[error("the request's body did not arrive in time")]
    BodyTimeout,
    /// The app's body broke off, or is not framed as HTTP demands.
    #[error("the request's body is broken or ended early")]
    BodyInterrupted,
    /// Nobody answers at the upstream's address.
    #[error("graphward cannot reach {0}")]
    ConnectFailed(String),
    /// Nor in time.
    #[error("graphward could not connect to {0} in time")]
    ConnectTimeout(String),
    /// The upstream's certificate cannot be verified.
    #[error("graphward does not trust the TLS certificate of {0}; nothing was sent")]
    UntrustedCertificate(String),
    /// The upstream refused the TLS handshake.
    #[error("{0} refused the TLS handshake; nothing was sent")]
    TlsAlert(String),
    /// The upstream does not speak TLS, or none that we do.
    #[error("{0} does not speak TLS 1.2 or 1.3; nothing was sent")]
    TlsProtocol(String),
    /// The upstream did not answer.
    #[error("Graph did not answer in time; whether it acted on the request is not known")]
    ResponseTimeout,
    /// The upstream broke off.
    #[error("the connection to Graph broke before its answer came; whether it acted on the request is not known")]
    ConnectionTerminated,
}

/// RFC 9209.
pub(crate) const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// What is fixed for each variant.
struct ErrorProperties {
    status: StatusCode,
    /// RFC 9209, section 2.3.
    error: &'static str,
    label: &'static str,
    /// 990001 upwards: none of Graph's.
    code: u32,
    /// Whether trying again later can help *and* cannot do harm.
    transient: bool,
}

// === impl Refusal ===

impl Refusal {
    /// The word for metrics and logs.
    pub(crate) const fn label(&self) -> &'static str {
        self.properties().label
    }

    /// The status it is answered with.
    pub(crate) const fn status(&self) -> StatusCode {
        self.properties().status
    }

    const fn properties(&self) -> ErrorProperties {
        use StatusCode as S;
        const DENIED: &str = "http_request_denied";
        const REQUEST_ERROR: &str = "http_request_error";
        const CONFIGURATION_ERROR: &str = "proxy_configuration_error";
        #[rustfmt::skip]
        let (status, error, label, code, transient) = match self {
            Self::Draining => (S::SERVICE_UNAVAILABLE, DENIED, "refused_draining", 990_001, true),
            Self::Overloaded => (S::SERVICE_UNAVAILABLE, "connection_limit_reached", "refused_full", 990_002, true),
            Self::NoCredential { permanent: false, .. } => (S::SERVICE_UNAVAILABLE, "proxy_internal_error", "refused_no_token", 990_003, true),
            Self::NoCredential { permanent: true, .. } => (S::SERVICE_UNAVAILABLE, CONFIGURATION_ERROR, "refused_no_token", 990_003, true),
            Self::HostNotAllowed => (S::MISDIRECTED_REQUEST, DENIED, "refused_host", 990_004, false),
            Self::MethodNotAllowed(_) => (S::METHOD_NOT_ALLOWED, DENIED, "refused_method", 990_005, false),
            Self::MalformedRequest(_) => (S::BAD_REQUEST, REQUEST_ERROR, "refused_malformed", 990_006, false),
            Self::HeadTooLarge => (S::REQUEST_HEADER_FIELDS_TOO_LARGE, REQUEST_ERROR, "refused_head_too_large", 990_007, false),
            Self::CrossSite => (S::FORBIDDEN, DENIED, "refused_cross_site", 990_008, false),
            Self::ClientCredential(_) => (S::FORBIDDEN, DENIED, "refused_presented", 990_009, false),
            Self::LengthRequired(_) => (S::LENGTH_REQUIRED, REQUEST_ERROR, "refused_length_required", 990_010, false),
            Self::BodyTimeout => (S::REQUEST_TIMEOUT, REQUEST_ERROR, "refused_slow_body", 990_011, false),
            Self::BodyInterrupted => (S::BAD_REQUEST, REQUEST_ERROR, "refused_broken_body", 990_012, false),
            Self::ConnectFailed(_) => (S::BAD_GATEWAY, "connection_refused", "refused_unreachable", 990_013, true),
            Self::ConnectTimeout(_) => (S::GATEWAY_TIMEOUT, "connection_timeout", "refused_connect_timeout", 990_014, true),
            Self::UntrustedCertificate(_) => (S::BAD_GATEWAY, "tls_certificate_error", "refused_tls", 990_015, false),
            Self::TlsAlert(_) => (S::BAD_GATEWAY, "tls_alert_received", "refused_tls", 990_015, false),
            Self::TlsProtocol(_) => (S::BAD_GATEWAY, "tls_protocol_error", "refused_tls", 990_015, false),
            Self::ResponseTimeout => (S::GATEWAY_TIMEOUT, "http_response_timeout", "refused_head_timeout", 990_016, false),
            Self::ConnectionTerminated => (S::BAD_GATEWAY, "connection_terminated", "refused_broken", 990_017, false),
            Self::ScrubFailed(_) => (S::BAD_REQUEST, REQUEST_ERROR, "refused_unclean", 990_018, false),
            Self::FamilyMismatch { .. } => (S::MISDIRECTED_REQUEST, CONFIGURATION_ERROR, "refused_family", 990_019, false),
            Self::TunnelNotAllowed(_) => (S::FORBIDDEN, DENIED, "refused_tunnel", 990_020, false),
            Self::DeadToken { .. } => (S::SERVICE_UNAVAILABLE, CONFIGURATION_ERROR, "refused_dead_token", 990_021, true),
        };
        ErrorProperties {
            status,
            error,
            label,
            code,
            transient,
        }
    }

    /// The answer: Graph's envelope, no token, no cache. HTTP/2 has no `Connection` (RFC 9113, section 8.2.2).
    pub(crate) fn into_response(self, version: Version) -> Response<Body> {
        let ErrorProperties {
            status,
            error,
            code,
            transient,
            ..
        } = self.properties();
        // serde_json writes keys in the order given here, and clients look for `{"error"` at the very start.
        let message = serde_json::Value::String(format!("{self}."));
        let body = format!(
            r#"{{"error":{{"message":{message},"type":"GraphwardException","code":{code},"is_transient":{transient},"fbtrace_id":"graphward"}}}}"#
        );
        // What is left of a request like these cannot be told from the next one.
        let closes_connection = matches!(
            self,
            Self::Draining
                | Self::TunnelNotAllowed(_)
                | Self::MalformedRequest(_)
                | Self::HeadTooLarge
                | Self::BodyTimeout
                | Self::BodyInterrupted
                | Self::ScrubFailed(_)
        );
        let mut response = Response::new(Body::from(Bytes::from(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=UTF-8"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(value) = HeaderValue::from_str(&format!("graphward; error={error}")) {
            headers.insert(PROXY_STATUS, value);
        }
        match self {
            Self::Draining | Self::Overloaded | Self::NoCredential { .. } | Self::DeadToken { .. } => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::MethodNotAllowed(_) => {
                let allowed = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
                headers.insert(ALLOW, allowed);
                // Whoever wanted a tunnel may be talking to its other end already.
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Self::HostNotAllowed
            | Self::TunnelNotAllowed(_)
            | Self::MalformedRequest(_)
            | Self::HeadTooLarge
            | Self::CrossSite
            | Self::ClientCredential(_)
            | Self::ScrubFailed(_)
            | Self::FamilyMismatch { .. }
            | Self::LengthRequired(_)
            | Self::BodyTimeout
            | Self::BodyInterrupted
            | Self::ConnectFailed(_)
            | Self::ConnectTimeout(_)
            | Self::UntrustedCertificate(_)
            | Self::TlsAlert(_)
            | Self::TlsProtocol(_)
            | Self::ResponseTimeout
            | Self::ConnectionTerminated => {}
        }
        if closes_connection && version < Version::HTTP_2 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<RefreshError> for Refusal {
    fn from(error: RefreshError) -> Self {
        let permanent = match &error {
            RefreshError::Failed(why) => !Arc::as_ref(why).is_transient(),
            RefreshError::TimedOut => false,
            RefreshError::Closed => true,
        };
        let reason = match error {
            RefreshError::Failed(why) => why.to_string(),
            late_or_closed @ (RefreshError::TimedOut | RefreshError::Closed) => late_or_closed.to_string(),
        };
        Self::NoCredential { reason, permanent }
    }
}
