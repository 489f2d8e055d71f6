//! Forwards a request to Graph, and waits for the head of its response.
//!
//! # Why
//!
//! Sending again is not the replay. A request that Graph has provably not processed may be sent once more on another
//! connection, and so may a GET or HEAD that changes nothing, if a connection that had served others ended before a byte of
//! the response. Everything else may have been processed, and graphward cannot know.

use std::pin::{Pin, pin};
use std::sync::Arc;

use http::{Request, Response, StatusCode};
use tokio::time::timeout;

use super::body::Body;
use super::outbound::OutboundRequest;
use super::refusal::Refusal;
use super::tenant::{Authorization, Tenant};
use super::upload_progress::UploadProgress;
use crate::net::TimeLimit;
use crate::types::error_chain;
use crate::upstream::{Fate, Lease, ResponseBody, SendError};

/// Sends a request, and waits for the head of its response.
///
/// # Errors
///
/// The [`Refusal`] that says why there is no response.
pub(crate) async fn forward(
    authorization: &Authorization<'_>,
    outbound: &OutboundRequest,
    body: Body,
) -> Result<Response<ResponseBody<Body>>, Refusal> {
    let tenant = authorization.tenant();
    let lease = match tenant.settings.upstream.take_open(outbound.origin()).await {
        Some(lease) => lease,
        None => Box::pin(new_connection(tenant, outbound)).await?,
    };
    let held = body.held_bytes();
    let (body, progress) = body.track_upload();
    let sent = {
        let sent = pin!(lease.send(outbound.to_request(authorization, body)));
        with_head_timeout(sent, &tenant.settings.head_timeout, progress.as_deref()).await?
    };
    let error = match sent {
        Ok(response) => return checked(response),
        Err(error) => error,
    };
    log_failure(&error);
    let (request, progress) = match (error, held) {
        // As it was, with its body untouched.
        (SendError::HandedBack(request), _) => (*request, progress),
        (SendError::Ended(ended), Some(held)) if may_be_sent_again(ended.fate, outbound) => {
            let (body, progress) = Body::from(held).track_upload();
            (outbound.to_request(authorization, body), progress)
        }
        (SendError::Ended(ended), _) => return Err(no_response(ended.fate, progress.as_deref())),
    };
    // Boxed, so that the future of every other request stays small.
    Box::pin(send_again(tenant, outbound, request, progress)).await
}

/// Waits for a connection that has not been idle.
async fn new_connection(tenant: &Tenant, outbound: &OutboundRequest) -> Result<Lease<Body>, Refusal> {
    let connected = timeout(
        tenant.settings.head_timeout.length,
        tenant.settings.upstream.wait(outbound.origin()),
    )
    .await;
    let connected = connected.map_err(|_elapsed| Refusal::ResponseTimeout)?;
    connected.map_err(|failure| {
        tracing::debug!(error = %failure, fate = "not_sent", "upstream attempt failed");
        Refusal::Connect(failure)
    })
}

/// Sends a request once more, on another connection.
async fn send_again(
    tenant: &Tenant,
    outbound: &OutboundRequest,
    request: Request<Body>,
    progress: Option<Arc<UploadProgress>>,
) -> Result<Response<ResponseBody<Body>>, Refusal> {
    let lease = new_connection(tenant, outbound).await?;
    let sent = {
        let sent = pin!(lease.send(request));
        with_head_timeout(sent, &tenant.settings.head_timeout, progress.as_deref()).await?
    };
    match sent {
        Ok(response) => checked(response),
        Err(error) => {
            log_failure(&error);
            Err(no_response(error.fate(), progress.as_deref()))
        }
    }
}

fn may_be_sent_again(fate: Fate, outbound: &OutboundRequest) -> bool {
    match fate {
        Fate::NotSent | Fate::NotProcessed => true,
        Fate::Unanswered => outbound.is_idempotent(),
        Fate::Unknown => false,
    }
}

fn log_failure(error: &SendError<Body>) {
    tracing::debug!(
        error = error_chain(error),
        fate = error.fate().as_str(),
        "upstream attempt failed"
    );
}

/// The error of a request that is not sent again: what broke off its body counts first.
fn no_response(fate: Fate, progress: Option<&UploadProgress>) -> Refusal {
    match (progress.and_then(UploadProgress::failure), fate) {
        (Some(failure), _) => failure.into(),
        (None, Fate::NotSent | Fate::NotProcessed) => Refusal::NotProcessed,
        (None, Fate::Unanswered | Fate::Unknown) => Refusal::ConnectionTerminated,
    }
}

/// 101 would switch to a protocol that the app did not request (RFC 9110, section 15.2.2).
fn checked(response: Response<ResponseBody<Body>>) -> Result<Response<ResponseBody<Body>>, Refusal> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Refusal::ConnectionTerminated);
    }
    Ok(response)
}

/// Waits while bytes of the request are still moving, or the app still has to send some, and then for the head timeout. A
/// slow app is not a slow Graph: the body has an idle timeout of its own.
async fn with_head_timeout<F: Future>(
    mut response: Pin<&mut F>,
    limit: &TimeLimit,
    progress: Option<&UploadProgress>,
) -> Result<F::Output, Refusal> {
    let mut expired = limit.start();
    loop {
        tokio::select! {
            biased;
            response = response.as_mut() => return Ok(response),
            () = &mut expired => {}
        }
        match progress.map(|progress| progress.last_progress() + limit.length) {
            Some(later_deadline) if later_deadline > expired.deadline() => expired.extend(later_deadline),
            Some(_) | None => return Err(Refusal::ResponseTimeout),
        }
    }
}
