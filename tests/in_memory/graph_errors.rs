//! What the record of a request, the metrics and the alerts say of an error of Graph that is not about the token.

use std::time::Duration;

use tokio::time::sleep;

use crate::support::{LogCapture, ScriptedResponse, TestProxyBuilder};

#[tokio::test(start_paused = true)]
async fn a_record_has_the_code_and_the_subcode_of_graphs_error() {
    let log = LogCapture::at_info();
    let proxy = TestProxyBuilder::new().start().await;
    for reply in [
        ScriptedResponse::error(403, 10),
        ScriptedResponse::error(429, 130_429),
        ScriptedResponse::error(409, 100),
        ScriptedResponse::json(
            400,
            r#"{"error":{"message":"EAAGhunter2","code":"100","error_subcode":33}}"#,
        ),
        ScriptedResponse::json(404, "no JSON"),
    ] {
        proxy.script(reply);
        proxy.app.get("/me").await;
    }
    proxy.graph.expire_all();
    proxy.app.get("/me").await;
    proxy.shutdown().await;
    let found: Vec<_> = log
        .lines_containing(r#""message":"request""#)
        .iter()
        .map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            let verdict = record["verdict"].as_str().map(str::to_owned);
            (verdict, record["code"].as_i64(), record["subcode"].as_i64())
        })
        .collect();
    let expected = [
        (Some("permission"), Some(10), None),
        (Some("throttled"), Some(130_429), None),
        (Some("refused"), Some(100), None),
        (Some("refused"), Some(100), Some(33)),
        (Some("opaque"), None, None),
        (Some("token_rejected"), Some(190), Some(463)),
    ];
    let expected = expected.map(|(verdict, code, subcode)| (verdict.map(str::to_owned), code, subcode));
    assert_eq!(found, expected);
    assert!(!log.text().contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn a_locked_account_and_a_missing_permission_are_counted_and_the_lock_is_an_alert() {
    let log = LogCapture::at_info();
    let proxy = TestProxyBuilder::new().start().await;
    for code in [131_031, 368, 131_031, 10, 200, 131_005] {
        proxy.script(ScriptedResponse::error(403, code));
        assert_eq!(proxy.app.post("x").await.code(), code);
    }
    sleep(Duration::from_secs(1)).await;
    for (series, value) in [
        (
            r#"graphward_upstream_responses_total{tenant="default",verdict="account_locked"}"#,
            3,
        ),
        (
            r#"graphward_upstream_responses_total{tenant="default",verdict="permission"}"#,
            3,
        ),
        (
            r#"graphward_token_alerts_total{tenant="default",cause="account_locked"}"#,
            2,
        ),
        (r#"graphward_token_usable{tenant="default"}"#, 1),
    ] {
        assert_eq!(proxy.metric(series).await, value, "{series}");
    }
    proxy.shutdown().await;
    let alerts = log.lines_containing(r#""cause":"account_locked""#);
    assert!(
        alerts.len() == 2 && alerts[0].contains("Business Manager"),
        "{alerts:?}"
    );
}
