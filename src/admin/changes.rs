//! Changes of the token through the admin listener, and what they answer.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use tokio::time::timeout;

use super::response::{AdminResponse, error_response, json_response};
use super::tenant::AdminTenant;
use crate::source::decode::{DecodeError, Format, decode_token};
use crate::telemetry::{AuditAction, AuditLog, AuditRecord, EventLog, InLog};
use crate::token::{ObtainError, OperatorCommand, Token, TokenChange};
use crate::types::{TenantIdError, error_chain};

/// A change of the token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Change {
    /// `PUT /admin/token`.
    Set,
    /// `POST /admin/rollback`.
    RollBack,
}

/// The client that requests a change, and where that is recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Requester<'a> {
    pub(super) peer: &'a str,
    pub(super) audit: &'a AuditLog,
    pub(super) events: &'a EventLog,
}

/// The reason why a change was refused. No message repeats anything of the request.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChangeError {
    #[error(
        "there is no such tenant or parameter; name one by ?tenant=NAME, which may be left out if there is only one: {0}"
    )]
    UnknownTenant(String),
    #[error("there is no such tenant or parameter; name one by ?tenant=NAME, or leave it out for all")]
    NoSuchTenant,
    #[error("the place of [tenants_from] has no such tenant")]
    NotInPlace,
    #[error("the body is larger than 16 KiB, or did not arrive within {} s", BODY_TIMEOUT.as_secs())]
    Body,
    #[error("the body is not JSON (line {line}, column {column}); expected {{\"{field}\": \"…\"}}")]
    NotJson {
        line: usize,
        column: usize,
        field: &'static str,
    },
    #[error("the body needs `{field}`, which {what}; expected {{\"{field}\": \"…\"}}")]
    NoToken { what: &'static str, field: &'static str },
    #[error("the token of {{\"{field}\": \"…\"}} in the body was refused: {error}")]
    Token { error: DecodeError, field: &'static str },
    #[error("the body has a field that is not known, or an id that is not a text of digits; expected {0}")]
    TenantFields(&'static str),
    #[error("the body cannot be used; expected {0}")]
    SignUpFields(&'static str),
    #[error("the code was sent to Graph before, which grants one token for it; let the business sign up again")]
    UsedCode,
    #[error(transparent)]
    TenantName(#[from] TenantIdError),
    #[error("the tenant is in the configuration; change it there, or its token with PUT /admin/token?tenant=NAME")]
    ConfiguredTenant,
    #[error(
        "the configuration has no place for further tenants; set [tenants_from], with a directory or a database table"
    )]
    NoTenantsFrom,
    #[error("the token was not changed: {}", error_chain(.0))]
    Obtain(#[from] ObtainError),
    #[error("the tenant was not changed: {}", error_chain(.0))]
    Tenant(#[source] ObtainError),
}

/// The largest body.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// The longest wait for a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

// === impl Change ===

impl Change {
    /// The word for the audit.
    const fn action(self) -> AuditAction {
        match self {
            Self::Set => AuditAction::Set,
            Self::RollBack => AuditAction::RolledBack,
        }
    }

    /// Makes the change, and answers what has changed or why nothing has.
    pub(super) async fn respond(
        self,
        tenants: &[Arc<AdminTenant>],
        requester: Requester<'_>,
        request: Request<Incoming>,
    ) -> AdminResponse {
        let Some(changed) = find_tenant(tenants, request.uri().query()) else {
            return refuse(&ChangeError::UnknownTenant(names(tenants)), None, requester.peer);
        };
        let tenant = changed.id.as_str();
        match self.make(changed, request).await {
            Ok(change) => {
                let TokenChange { token, stored_in, .. } = &change;
                let peer = requester.peer;
                tracing::info!(tenant, token, stored_in, peer, "the operator changed the token");
                let record = AuditRecord {
                    tenant,
                    action: self.action(),
                    source: stored_in,
                    token: Some(token),
                    generation: None,
                    peer: Some(peer),
                };
                requester.audit.record(&record, InLog::Present);
                let what = match self {
                    Self::Set => "set the token",
                    Self::RollBack => "rolled back to the token",
                };
                let reason = format!("The operator ({peer}) {what} {token}; it is stored in {stored_in}.");
                requester.events.add(&changed.id, self.action().label(), reason);
                json_response(StatusCode::OK, &change)
            }
            Err(error) => refuse(&error, Some(tenant), requester.peer),
        }
    }

    async fn make(self, tenant: &AdminTenant, request: Request<Incoming>) -> Result<TokenChange, ChangeError> {
        let command = match self {
            Self::Set => OperatorCommand::Set(token_in(&read_body(request.into_body()).await?, "access_token")?),
            Self::RollBack => OperatorCommand::RollBack,
        };
        Ok(tenant.operator.request(command).await?)
    }
}

/// Answers why nothing was done.
pub(super) fn refuse(error: &ChangeError, tenant: Option<&str>, peer: &str) -> AdminResponse {
    tracing::warn!(tenant, reason = %error, peer, "refused a request of the operator");
    error_response(error.status(), error)
}

/// The tenant that `?tenant=NAME` names. It may be left out if there is only one.
fn find_tenant<'a>(tenants: &'a [Arc<AdminTenant>], query: Option<&str>) -> Option<&'a AdminTenant> {
    let Some(query) = query.filter(|query| !query.is_empty()) else {
        let [only] = tenants else { return None };
        return Some(only);
    };
    let name = tenant_name(query)?;
    tenants
        .iter()
        .map(|tenant| &**tenant)
        .find(|tenant| tenant.id.as_str() == name)
}

/// The name in `tenant=NAME`.
pub(super) fn tenant_name(query: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(query.strip_prefix("tenant=")?).decode_utf8().ok()
}

/// The first names, for a message.
fn names(tenants: &[Arc<AdminTenant>]) -> String {
    const SHOWN: usize = 5;
    let names: Vec<_> = tenants.iter().map(|tenant| tenant.id.as_str()).take(SHOWN).collect();
    let more = if tenants.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", names.join(", "))
}

/// Reads a body.
pub(super) async fn read_body(body: Incoming) -> Result<Bytes, ChangeError> {
    match timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) | Err(_) => Err(ChangeError::Body),
    }
}

/// Finds the token in a field of a body, as one in a file.
pub(super) fn token_in(body: &[u8], field: &'static str) -> Result<Token, ChangeError> {
    let format = Format::Pointer(format!("/{field}"));
    decode_token(body, &format, None).map_err(|error| ChangeError::of_body(error, field))
}

// === impl ChangeError ===

impl ChangeError {
    /// The reason why there is no token in the body's `field`.
    fn of_body(error: DecodeError, field: &'static str) -> Self {
        const NO_TOKEN: [(DecodeError, &str); 3] = [
            (DecodeError::PointerNotFound, "is missing"),
            (DecodeError::Null, "is null"),
            (DecodeError::NotString, "is not a string"),
        ];
        if let DecodeError::InvalidJson { line, column } = error {
            return Self::NotJson { line, column, field };
        }
        let missing = NO_TOKEN.iter().find(|(kind, _)| *kind == error);
        missing.map_or(Self::Token { error, field }, |(_, what)| Self::NoToken { what, field })
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::UnknownTenant(_) | Self::NoSuchTenant | Self::NotInPlace => StatusCode::NOT_FOUND,
            Self::ConfiguredTenant | Self::NoTenantsFrom | Self::UsedCode => StatusCode::CONFLICT,
            Self::Body
            | Self::NotJson { .. }
            | Self::NoToken { .. }
            | Self::Token { .. }
            | Self::TenantFields(_)
            | Self::SignUpFields(_)
            | Self::TenantName(_) => StatusCode::BAD_REQUEST,
            Self::Obtain(error) | Self::Tenant(error) if error.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Obtain(_) | Self::Tenant(_) => StatusCode::CONFLICT,
        }
    }
}
