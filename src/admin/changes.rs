//! Changes of the token through the admin listener: who may make them, and what they answer.
//!
//! # Why
//!
//! There is no key, so only what proves to come from this machine is accepted: every address of the listener is loopback or
//! a Unix socket. A web page in a browser on this machine is no exception to distrust: it can send a request anywhere, but
//! not with a header of its own, unless the answer to a preflight request allows it, and no answer here does. A page that
//! made its own name resolve to loopback could, but then names itself in `Host`.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::Authority;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::time::timeout;

use super::response::json_response;
use crate::source::decode::{DecodeError, Format, decode_token};
use crate::telemetry::{AuditLog, AuditRecord, InLog};
use crate::token::{ObtainError, OperatorCommand, OperatorHandle, Token, TokenChange};
use crate::types::{TenantId, error_chain};

/// A change that a path stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Change {
    /// `PUT /admin/token`.
    Set,
    /// `POST /admin/rollback`.
    RollBack,
}

/// A tenant whose token can be changed.
pub(super) struct Target<'a> {
    pub(super) id: &'a TenantId,
    pub(super) operator: &'a OperatorHandle,
}

/// Where a change was asked for, and where that is recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The address of the listener, if other machines can reach it.
    pub(super) exposed_on: Option<SocketAddr>,
    /// The peer that asked.
    pub(super) peer: &'a str,
    pub(super) audit: &'a AuditLog,
}

/// The reason why a change was refused. No message repeats anything of the request.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChangeError {
    #[error(
        "other machines can reach the admin listener, on {0}, so it changes no token; set listen.admin to a loopback \
         address or to unix:/PATH, or replace the token in its source"
    )]
    Exposed(SocketAddr),
    #[error("a change of the token needs the header `Graphward-Admin: yes`, which no web page can send")]
    NoHeader,
    #[error("a change of the token needs the Host localhost, 127.0.0.1 or [::1]")]
    ForeignHost,
    #[error(
        "there is no such tenant or parameter; name one by ?tenant=NAME, which may be left out if there is only one: {0}"
    )]
    UnknownTenant(String),
    #[error("there is no such tenant or parameter; name one by ?tenant=NAME, or leave it out for all")]
    NoSuchTenant,
    #[error("the body is larger than 16 KiB, or did not arrive within {} s", BODY_TIMEOUT.as_secs())]
    Body,
    #[error("the body is not JSON (line {line}, column {column}); expected {{\"access_token\": \"…\"}}")]
    NotJson { line: usize, column: usize },
    #[error("the body needs `access_token`, which {0}; expected {{\"access_token\": \"…\"}}")]
    NoToken(&'static str),
    #[error("the token of {{\"access_token\": \"…\"}} in the body was refused: {0}")]
    Token(DecodeError),
    #[error("the token was not changed: {}", error_chain(.0))]
    Obtain(#[from] ObtainError),
}

/// The header that a change needs, with the value `yes`.
const ADMIN_HEADER: &str = "graphward-admin";
/// The largest body.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// The longest wait for a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

// === impl Change ===

impl Change {
    pub(super) fn from_path(path: &str) -> Option<Self> {
        match path {
            "/admin/token" => Some(Self::Set),
            "/admin/rollback" => Some(Self::RollBack),
            _ => None,
        }
    }

    /// The only method of its path.
    pub(super) const fn method(self) -> &'static str {
        match self {
            Self::Set => "PUT",
            Self::RollBack => "POST",
        }
    }

    /// The word for the audit.
    const fn action(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::RollBack => "rolled_back",
        }
    }

    /// Makes the change, and answers what has changed or why nothing has.
    pub(super) async fn respond(
        self,
        targets: Vec<Target<'_>>,
        asked: Asked<'_>,
        request: Request<Incoming>,
    ) -> Response<Full<Bytes>> {
        let target = find_target(&targets, request.uri().query());
        let tenant = target.map(|target| target.id.as_str());
        let made = match check_access(asked.exposed_on, &request) {
            Ok(()) => match target {
                Some(target) => self.make(target, request).await,
                None => Err(ChangeError::UnknownTenant(names(&targets))),
            },
            Err(error) => Err(error),
        };
        match made {
            Ok(change) => {
                let TokenChange { token, stored_in, .. } = &change;
                let peer = asked.peer;
                tracing::info!(tenant, token, stored_in, peer, "the operator changed the token");
                let record = AuditRecord {
                    tenant: tenant.unwrap_or_default(),
                    action: self.action(),
                    source: stored_in,
                    token,
                    generation: None,
                    peer: Some(peer),
                };
                asked.audit.record(&record, InLog::Present);
                json_response(StatusCode::OK, &change)
            }
            Err(error) => refuse(&error, tenant, asked.peer),
        }
    }

    async fn make(self, target: &Target<'_>, request: Request<Incoming>) -> Result<TokenChange, ChangeError> {
        let command = match self {
            Self::Set => OperatorCommand::Set(read_token(request.into_body()).await?),
            Self::RollBack => OperatorCommand::RollBack,
        };
        Ok(target.operator.request(command).await?)
    }
}

/// Answers why nothing was changed.
pub(super) fn refuse(error: &ChangeError, tenant: Option<&str>, peer: &str) -> Response<Full<Bytes>> {
    let message = error.to_string();
    tracing::warn!(tenant, reason = message, peer, "refused a change of the token");
    json_response(error.status(), &json!({ "error": { "message": message } }))
}

/// The tenant that `?tenant=NAME` names. It may be left out if there is only one.
fn find_target<'a>(targets: &'a [Target<'a>], query: Option<&str>) -> Option<&'a Target<'a>> {
    let Some(query) = query else {
        let [only] = targets else { return None };
        return Some(only);
    };
    let name = tenant_name(query)?;
    targets.iter().find(|target| target.id.as_str() == name)
}

/// The name in `tenant=NAME`.
pub(super) fn tenant_name(query: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(query.strip_prefix("tenant=")?).decode_utf8().ok()
}

/// The first names, for a message.
fn names(targets: &[Target<'_>]) -> String {
    const SHOWN: usize = 5;
    let names: Vec<_> = targets.iter().map(|target| target.id.as_str()).take(SHOWN).collect();
    let more = if targets.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", names.join(", "))
}

pub(super) fn check_access<B>(exposed_on: Option<SocketAddr>, request: &Request<B>) -> Result<(), ChangeError> {
    if let Some(address) = exposed_on {
        return Err(ChangeError::Exposed(address));
    }
    if request.headers().get(ADMIN_HEADER).is_none_or(|value| value != "yes") {
        return Err(ChangeError::NoHeader);
    }
    let fields = request.headers().get_all(HOST).iter();
    let fields = fields.map(|host| host.to_str().ok().and_then(|host| host.parse().ok()));
    let mut hosts = fields.chain(request.uri().authority().cloned().map(Some)).peekable();
    let has_host = hosts.peek().is_some();
    if !has_host || !hosts.all(|host| host.as_ref().is_some_and(is_loopback)) {
        return Err(ChangeError::ForeignHost);
    }
    Ok(())
}

fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or_else(|_name| host.eq_ignore_ascii_case("localhost"), |it| it.is_loopback())
}

/// Reads the token as one in a file is read.
async fn read_token(body: Incoming) -> Result<Token, ChangeError> {
    let collected = timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await;
    let Ok(Ok(body)) = collected else {
        return Err(ChangeError::Body);
    };
    let format = Format::Pointer("/access_token".to_owned());
    Ok(decode_token(&body.to_bytes(), &format, None)?)
}

// === impl ChangeError ===

impl ChangeError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Exposed(_) | Self::NoHeader | Self::ForeignHost => StatusCode::FORBIDDEN,
            Self::UnknownTenant(_) | Self::NoSuchTenant => StatusCode::NOT_FOUND,
            Self::Body | Self::NotJson { .. } | Self::NoToken(_) | Self::Token(_) => StatusCode::BAD_REQUEST,
            Self::Obtain(error) if error.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Obtain(_) => StatusCode::CONFLICT,
        }
    }
}

impl From<DecodeError> for ChangeError {
    fn from(error: DecodeError) -> Self {
        const NO_TOKEN: [(DecodeError, &str); 3] = [
            (DecodeError::PointerNotFound, "is missing"),
            (DecodeError::Null, "is null"),
            (DecodeError::NotString, "is not a string"),
        ];
        if let DecodeError::InvalidJson { line, column } = error {
            return Self::NotJson { line, column };
        }
        let missing = NO_TOKEN.iter().find(|(kind, _)| *kind == error);
        missing.map_or(Self::Token(error), |(_, text)| Self::NoToken(text))
    }
}
