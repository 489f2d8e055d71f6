//! One attempt: sends the request, classifies the response, and marks the credential as accepted or rejected.

use tokio::time::Instant;

use super::body::Body;
use super::classify::{ClassifiedResponse, classify_response};
use super::credential;
use super::forward::forward;
use super::outbound::OutboundRequest;
use super::record::RequestRecord;
use super::refusal::Refusal;
use super::tenant::Authorization;
use super::usage::record_usage;
use crate::graph::Verdict;
use crate::telemetry::metrics::Attempt;

/// Sends the request once, with this authorization.
///
/// # Errors
///
/// [`Refusal::FamilyMismatch`] if the host does not accept the credential, and the refusal that says why
/// there is no response.
pub(crate) async fn attempt(
    authorization: &Authorization<'_>,
    outbound: &OutboundRequest,
    body: Body,
    record: &mut RequestRecord,
) -> Result<ClassifiedResponse, Refusal> {
    let (tenant, credential) = (authorization.tenant(), authorization.credential());
    outbound.check_family(authorization)?;
    if credential.is_some() && outbound.hints.is_whatsapp {
        tenant.tokens.observations().add_whatsapp_call();
    }
    let metrics = &tenant.telemetry.metrics;
    let which = match record.start_attempt(authorization.generation()) {
        1 => Attempt::First,
        _ => Attempt::Second,
    };
    metrics.count_attempt(which);
    let start = tenant.tokens.start_attempt();
    let started_at = Instant::now();
    let response = forward(authorization, outbound, body).await;
    let time = started_at.elapsed();
    record.upstream_time += time;
    let response = response?;
    metrics.observe_response_head(which, time.as_secs_f64());
    metrics.update_usage(|usage| record_usage(response.headers(), usage));
    let mut classified = classify_response(response, outbound, authorization, record).await?;
    record.set_verdict(classified.verdict);
    match (classified.verdict, credential) {
        (Verdict::Success, Some(_)) if outbound.is_batch => classified.batch_start = Some(start),
        (Verdict::Success, Some(credential)) => {
            let endpoint = outbound.target.endpoint_id();
            tenant.tokens.mark_accepted(credential.generation(), endpoint, start);
        }
        // Even if this request cannot be healed, the next one can.
        (Verdict::TokenRejected(rejection), Some(credential)) => {
            record.set_rejection(credential.generation(), rejection.reason);
            credential::report_rejection(authorization, outbound, &mut classified);
        }
        (Verdict::AccountLocked, Some(_)) => {
            if let Some(error) = &record.error {
                tenant.tokens.observations().add_account_lock(error);
            }
        }
        (Verdict::ProofRejected, Some(credential)) => {
            tenant
                .tokens
                .observations()
                .add_proof_rejection(credential.generation());
        }
        (_, _) => {}
    }
    Ok(classified)
}
