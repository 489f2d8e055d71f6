//! The operators' listener.

use std::io::Read as _;
use std::time::Duration;

use graphward::admin::ReadinessPolicy;
use tokio::time::sleep;

use crate::support::{FIRST_TOKEN, SECOND_TOKEN, TestProxyBuilder, get, request, sized, stalled, with};

#[tokio::test(start_paused = true)]
async fn a_proxy_in_order_is_alive_started_and_ready() {
    let proxy = TestProxyBuilder::new().start().await;
    for target in [
        "/livez",
        "/healthz",
        "/startupz",
        "/readyz",
        "/metrics",
        "/",
        "/page.js",
    ] {
        let answer = proxy.admin_get(target).await;
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(answer.header("cache-control"), "no-store");
        let head = proxy.admin().fetch(request("HEAD", target, sized(""))).await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{target}");
        let posted = proxy.admin().fetch(request("POST", target, sized("x"))).await;
        assert_eq!((posted.status, posted.header("allow")), (405, "GET, HEAD"), "{target}");
    }
    let ready: serde_json::Value = serde_json::from_slice(&proxy.admin_get("/readyz").await.body).unwrap();
    assert_eq!((&ready["ready"], &ready["stage"]), (&true.into(), &"serving".into()));
    assert_eq!(ready["tenants"]["default"]["usable"], true);
    for target in ["/page", "/admin", "/metrics/", "/readyz/x"] {
        assert_eq!(proxy.admin_get(target).await.status, 404, "{target}");
    }
    assert_eq!(proxy.admin_get("/readyz?verbose").await.status, 200);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_last_hour_has_what_was_healed_by_minute() {
    let proxy = TestProxyBuilder::new().start().await;
    proxy.app.post("first").await;
    sleep(Duration::from_secs(60)).await;
    proxy.rotate_token();
    proxy.app.post("second").await;
    let answer = proxy.admin_get("/admin/last-hour").await;
    let hour: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let last = |kind: &str| (hour[kind][58].as_u64().unwrap(), hour[kind][59].as_u64().unwrap());
    let kinds = ["requests", "healed", "refused"];
    assert_eq!(kinds.map(last), [(1, 1), (0, 1), (0, 0)]);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn before_the_first_look_is_done_it_lives_and_has_not_started() {
    let proxy = TestProxyBuilder::new()
        .with_source_delay(Duration::from_secs(10))
        .start()
        .await;
    sleep(Duration::from_secs(9)).await;
    for (target, status) in [("/livez", 200), ("/healthz", 200), ("/startupz", 503), ("/readyz", 503)] {
        assert_eq!(proxy.admin_get(target).await.status, status, "{target}");
    }
    assert!(proxy.admin_get("/readyz").await.text().contains("in progress"));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(proxy.admin_get("/startupz").await.status, 200);
    assert_eq!(proxy.admin_get("/readyz").await.status, 200);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn whether_a_missing_token_matters_is_configured() {
    for (policy, status) in [
        (ReadinessPolicy::Any, 503),
        (ReadinessPolicy::All, 503),
        (ReadinessPolicy::Ignore, 200),
    ] {
        let proxy = TestProxyBuilder::new()
            .empty()
            .with(|config| config.ready.tokens = policy)
            .start()
            .await;
        let answer = proxy.admin_get("/readyz").await;
        assert_eq!(answer.status, status, "{policy:?}");
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let tenant = &body["tenants"]["default"];
        assert_eq!(tenant["usable"], false);
        assert_eq!(tenant["reason"], "no token: the source is empty");
        assert_eq!(proxy.admin_get("/startupz").await.status, 200);
        proxy.publish_token(FIRST_TOKEN);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(proxy.admin_get("/readyz").await.status, 200);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_not_ready_until_there_is_a_newer_one() {
    let proxy = TestProxyBuilder::new().start().await;
    proxy.graph.expire_all();
    assert_eq!(proxy.app.post("x").await.status, 401);
    let answer = proxy.admin_get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("Graph rejected the token"), "{}", answer.text());
    assert_eq!(proxy.metric(r#"graphward_token_usable{tenant="default"}"#).await, 0);
    proxy.publish_token(SECOND_TOKEN);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(proxy.admin_get("/readyz").await.status, 200);
    assert_eq!(proxy.metric(r#"graphward_token_usable{tenant="default"}"#).await, 1);
    assert_eq!(proxy.metric(r#"graphward_token_generation{tenant="default"}"#).await, 2);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_waits_for_the_check_in_progress_and_says_why_it_is_not_possible() {
    let proxy = TestProxyBuilder::new().start().await;
    proxy.source.set_delay(Duration::from_secs(10));
    proxy.publish_token(SECOND_TOKEN);
    sleep(Duration::from_secs(1)).await;
    let started = tokio::time::Instant::now();
    let body = format!("{{\"access_token\": \"{FIRST_TOKEN}\"}}");
    let mut put = request("PUT", "/admin/token", sized(body));
    put.headers_mut().insert("graphward-admin", "yes".parse().unwrap());
    let answer = proxy.admin().fetch(put).await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(answer.text().contains("read-only"), "{}", answer.text());
    assert!(!answer.text().contains(FIRST_TOKEN));
    assert_eq!(started.elapsed().as_secs(), 9);
    assert_eq!(proxy.tokens.current().unwrap().generation().get(), 2);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_whose_body_does_not_arrive_is_given_up() {
    let proxy = TestProxyBuilder::new().start().await;
    let mut put = request("PUT", "/admin/token", stalled(b"{"));
    put.headers_mut().insert("graphward-admin", "yes".parse().unwrap());
    let answer = proxy.admin().fetch(put).await;
    assert_eq!(answer.status, 408, "{}", answer.text());
    assert!(answer.text().contains("within 5 s"), "{}", answer.text());
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn readiness_is_not_about_graph() {
    let proxy = TestProxyBuilder::new().start().await;
    for _ in 0..10 {
        proxy.graph.next_connect(crate::support::ConnectOutcome::Refused);
        assert_eq!(proxy.app.fetch(get("/me")).await.status, 502);
    }
    assert_eq!(proxy.admin_get("/readyz").await.status, 200);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn metrics_name_every_family_and_count_what_happened() {
    let proxy = TestProxyBuilder::new().start().await;
    proxy
        .source
        .set_expiry(crate::support::start_time() + Duration::from_secs(86_400));
    assert_eq!(proxy.app.get("/me?access_token=EAAstale").await.status, 200);
    proxy.rotate_token();
    assert_eq!(proxy.app.post("x").await.status, 200);
    let answer = proxy.admin_get("/metrics").await;
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    let text = answer.text();
    for line in [
        r#"graphward_requests_total{tenant="default",outcome="delivered"} 1"#,
        r#"graphward_requests_total{tenant="default",outcome="healed"} 1"#,
        r#"graphward_upstream_responses_total{tenant="default",verdict="success"} 2"#,
        r#"graphward_upstream_responses_total{tenant="default",verdict="token_rejected"} 1"#,
        r#"graphward_upstream_attempts_total{tenant="default",attempt="first"} 2"#,
        r#"graphward_upstream_attempts_total{tenant="default",attempt="second"} 1"#,
        r#"graphward_client_credentials_replaced_total{tenant="default",location="query"} 1"#,
        r#"graphward_build_info{version="0.1.0"} 1"#,
        r#"graphward_request_duration_seconds_count{tenant="default"} 2"#,
        r#"graphward_upstream_response_head_seconds_count{tenant="default",attempt="second"} 1"#,
        r#"graphward_token_attempts_total{tenant="default",operation="check",result="obtained"} 1"#,
        r#"graphward_token_attempts_total{tenant="default",operation="refresh",result="obtained"} 1"#,
        r#"graphward_token_attempt_duration_seconds_count{tenant="default"} 2"#,
        r#"graphward_token_generation{tenant="default"} 2"#,
        r#"graphward_token_expiry_timestamp_seconds{tenant="default"} 1759363200.0"#,
        r#"graphward_token_usable{tenant="default"} 1"#,
        r#"graphward_token_waiting_requests{tenant="default"} 0"#,
        "graphward_inflight_requests 0",
        r#"graphward_replay_buffer_bytes{storage="memory"} 0"#,
        "graphward_task_panics_total 0",
    ] {
        assert!(text.lines().any(|said| said == line), "{line}\n{text}");
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_scraper_gets_the_format_that_it_prefers_and_compressed_if_it_asks() {
    let proxy = TestProxyBuilder::new().start().await;
    let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                        text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    for (accept, is_open_metrics) in [
        ("*/*", false),
        ("text/plain", false),
        ("text/html,application/xhtml+xml,*/*;q=0.8", false),
        ("application/openmetrics-text;q=0, text/plain", false),
        ("application/openmetrics-text;q=0.3, text/plain;q=0.4", false),
        ("application/vnd.google.protobuf", false),
        (prometheus_2, true),
        (
            "APPLICATION/OpenMetrics-Text; version=1.0.0; escaping=underscores;q=0.5,text/plain;q=0.5",
            true,
        ),
    ] {
        for encoding in ["identity", "gzip;q=0", "br, gzip", "gzip"] {
            let request = with(get("/metrics"), &[("accept", accept), ("accept-encoding", encoding)]);
            let answer = proxy.admin().fetch(request).await;
            let is_gzip = answer.headers.get("content-encoding").is_some();
            assert_eq!(is_gzip, encoding.ends_with("gzip"), "{encoding}");
            let body = if is_gzip {
                let mut body = Vec::new();
                flate2::read::GzDecoder::new(&*answer.body)
                    .read_to_end(&mut body)
                    .unwrap();
                body
            } else {
                answer.body.to_vec()
            };
            let text = String::from_utf8(body).unwrap();
            assert_eq!(text.ends_with("# EOF\n"), is_open_metrics, "{accept}");
            let content_type = answer.header("content-type");
            assert_eq!(
                content_type.starts_with("application/openmetrics-text"),
                is_open_metrics
            );
        }
    }
    proxy.shutdown().await;
}
