//! Chooses, trusts and rejects the credential of a request.
//!
//! # Why
//!
//! A credential counts as rejected here only if Graph rejected a whole request. A rejected item of a batch is no reason to
//! hold other requests back: most such items have a token of the app's own.
//!
//! A request that can be replayed probes before any request waits, so a wrong rejection is corrected within one round
//! trip. Requests that wait meanwhile are released by the first success, as they are by a newer token.

use std::sync::Arc;

use http::{Response, StatusCode};
use tokio::time::Instant;

use super::body::Body;
use super::buffer::Replay;
use super::classify::ClassifiedResponse;
use super::dead_token::{DeadTokenPolicy, LastRejection, cached_response};
use super::outbound::OutboundRequest;
use super::record::{Outcome, RequestRecord};
use super::refusal::Refusal;
use super::tenant::Tenant;
use crate::graph::{GraphError, RejectionReason};
use crate::token::{Credential, Generation, RefreshError};

/// The decision on a request.
#[derive(Debug)]
pub(crate) enum Admission {
    /// It is sent with this credential.
    Send(Arc<Credential>),
    /// It is not sent: this is its response.
    Respond(Box<Response<Body>>),
}

/// Chooses the credential of a request: the current one, unless that is known to be dead.
///
/// # Errors
///
/// [`Refusal::NoCredential`] if graphward has no token, [`Refusal::DeadToken`] if it is dead and such requests are refused.
pub(crate) async fn select(
    tenant: &Tenant,
    outbound: &OutboundRequest,
    replay: Option<&Replay>,
    record: &mut RequestRecord,
) -> Result<Admission, Refusal> {
    let (tokens, cache) = (&tenant.tokens, &tenant.dead_token_cache);
    let credential = match replay {
        Some(_) => tokens.current_or_wait(token_deadline(tenant)).await?,
        // There is no second attempt, so the first one needs a credential that Graph has not rejected.
        None => tokens.prefer_unrejected(token_deadline(tenant)).await?,
    };
    let generation = credential.generation();
    if tenant.heal.dead_token == DeadTokenPolicy::Forward || !tokens.is_rejected(generation) {
        return Ok(Admission::Send(credential));
    }
    // Created before the cache is read, so that no recovery in between is missed.
    let recovered = cache.recovered();
    let should_probe = || tenant.heal.dead_token == DeadTokenPolicy::Probe && cache.try_acquire_probe();
    if cache.rejection_of(generation).is_none() || (replay.is_some() && should_probe()) {
        return Ok(Admission::Send(credential));
    }
    // Cancel-safe: both futures only wait.
    tokio::select! {
        fresh = wait_for_newer(tenant, generation) => if let Ok(fresh) = fresh {
            return Ok(Admission::Send(fresh));
        },
        () = recovered => {}
    }
    let Some(last) = cache.rejection_of(generation).filter(|_| !should_probe()) else {
        return Ok(Admission::Send(credential));
    };
    outbound.check_family(tenant, &credential)?;
    record.set_rejection(generation, last.reason);
    record.error = Some(Box::new(last.error.clone()));
    if tenant.heal.dead_token == DeadTokenPolicy::Refuse {
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

/// Waits for a newer credential while one is being obtained, and then for `heal.hold_timeout`, since an operator may be
/// about to provide one.
pub(crate) async fn wait_for_newer(tenant: &Tenant, generation: Generation) -> Result<Arc<Credential>, RefreshError> {
    let (tokens, deadline) = (&tenant.tokens, token_deadline(tenant));
    match tokens.wait_for_newer(generation, deadline).await {
        Err(RefreshError::Failed(_)) => {
            let deadline = token_deadline(tenant);
            tokens
                .wait_during_hold(generation, tenant.heal.hold_timeout, deadline)
                .await
        }
        result => result,
    }
}

/// Returns the current credential if it is newer than this one.
pub(crate) fn newer_than(tenant: &Tenant, generation: Generation) -> Option<Arc<Credential>> {
    let current = tenant.tokens.current()?;
    (current.generation() > generation).then_some(current)
}

/// Notes that Graph rejected a request that had this credential.
pub(crate) fn mark_rejected(
    tenant: &Tenant,
    credential: &Credential,
    reason: RejectionReason,
    classified: &ClassifiedResponse,
) {
    let generation = credential.generation();
    let rejection = classified.token_rejection.as_deref();
    let error = rejection.map_or_else(GraphError::invalid_token, |rejection| rejection.error.clone());
    tenant.tokens.mark_rejected(generation, &error);
    let envelope = rejection.and_then(|rejection| rejection.envelope.clone());
    tenant.dead_token_cache.store(LastRejection {
        generation,
        reason,
        error,
        response: envelope.and_then(|envelope| cached_response(&classified.response, envelope)),
    });
}

/// Notes that Graph accepted this credential.
pub(crate) fn mark_accepted(tenant: &Tenant, credential: &Credential) {
    let generation = credential.generation();
    if tenant.tokens.is_rejected(generation) {
        tenant.tokens.mark_accepted(generation);
        tenant.dead_token_cache.clear(generation);
    }
}

fn token_deadline(tenant: &Tenant) -> Instant {
    Instant::now() + tenant.heal.token_wait
}
