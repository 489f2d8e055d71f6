//! `heal.mode`: what an operator sees who does not trust graphward yet.

use std::time::Duration;

use graphward::config::{Config, EnvVars, Overrides};
use graphward::proxy::{AccessLogFilter, HealMode};
use http::Request;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::{
    EXPIRED_ERROR, FIRST_TOKEN, LogCapture, PROTOCOL_PAIRS, Protocols, SECOND_TOKEN, ScriptedResponse, TestBody,
    TestProxy, TestProxyBuilder, chunked, get, post, request, sized, with,
};

/// A token that the app has, and Graph accepts.
const APP_TOKEN: &str = "EAAGapptokenapptokenapptokenapptoken1";

fn builder(protocols: Protocols, mode: HealMode) -> TestProxyBuilder {
    TestProxyBuilder::over(protocols).with(move |config| {
        config.heal.mode = mode;
        config.log.requests = AccessLogFilter::All;
    })
}

async fn observer(protocols: Protocols) -> TestProxy {
    let proxy = builder(protocols, HealMode::Observe).start().await;
    proxy.graph.accept(APP_TOKEN);
    proxy
}

fn authorized(request: Request<TestBody>) -> Request<TestBody> {
    with(request, &[("authorization", &format!("Bearer {APP_TOKEN}"))])
}

/// What the log says that graphward would have done with each request.
fn would(log: &LogCapture) -> Vec<String> {
    let lines = log.lines_containing(r#""message":"request""#);
    let event = |line: &String| serde_json::from_str::<Value>(line).unwrap();
    lines
        .iter()
        .map(|line| event(line)["would"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn every_request_reaches_graph_as_the_app_sent_it() {
    let token = APP_TOKEN;
    let boundary = "multipart/form-data; boundary=x";
    let form = "application/x-www-form-urlencoded";
    let multipart = format!(
        "--x\r\nContent-Disposition: form-data; name=\"access_token\"\r\n\r\n{token}\r\n\
         --x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n\0\x01\r\n--x--\r\n"
    );
    let batch = format!(
        r#"batch=[{{"method":"GET","relative_url":"me?access_token={token}"}},{{"method":"POST","relative_url":"1/messages"}}]"#
    );
    let cases = [
        (
            "GET",
            format!("/v25.0/me?access_token={token}&appsecret_proof=00&fields=id"),
            "",
            String::new(),
            "replace",
        ),
        (
            "POST",
            "/v25.0/1/messages".to_owned(),
            form,
            format!("access_token={token}&to=1%20"),
            "replace",
        ),
        (
            "POST",
            "/v25.0/1/messages".to_owned(),
            "application/json",
            format!(r#"{{"access_token" : "{token}", "to":"1"}}"#),
            "replace",
        ),
        ("POST", "/v25.0/1/media".to_owned(), boundary, multipart, "replace"),
        (
            "POST",
            "/v25.0/?include_headers=false".to_owned(),
            form,
            batch,
            "replace",
        ),
        (
            "POST",
            "/v25.0/1/messages".to_owned(),
            "application/json",
            "{not json".to_owned(),
            "",
        ),
        (
            "POST",
            "//v25.0/%31/messages?access_token=unused".to_owned(),
            "text/plain",
            "x".to_owned(),
            "replace",
        ),
        ("DELETE", "/v25.0/1?access_token".to_owned(), "", String::new(), ""),
    ];
    for protocols in PROTOCOL_PAIRS {
        let log = LogCapture::at_info();
        let proxy = observer(protocols).await;
        let headers = [
            ("accept-encoding", "br, *"),
            ("x-app", "1"),
            ("x-app", "2"),
            ("x-http-method-override", "DELETE"),
            ("baggage", "a=1"),
        ];
        for (method, target, content_type, body, _would) in &cases {
            let mut fields = Vec::from(headers);
            if !content_type.is_empty() {
                fields.push(("content-type", *content_type));
            }
            let sent = with(request(method, target, sized(body.clone())), &fields);
            proxy.app.fetch(sent).await;
            let arrived = proxy.graph.last_request();
            assert_eq!(
                (arrived.head.method.as_str(), arrived.target()),
                (*method, target.as_str())
            );
            assert_eq!(arrived.body.as_ref().unwrap(), body.as_bytes(), "{method} {target}");
            assert_eq!(arrived.all("accept-encoding"), ["br, *"]);
            assert_eq!(arrived.all("x-app"), ["1", "2"]);
            assert_eq!(arrived.all("x-http-method-override"), ["DELETE"]);
            assert_eq!(arrived.all("baggage"), ["a=1"]);
            assert!(arrived.all("authorization").is_empty());
        }
        assert_eq!(proxy.graph.attempts(), cases.len());
        for (said, (_, target, .., expected)) in would(&log).iter().zip(&cases) {
            assert!(said.starts_with(expected), "{target}: {said:?}");
        }
        assert!(!log.text().contains(token));
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_body_streams_unread() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = builder(protocols, HealMode::Observe).with_small_limits().start().await;
        proxy.graph.accept(APP_TOKEN);
        let body = vec![b'x'; 100_000];
        let sent = with(
            post(chunked(body.clone(), 900)),
            &[("content-type", "application/json")],
        );
        assert_eq!(proxy.app.fetch(authorized(sent)).await.status, 200);
        assert_eq!(proxy.graph.last_request().body.unwrap(), body);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_reaches_the_app_as_graph_gave_it() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = observer(protocols).await;
        let media = r#"{"url":"https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=1"}"#;
        proxy.graph.respond_with(ScriptedResponse::json(200, media));
        assert_eq!(proxy.app.fetch(authorized(get("/v25.0/1"))).await.text(), media);
        let echo = format!(
            r#"{{"error":{{"message":"Malformed access token {APP_TOKEN}","code":190,"type":"OAuthException"}}}}"#
        );
        proxy.graph.respond_with(ScriptedResponse::json(401, echo.clone()));
        assert_eq!(proxy.app.fetch(authorized(get("/v25.0/1"))).await.text(), echo);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_request_is_answered_at_once_and_the_record_says_that_it_would_have_been_healed() {
    for protocols in PROTOCOL_PAIRS {
        let log = LogCapture::at_info();
        let proxy = builder(protocols, HealMode::Observe).start().await;
        let began = Instant::now();
        let answer = proxy.app.fetch(authorized(post(sized("{}")))).await;
        assert_eq!((answer.status, answer.text()), (401, EXPIRED_ERROR));
        assert!(began.elapsed() < Duration::from_millis(10));
        assert_eq!(proxy.graph.attempts(), 1);
        assert_eq!(would(&log), ["replace, heal"]);
        // Nothing is known to be dead by it: it was not graphward's token.
        assert_eq!(proxy.app.get("/me").await.status, 401);
        assert_eq!(would(&log)[1], "inject, heal");
        assert!(proxy.graph.last_request().all("authorization").is_empty());
        let of_rule = &observed(&proxy, "").await["tenants"][0]["rules"]["GET /me"];
        assert_eq!(*of_rule, json!({"calls": 1, "would": {"inject": 1, "heal": 1}}));
        let metrics = proxy.metrics().await;
        for line in [
            r#"graphward_observations_total{tenant="default",would="heal"} 2"#,
            r#"graphward_observations_total{tenant="default",would="inject"} 1"#,
            r#"graphward_observations_total{tenant="default",would="replace"} 1"#,
        ] {
            assert!(metrics.contains(line), "{line}: {metrics}");
        }
        proxy.shutdown().await;
    }
}

/// An observer of two tenants with rules of their own, of which one takes requests that name no tenant.
async fn observer_of_two_tenants() -> TestProxy {
    let rules = [r#"allow = ["GET /me"]"#, r#"allow = "send-only""#];
    proxy_of_two_tenants(rules, HealMode::Observe).await
}

/// The same with these rules, in this mode.
async fn proxy_of_two_tenants([default, acme]: [&str; 2], mode: HealMode) -> TestProxy {
    let settings = format!(
        "[token]\n{default}\nsource = {{ env = \"FIRST\" }}\n[routing]\nheader = \"x-tenant-id\"\n\
         [tenants.acme]\nids = [\"101\"]\nsource = {{ env = \"SECOND\" }}\n{acme}\n"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), settings).unwrap();
    let flags = Overrides {
        config: Some(file.path().to_owned()),
        ..Overrides::default()
    };
    let loaded = Config::load(flags, &EnvVars::new()).unwrap().config;
    let proxy = TestProxyBuilder::new()
        .with(|config| {
            *config = loaded;
            config.heal.mode = mode;
            config.log.requests = AccessLogFilter::All;
        })
        .start()
        .await;
    proxy.graph.accept(APP_TOKEN);
    proxy
}

/// A request that names a tenant, unless the name is empty.
fn of_tenant(target: &str, tenant: &str) -> Request<TestBody> {
    let headers = [("x-tenant-id", tenant)];
    with(authorized(get(target)), &headers[usize::from(tenant.is_empty())..])
}

async fn observed(proxy: &TestProxy, query: &str) -> Value {
    let answer = proxy.admin_get(&format!("/admin/observed{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test(start_paused = true)]
async fn no_rule_and_no_sign_refuses_a_request_and_the_record_says_which_would() {
    let log = LogCapture::at_info();
    let proxy = observer_of_two_tenants().await;
    for (target, tenant, expected) in [
        ("/v25.0/me", "", "replace"),
        ("/v25.0/me/accounts", "", "replace, refuse: refused_not_allowed"),
        ("/v25.0/101", "acme", "replace, refuse: refused_not_allowed"),
        ("/v25.0/101", "gone", "replace, refuse: refused_unknown_tenant"),
    ] {
        let answer = proxy.app.fetch(of_tenant(target, tenant)).await;
        assert_eq!(answer.status, 200, "{target} {tenant}");
        assert_eq!(would(&log).pop().unwrap(), expected, "{target} {tenant}");
        assert_eq!(proxy.graph.last_request().target(), target);
    }
    proxy.shutdown().await;
    let rules = |tenant: &str| {
        let lines = log.lines_containing("observe mode: these rules allow");
        let event = |line: &String| serde_json::from_str::<Value>(line).unwrap();
        let mut events = lines.iter().map(event);
        let event = events.find(|event| event["tenant"] == *tenant).unwrap();
        event["rules"].as_str().unwrap().to_owned()
    };
    assert_eq!(rules("default"), "allow = ['GET /me', 'GET /me/accounts']");
    assert_eq!(rules("acme"), "allow = ['GET /{id}']");
    // Pasted as they are, they allow these calls and no other.
    let proxy = proxy_of_two_tenants([&rules("default"), &rules("acme")], HealMode::Heal).await;
    for (target, tenant, is_allowed) in [
        ("/v25.0/me", "", true),
        ("/v25.0/me/accounts", "", true),
        ("/v25.0/me/photos", "", false),
        ("/v25.0/101", "acme", true),
        ("/v25.0/101/messages", "acme", false),
        ("/v25.0/me", "acme", false),
    ] {
        let answer = proxy.app.fetch(of_tenant(target, tenant)).await;
        // The second tenant has no token.
        let status = match (is_allowed, tenant) {
            (false, _) => 403,
            (true, "") => 200,
            (true, _) => 503,
        };
        assert_eq!(answer.status, status, "{target} {tenant}");
        assert_eq!(answer.text().contains("990029"), !is_allowed, "{target} {tenant}");
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_admin_listener_has_by_rule_what_would_have_been_done() {
    let proxy = observer_of_two_tenants().await;
    for (target, tenant) in [
        ("/v25.0/me", ""),
        ("/v25.0/me/accounts", ""),
        ("/v25.0/me?access_token=x", ""),
        ("/v25.0/101", "acme"),
        ("/v25.0/Some.Name", "acme"),
        ("/v25.0/101", "gone"),
    ] {
        assert_eq!(proxy.app.fetch(of_tenant(target, tenant)).await.status, 200);
    }
    let counts = |calls: u64, would: Value| json!({"calls": calls, "would": would});
    let (none, refused) = (counts(0, json!({})), json!({"replace": 1, "refused_not_allowed": 1}));
    let unknown = json!({"replace": 1, "refused_unknown_tenant": 1});
    let all = json!({"next": null, "tenants": [
        {
            "tenant": null, "allow": "allow = ['GET /{id}']", "others": none,
            "rules": {"GET /{id}": counts(1, unknown)},
        },
        {
            "tenant": "acme", "allow": "allow = ['GET /{id}']", "others": counts(1, refused.clone()),
            "rules": {"GET /{id}": counts(1, refused.clone())},
        },
        {
            "tenant": "default", "allow": "allow = ['GET /me', 'GET /me/accounts']", "others": none,
            "rules": {"GET /me": counts(2, json!({"replace": 2})), "GET /me/accounts": counts(1, refused)},
        },
    ]});
    assert_eq!(observed(&proxy, "").await, all);
    let page = observed(&proxy, "?limit=1&after=&search=E").await;
    assert_eq!(
        (&page["tenants"][0], &page["next"]),
        (&all["tenants"][1], &"acme".into())
    );
    let last = observed(&proxy, "?limit=1&after=acme").await;
    assert_eq!((&last["tenants"][0], &last["next"]), (&all["tenants"][2], &Value::Null));
    assert_eq!(proxy.admin_get("/admin/observed?state=dead").await.status, 400);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn inject_adds_the_token_and_sends_nothing_twice() {
    for protocols in PROTOCOL_PAIRS {
        let log = LogCapture::at_info();
        let proxy = builder(protocols, HealMode::Inject).start().await;
        assert_eq!(proxy.app.post("{}").await.status, 200);
        proxy.graph.last_request().assert_bearer(FIRST_TOKEN);
        proxy.graph.expire_all();
        let began = Instant::now();
        // The source has a newer one, for which a request would be held.
        proxy.graph.accept(SECOND_TOKEN);
        proxy.source.set_token(SECOND_TOKEN);
        assert_eq!(proxy.app.post("{}").await.status, 401);
        assert!(began.elapsed() < Duration::from_millis(10));
        assert_eq!(proxy.graph.attempts(), 2);
        assert_eq!(log.lines_containing(r#""outcome":"unhealed_by_mode""#).len(), 1);
        // The rejection has led to a look at the source.
        sleep(Duration::from_secs(5)).await;
        assert_eq!(proxy.app.post("{}").await.status, 200);
        proxy.graph.last_request().assert_bearer(SECOND_TOKEN);
        proxy.shutdown().await;
    }
}
