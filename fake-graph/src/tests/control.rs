use crate::Clock;
use crate::{FakeGraph, FakeGraphConfig, RunningServer};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::support::{loopback, request, text};

pub(crate) struct Control {
    pub(crate) graph: FakeGraph,
    running: RunningServer,
}

impl Control {
    pub(crate) async fn start() -> Self {
        let graph = FakeGraph::new(FakeGraphConfig::new(Clock::system()));
        let running = graph.start_control(loopback().await).unwrap();
        Self { graph, running }
    }

    async fn raw(&self, method: &str, path: &str, body: &str) -> Response<Bytes> {
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.running.address))
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        let (head, body) = client.request(request).await.unwrap().into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let answer = self.raw(method, path, &body).await;
        (answer.status(), serde_json::from_slice(answer.body()).unwrap())
    }

    pub(crate) async fn ok(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(method, path, body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Graph's statement about a token.
    async fn get_me(&self, token: &str) -> StatusCode {
        self.graph
            .handle(request("GET", "/me", token, &[], ""))
            .await
            .unwrap()
            .status()
    }
}

#[tokio::test]
async fn tokens_are_issued_and_expired_by_name_or_all_at_once() {
    let control = Control::start().await;
    let issued = control.ok("POST", "/tokens", json!({"ttl": "10m"})).await;
    let first = issued["access_token"].as_str().unwrap().to_owned();
    assert!(issued["expires_at"].is_i64());
    let forever = control.ok("POST", "/tokens", Value::Null).await;
    assert!(forever["expires_at"].is_null());
    control.ok("POST", "/tokens", json!({"token": "EAAmine"})).await;
    assert_eq!(control.get_me("EAAmine").await, 200);

    let one = json!({"token": first, "reason": "password_changed"});
    assert_eq!(control.ok("POST", "/tokens/expire", one).await["expired"], 1);
    assert_eq!(control.get_me(&first).await, 401);
    let all = control.ok("POST", "/tokens/expire", json!({"all": true})).await;
    assert_eq!(all["expired"], 2);

    let state = control.ok("GET", "/state", Value::Null).await;
    let states: Vec<_> = state["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| &t["state"])
        .collect();
    assert_eq!(states, ["password_changed", "expired", "expired"]);
    assert_eq!(state["tokens"][0]["fingerprint"].as_str().unwrap().len(), 8);
    assert!(!state.to_string().contains("EAA"), "no token in /state");
    assert_eq!(state["counts"]["rejected"], 1);
}

#[tokio::test]
async fn faults_are_made_and_messages_listed_and_all_is_forgotten_but_the_tokens() {
    let control = Control::start().await;
    let token = control.graph.issue(None);
    let faults = [
        json!({"kind": "error", "code": 4, "times": 2}),
        json!({"kind": "delay", "for": "1ms"}),
        json!({"kind": "html_page", "status": 503}),
        json!({"kind": "reset", "after": true}),
    ];
    for fault in faults {
        control.ok("POST", "/faults", fault).await;
    }
    assert_eq!(control.ok("GET", "/state", Value::Null).await["faults_pending"], 5);
    for status in [429, 429, 200, 503] {
        assert_eq!(control.get_me(&token).await, status);
    }
    let json = [("content-type", "application/json")];
    let send = request("POST", "/1065/messages", &token, &json, &text("x").to_string());
    assert!(control.graph.handle(send).await.is_err());
    let messages = control.ok("GET", "/messages", Value::Null).await;
    assert_eq!(messages["data"][0]["params"]["text"]["body"], "x");
    let calls = control.ok("GET", "/calls", Value::Null).await;
    assert_eq!(calls["data"][4]["target"], "/1065/messages");
    assert_eq!(calls["data"][4]["authorization"]["state"], "alive");
    assert_eq!(calls["data"][4]["status"], Value::Null, "it was reset");

    control.ok("POST", "/reset", Value::Null).await;
    let messages = control.ok("GET", "/messages", Value::Null).await;
    assert_eq!(messages["data"], json!([]));
    assert_eq!(control.get_me(&token).await, 200);
    assert_eq!(control.graph.attempts(), 1);
}

#[tokio::test]
async fn what_cannot_be_is_refused_in_words() {
    let control = Control::start().await;
    let cases = [
        ("POST", "/tokens", json!({"ttl": "soon"})),
        ("POST", "/tokens", json!({"tl": "4s"})),
        ("POST", "/tokens/expire", json!({})),
        ("POST", "/tokens/expire", json!({"all": true, "reason": "tired"})),
        ("POST", "/faults", json!({"kind": "flood"})),
        ("POST", "/faults", json!({"kind": "error"})),
        ("POST", "/faults", json!({"kind": "delay"})),
        ("POST", "/faults", json!({"kind": "html_page", "status": 7})),
        ("POST", "/faults", json!([])),
        ("POST", "/tokens", json!({"family": "whatsapp"})),
        ("POST", "/tokens", json!({"token": "EAAx", "family": "threads"})),
        ("POST", "/tokens", json!({"token": "THQx", "family": "instagram"})),
        ("POST", "/tokens", json!({"kind": "king"})),
        ("POST", "/tokens/set", json!({"ttl": "4s"})),
        ("POST", "/tokens/set", json!({"token": "EAAx", "family": "threads"})),
        ("POST", "/faults", json!({"kind": "html_page", "on": "moon"})),
        ("POST", "/usage", json!({"vary": "x"})),
    ];
    for (method, path, body) in cases {
        let (status, answer) = control.call(method, path, body.clone()).await;
        assert_eq!(status, 400, "{path} {body}");
        assert!(answer["error"].as_str().unwrap().len() > 15);
    }
    let unknown = control.call("POST", "/tokens/expire", json!({"token": "EAAx"})).await;
    assert_eq!(unknown.0, 404);
    let unknown = control
        .call("POST", "/tokens/set", json!({"token": "EAAx", "ttl": "4s"}))
        .await;
    assert_eq!(unknown.0, 404);
    let (status, answer) = control.call("GET", "/v26.0/me", Value::Null).await;
    assert_eq!(status, 404);
    assert!(
        answer["error"].as_str().unwrap().starts_with("this is the control API"),
        "{answer}"
    );
    let method = control.raw("DELETE", "/state", "").await;
    assert_eq!(method.status(), 405);
    assert_eq!(method.headers()["allow"], "GET");
}

#[tokio::test]
async fn tokens_of_a_family_are_issued_and_usage_is_set() {
    let control = Control::start().await;
    for (family, prefix) in [("facebook", "EAA"), ("instagram", "IGAA"), ("threads", "THAA")] {
        let issued = control.ok("POST", "/tokens", json!({"family": family})).await;
        assert!(issued["access_token"].as_str().unwrap().starts_with(prefix));
    }
    let usage = json!({"x-app-usage": {"call_count": 99}, "x-page-usage": "odd"});
    control.ok("POST", "/usage", usage).await;
    let call = request("GET", "/me", "EAAdead", &[], "");
    let answer = control.graph.handle(call).await.unwrap();
    assert_eq!(answer.headers()["x-app-usage"], "{\"call_count\":99}");
    assert_eq!(answer.headers()["x-page-usage"], "odd");
    let fault = json!({"kind": "malformed_token", "times": 2});
    assert_eq!(control.ok("POST", "/faults", fault).await["faults_pending"], 2);
    let fault = json!({"kind": "null_item"});
    assert_eq!(control.ok("POST", "/faults", fault).await["faults_pending"], 3);
}

#[tokio::test]
async fn a_token_with_an_unknown_beginning_is_of_the_family_that_it_is_registered_for() {
    let control = Control::start().await;
    let hosts = [
        ("facebook", "https://graph.facebook.com/me"),
        ("instagram", "https://graph.instagram.com/me"),
        ("threads", "https://graph.threads.net/me"),
    ];
    let check = async |token: &str, its: &str| {
        for (family, url) in hosts {
            let expected = if family == its { 200 } else { 401 };
            let answer = control.graph.handle(request("GET", url, token, &[], "")).await;
            assert_eq!(answer.unwrap().status(), expected, "{token} at {url}");
        }
    };
    for (family, _) in hosts {
        let token = format!("ZZZ{family}");
        control
            .ok("POST", "/tokens", json!({"token": token, "family": family}))
            .await;
        check(&token, family).await;
    }
    control.ok("POST", "/tokens", json!({"token": "ZZZ"})).await;
    check("ZZZ", "facebook").await;
    let named = json!({"token": "THQ1", "family": "threads"});
    control.ok("POST", "/tokens", named).await;
    check("THQ1", "threads").await;
}

#[tokio::test]
async fn what_debug_token_says_is_set_and_the_calls_of_each_endpoint_are_counted() {
    let control = Control::start().await;
    let asked = json!({
        "kind": "page", "ttl": "10m", "age": "25h", "data_access": "1h",
        "scopes": ["pages_messaging"], "targets": ["17"],
    });
    let issued = control.ok("POST", "/tokens", asked).await;
    let token = issued["access_token"].as_str().unwrap();
    let debug = || {
        let path = format!("/debug_token?input_token={token}");
        request("GET", &path, token, &[], "")
    };
    let said = async || {
        let answer = control.graph.handle(debug()).await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice::<Value>(&body).unwrap()["data"].clone()
    };
    let data = said().await;
    let seconds = |name: &str| data[name].as_i64().unwrap() - data["issued_at"].as_i64().unwrap();
    assert_eq!(
        (seconds("expires_at"), seconds("data_access_expires_at")),
        (25 * 3600 + 600, 26 * 3600)
    );
    assert_eq!((&data["type"], &data["is_valid"]), (&json!("PAGE"), &json!(true)));
    assert_eq!(
        data["granular_scopes"],
        json!([{"scope": "pages_messaging", "target_ids": ["17"]}])
    );

    let set = json!({"token": token, "kind": "user", "ttl": "never", "data_access": "0s"});
    let set = control.ok("POST", "/tokens/set", set).await;
    assert_eq!(set["expires_at"], Value::Null);
    let data = said().await;
    assert_eq!((&data["type"], &data["expires_at"]), (&json!("USER"), &json!(0)));
    assert!(data["data_access_expires_at"].as_i64().unwrap() > 0);

    let fault = json!({"kind": "html_page", "status": 503, "on": "debug_token"});
    control.ok("POST", "/faults", fault).await;
    assert_eq!(control.get_me(token).await, 200, "it is another's fault");
    let answer = control.graph.handle(debug()).await.unwrap();
    assert_eq!(answer.status(), 503);
    let counts = control.ok("GET", "/state", Value::Null).await["counts"].clone();
    assert_eq!(
        (
            &counts["inspections"],
            &counts["attempts"],
            &counts["system_user_tokens"]
        ),
        (&json!(3), &json!(1), &json!(0))
    );
}

#[tokio::test]
async fn an_edge_can_be_reserved_for_tokens_of_pages() {
    let control = Control::start().await;
    let token = control.graph.issue(None);
    let page = control.ok("POST", "/tokens", json!({"kind": "page"})).await;
    let page = page["access_token"].as_str().unwrap().to_owned();
    let status_of = async |path: &str, token: &str| {
        let request = request("GET", path, token, &[], "");
        control.graph.handle(request).await.unwrap().status()
    };
    assert_eq!(
        status_of("/v26.0/1065/leadgen_forms", &token).await,
        400,
        "as with Graph"
    );
    assert_eq!(status_of("/v26.0/1065/leadgen_forms", &page).await, 200);
    control
        .ok("POST", "/edges", json!({"page_token": ["message_templates"]}))
        .await;
    assert_eq!(status_of("/1065/message_templates", &token).await, 400);
    assert_eq!(status_of("/1065/message_templates", &page).await, 200);
    assert_eq!(status_of("/1065/leadgen_forms", &token).await, 200);
    assert_eq!(control.get_me(&token).await, 200, "the token is alive");
    control.ok("POST", "/reset", Value::Null).await;
    assert_eq!(status_of("/1065/message_templates", &token).await, 200);
}
