//! The calls of the tenants' apps, at random: what each says of its tenant, and what it has to be answered.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use fastrand::Rng;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

use super::tokens::{DEAD, TENANTS, name, phone};
use crate::support::{Body, Client, TestResponse};

/// A call of one tenant's app.
pub(super) struct Call {
    kind: CallKind,
    /// The tenant whose phone number it names, unless it names none.
    target: usize,
    /// What else names a tenant.
    signs: Vec<(SignKind, usize)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum CallKind {
    /// The only one that names no phone number.
    Me,
    Number,
    Ids,
    Message,
    Batch,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum SignKind {
    Header,
    Bearer,
    Query,
    Prefix,
    Body,
}

/// What the answers were.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) own_token: AtomicU64,
    pub(super) dead_token: AtomicU64,
    pub(super) mixed: AtomicU64,
    pub(super) messages: AtomicU64,
}

const KINDS: [SignKind; 5] = [
    SignKind::Header,
    SignKind::Bearer,
    SignKind::Query,
    SignKind::Prefix,
    SignKind::Body,
];

// === impl Call ===

impl Call {
    /// A random call for a tenant. A quarter has a sign of one more tenant.
    pub(super) fn random(target: usize, rng: &mut Rng) -> Self {
        let kinds = [
            CallKind::Me,
            CallKind::Number,
            CallKind::Ids,
            CallKind::Message,
            CallKind::Batch,
        ];
        let kind = kinds[rng.usize(..kinds.len())];
        let possible = if matches!(kind, CallKind::Message | CallKind::Batch) {
            &KINDS[..]
        } else {
            &KINDS[..4]
        };
        let mut signs: Vec<_> = possible.iter().map(|kind| (*kind, target)).collect();
        signs.retain(|_| rng.u8(..3) == 0);
        if kind == CallKind::Me && signs.is_empty() {
            signs.push((SignKind::Header, target));
        }
        if rng.u8(..4) == 0 {
            let other = (target + rng.usize(1..TENANTS)) % TENANTS;
            let sign = possible[rng.usize(..possible.len())];
            signs.retain(|(kind, _)| *kind != sign);
            let is_only_sign = kind == CallKind::Me && signs.is_empty();
            signs.push((sign, if is_only_sign { target } else { other }));
        }
        Self { kind, target, signs }
    }

    /// The one tenant that it is for; `None` if it names two.
    fn tenant(&self) -> Option<usize> {
        let target = (self.kind != CallKind::Me).then_some(self.target);
        let mut named = self.signs.iter().map(|(_, tenant)| *tenant).chain(target);
        let first = named.next()?;
        named.all(|other| other == first).then_some(first)
    }

    /// Sends it, and checks its answer.
    pub(super) async fn send(&self, client: &mut Client, tally: &Tally) {
        let response = client.send(self.request()).await;
        self.check(&response, tally);
    }

    fn request(&self) -> Request<Body> {
        let phone = phone(self.target);
        let (method, path, body) = match self.kind {
            CallKind::Me => ("GET", "/v26.0/me?fields=id,name".to_owned(), None),
            CallKind::Number => ("GET", format!("/v26.0/{phone}?fields=id"), None),
            CallKind::Ids => ("GET", format!("/v26.0/?ids={phone}"), None),
            CallKind::Message => {
                let text = json!({"body": "hello"});
                let message =
                    json!({"messaging_product": "whatsapp", "to": "15550100200", "type": "text", "text": text});
                ("POST", format!("/v26.0/{phone}/messages?x=1"), Some(message))
            }
            CallKind::Batch => {
                let item = json!({"method": "GET", "relative_url": format!("v26.0/{phone}?fields=id")});
                ("POST", "/v26.0/?x=1".to_owned(), Some(json!({"batch": [item, item]})))
            }
        };
        let (mut path, mut body) = (path, body);
        let mut request = Request::builder().method(method);
        for (kind, tenant) in &self.signs {
            let slot = format!("tenant:{}", name(*tenant));
            match kind {
                SignKind::Header => request = request.header("x-tenant-id", name(*tenant)),
                SignKind::Bearer => request = request.header("authorization", format!("Bearer {slot}")),
                SignKind::Query => write!(path, "&access_token={slot}").unwrap(),
                SignKind::Prefix => path.insert_str(0, &format!("/-/{}", name(*tenant))),
                SignKind::Body => body.as_mut().unwrap()["access_token"] = json!(slot),
            }
        }
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        request
            .uri(path)
            .header("content-type", "application/json")
            .body(Full::new(body).boxed())
            .unwrap()
    }

    /// Fails unless this is the answer for the tenant that the call names, or the refusal if it names two.
    fn check(&self, response: &TestResponse, tally: &Tally) {
        let (status, body) = (response.status, response.json());
        let context = || format!("{:?} for {}, {:?}: {status} {body}", self.kind, self.target, self.signs);
        let Some(tenant) = self.tenant() else {
            let answer = (status, body["error"]["code"].as_i64());
            assert_eq!(answer, (403, Some(990_027)), "{}", context());
            tally.mixed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if tenant < DEAD {
            assert_eq!(body["error"]["code"], 190, "{}", context());
            tally.dead_token.fetch_add(1, Ordering::Relaxed);
            return;
        }
        assert_eq!(status, 200, "{}", context());
        match self.kind {
            CallKind::Me => assert_eq!(body["name"], name(tenant), "{}", context()),
            CallKind::Number => assert_eq!(body["id"], phone(tenant), "{}", context()),
            CallKind::Ids => assert_eq!(body[phone(tenant)]["id"], phone(tenant), "{}", context()),
            CallKind::Message => {
                tally.messages.fetch_add(1, Ordering::Relaxed);
            }
            // graphward delivers the answer to a batch as it is, even if the token dies between its items.
            CallKind::Batch => {
                for item in body.as_array().unwrap() {
                    let content: Value = serde_json::from_str(item["body"].as_str().unwrap()).unwrap();
                    let is_answered = content["id"] == phone(tenant) || content["error"]["code"] == 190;
                    assert!(is_answered, "{}", context());
                }
            }
        }
        tally.own_token.fetch_add(1, Ordering::Relaxed);
    }
}
