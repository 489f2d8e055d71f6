//! Requests under `token.allow`: only the calls that a rule allows reach Graph, however they are spelled.

use graphward::config::Config;
use graphward::tenants::AllowRule;
use serde_json::Value;

use crate::support::{
    App, PROTOCOL_PAIRS, TestBody, TestProxy, TestResponse, chunked, get, post, request, sized, with,
};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const MULTIPART: &str = "multipart/form-data; boundary=b";
const SEND: &str = r#"{"method":"POST","relative_url":"1/messages","body":"to=1"}"#;

fn allow(rules: &'static [&'static str]) -> impl FnOnce(&mut Config) {
    move |config| {
        let rules = rules.iter().map(|rule| rule.parse::<AllowRule>().unwrap());
        config.token.allow = rules.collect();
    }
}

/// A field of a multipart form, and the end of the form.
fn field(name: &str, value: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n--b--\r\n")
}

fn typed(kind: &str, target: &str, body: TestBody) -> http::Request<TestBody> {
    with(request("POST", target, body), &[("content-type", kind)])
}

/// Sends a request that a rule does not allow, and returns the message.
async fn refused(app: &App, request: http::Request<TestBody>) -> String {
    let shown = format!("{request:?}");
    let TestResponse { status, body, .. } = app.fetch(request).await;
    let error = serde_json::from_slice::<Value>(&body).unwrap()["error"].take();
    assert_eq!(
        (status, error["code"].as_u64()),
        (403, Some(990_029)),
        "{shown}: {error}"
    );
    assert_eq!(error["is_transient"], false);
    error["message"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_call_that_no_rule_allows_is_refused_and_named() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start_with(protocols, allow(&["send-only", "GET /{id}"])).await;
        proxy.forwarded(post(sized("to=1"))).await;
        proxy.forwarded(get("/v25.0/106540352242922?fields=id")).await;
        proxy.forwarded(request("HEAD", "/v25.0/1", sized(""))).await;
        let attempts = proxy.graph.attempts();
        let message = refused(
            &proxy.app,
            request("POST", "/v25.0/106540352242922/register", sized("pin=1")),
        )
        .await;
        assert!(
            message.contains("`token.allow`: it does not allow POST /v25.0/{id}/register"),
            "{message}"
        );
        refused(&proxy.app, get("/v25.0/me/accounts")).await;
        assert_eq!(proxy.graph.attempts(), attempts);
        assert_eq!(proxy.requests_with_outcome("refused_not_allowed").await, 2);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_spelling_of_another_method_or_a_batch_leads_around_the_rules() {
    let proxy = TestProxy::start_with(PROTOCOL_PAIRS[0], allow(&["send-only", "GET /{id}"])).await;
    let target = "/v25.0/1/messages";
    let long = format!(
        "--b\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\n{}\r\n{}",
        "x".repeat(1 << 20),
        field("method", "delete")
    );
    let requests = [
        get("/v25.0/1?method=delete"),
        get("/v25.0/1?fields=id&%6Dethod=delete"),
        get("/v25.0/1?METHOD[]=delete"),
        with(get("/v25.0/1"), &[("x-http-method-override", "DELETE")]),
        with(
            get("/v25.0/1"),
            &[("x-http-method-override", "DELETE"), ("x-method-override", "GET")],
        ),
        with(
            request("GET", "/v25.0/1", sized("method=delete")),
            &[("content-type", FORM)],
        ),
        request("POST", target, sized("method=delete")),
        typed(FORM, target, chunked("to=1&m%65thod=delete", 3)),
        typed("text/plain", target, sized("method=delete")),
        typed(JSON, target, sized(r#"{"m\u0065thod":"delete"}"#)),
        typed(JSON, target, sized("[{}]")),
        typed(MULTIPART, target, sized(field("method", "delete"))),
        typed(MULTIPART, target, sized(field("METHOD[]", "delete"))),
        typed(MULTIPART, target, sized(long)),
        // What its body does makes no difference.
        typed("application/xml", "/v25.0/1/register", sized("<a/>")),
        typed(FORM, target, sized(format!("batch=[{SEND}]&method=delete"))),
        typed(
            FORM,
            "/",
            sized(format!(r#"batch=[{SEND},{{"method":"GET","relative_url":"me"}}]"#)),
        ),
        typed(FORM, "/", sized(format!("batch=[{SEND}]&ids=1"))),
        typed(FORM, "/", sized(format!("batch[0][method]=DELETE&batch=[{SEND}]"))),
        typed(
            JSON,
            "/",
            sized(r#"{"batch":[{"method":"GET","relative_url":"1?method=delete"}]}"#),
        ),
        typed(
            JSON,
            "/",
            sized(r#"{"batch":["{\"method\":\"GET\",\"relative_url\":\"https://a/v1.0/me\"}"]}"#),
        ),
        typed(
            MULTIPART,
            "/",
            sized(field("batch", r#"[{"method":"DELETE","relative_url":"1"}]"#)),
        ),
        typed(
            FORM,
            "/?batch=[%7B%22method%22:%22DELETE%22,%22relative_url%22:%221%22%7D]",
            sized(""),
        ),
    ];
    for request in requests {
        refused(&proxy.app, request).await;
    }
    assert_eq!(proxy.graph.attempts(), 0);
    let batch = typed(
        FORM,
        "/v25.0/",
        sized(format!(
            r#"batch=[{SEND},{{"method":"GET","relative_url":"/v25.0/1"}}]"#
        )),
    );
    proxy.forwarded(batch).await;
    let bad = typed(
        JSON,
        "/",
        sized(format!(
            r#"{{"batch":[{SEND},{{"method":"DELETE","relative_url":"1"}}]}}"#
        )),
    );
    let message = refused(&proxy.app, bad).await;
    assert!(message.contains("DELETE /{id} in item 2 of the batch"), "{message}");
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_cannot_be_searched_is_refused_under_rules() {
    let proxy = TestProxy::start_with(PROTOCOL_PAIRS[0], allow(&["send-only"])).await;
    let long = "x".repeat((8 << 20) + 1);
    let zipped = |kind: &str| {
        let request = typed(kind, "/1/messages", sized("x"));
        with(request, &[("content-encoding", "gzip")])
    };
    for request in [
        typed(FORM, "/1/messages", sized(long.clone())),
        typed(JSON, "/1/messages", sized(long)),
        typed("application/xml", "/1/messages", sized("<method>delete</method>")),
        typed("application/octet-stream", "/1/messages", chunked("method=delete", 3)),
        zipped(FORM),
        zipped(JSON),
        zipped(MULTIPART),
    ] {
        let kind = format!("{:?}", request.headers());
        let response = proxy.app.fetch(request).await;
        assert_eq!(
            (response.status, response.code()),
            (413, 990_028),
            "{kind}: {response:?}"
        );
        assert!(response.text().contains("rules of `allow`"), "{response:?}");
    }
    assert_eq!(proxy.graph.attempts(), 0);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_streams_is_forwarded_unless_a_field_makes_another_call() {
    let proxy = TestProxy::start_with(PROTOCOL_PAIRS[0], |config| {
        allow(&["send-only"])(config);
        config.heal.body_memory = 1_000;
        config.heal.body_disk = 4_000;
    })
    .await;
    let file = format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nmethod=delete{}\r\n",
        "x".repeat(20_000)
    );
    let upload = |after: &str| format!("{file}{}", field(after, "whatsapp"));
    proxy
        .forwarded(typed(MULTIPART, "/1/media", sized(upload("messaging_product"))))
        .await;
    proxy
        .forwarded(typed(MULTIPART, "/1/media", chunked(upload("messaging_product"), 500)))
        .await;
    let accepted = proxy.graph.accepted().len();
    for body in [sized(upload("method")), chunked(upload("method"), 500)] {
        let response = proxy.app.fetch(typed(MULTIPART, "/1/media", body)).await;
        assert_ne!(response.status, 200, "{response:?}");
    }
    assert_eq!(proxy.graph.accepted().len(), accepted);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn without_rules_every_call_is_forwarded_as_before() {
    let proxy = TestProxy::start(PROTOCOL_PAIRS[0]).await;
    for request in [
        request("DELETE", "/v25.0/1", sized("")),
        get("/v25.0/1?method=delete"),
        typed(JSON, "/1/messages", sized("[{}]")),
        typed("application/xml", "/1/messages", sized("<method>delete</method>")),
    ] {
        proxy.forwarded(request).await;
    }
    proxy.shutdown().await;
}
