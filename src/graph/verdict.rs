//! The meaning of a response.

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, WWW_AUTHENTICATE};

use super::error::GraphError;

/// The meaning of a response. Exactly one variant leads to a replay.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// 1xx, 2xx, 3xx: delivered unread. So is the 200 of a batch, even if items failed: others may have run. A 2xx that is
    /// an error envelope is not one.
    Success,
    /// Graph rejects the token, and did not process the request. A newer token helps.
    TokenRejected(Rejection),
    /// Graph rejected the token for this request, but accepts it otherwise: the request needs a token of another kind, or
    /// carries one of its own. A response alone does not show this; Graph has to be asked.
    WrongTokenKind,
    /// `appsecret_proof` is missing or invalid. A newer token does not help: the app's secret has to be configured.
    ProofRejected,
    /// A rate limit: status 429, or one of Graph's limit codes under another status. A newer token does not help.
    Throttled,
    /// A permission or a capability is missing: a business admin must grant it. A newer token has the same permissions.
    Permission,
    /// Meta has blocked or locked the account. A newer token does not help.
    AccountLocked,
    /// Any other error envelope: parameters, policy.
    Refused,
    /// 5xx, or Graph's "service unavailable" under another status. Whether Graph processed the request is unknown.
    ServerError,
    /// A 4xx whose body is not an error envelope, or was not read; a 2xx that may be one, and could not be read.
    Opaque,
}

/// A rejection of a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rejection {
    /// The reason that Graph gives.
    pub reason: RejectionReason,
    /// What it proves.
    pub proof: RejectionProof,
}

/// What a rejection proves about the token.
///
/// # Why
///
/// Graph answers code 190 without a subcode to a request that needs a page's token and has a user's, although that token
/// is valid. Only the message tells the two cases apart, and messages are localized. So such a rejection proves nothing,
/// and Graph is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RejectionProof {
    /// The session behind the token has ended.
    SessionEnded,
    /// Nothing: the token may be valid.
    Unproven,
}

/// The reason why Graph rejects a token. It tells operators what to do; it never decides whether to replay, since a
/// newer token helps in all four cases.
///
/// The subcodes are those of the [error handling guide] and of the older, longer official table.
///
/// [error handling guide]: https://developers.facebook.com/docs/graph-api/guides/error-handling
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RejectionReason {
    /// It expired, or was not used for too long.
    Expired,
    /// It was valid once: password changed, app removed or reinstalled, logged out, revoked.
    Invalidated,
    /// It is malformed, or is for another app or host: a bad paste, an app secret reset.
    Malformed,
    /// Its user must act on facebook.com first: checkpoint, unconfirmed account, lost role.
    ActionRequired,
}

/// Classifies a response. Total: any status, any headers, any bytes.
///
/// `body` is the whole body without its content encoding; it is empty if it was not read.
///
/// [`Verdict::TokenRejected`] needs a suspicious head *and* a top-level error envelope with one of the codes of
/// `rejection`. The status alone decides nothing: a rejected token is 401 if it was sent in a header, 400 if it was
/// sent as a parameter, 404 in one recording, and 200 if the request asked for that ([`may_be_hidden_error`]); neither
/// does `type`, since `OAuthException` is the type of most errors.
#[must_use]
pub fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Verdict {
    classify_with_error(status, headers, body).0
}

/// Classifies a response, and returns its error envelope, if the body is one.
#[must_use]
pub fn classify_with_error(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> (Verdict, Option<GraphError>) {
    let error = GraphError::parse(body);
    let verdict = match (status.as_u16(), &error) {
        (500.., _) => Verdict::ServerError,
        (429, _) => Verdict::Throttled,
        (200..=299 | 400..=499, Some(error)) => classify_error(status, headers, error),
        (400..=499, None) => Verdict::Opaque,
        (_, _) => Verdict::Success,
    };
    (verdict, error)
}

fn classify_error(status: StatusCode, headers: &HeaderMap, error: &GraphError) -> Verdict {
    let may_reject_token = may_be_token_error(status, headers) || may_be_hidden_error(status, headers);
    match rejection(status, error) {
        Some(rejection) if may_reject_token => return Verdict::TokenRejected(rejection),
        _ if is_proof_error(error) => return Verdict::ProofRejected,
        Some(_) | None => {}
    }
    match (error.code, error.is_transient) {
        (Some(code), _) if is_rate_limit(code) => Verdict::Throttled,
        (Some(2), _) | (Some(1), Some(true)) => Verdict::ServerError,
        (Some(3 | 10 | 200..=299 | 131_005), _) => Verdict::Permission,
        (Some(368 | 131_031), _) => Verdict::AccountLocked,
        (_, _) => Verdict::Refused,
    }
}

/// Returns whether a body has to be read because it may be a token error.
///
/// Yes for JSON and JavaScript (Graph says `text/javascript` to old clients) with 400, 401, 403 or 404, and with any
/// other 4xx whose `WWW-Authenticate` says `"invalid_token"`.
#[must_use]
pub fn may_be_token_error(status: StatusCode, headers: &HeaderMap) -> bool {
    status.is_client_error()
        && is_json_or_javascript(headers)
        && (matches!(status.as_u16(), 400 | 401 | 403 | 404) || has_invalid_token_error(headers))
}

/// Returns whether a body is read because it may be an error envelope: a 4xx with JSON or JavaScript.
#[must_use]
pub fn may_be_error(status: StatusCode, headers: &HeaderMap) -> bool {
    status.is_client_error() && is_json_or_javascript(headers)
}

/// Returns whether a 2xx has to be read because it may be an error: the request asked Graph for this status whatever
/// happens, by `suppress_http_code`, `suppress_response_codes` or `callback`.
#[must_use]
pub fn may_be_hidden_error(status: StatusCode, headers: &HeaderMap) -> bool {
    status.is_success() && is_json_or_javascript(headers)
}

/// Reads the codes that mean "Graph rejects this access token", and what the subcode adds.
///
/// 190 with any subcode or none; 102, and 450 and 452 of the legacy API, which are about sessions; 0 only together with
/// 401, as WhatsApp documents it, since other errors have code 0 as well.
pub(super) fn rejection(status: StatusCode, error: &GraphError) -> Option<Rejection> {
    let reason = match (error.code?, error.subcode.unwrap_or(0)) {
        (190, 0 | 456 | 457) => Some(RejectionReason::Malformed),
        (190, 463 | 468 | 493) => Some(RejectionReason::Expired),
        (190, 459 | 464 | 492) => Some(RejectionReason::ActionRequired),
        (190, _) => Some(RejectionReason::Invalidated),
        (102 | 450, _) => Some(RejectionReason::Expired),
        (452, _) => Some(RejectionReason::Invalidated),
        (0, _) if status == StatusCode::UNAUTHORIZED => Some(RejectionReason::Invalidated),
        _ => None,
    }?;
    // 492 is about a role on one page, and an unknown subcode may be about anything.
    let proof = match (error.code?, error.subcode.unwrap_or(0)) {
        (190, 456..=468 | 493) | (102 | 450 | 452, _) => RejectionProof::SessionEnded,
        _ => RejectionProof::Unproven,
    };
    Some(Rejection { reason, proof })
}

/// Returns whether an error is about the proof. Code 100 is that of every invalid parameter, so the message has to name
/// this one; subcode 2207083 of code 1 is a variant of its own.
pub(super) fn is_proof_error(error: &GraphError) -> bool {
    match (error.code, error.subcode) {
        (Some(100), _) => error.mentions_appsecret_proof,
        (Some(1), Some(2_207_083)) => true,
        _ => false,
    }
}

/// Returns whether a code is one of Graph's [rate limit] codes (80007 is WhatsApp's per account) or of WhatsApp's own.
///
/// [rate limit]: https://developers.facebook.com/docs/graph-api/overview/rate-limiting
pub(super) const fn is_rate_limit(code: i64) -> bool {
    matches!(
        code,
        4 | 17 | 32 | 341 | 613 | 80_000..=80_014 | 130_429 | 131_048 | 131_056 | 131_064 | 133_016
    )
}

/// Returns whether a body may quote the token of the request: a text with an error status, of Graph or of a proxy before it.
#[must_use]
pub fn may_quote_token(status: StatusCode, headers: &HeaderMap) -> bool {
    let is_text = |content_type: &[u8]| {
        let texts: [&[u8]; 5] = [b"text/", b"json", b"javascript", b"xml", b"form-urlencoded"];
        texts.iter().any(|text| contains_ignoring_case(content_type, text))
    };
    let content_type = headers.get(CONTENT_TYPE);
    (status.is_client_error() || status.is_server_error())
        && content_type.is_none_or(|text| text.is_empty() || is_text(text.as_bytes()))
}

/// Returns whether a response is JSON, or JavaScript, as Graph calls JSON for old clients.
#[must_use]
pub fn is_json_or_javascript(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|content_type| {
        contains_ignoring_case(content_type.as_bytes(), b"json")
            || contains_ignoring_case(content_type.as_bytes(), b"javascript")
    })
}

/// Classifies a response without a body, such as one to a HEAD, by `WWW-Authenticate`: in every recording it contains
/// `"invalid_token"` together with code 190, and with no other.
#[must_use]
pub fn classify_head(status: StatusCode, headers: &HeaderMap) -> Verdict {
    if may_be_token_error(status, headers) && has_invalid_token_error(headers) {
        Verdict::TokenRejected(Rejection {
            reason: RejectionReason::Invalidated,
            proof: RejectionProof::Unproven,
        })
    } else {
        classify(status, headers, b"")
    }
}

/// Returns whether a challenge says `"invalid_token"`: `OAuth "Facebook Platform" "invalid_token" "…"` is not the
/// syntax of RFC 9110, hence a plain search.
fn has_invalid_token_error(headers: &HeaderMap) -> bool {
    let mut challenges = headers.get_all(WWW_AUTHENTICATE).iter();
    challenges.any(|challenge| contains_ignoring_case(challenge.as_bytes(), b"\"invalid_token\""))
}

fn contains_ignoring_case(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len())
        .any(|window| window.eq_ignore_ascii_case(needle))
}

// === impl Verdict ===

impl Verdict {
    /// Its name in logs and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::TokenRejected(_) => "token_rejected",
            Self::WrongTokenKind => "wrong_token_kind",
            Self::ProofRejected => "proof_rejected",
            Self::Throttled => "throttled",
            Self::Permission => "permission",
            Self::AccountLocked => "account_locked",
            Self::Refused => "refused",
            Self::ServerError => "server_error",
            Self::Opaque => "opaque",
        }
    }
}

// === impl RejectionReason ===

impl RejectionReason {
    /// Its name in logs and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Invalidated => "invalidated",
            Self::Malformed => "malformed",
            Self::ActionRequired => "action_required",
        }
    }
}

#[cfg(test)]
mod tests;
