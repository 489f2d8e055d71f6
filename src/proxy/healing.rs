//! Decides whether a rejected request is sent a second time, and with which credential.

use super::buffer::Replay;
use super::classify::ClassifiedResponse;
use super::credential;
use super::heal::HealMode;
use super::outbound::OutboundRequest;
use super::record::Outcome;
use super::tenant::Authorization;
use crate::graph::Verdict;
use crate::token::RefreshError;

/// The parts of the second attempt besides the request.
pub(crate) struct Healing<'tenant> {
    pub(crate) authorization: Authorization<'tenant>,
    pub(crate) replay: Replay,
}

/// How a request ends without a second attempt.
pub(crate) struct Unhealed {
    pub(crate) outcome: Outcome,
    pub(crate) verdict: Verdict,
}

/// Obtains what a second attempt needs, or says how the request ends without one.
pub(crate) async fn heal<'tenant>(
    authorization: &Authorization<'tenant>,
    outbound: &OutboundRequest,
    first: &ClassifiedResponse,
    replay: Option<Replay>,
) -> Result<Healing<'tenant>, Unhealed> {
    let unhealed = |outcome| Unhealed {
        outcome,
        verdict: first.verdict,
    };
    let Some(generation) = authorization.generation() else {
        return Err(unhealed(Outcome::Delivered));
    };
    let tenant = authorization.tenant();
    if tenant.settings.heal.mode == HealMode::Inject {
        let is_rejected = first.rejected_request().is_some();
        return Err(unhealed(if is_rejected {
            Outcome::UnhealedByMode
        } else {
            Outcome::Delivered
        }));
    }
    match (first.rejected_request(), replay) {
        (Some(rejected), replay) => match (
            credential::wait_for_healing(tenant, rejected, replay.as_ref()).await,
            replay,
        ) {
            // Graph states that it did not process the request, so sending it again is safe.
            (Ok(authorization), Some(replay)) => Ok(Healing { authorization, replay }),
            (Err(RefreshError::StillValid), _) => Err(Unhealed {
                outcome: Outcome::Delivered,
                verdict: Verdict::WrongTokenKind,
            }),
            (_, None) => Err(unhealed(Outcome::UnhealedNotReplayable)),
            (Err(_error), Some(_)) => {
                credential::remember_if_dead(tenant, rejected, first);
                Err(unhealed(Outcome::UnhealedNoNewerToken))
            }
        },
        // The media host sends no error code: a refused download is replayed only if there is a newer token by now.
        (None, Some(replay))
            if let Some(authorization) = tenant.newer_than(generation)
                && outbound.is_media_rejection(first.response.status()) =>
        {
            Ok(Healing { authorization, replay })
        }
        (None, _) => Err(unhealed(Outcome::Delivered)),
    }
}
