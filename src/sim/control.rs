//! The control listener: a small JSON API by which a test of any language steers the fake.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};
use hyper::service::Service;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::body::SimBody;
use super::death::Death;
use super::faults::{Effect, Endpoint, Fault, Grant, Moment};
use super::hosts::Family;
use super::state::{State, locked};
use super::tokens::{About, Change, Kind, Until};
use super::usage;
use crate::net::BoxError;
use crate::types::unix;

/// The control API as a service.
#[derive(Clone)]
pub(super) struct Control(Arc<State>);

/// `POST /tokens`, and `POST /tokens/set` for one that there is. Times are from now on, or `never`; an age is back from
/// now.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Issue {
    token: Option<String>,
    family: Option<Family>,
    ttl: Option<String>,
    kind: Option<Kind>,
    age: Option<String>,
    data_access: Option<String>,
    scopes: Option<Vec<String>>,
    targets: Option<Vec<String>>,
    app_id: Option<String>,
}

/// `POST /tokens/expire`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expire {
    token: Option<String>,
    #[serde(default)]
    all: bool,
    kind: Option<Death>,
}

/// `POST /faults`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trouble {
    kind: String,
    #[serde(default)]
    on: Endpoint,
    code: Option<i64>,
    subcode: Option<i64>,
    status: Option<u16>,
    r#for: Option<String>,
    #[serde(default = "one")]
    times: u32,
    #[serde(default)]
    after: bool,
}

const fn one() -> u32 {
    1
}

/// An answer that is not a 200: status, and why in words.
type Refused = (StatusCode, String);

impl Control {
    pub(super) const fn new(state: Arc<State>) -> Self {
        Self(state)
    }

    fn answer(&self, method: &Method, path: &str, body: &[u8]) -> Result<Value, Refused> {
        let state = &*self.0;
        match (method.as_str(), path) {
            ("GET", "/state") => Ok(json!({
                "tokens": locked(&state.tokens).shown(state.now()),
                "counts": state.counts(),
                "faults_waiting": locked(&state.faults).waiting(),
            })),
            ("GET", "/messages") => Ok(json!({"data": *locked(&state.messages)})),
            ("GET", "/calls") => {
                let calls = locked(&state.calls);
                Ok(json!({"data": calls.iter().collect::<Vec<_>>()}))
            }
            ("POST", "/tokens") => issue(state, parsed(body)?),
            ("POST", "/tokens/set") => set(state, parsed(body)?),
            ("POST", "/tokens/expire") => expire(state, parsed(body)?),
            ("POST", "/faults") => {
                let (endpoint, fault) = trouble(parsed(body)?)?;
                let mut faults = locked(&state.faults);
                faults.add(endpoint, fault);
                Ok(json!({"faults_waiting": faults.waiting()}))
            }
            ("POST", "/usage") => {
                usage::set(&mut locked(&state.usage), &parsed(body)?).map_err(bad)?;
                Ok(json!({"success": true}))
            }
            ("POST", "/reset") => {
                state.reset();
                Ok(json!({"success": true}))
            }
            (_, path) => match allowed(path) {
                Some(allowed) => Err((
                    StatusCode::METHOD_NOT_ALLOWED,
                    format!("{path} takes {allowed} only"),
                )),
                None => Err((
                    StatusCode::NOT_FOUND,
                    "there are GET /state, GET /messages, GET /calls, POST /tokens, POST /tokens/set, \
                     POST /tokens/expire, POST /faults, POST /usage and POST /reset"
                        .to_owned(),
                )),
            },
        }
    }
}

/// The one method of a path.
fn allowed(path: &str) -> Option<&'static str> {
    match path {
        "/state" | "/messages" | "/calls" => Some("GET"),
        "/tokens" | "/tokens/set" | "/tokens/expire" | "/faults" | "/usage" | "/reset" => {
            Some("POST")
        }
        _ => None,
    }
}

fn issue(state: &State, asked: Issue) -> Result<Value, Refused> {
    let change = change(state, &asked)?;
    let ttl = state.settings.token_ttl;
    let token = match asked.token {
        None => state.issue(asked.family.unwrap_or_default(), ttl),
        Some(token) => {
            let about = About::new(Kind::SystemUser, state.now(), ttl);
            locked(&state.tokens).add(&token, about);
            token
        }
    };
    changed(state, &token, change)
}

fn set(state: &State, mut asked: Issue) -> Result<Value, Refused> {
    let token = asked.token.take();
    let token = token.ok_or_else(|| bad("say which: \"token\": \"…\""))?;
    if asked.family.is_some() {
        return Err(bad("a token's family is in how it begins"));
    }
    changed(state, &token, change(state, &asked)?)
}

fn changed(state: &State, token: &str, change: Change) -> Result<Value, Refused> {
    let mut tokens = locked(&state.tokens);
    if !tokens.change(token, change) {
        return Err((StatusCode::NOT_FOUND, "there is no such token".to_owned()));
    }
    let until = tokens.about(token).and_then(|about| about.until);
    Ok(json!({"access_token": token, "expires_at": until.map(unix)}))
}

/// What is asked for. A person's token has access to data for 90 days from its issue, unless told otherwise.
fn change(state: &State, asked: &Issue) -> Result<Change, Refused> {
    let now = state.now();
    let until = |text: &Option<String>| match text.as_deref() {
        None => Ok(None),
        Some("never") => Ok(Some(Until::Ever)),
        Some(text) => Ok(Some(Until::Then(now + duration(text).map_err(bad)?))),
    };
    let age = asked.age.as_deref().map(duration).transpose();
    let issued = age.map_err(bad)?.map(|age| now - age);
    let persons = asked.kind == Some(Kind::User);
    let access = About::new(Kind::User, issued.unwrap_or(now), None).data_access;
    let usual = access.filter(|_| persons).map(Until::Then);
    Ok(Change {
        kind: asked.kind,
        issued,
        ends: until(&asked.ttl)?,
        data_access: until(&asked.data_access)?.or(usual),
        scopes: asked.scopes.clone(),
        targets: asked.targets.clone(),
        app: asked.app_id.clone(),
    })
}

fn expire(state: &State, asked: Expire) -> Result<Value, Refused> {
    let death = asked.kind.unwrap_or(Death::Expired);
    let now = state.now();
    let mut tokens = locked(&state.tokens);
    let died = match (asked.token, asked.all) {
        (None, true) => tokens.kill_all(death, now),
        (Some(token), false) if tokens.is_known(&token) => {
            usize::from(tokens.kill(&token, death, now))
        }
        (Some(_), false) => {
            return Err((StatusCode::NOT_FOUND, "there is no such token".to_owned()));
        }
        (Some(_), true) | (None, false) => {
            return Err(bad("say either \"token\": \"…\" or \"all\": true"));
        }
    };
    Ok(json!({"expired": died}))
}

fn trouble(asked: Trouble) -> Result<(Endpoint, Fault), Refused> {
    let status = asked.status.map(StatusCode::from_u16).transpose();
    let status = status.map_err(|_range| bad("\"status\" is a number from 100 to 999"))?;
    let effect = match asked.kind.as_str() {
        "error" => Effect::Error {
            code: asked.code.ok_or_else(|| bad("an error needs a \"code\""))?,
            subcode: asked.subcode,
            status,
        },
        "page" => Effect::Page(status.unwrap_or(StatusCode::BAD_GATEWAY)),
        "delay" => {
            let by = asked
                .r#for
                .as_deref()
                .ok_or_else(|| bad("a delay needs a \"for\""))?;
            Effect::Delay(duration(by).map_err(bad)?)
        }
        "malformed" => Effect::Malformed,
        "null" => Effect::Null,
        "hang" => Effect::Hang,
        "stall" => Effect::Stall,
        "cut" => Effect::Cut,
        "reset" => Effect::Reset,
        "untold" => Effect::Grant(Grant::Untold),
        "form" => Effect::Grant(Grant::Form),
        "same" => Effect::Grant(Grant::Same),
        "stale" => Effect::Grant(Grant::Stale),
        "huge" => Effect::Grant(Grant::Huge),
        _ => {
            return Err(bad(
                "\"kind\" is one of error, malformed, page, null, delay, hang, stall, cut and reset; of a token \
                 endpoint also untold, form, same, stale and huge",
            ));
        }
    };
    let fault = Fault {
        effect,
        moment: if asked.after {
            Moment::After
        } else {
            Moment::Before
        },
        times: asked.times,
    };
    Ok((asked.on, fault))
}

fn bad(why: impl Into<String>) -> Refused {
    (StatusCode::BAD_REQUEST, why.into())
}

/// A body of JSON; none at all is an empty object.
fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| bad(format!("the body is not right: {error}")))
}

/// A time in words: `250ms`, `4s`, `10m`, `2h`.
///
/// # Errors
///
/// What is wrong with it, in words.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = text.strip_prefix(digits).unwrap_or_default();
    let number: u32 = digits
        .parse()
        .map_err(|_no_number| format!("{text:?} is no time: write 250ms, 4s, 10m or 2h"))?;
    let unit = match unit {
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(60 * 60),
        _ => return Err(format!("{text:?} needs a unit: ms, s, m or h")),
    };
    Ok(unit * number)
}

impl<B> Service<Request<B>> for Control
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<SimBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let control = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let path = head.uri.path();
            let answer = match Limited::new(body, 1024 * 1024).collect().await {
                Ok(body) => control.answer(&head.method, path, &body.to_bytes()),
                Err(error) => Err(bad(format!("the body cannot be read: {error}"))),
            };
            Ok(written(answer, allowed(path)))
        })
    }
}

fn written(answer: Result<Value, Refused>, allowed: Option<&'static str>) -> Response<SimBody> {
    let (status, value) = match answer {
        Ok(value) => (StatusCode::OK, value),
        Err((status, why)) => (status, json!({"error": why})),
    };
    let body = Bytes::from(format!("{value:#}\n"));
    let length = body.len();
    let mut response = Response::new(SimBody::whole(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, length.into());
    if let (StatusCode::METHOD_NOT_ALLOWED, Some(allowed)) = (status, allowed) {
        headers.insert(ALLOW, HeaderValue::from_static(allowed));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        for wrong in ["", "4", "s", "-4s", "4 s", "4d", "4294967296s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
