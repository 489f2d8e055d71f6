//! Changes of the token through the admin listener, and what they answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::comparison::{COMPARED_LATE, COMPARISON_TIMEOUT, ComparisonError};
use super::query::ChangeQuery;
use super::response::{AdminResponse, error_response, json_response};
use super::state::Admin;
use super::tenant::AdminTenant;
use crate::net::Stage;
use crate::source::decode::{DecodeError, Format, decode_token};
use crate::telemetry::{AuditAction, AuditRecord, InLog};
use crate::token::{ObtainError, OperatorCommand, Token, TokenChange};
use crate::types::{TenantId, TenantIdError, error_chain, has_token};

/// A change of the token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Change {
    /// `PUT /admin/token`.
    Set,
    /// `POST /admin/rollback`.
    RollBack,
}

/// The body of a request that sets a token, besides the token: what Graph's answer with a token has as well.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "the token is read as one in a file is, and Graph is asked when it ends"
)]
struct TokenFields {
    access_token: IgnoredAny,
    token_type: Option<IgnoredAny>,
    expires_in: Option<IgnoredAny>,
}

/// The client that requests a change, and the admin listener that it asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Requester<'a> {
    pub(super) admin: &'a Admin,
    pub(super) peer: &'a str,
    /// Takes the answer, and is closed once the client has left.
    pub(super) reply: &'a oneshot::Sender<AdminResponse>,
}

/// The reason why a change was refused. No message repeats anything of the request.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChangeError {
    #[error("there is no such tenant; name one by ?tenant=NAME{0}")]
    UnknownTenant(String),
    #[error("there is no such tenant; name one by ?tenant=NAME, or leave it out for all")]
    NoSuchTenant,
    #[error(transparent)]
    Comparison(#[from] ComparisonError),
    #[error("the client left before the token had been compared with the current one, so nothing was changed")]
    ClientLeft,
    #[error("{}; the code is used up, so let the business sign up again", .0.to_string().trim_end_matches('.'))]
    UsedUp(Box<Self>),
    #[error("too many codes are being noted at the moment; try again: this one was not sent to Graph")]
    Busy,
    #[error(
        "graphward is stopping: nothing was changed, and a code was not sent to Graph; try again when graphward runs"
    )]
    Stopping,
    #[error("graphward stopped before the change was done; look at the status before another attempt")]
    Stopped,
    #[error("not all sources were looked at in time: some are slow; what was found is in the status")]
    LateLook,
    #[error("the place of [tenants_from] has no such tenant")]
    NotInPlace,
    #[error("the body is larger than 16 KiB")]
    LargeBody,
    #[error("the body did not arrive within {} s", BODY_TIMEOUT.as_secs())]
    LateBody,
    #[error("the connection ended before the body was complete")]
    CutBody,
    #[error("the body is empty; expected {{\"{field}\": \"…\"}}")]
    EmptyBody { field: &'static str },
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
    #[error(
        "the body has a field that is not known, or that is there twice; expected {{\"access_token\": \"…\"}}, and name a \
         tenant by ?tenant=NAME"
    )]
    TokenFields,
    #[error(
        "the body has a field that is not known, or that is there twice, or an id that is not a text of digits; expected {0}"
    )]
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
/// The time between two attempts to compare the token of a code.
const BUSY_PAUSE: Duration = Duration::from_millis(500);
/// The longest wait for a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes a change of a token, and answers what has changed or why nothing has.
pub(super) async fn change_token(
    change: Change,
    query: ChangeQuery,
    body: Incoming,
    requester: Requester<'_>,
) -> AdminResponse {
    let mut name = None;
    let changed = async {
        let tenants = requester.admin.open_tenants(query.tenant.as_deref());
        let target = match &query.tenant {
            Some(name) => tenants.iter().find(|tenant| tenant.id.as_str() == name),
            None => tenants.first().filter(|_| tenants.len() == 1),
        };
        let target = target.ok_or_else(|| ChangeError::UnknownTenant(names(&tenants)))?;
        name = Some(target.id.as_str().to_owned());
        let (action, what, command) = match change {
            Change::Set => {
                let body = read_body(body).await?;
                let token = token_in(&body, "access_token")?;
                serde_json::from_slice::<TokenFields>(&body).map_err(|_unknown| ChangeError::TokenFields)?;
                requester.compare(target, &token, &query).await?;
                (AuditAction::Set, "set the token", OperatorCommand::Set(token))
            }
            Change::RollBack => (
                AuditAction::RolledBack,
                "rolled back to the token",
                OperatorCommand::RollBack,
            ),
        };
        let change = target.operator.request(command).await?;
        let TokenChange { token, stored_in, .. } = &change;
        let what = format!("{what} {token}; it is stored in {stored_in}");
        requester.record(&target.id, action, Some(token), stored_in, &what);
        Ok(change)
    };
    let changed = requester.until_stopped(changed).await;
    requester.answer(changed, name.as_deref())
}

impl Admin {
    /// Compares a token with the one that a tenant uses, unless the operator forces it.
    async fn compare(&self, tenant: &AdminTenant, token: &Token, query: &ChangeQuery) -> Result<(), ChangeError> {
        let Some(comparison) = self.comparison.as_ref().filter(|_| !query.is_forced) else {
            return Ok(());
        };
        let compared = async {
            tenant.tokens.wait_for_first_check().await;
            match tenant.tokens.current() {
                Some(_) => comparison.compare(tenant, token).await,
                None => Ok(()),
            }
        };
        let late = |_elapsed| ComparisonError::Different(COMPARED_LATE.to_owned());
        Ok(timeout(COMPARISON_TIMEOUT, compared).await.map_err(late)??)
    }

    /// Compares the token of a code, which cannot be sent again: so it waits for its turn.
    pub(super) async fn compare_signed_up(
        &self,
        tenant: &AdminTenant,
        token: &Token,
        query: &ChangeQuery,
    ) -> Result<(), ChangeError> {
        let deadline = Instant::now() + COMPARISON_TIMEOUT;
        loop {
            match self.compare(tenant, token, query).await {
                Err(ChangeError::Comparison(ComparisonError::Busy)) if Instant::now() < deadline => {
                    sleep(BUSY_PAUSE).await;
                }
                compared => return compared,
            }
        }
    }
}

// === impl Requester ===

impl Requester<'_> {
    /// Compares a token with the one that a tenant uses, unless the operator forces it. Nothing has been changed by then, so a
    /// client that leaves meanwhile has taken its request back.
    pub(super) async fn compare(
        &self,
        tenant: &AdminTenant,
        token: &Token,
        query: &ChangeQuery,
    ) -> Result<(), ChangeError> {
        self.admin.compare(tenant, token, query).await?;
        if self.reply.is_closed() {
            return Err(ChangeError::ClientLeft);
        }
        Ok(())
    }

    /// Makes a change unless graphward has stopped before it is done: a stop waits for it, but not for ever.
    pub(super) async fn until_stopped<T>(
        &self,
        change: impl Future<Output = Result<T, ChangeError>>,
    ) -> Result<T, ChangeError> {
        if self.admin.lifecycle.current() == Stage::Stopped {
            return Err(ChangeError::Stopping);
        }
        tokio::select! {
            biased;
            changed = change => changed,
            () = self.admin.lifecycle.wait_for(Stage::Stopped) => Err(ChangeError::Stopped),
        }
    }

    /// Records a change.
    pub(super) fn record(&self, tenant: &TenantId, action: AuditAction, token: Option<&str>, place: &str, what: &str) {
        let Admin { audit, events, .. } = self.admin;
        let (peer, label) = (self.peer, action.label());
        tracing::info!(%tenant, token, place, peer, action = label, "the operator made a change");
        let record = AuditRecord {
            tenant: tenant.as_str(),
            action,
            source: place,
            token,
            generation: None,
            peer: Some(peer),
        };
        audit.record(&record, InLog::Present);
        events.add(tenant, label, format!("The operator ({peer}) {what}."));
    }

    /// Answers with what was done for a tenant, or with the reason why it was not.
    pub(super) fn answer(&self, done: Result<impl Serialize, ChangeError>, tenant: Option<&str>) -> AdminResponse {
        match done {
            Ok(done) => json_response(StatusCode::OK, &done),
            Err(error) => self.refuse(&error, tenant),
        }
    }

    /// Answers why nothing was done. A change that could not be made is an event; a malformed request and a busy moment are not,
    /// and few of them in a second are logged.
    pub(super) fn refuse(&self, error: &ChangeError, tenant: Option<&str>) -> AdminResponse {
        let (peer, status) = (self.peer, error.status());
        let tenant = tenant.filter(|name| !has_token(name));
        let is_event = matches!(status, StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE) && !error.is_busy();
        let not_logged = if is_event { Some(0) } else { self.admin.refusals.admit() };
        if self.admin.lifecycle.current() == Stage::Stopped && !matches!(error, ChangeError::Stopping) {
            tracing::error!(tenant, reason = %error, peer, "graphward stopped before a change of the operator was done");
        } else if let Some(not_logged) = not_logged {
            tracing::warn!(tenant, reason = %error, peer, not_logged, "refused a request of the operator");
        }
        if is_event {
            let tenant = tenant.and_then(|name| TenantId::new(name).ok());
            let tenant = tenant.unwrap_or_else(TenantId::unnamed);
            let reason = format!("A request of the operator ({peer}) was refused: {error}.");
            self.admin.events.add(&tenant, "change_refused", reason);
        }
        let cause = if let ChangeError::UsedUp(cause) = error {
            cause
        } else {
            error
        };
        let ChangeError::Comparison(ComparisonError::Different(differences)) = cause else {
            return error_response(status, error);
        };
        // For programs, which may offer to force the change.
        let answer = json!({ "error": { "message": error.to_string(), "differences": differences } });
        json_response(status, &answer)
    }
}

/// The end of a message with the first names of the configuration.
fn names(tenants: &[Arc<AdminTenant>]) -> String {
    const SHOWN: usize = 5;
    if tenants.is_empty() {
        return String::new();
    }
    let names: Vec<_> = tenants.iter().map(|tenant| tenant.id.as_str()).take(SHOWN).collect();
    let more = if tenants.len() > SHOWN { ", …" } else { "" };
    let names = names.join(", ");
    format!(", which may be left out if the configuration has only one: {names}{more}")
}

/// Reads a body.
pub(super) async fn read_body(body: Incoming) -> Result<Bytes, ChangeError> {
    match timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ChangeError::LargeBody),
        Ok(Err(_)) => Err(ChangeError::CutBody),
        Err(_elapsed) => Err(ChangeError::LateBody),
    }
}

/// Finds the token in a field of a body, as one in a file.
pub(super) fn token_in(body: &[u8], field: &'static str) -> Result<Token, ChangeError> {
    if body.trim_ascii().is_empty() {
        return Err(ChangeError::EmptyBody { field });
    }
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
        // Something else than an object has no field, either.
        let error = if matches!(error, DecodeError::NotJsonInString { .. }) {
            DecodeError::PointerNotFound
        } else {
            error
        };
        let missing = NO_TOKEN.iter().find(|(kind, _)| *kind == error);
        missing.map_or(Self::Token { error, field }, |(_, what)| Self::NoToken { what, field })
    }

    /// Returns whether only other requests are in the way.
    const fn is_busy(&self) -> bool {
        matches!(self, Self::Busy | Self::Comparison(ComparisonError::Busy))
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::UnknownTenant(_) | Self::NoSuchTenant | Self::NotInPlace => StatusCode::NOT_FOUND,
            Self::UsedUp(cause) => cause.status(),
            _ if self.is_busy() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Busy | Self::LateLook | Self::Stopping | Self::Stopped => StatusCode::SERVICE_UNAVAILABLE,
            Self::ConfiguredTenant | Self::NoTenantsFrom | Self::UsedCode | Self::Comparison(_) => StatusCode::CONFLICT,
            Self::LargeBody => StatusCode::PAYLOAD_TOO_LARGE,
            Self::LateBody => StatusCode::REQUEST_TIMEOUT,
            Self::CutBody
            | Self::EmptyBody { .. }
            | Self::NotJson { .. }
            | Self::NoToken { .. }
            | Self::Token { .. }
            | Self::TokenFields
            | Self::TenantFields(_)
            | Self::SignUpFields(_)
            | Self::TenantName(_) => StatusCode::BAD_REQUEST,
            Self::Obtain(error) | Self::Tenant(error) if error.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Obtain(_) | Self::Tenant(_) | Self::ClientLeft => StatusCode::CONFLICT,
        }
    }
}
