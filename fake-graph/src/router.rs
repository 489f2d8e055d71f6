//! Which function answers which call. Graph checks the token before anything else, even before the path.
//!
//! # Why
//!
//! Paths are matched by slice patterns: host, method and path decide together, and a router that matches paths alone
//! would need a second table from its routes to functions.

use http::StatusCode;

use crate::auth::{ValidToken, authenticate, no_user_error};
use crate::call::{Call, CallCredential};
use crate::failure::GraphFailure;
use crate::faults::EndpointKind;
use crate::grants::is_id;
use crate::hosts::VirtualHost;
use crate::reply::{Reply, is_known_version};
use crate::state::{State, lock};
use crate::tokens::TokenType;
use crate::{
    access, batch, debug_token, instagram_threads, media, messages, oauth, objects, pages, proof, uploads, videos,
};

/// Answers a call.
pub(crate) fn dispatch(state: &State, call: &Call) -> Reply {
    route(state, call).unwrap_or_else(|failure| Reply::failure(&failure.for_host(call.host)))
}

/// The endpoint of a call.
pub(crate) fn classify(call: &Call) -> EndpointKind {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    let is_instagram_or_threads = matches!(call.host, VirtualHost::Instagram | VirtualHost::Threads);
    match path.as_slice() {
        ["oauth", "access_token"] if !is_instagram_or_threads => EndpointKind::Exchange,
        [_, "access_tokens"] if call.method == http::Method::POST => EndpointKind::Mint,
        ["refresh_access_token"] => EndpointKind::Refresh,
        ["debug_token"] => EndpointKind::DebugToken,
        ["me"] if call.asks_whether_token_works() => EndpointKind::Me,
        ["oauth", ..] | ["access_token", ..] | [_, "access_tokens"] => EndpointKind::Other,
        _ => EndpointKind::Data,
    }
}

fn route(state: &State, call: &Call) -> Result<Reply, GraphFailure> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    let verb = match call.method.as_str() {
        "HEAD" => "GET",
        verb => verb,
    };
    if let Some(answer) = route_without_token(state, call, verb, &path) {
        return answer;
    }

    let bearer = authenticate(state, call)?;
    proof::check(state, call, &bearer.token, bearer.kind)?;
    if !is_known_version(call.version) {
        let (major, minor) = call.version.unwrap_or_default();
        return Err(GraphFailure::unknown_path(&format!("v{major}.{minor}")));
    }
    access::check(state, call, &bearer.token)?;
    if matches!(call.host, VirtualHost::Instagram | VirtualHost::Threads) {
        return instagram_threads::account(call, &path);
    }
    let needs_page_token = path.last().is_some_and(|edge| lock(&state.page_edges).contains(*edge));
    if needs_page_token && bearer.kind != TokenType::Page {
        return Err(GraphFailure::page_token_required());
    }
    match (verb, path.as_slice()) {
        ("POST", []) => batch::execute(call, |item| dispatch(state, item)),
        ("GET", []) if call.text("ids").is_some() => objects::by_ids(state, call),
        ("GET", ["debug_token"]) => debug_token::inspect(state, call, &bearer),
        ("GET", ["me"]) => match bearer.kind {
            TokenType::User | TokenType::Page | TokenType::SystemUser => Ok(objects::me(state, call, &bearer.token)),
            TokenType::App => Err(no_user_error()),
        },
        ("GET", ["me", "permissions"]) => Ok(objects::permissions(state, &bearer.token)),
        ("GET", ["me" | "app", "picture"]) => Ok(objects::picture(call)),
        (_, [upload]) if upload.starts_with("upload:") => uploads::resume(state, call),
        (_, [id, rest @ ..]) if is_id(id) => route_object(state, call, &bearer, verb, id, rest),
        (_, path) => Err(GraphFailure::unsupported_request(&call.method, &path.join("/"))),
    }
}

/// Calls that check their token in their own way, or need none.
fn route_without_token(state: &State, call: &Call, verb: &str, path: &[&str]) -> Option<Result<Reply, GraphFailure>> {
    let answer = match (call.host, verb, path) {
        (VirtualHost::Lookaside, ..) | (VirtualHost::Any, "GET", ["whatsapp_business", "attachments"]) => {
            Ok(media::download(state, call))
        }
        (VirtualHost::Rupload, ..) | (VirtualHost::Any, _, ["video-upload", ..]) => {
            Ok(videos::transfer(state, call, path))
        }
        (VirtualHost::Instagram | VirtualHost::Threads, "POST", ["oauth", "access_token"]) => {
            instagram_threads::login(call)
        }
        (VirtualHost::Instagram | VirtualHost::Threads | VirtualHost::Any, "GET", ["access_token"]) => {
            instagram_threads::exchange(state, call)
        }
        (VirtualHost::Instagram | VirtualHost::Threads | VirtualHost::Any, "GET", ["refresh_access_token"]) => {
            instagram_threads::refresh(state, call)
        }
        (VirtualHost::Instagram | VirtualHost::Threads, ..) => return None,
        (_, "GET" | "POST", ["oauth", "access_token"]) => oauth::access_token(state, call),
        (_, "GET" | "POST", ["oauth", "revoke"]) => oauth::revoke(state, call),
        _ => return None,
    };
    Some(answer)
}

/// Objects with an id, and their edges.
fn route_object(
    state: &State,
    call: &Call,
    bearer: &ValidToken,
    verb: &str,
    id: &str,
    rest: &[&str],
) -> Result<Reply, GraphFailure> {
    match (verb, rest) {
        ("GET", []) if media::is_media_id(state, id) => media::media_info(state, call, id),
        ("GET", []) => objects::phone(state, call, id),
        ("DELETE", []) => media::delete(state, call, id),
        ("POST", ["messages"]) => messages::send(state, call, bearer, id),
        ("POST", ["media"]) => media::upload(state, call, &bearer.token, id),
        ("GET", ["phone_numbers"]) => objects::phone_numbers(state, call, id),
        ("GET", ["message_templates"]) => pages::templates(state, call, id),
        ("POST", ["uploads"]) => uploads::create_session(state, call, &bearer.token, id),
        ("POST", ["videos"]) if call.host != VirtualHost::Graph => videos::publish(state, call, &bearer.token, id),
        ("POST", ["video_reels"]) => videos::reel(state, call, &bearer.token, id),
        ("GET", ["leadgen_forms"]) => Ok(objects::empty_list()),
        ("GET", ["picture"]) => Ok(objects::picture(call)),
        ("GET" | "POST" | "DELETE", ["subscriptions"]) => objects::subscriptions(call, bearer.kind),
        ("POST", ["access_tokens"]) => oauth::create_system_user_token(state, call, bearer, id),
        ("DELETE", ["access_tokens"]) => Ok(oauth::revoke_all(state, id)),
        (_, []) => Err(GraphFailure::unsupported_request(&call.method, id)),
        (_, edge) => Err(GraphFailure::unknown_path(&edge.join("/"))),
    }
}

/// An error on command. The status for a dead token depends on where the token was sent, as always.
pub(crate) fn injected_error(call: &Call, code: i64, subcode: Option<i64>, status: Option<StatusCode>) -> GraphFailure {
    let mut failure = GraphFailure::from_code(code).for_host(call.host);
    if let Some(subcode) = subcode {
        failure = failure.with_subcode(subcode);
    }
    let token_in_parameter = matches!(call.credential, CallCredential::Parameter(_));
    match status {
        Some(status) => failure.with_status(status),
        None if code == 190 && token_in_parameter => failure.with_status(StatusCode::BAD_REQUEST),
        None => failure,
    }
}
