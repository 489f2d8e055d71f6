//! What is counted and written about a request.

use std::time::Duration;

use graphward::graph::ClientCredentialPolicy;
use graphward::proxy::AccessLogFilter;
use tokio::time::{sleep, timeout};

use crate::support::{
    ConnectOutcome, LogCapture, PROTOCOL_PAIRS, Protocol, Protocols, ScriptedResponse, TestProxy, TestProxyBuilder,
    chunked, get, post, request, sized, stalled,
};

#[tokio::test(start_paused = true)]
async fn each_way_to_end_has_a_word_of_its_own() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start_with(protocols, |config| {
            config.heal.body_memory = 100;
            config.heal.body_disk = 100;
            config.heal.client_credentials = ClientCredentialPolicy::Refuse;
        })
        .await;
        let app = &proxy.app;
        app.get("/me").await;
        proxy.script(ScriptedResponse::error(500, 1));
        app.get("/me").await;
        proxy.script(ScriptedResponse::json(200, "{").truncated());
        app.get("/me").await;
        app.get("/me?access_token=EAAstale").await;
        app.fetch(post(stalled(b"x"))).await;
        for dial in [
            ConnectOutcome::Refused,
            ConnectOutcome::TimedOut,
            ConnectOutcome::UntrustedCert,
        ] {
            // A new connection is needed: the pool must be empty.
            proxy.graph.close_connections();
            sleep(Duration::from_millis(1)).await;
            proxy.graph.next_connect(dial);
            app.get("/me").await;
        }
        proxy.script(ScriptedResponse::connection_lost());
        app.get("/me").await;
        proxy.script(ScriptedResponse::no_response());
        app.get("/me").await;
        proxy.graph.expire_all();
        app.fetch(post(chunked("x".repeat(300), 100))).await;
        app.get("/me").await;
        proxy.rotate_token_to("EAAsecond");
        proxy.source.publish("EAAsecond");
        sleep(Duration::from_secs(1)).await;
        proxy.rotate_token_to("EAAthird");
        app.get("/me").await;
        proxy.rotate_token_to("EAAfourth");
        proxy.script(ScriptedResponse::expired());
        proxy.script(ScriptedResponse::expired());
        app.get("/me").await;
        for (outcome, times) in [
            ("delivered", 2),
            ("upstream_aborted", 1),
            ("refused_client_credential", 1),
            ("request_body_timeout", 1),
            ("upstream_connect_failed", 1),
            ("upstream_connect_timeout", 1),
            ("upstream_tls_failed", 1),
            ("upstream_connection_terminated", 1),
            ("upstream_response_timeout", 1),
            ("unhealed_not_replayable", 1),
            ("unhealed_no_newer_token", 1),
            ("healed", 1),
            ("unhealed_rejected_again", 1),
        ] {
            assert_eq!(
                proxy.requests_with_outcome(outcome).await,
                times,
                "{protocols:?}: {outcome}\n{}",
                proxy.metrics().await
            );
        }
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_app_that_is_gone_before_the_answer_is_counted_as_gone() {
    for graph in [Protocol::Http1, Protocol::Two] {
        let proxy = TestProxyBuilder::over(Protocols::new(Protocol::Two, graph))
            .start()
            .await;
        proxy.script(ScriptedResponse::no_response());
        assert!(timeout(Duration::from_secs(1), proxy.app.get("/me")).await.is_err());
        sleep(Duration::from_millis(10)).await;
        assert_eq!(proxy.requests_with_outcome("client_disconnected").await, 1);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_app_that_is_gone_within_the_answer_is_counted_as_gone() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.script(ScriptedResponse::json(200, "x".repeat(1_000)).chunked(100, Duration::from_secs(1)));
        let answer = proxy.app.send(get("/me")).await.unwrap();
        drop(answer);
        sleep(Duration::from_secs(20)).await;
        assert_eq!(
            proxy.requests_with_outcome("client_disconnected").await,
            1,
            "{protocols:?}"
        );
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_says_what_happened_and_never_which_object_or_query() {
    let log = LogCapture::at_info();
    let proxy = TestProxyBuilder::new().start().await;
    proxy.rotate_token();
    proxy
        .app
        .get("/v21.0/106540352242922/phone_numbers?fields=secret_field")
        .await;
    proxy.shutdown().await;
    let records = log.lines_containing(r#""message":"request""#);
    let [record] = records.as_slice() else {
        panic!("{records:?}");
    };
    let record: serde_json::Value = serde_json::from_str(record).unwrap();
    for (field, value) in [
        ("level", "INFO".into()),
        ("tenant", "default".into()),
        ("method", "GET".into()),
        ("path", "/v21.0/{id}/phone_numbers".into()),
        ("status", 200.into()),
        ("outcome", "healed".into()),
        ("verdict", "success".into()),
        ("rejection", "expired".into()),
        ("rejected_generation", 1.into()),
        ("generation", 2.into()),
        ("attempts", 2.into()),
        ("response_bytes", 31.into()),
    ] {
        let value: serde_json::Value = value;
        assert_eq!(record[field], value, "{field}: {record}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_has_the_time_of_graph_and_that_of_the_whole_request() {
    let log = LogCapture::at_info();
    let proxy = TestProxyBuilder::new()
        .with(|config| config.log.requests = AccessLogFilter::All)
        .start()
        .await;
    let second = Duration::from_secs(1);
    proxy.script(
        ScriptedResponse::json(200, "x".repeat(30))
            .delayed(second * 3)
            .chunked(10, second),
    );
    proxy.app.get("/me").await;
    proxy.shutdown().await;
    let lines = log.lines_containing(r#""message":"request""#);
    let record: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(
        (&record["upstream_ms"], &record["duration_ms"]),
        (&3_000.into(), &6_000.into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_method_of_the_apps_own_is_forwarded_but_not_written_to_the_log() {
    let logged = LogCapture::at_info();
    let proxy = TestProxyBuilder::new()
        .with(|config| config.log.requests = AccessLogFilter::All)
        .start()
        .await;
    let long = "EAAG".repeat(10_000);
    for method in ["EAAGtoken", &long, "purge"] {
        let answer = proxy.app.fetch(request(method, "/me", sized(""))).await;
        assert_eq!(answer.status, 200);
        assert_eq!(proxy.graph.last_request().head.method, method);
    }
    proxy.shutdown().await;
    let text = logged.text();
    assert!(!text.contains("EAAG") && text.contains(r#""method":"other""#));
}

#[tokio::test(start_paused = true)]
async fn a_dead_token_without_a_successor_is_one_warning() {
    let log = LogCapture::at_info();
    let proxy = TestProxyBuilder::new().start().await;
    proxy.graph.expire_all();
    for _ in 0..3 {
        assert_eq!(proxy.app.get("/me").await.status, 401);
        sleep(Duration::from_secs(90)).await;
    }
    proxy.shutdown().await;
    let warnings = log.lines_containing(r#""level":"WARN""#);
    let [warning] = warnings.as_slice() else {
        panic!("{warnings:?}");
    };
    let warning: serde_json::Value = serde_json::from_str(warning).unwrap();
    let message = warning["message"].as_str().unwrap();
    assert!(message.starts_with("Graph rejected the token "), "{message}");
    assert_eq!(warning["cause"], "rejected");
    let action = warning["remediation"].as_str().unwrap();
    assert!(action.contains("store a new token in "), "{action}");
}
