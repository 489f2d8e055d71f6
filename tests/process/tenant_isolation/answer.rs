//! What a call has to be answered, and what became of all of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Uri};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::call::{Call, CallKind};
use super::connections::{Connections, Door};
use super::tokens::{DEAD, name, phone};
use crate::support::{Body, TIMEOUT, TestResponse};

/// The places of signs, without that of listeners.
pub(super) const PLACES: [&str; 13] = [
    "Bearer",
    "Bearer Tunnel",
    "Body Form",
    "Body Json",
    "Body Multipart",
    "Header",
    "Ids",
    "ItemId",
    "ItemSlot",
    "Link",
    "PhoneNumberId",
    "Prefix",
    "Query",
];

/// What the answers were.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) own_token: AtomicU64,
    pub(super) dead_token: AtomicU64,
    pub(super) mixed: AtomicU64,
    pub(super) messages: AtomicU64,
    /// How often each place of a sign named the tenant of its call, and how often another one.
    places: Mutex<BTreeMap<String, [u64; 2]>>,
}

/// What an answer is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Answer {
    OwnToken,
    DeadToken,
    /// The refusal of a call that names two tenants.
    Mixed,
}

// === impl Tally ===

impl Tally {
    fn count(&self, call: &Call, answer: Answer) {
        let count = match answer {
            Answer::OwnToken => &self.own_token,
            Answer::DeadToken => &self.dead_token,
            Answer::Mixed => &self.mixed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        if answer == Answer::OwnToken && call.kind == CallKind::Message {
            self.messages.fetch_add(1, Ordering::Relaxed);
        }
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        for (sign, tenant) in &call.signs {
            let is_other = *tenant != call.target;
            if is_other || answer == Answer::OwnToken {
                places.entry(call.place(*sign)).or_default()[usize::from(is_other)] += 1;
            }
        }
    }

    /// The places where a sign was right in one call at least, and named another tenant in another one.
    pub(super) fn tried_places(&self) -> Vec<String> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let tried = places.iter().filter(|(_, [right, other])| *right > 0 && *other > 0);
        tried.map(|(place, _)| place.clone()).collect()
    }
}

// === impl Call ===

impl Call {
    /// Sends it, checks its answer, and follows the link in it.
    ///
    /// # Errors
    ///
    /// The reason why a connection broke.
    pub(super) async fn send(&self, connections: &mut Connections<'_>, tally: &Tally) -> Result<(), String> {
        let response = connections.send(self.door, self.request()).await?;
        let mut answer = self.check(&response);
        if answer == Answer::OwnToken && self.kind.has_link() {
            answer = self.follow_link(&response.json(), connections).await?;
        }
        tally.count(self, answer);
        Ok(())
    }

    /// Fails unless this is the answer for the tenant that the call names, or the refusal if it names two.
    fn check(&self, response: &TestResponse) -> Answer {
        let (status, body) = (response.status, response.json());
        let Some(tenant) = self.tenant() else {
            self.check_mixed(response);
            return Answer::Mixed;
        };
        if tenant < DEAD {
            assert_eq!(body["error"]["code"], 190, "{self:?}: {status} {body}");
            return Answer::DeadToken;
        }
        assert_eq!(status, 200, "{self:?}: {body}");
        let is_right = match self.kind {
            CallKind::Me | CallKind::PhoneNumberId => body["name"] == name(tenant),
            CallKind::Number => body["id"] == phone(tenant),
            CallKind::Ids => body[phone(tenant)]["id"] == phone(tenant),
            CallKind::Message => body["messages"][0]["id"].is_string(),
            // graphward delivers the answer to a batch as it is, even if the token dies between its items.
            CallKind::Batch => body.as_array().unwrap().iter().all(|item| {
                let content: Value = serde_json::from_str(item["body"].as_str().unwrap()).unwrap();
                content["id"] == phone(tenant) || content["error"]["code"] == 190
            }),
            CallKind::Media => body["id"].is_string(),
            CallKind::Templates => body["data"].as_array().is_some_and(|page| page.len() == 20),
        };
        assert!(is_right, "{self:?}: {body}");
        Answer::OwnToken
    }

    fn check_mixed(&self, response: &TestResponse) {
        let body = response.json();
        let answer = (response.status, body["error"]["code"].as_i64());
        assert_eq!(answer, (403, Some(990_027)), "{self:?}: {body}");
    }

    /// Follows the link in an answer with nothing, or with a header.
    async fn follow_link(&self, answer: &Value, connections: &mut Connections<'_>) -> Result<Answer, String> {
        let link = if self.kind == CallKind::Media {
            let looked_up = format!("/v26.0/{}", answer["id"].as_str().unwrap());
            let request = get(&looked_up, Some(self.target));
            let looked_up = connections.send(Door::Direct, request).await?;
            looked_up.json()["url"].clone()
        } else {
            answer["paging"]["next"].clone()
        };
        let link: Uri = link
            .as_str()
            .unwrap_or_else(|| panic!("{self:?}: {link}"))
            .parse()
            .unwrap();
        let path = link.path_and_query().unwrap().as_str();
        assert!(
            path.starts_with(&format!("/-/{}/", name(self.target))),
            "{self:?}: {path}"
        );
        let sign = self.link_sign();
        let mut response = connections.send(Door::Direct, get(path, sign)).await?;
        if sign.is_some_and(|tenant| tenant != self.target) {
            self.check_mixed(&response);
            return Ok(Answer::Mixed);
        }
        if self.kind == CallKind::Templates {
            return Ok(self.check(&response));
        }
        // The media host does not say that a token has died, so that a download waits for the next one.
        let started = Instant::now();
        while response.status != 200 {
            assert!(started.elapsed() < TIMEOUT, "{self:?}: {response:?}");
            sleep(Duration::from_millis(20)).await;
            response = connections.send(Door::Direct, get(path, sign)).await?;
        }
        assert_eq!(response.body, self.text);
        Ok(Answer::OwnToken)
    }
}

/// A request whose header names this tenant, if any.
fn get(path: &str, tenant: Option<usize>) -> Request<Body> {
    let mut request = Request::get(path);
    if let Some(tenant) = tenant {
        request = request.header("x-tenant-id", name(tenant));
    }
    request.body(Body::default()).unwrap()
}
