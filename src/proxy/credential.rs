//! Chooses, trusts and rejects the credential of a request.
//!
//! # Why
//!
//! A credential counts as rejected here only if Graph rejected a whole request. A rejected item of a batch is no reason to
//! hold other requests back: most such items have a token of the app's own.
//!
//! A request that can be replayed probes before any request waits, so a wrong rejection is corrected within one round
//! trip. Requests that were not sent meanwhile are released by the first success that began after it, as they are by a newer
//! token. A request that was rejected stays held: only a newer token, or Graph's answer that it accepts this one, helps it.

use std::time::Duration;

use http::{Response, StatusCode};
use tokio::time::Instant;

use super::body::Body;
use super::buffer::Replay;
use super::classify::ClassifiedResponse;
use super::dead_token::{DeadTokenPolicy, LastRejection, cached_response, invalid_token_response};
use super::heal_config::HealMode;
use super::outbound::OutboundRequest;
use super::record::{Outcome, RequestRecord};
use super::refusal::Refusal;
use super::tenant::{Authorization, Tenant};
use crate::graph::Verdict;
use crate::token::{ObtainError, RefreshError, RejectedRequest, RejectionReport};

/// The decision on a request.
#[derive(Debug)]
pub(crate) enum Admission<'tenant> {
    /// It is sent with this credential.
    Send(Authorization<'tenant>),
    /// It is not sent: this is its response.
    Respond(Box<Response<Body>>),
}

/// Chooses the credential of a request: the current one, unless that is known to be dead.
///
/// # Errors
///
/// [`Refusal::NoCredential`] if graphward has no token, [`Refusal::DeadToken`] if it is dead and such requests are refused.
pub(crate) async fn select<'tenant>(
    tenant: &'tenant Tenant,
    outbound: &OutboundRequest,
    replay: Option<&Replay>,
    record: &mut RequestRecord,
) -> Result<Admission<'tenant>, Refusal> {
    if tenant.settings.heal.mode == HealMode::Inject {
        return Ok(Admission::Send(tenant.current_or_wait(token_deadline(tenant)).await?));
    }
    let (tokens, cache) = (&tenant.tokens, &tenant.dead_token_cache);
    let credential = match replay {
        Some(_) => tenant.current_or_wait(token_deadline(tenant)).await,
        // There is no second attempt, so the first one needs a credential that Graph has not rejected.
        None => tenant.prefer_unrejected(token_deadline(tenant)).await,
    };
    let credential = match credential {
        Err(RefreshError::Failed(error)) if error.is_about_source_token() => match tenant.wait_for_usable().await {
            Some(credential) => credential,
            None => return respond_dead_at_start(tenant, outbound, &error, record),
        },
        credential => credential?,
    };
    let unsent = credential
        .generation()
        .and_then(|generation| tokens.unsent_request(generation));
    let Some(unsent) = unsent else {
        return Ok(Admission::Send(credential));
    };
    let policy = tenant.settings.heal.dead_token;
    let should_probe = || policy == DeadTokenPolicy::Probe && cache.try_acquire_probe();
    if policy == DeadTokenPolicy::Forward
        || cache.rejection_of(&unsent).is_none()
        || (replay.is_some() && should_probe())
    {
        return Ok(Admission::Send(credential));
    }
    match wait_for_newer(tenant, &unsent).await {
        Ok(fresh) => return Ok(Admission::Send(fresh)),
        Err(RefreshError::StillValid) => return Ok(Admission::Send(credential)),
        Err(_) => {}
    }
    let Some(last) = cache.rejection_of(&unsent).filter(|_| !should_probe()) else {
        return Ok(Admission::Send(credential));
    };
    outbound.check_family(&credential)?;
    record.set_rejection(unsent.generation(), last.reason);
    record.error = Some(Box::new(last.error.clone()));
    if tenant.settings.heal.dead_token == DeadTokenPolicy::Refuse {
        return Err(last.to_refusal());
    }
    let Some(response) = &last.response else {
        return Ok(Admission::Send(credential));
    };
    let mut response = response.clone().map(Body::from);
    if outbound.hints.hides_status {
        *response.status_mut() = StatusCode::OK;
    }
    record.set_outcome(Outcome::UnhealedNotSent, response.status());
    Ok(Admission::Respond(Box::new(response)))
}

/// Answers a request as if the token had died later: the only token was dead when graphward found it.
fn respond_dead_at_start(
    tenant: &Tenant,
    outbound: &OutboundRequest,
    error: &ObtainError,
    record: &mut RequestRecord,
) -> Result<Admission<'static>, Refusal> {
    let reason = format!("{error}.");
    if tenant.settings.heal.dead_token == DeadTokenPolicy::Refuse {
        return Err(Refusal::DeadToken { reason });
    }
    let mut response = invalid_token_response(&reason);
    if outbound.hints.hides_status {
        *response.status_mut() = StatusCode::OK;
    }
    record.set_outcome(Outcome::UnhealedNotSent, response.status());
    Ok(Admission::Respond(Box::new(response.map(Body::from))))
}

/// Waits for a credential with which a rejected request can be sent again. A request that cannot be sent again does not
/// wait.
///
/// # Errors
///
/// [`RefreshError::StillValid`] if Graph accepts the present one, so that its response is delivered; any other if there is no
/// newer one.
pub(crate) async fn wait_for_healing<'tenant>(
    tenant: &'tenant Tenant,
    rejected: &RejectedRequest,
    replay: Option<&Replay>,
) -> Result<Authorization<'tenant>, RefreshError> {
    match replay {
        Some(_) => wait_for_newer(tenant, rejected).await,
        None => {
            let now = Instant::now();
            tenant.wait_for_successor(rejected, Duration::ZERO, now).await
        }
    }
}

async fn wait_for_newer<'tenant>(
    tenant: &'tenant Tenant,
    request: &RejectedRequest,
) -> Result<Authorization<'tenant>, RefreshError> {
    let newer = tenant.wait_for_successor(request, tenant.settings.heal.hold_timeout, token_deadline(tenant));
    newer.await
}

/// Reports that Graph rejected a request that had this authorization.
pub(crate) fn report_rejection(
    authorization: &Authorization<'_>,
    outbound: &OutboundRequest,
    classified: &mut ClassifiedResponse,
) {
    let (Verdict::TokenRejected(rejection), Some(details), Some(generation)) = (
        classified.verdict,
        &mut classified.token_rejection,
        authorization.generation(),
    ) else {
        return;
    };
    let tenant = authorization.tenant();
    let reported = tenant.tokens.report_rejection(RejectionReport {
        generation,
        proof: outbound.proof_of(rejection),
        endpoint: outbound.target.endpoint_id(),
        error: &details.error,
    });
    details.reported = Some(reported);
    remember_if_dead(tenant, &reported, classified);
}

/// Remembers a rejection for the requests that are not sent, if the token is dead.
pub(crate) fn remember_if_dead(tenant: &Tenant, rejected: &RejectedRequest, classified: &ClassifiedResponse) {
    let Some(dead) = tenant.tokens.unsent_request(rejected.generation()) else {
        return;
    };
    if let (Verdict::TokenRejected(rejection), Some(details)) = (classified.verdict, &classified.token_rejection) {
        let envelope = details.envelope.clone();
        tenant.dead_token_cache.store(LastRejection {
            suspicion: dead.suspicion(),
            reason: rejection.reason,
            error: details.error.clone(),
            response: envelope.and_then(|envelope| cached_response(&classified.response, envelope)),
        });
    }
}

fn token_deadline(tenant: &Tenant) -> Instant {
    Instant::now() + tenant.settings.heal.token_wait
}
