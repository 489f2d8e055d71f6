//! Who answers what. The token is looked at before anything else, the path's sense included.

use http::StatusCode;

use super::answer::{Reply, exists};
use super::call::{Call, Presented};
use super::death::Death;
use super::failure::Failure;
use super::faults::Endpoint;
use super::hosts::{Family, Host};
use super::state::{State, locked};
use super::tokens::{Kind, is_id};
use super::{
    batch, debug, media, messages, oauth, objects, pages, proof, siblings, uploads, videos,
};

/// A call's credential, found good.
pub(super) struct Bearer {
    pub(super) token: String,
    pub(super) kind: Kind,
}

/// Answers a call.
pub(super) fn dispatch(state: &State, call: &Call) -> Reply {
    route(state, call).unwrap_or_else(|failure| Reply::failure(&failure.on(call.host)))
}

/// What a call is to.
pub(super) fn endpoint(call: &Call) -> Endpoint {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    let sibling = matches!(call.host, Host::Instagram | Host::Threads);
    match path.as_slice() {
        ["oauth", "access_token"] if !sibling => Endpoint::Exchange,
        [_, "access_tokens"] if call.method == http::Method::POST => Endpoint::Mint,
        ["refresh_access_token"] => Endpoint::Refresh,
        ["debug_token"] => Endpoint::DebugToken,
        ["oauth", ..] | ["access_token", ..] | [_, "access_tokens"] => Endpoint::Other,
        _ => Endpoint::Data,
    }
}

/// Looks at a call's token.
pub(super) fn admit(state: &State, call: &Call) -> Result<Bearer, Failure> {
    let (token, status) = match &call.presented {
        Presented::Header(token) => (token, StatusCode::UNAUTHORIZED),
        Presented::Parameter(token) => (token, StatusCode::BAD_REQUEST),
        Presented::Nothing if call.path.first().is_some_and(|first| first == "me") => {
            return Err(no_user());
        }
        Presented::Nothing => {
            return Err(Failure::new(
                104,
                "An access token is required to request this resource.",
            ));
        }
    };
    if !call.host.takes(Family::of(token)) {
        return Err(Death::unparsable().status(status));
    }
    let now = state.now();
    let kind = locked(&state.tokens).check(token, state.app(), now);
    let bearer = Bearer {
        token: token.clone(),
        kind: kind.map_err(|failure| failure.status(status))?,
    };
    Ok(bearer)
}

fn route(state: &State, call: &Call) -> Result<Reply, Failure> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    let verb = match call.method.as_str() {
        "HEAD" => "GET",
        verb => verb,
    };
    if let Some(answer) = unadmitted(state, call, (verb, &path)) {
        return answer;
    }

    let bearer = admit(state, call)?;
    proof::check(state, call, &bearer.token, bearer.kind)?;
    if !exists(call.version) {
        let (major, minor) = call.version.unwrap_or_default();
        return Err(Failure::unknown_path(&format!("v{major}.{minor}")));
    }
    if matches!(call.host, Host::Instagram | Host::Threads) {
        return siblings::object(call, &path);
    }
    match (verb, path.as_slice()) {
        ("POST", []) => batch::run(state, call),
        ("GET", ["debug_token"]) => debug::token(state, call, &bearer),
        ("GET", ["me"]) => match bearer.kind {
            Kind::User | Kind::Page | Kind::SystemUser => Ok(objects::me(call)),
            Kind::App => Err(no_user()),
        },
        ("GET", ["me", "permissions"]) => Ok(objects::permissions(state, &bearer.token)),
        ("GET", ["me" | "app", "picture"]) => Ok(objects::picture(call)),
        (_, [upload]) if upload.starts_with("upload:") => uploads::resume(state, call),
        (_, [id, rest @ ..]) if is_id(id) => object(state, call, &bearer, (verb, id, rest)),
        (_, path) => Err(Failure::unsupported(&call.method, &path.join("/"))),
    }
}

/// What asks for a token itself, in a way of its own, or not at all.
fn unadmitted(
    state: &State,
    call: &Call,
    (verb, path): (&str, &[&str]),
) -> Option<Result<Reply, Failure>> {
    let answer = match (call.host, verb, path) {
        (Host::Lookaside, ..) | (Host::Other, "GET", ["whatsapp_business", "attachments"]) => {
            Ok(media::download(state, call))
        }
        (Host::Rupload, ..) | (Host::Other, _, ["video-upload", ..]) => {
            Ok(videos::transfer(state, call, path))
        }
        (Host::Instagram | Host::Threads, "POST", ["oauth", "access_token"]) => {
            siblings::login(call)
        }
        (Host::Instagram | Host::Threads | Host::Other, "GET", ["access_token"]) => {
            siblings::exchange(state, call)
        }
        (Host::Instagram | Host::Threads | Host::Other, "GET", ["refresh_access_token"]) => {
            siblings::refresh(state, call)
        }
        (Host::Instagram | Host::Threads, ..) => return None,
        (_, "GET" | "POST", ["oauth", "access_token"]) => oauth::access_token(state, call),
        (_, "GET" | "POST", ["oauth", "revoke"]) => oauth::revoke(state, call),
        _ => return None,
    };
    Some(answer)
}

/// Objects with an id, and their edges.
fn object(
    state: &State,
    call: &Call,
    bearer: &Bearer,
    (verb, id, rest): (&str, &str, &[&str]),
) -> Result<Reply, Failure> {
    match (verb, rest) {
        ("GET", []) if media::is_known(state, id) => media::look_up(state, call, id),
        ("GET", []) => objects::phone(state, call, id),
        ("DELETE", []) => media::delete(state, call, id),
        ("POST", ["messages"]) => messages::send(state, call, bearer, id),
        ("POST", ["media"]) => media::upload(state, call),
        ("GET", ["message_templates"]) => pages::templates(state, call, id),
        ("POST", ["uploads"]) => uploads::open(state, call, id),
        ("POST", ["videos"]) if call.host != Host::Graph => videos::publish(state, call),
        ("POST", ["video_reels"]) => videos::reel(state, call),
        ("GET", ["picture"]) => Ok(objects::picture(call)),
        ("GET" | "POST" | "DELETE", ["subscriptions"]) => objects::subscriptions(call, bearer.kind),
        ("POST", ["access_tokens"]) => oauth::mint(state, call, bearer.kind),
        ("DELETE", ["access_tokens"]) => Ok(oauth::revoke_all(state)),
        (_, []) => Err(Failure::unsupported(&call.method, id)),
        (_, edge) => Err(Failure::unknown_path(&edge.join("/"))),
    }
}

/// Graph's word on a malformed token, on command: it echoes whatever token there is.
pub(super) fn malformed(call: &Call) -> Failure {
    let (token, status) = match &call.presented {
        Presented::Parameter(token) => (token.as_str(), StatusCode::BAD_REQUEST),
        Presented::Header(token) => (token.as_str(), StatusCode::UNAUTHORIZED),
        Presented::Nothing => ("", StatusCode::BAD_REQUEST),
    };
    Failure::malformed(token).status(status).on(call.host)
}

/// An error on command. A dead token's status depends on how it travelled, as always.
pub(super) fn commanded(
    call: &Call,
    code: i64,
    subcode: Option<i64>,
    status: Option<StatusCode>,
) -> Failure {
    let mut failure = Failure::known(code).on(call.host);
    if let Some(subcode) = subcode {
        failure = failure.subcode(subcode);
    }
    let parameter = matches!(call.presented, Presented::Parameter(_));
    match status {
        Some(status) => failure.status(status),
        None if code == 190 && parameter => failure.status(StatusCode::BAD_REQUEST),
        None => failure,
    }
}

fn no_user() -> Failure {
    Failure::new(
        2500,
        "An active access token must be used to query information about the current user.",
    )
}
