//! Decides whether a rejected request is sent a second time, and with which credential.

use super::buffer::Replay;
use super::classify::ClassifiedResponse;
use super::credential;
use super::heal_config::HealMode;
use super::outbound::OutboundRequest;
use super::record::Outcome;
use super::tenant::Authorization;
use crate::graph::Verdict;
use crate::token::RefreshError;

/// The parts of the second attempt besides the request.
pub(crate) struct SecondAttempt<'tenant> {
    pub(crate) authorization: Authorization<'tenant>,
    pub(crate) replay: Replay,
}

/// How a request ends without a second attempt.
pub(crate) struct NoSecondAttempt {
    pub(crate) outcome: Outcome,
    pub(crate) verdict: Verdict,
}

/// Obtains what a second attempt needs, or says how the request ends without one.
pub(crate) async fn heal<'tenant>(
    authorization: &Authorization<'tenant>,
    outbound: &OutboundRequest,
    first: &ClassifiedResponse,
    replay: Option<Replay>,
) -> Result<SecondAttempt<'tenant>, NoSecondAttempt> {
    let end = |outcome| NoSecondAttempt {
        outcome,
        verdict: first.verdict,
    };
    let Some(generation) = authorization.generation() else {
        return Err(end(Outcome::Delivered));
    };
    let (tenant, rejected) = (authorization.tenant(), first.rejected_request());
    if tenant.settings.heal.mode == HealMode::Inject {
        return Err(end(rejected.map_or(Outcome::Delivered, |_| Outcome::UnhealedByMode)));
    }
    let Some(rejected) = rejected else {
        // The media host sends no error code: a refused download is replayed only if there is a newer token by now.
        let replay = replay.filter(|_| outbound.is_media_rejection(first.response.status()));
        let second = replay.and_then(|replay| {
            let authorization = tenant.newer_than(generation)?;
            Some(SecondAttempt { authorization, replay })
        });
        return second.ok_or_else(|| end(Outcome::Delivered));
    };
    // A request without a replay does not wait. It may learn all the same that Graph still accepts the token.
    let successor = credential::wait_for_healing(tenant, rejected, replay.as_ref()).await;
    match (successor, replay) {
        // Graph states that it did not process the request, so sending it again is safe.
        (Ok(authorization), Some(replay)) => Ok(SecondAttempt { authorization, replay }),
        (Err(RefreshError::StillValid), _) => Err(NoSecondAttempt {
            outcome: Outcome::Delivered,
            verdict: Verdict::WrongTokenKind,
        }),
        (_, None) => Err(end(Outcome::UnhealedNotReplayable)),
        (Err(_error), Some(_)) => {
            credential::remember_if_dead(tenant, rejected, first);
            Err(end(Outcome::UnhealedNoNewerToken))
        }
    }
}
