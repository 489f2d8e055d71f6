//! The answer to a call that was read, with its fault if it has one.

use std::sync::atomic::Ordering;

use http::{Response, StatusCode};
use tokio::sync::SemaphorePermit;

use crate::body::{ConnectionAborted, ResponseBody};
use crate::call::Call;
use crate::faults::{Effect, EndpointKind, Fault, FaultTiming};
use crate::parse::ParsedRequest;
use crate::reply::Reply;
use crate::state::{State, lock};
use crate::{auth, router};

/// Answers a call.
pub(crate) async fn answer_call(
    state: &State,
    arrival: ParsedRequest,
) -> Result<Response<ResponseBody>, ConnectionAborted> {
    let ParsedRequest {
        call,
        within_limit: fits,
        ..
    } = arrival;
    if !fits {
        return Ok(Reply::error_page(StatusCode::PAYLOAD_TOO_LARGE).into_response(&call, state.usage_headers()));
    }
    let endpoint = router::classify(&call);
    state.count_call(endpoint);
    let fault = if endpoint != EndpointKind::Data || auth::authenticate(state, &call).is_ok() {
        lock(&state.faults).take_next(endpoint)
    } else {
        state.rejected.fetch_add(1, Ordering::Relaxed);
        lock(&state.faults).take_next_for_dead_token(endpoint)
    };
    match fault {
        None => Ok(router::dispatch(state, &call).into_response(&call, state.usage_headers())),
        Some(fault) => {
            state.faults_injected.fetch_add(1, Ordering::Relaxed);
            apply_fault(state, call, fault).await
        }
    }
}

/// Answers a call that has a fault.
async fn apply_fault(state: &State, mut call: Call, fault: Fault) -> Result<Response<ResponseBody>, ConnectionAborted> {
    if let Effect::TokenResponse(grant) = fault.effect {
        call.token_response = grant;
    }
    let call = &call;
    let handled_first = match fault.timing {
        FaultTiming::BeforeHandling => None,
        FaultTiming::AfterHandling => Some(router::dispatch(state, call)),
    };
    let reply_or_dispatch = |early: Option<Reply>| early.unwrap_or_else(|| router::dispatch(state, call));
    let reply = match fault.effect {
        Effect::Error { code, subcode, status } => {
            let failure = router::injected_error(call, code, subcode, status);
            Reply::failure(&failure)
        }
        Effect::MalformedToken => Reply::failure(&auth::malformed_token(call)),
        Effect::NullBatchItem => reply_or_dispatch(handled_first).without_first_item(),
        Effect::HtmlPage(status) => Reply::error_page(status),
        Effect::TokenResponse(_) => reply_or_dispatch(handled_first),
        Effect::Delay(by) => {
            tokio::time::sleep(by).await;
            reply_or_dispatch(handled_first)
        }
        Effect::Hold => {
            // The semaphore is never closed.
            drop(state.releases.acquire().await.map(SemaphorePermit::forget));
            reply_or_dispatch(handled_first)
        }
        Effect::Hang => std::future::pending().await,
        Effect::Reset => return Err(ConnectionAborted),
        Effect::Stall => {
            return Ok(reply_or_dispatch(handled_first)
                .into_response(call, state.usage_headers())
                .map(ResponseBody::stalled));
        }
        Effect::Truncate => {
            return Ok(reply_or_dispatch(handled_first)
                .into_response(call, state.usage_headers())
                .map(ResponseBody::truncated));
        }
    };
    Ok(reply.into_response(call, state.usage_headers()))
}
