//! What operators see of many tenants.

use std::fmt::Write as _;

use graphward::config::{Config, EnvVars, Overrides};
use serde_json::{Value, json};

use crate::support::{LogCapture, TestProxy, TestProxyBuilder, get, with};

/// A proxy with a tenant that has a token, `default`, and this many that have none.
async fn start(others: usize, more: &str) -> TestProxy {
    let mut text = format!("[token]\nsource = {{ env = \"FIRST\" }}\n[routing]\nheader = \"x-tenant-id\"\n{more}");
    for number in 0..others {
        write!(text, "[tenants.t{number:02}]\nsource = {{ env = \"NONE\" }}\n").unwrap();
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let flags = Overrides {
        config: Some(file.path().to_owned()),
        ..Overrides::default()
    };
    let loaded = Config::load(flags, &EnvVars::new()).unwrap().config;
    TestProxyBuilder::new().with(|config| *config = loaded).start().await
}

async fn readiness(proxy: &TestProxy) -> Value {
    serde_json::from_slice(&proxy.admin_get("/readyz").await.body).unwrap()
}

#[tokio::test(start_paused = true)]
async fn readiness_lists_all_of_a_few_tenants_and_the_first_bad_ones_of_many() {
    let proxy = start(2, "").await;
    let few = readiness(&proxy).await;
    let names = |body: &Value| body["tenants"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&few), ["default", "t00", "t01"]);
    assert_eq!((&few["ready"], &few["tenant_count"]), (&json!(true), &json!(3)));
    proxy.shutdown().await;

    let proxy = start(30, "").await;
    let many = readiness(&proxy).await;
    let first_bad: Vec<_> = (0..20).map(|number| format!("t{number:02}")).collect();
    assert_eq!(names(&many), first_bad, "without the one that is usable");
    assert_eq!(many["tenant_count"], 31);
    let tokens = json!({
        "usable": 1, "dead": 30, "ends_7d": 0, "ends_1d": 0, "undecryptable": 0, "withdrawn": 0
    });
    assert_eq!(many["tokens"], tokens);
    assert_eq!(proxy.metric("graphward_tokens{state=\"dead\"}").await, 30);
    assert_eq!(proxy.metric("graphward_tokens{state=\"usable\"}").await, 1);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_number_of_tenants_with_series_is_bounded_and_the_others_share_a_set() {
    let proxy = start(30, "[metrics]\ntenant_label = 3\n").await;
    for name in ["t09", "t08", "t07", "t06", "t05", "nosuch"] {
        let request = with(get("/me"), &[("x-tenant-id", name)]);
        assert_ne!(proxy.app.fetch(request).await.status, 200);
    }
    let text = proxy.metrics().await;
    let labels: std::collections::BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.split_once("tenant=\"")?.1.split('"').next())
        .collect();
    assert_eq!(labels, ["", "other", "t07", "t08", "t09"].into());
    assert!(
        text.contains("graphward_requests_total{tenant=\"other\",outcome=\"refused_no_token\"} 2\n"),
        "{text}"
    );
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn without_the_label_all_tenants_are_one() {
    let proxy = start(2, "[metrics]\ntenant_label = false\n").await;
    assert_eq!(proxy.app.get("/me").await.status, 200);
    let text = proxy.metrics().await;
    assert!(
        text.contains("graphward_requests_total{tenant=\"other\",outcome=\"delivered\"} 1\n"),
        "{text}"
    );
    assert!(
        !text.contains("tenant=\"default\"") && !text.contains("tenant=\"t00\""),
        "{text}"
    );
    assert_eq!(proxy.metric("graphward_tokens{state=\"usable\"}").await, 1);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_source_logs_has_its_tenant() {
    let log = LogCapture::at_info();
    let dir = tempfile::tempdir().unwrap();
    let renewed = dir.path().join("renewed");
    std::fs::write(&renewed, "{").unwrap();
    let store = format!("[tenants.acme]\nsource = {{ env = \"NONE\" }}\nstore = {{ file = {renewed:?} }}\n");
    let proxy = start(1, &store).await;
    // The file is read off the runtime, whose time is paused.
    for _ in 0..1_000 {
        if !log.lines_containing("invalid renewed token").is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let lines = log.lines_containing("invalid renewed token");
    assert!(
        !lines.is_empty() && lines.iter().all(|line| line.contains("\"tenant\":\"acme\"")),
        "{lines:?}"
    );
    proxy.shutdown().await;
}
