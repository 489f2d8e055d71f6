//! When the operator learns how long the tokens of tenants live.

use std::time::Duration;

use fake_graph::{CodeRequest, Expiry, TokenChange};
use graphward::types::Clock;
use serde_json::{Value, json};

use super::support::{Service, issue};
use crate::admin_changes::{LOCAL, send};
use crate::support::{Sidecar, together};

/// The token that a tenant uses by now.
fn status(sidecar: &Sidecar, request: &str, tenant: &str) -> Value {
    let answer = send(sidecar.admin, &format!("{request}?tenant={tenant}"), LOCAL, "");
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["tenants"][0].clone()
}

/// Fails unless it ends in 19 days and something, and its permissions are known.
#[track_caller]
fn assert_end_is_known(status: &Value) {
    let days = status["days_left"].as_f64().unwrap_or_default();
    assert!((19.0..20.0).contains(&days), "{status}");
    assert_eq!(status["expiry"], "at");
    assert!(!status["scopes"].as_array().unwrap().is_empty(), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn graph_is_asked_for_the_end_of_a_token_when_its_tenant_is_put_signs_up_or_is_refreshed() {
    let _turn = together().await;
    let service = Service::start().await;
    let days = |count: u64| Duration::from_secs(count * 24 * 60 * 60);
    let ends = || TokenChange {
        expires_at: Some(Expiry::At(
            Clock::system().now() + days(20) - Duration::from_secs(60 * 60),
        )),
        ..TokenChange::default()
    };
    let graph = &service.graph.sim;
    let in_row = service.insert("shop", "107", "207");
    let token = issue(&service.graph, "acme", &["106", "206"]);
    for token in [&in_row, &token] {
        assert!(graph.update_token(token, ends()));
    }
    let upsert = r#"upsert = """
        INSERT INTO tenant_whatsapp_config (tenant_id, access_token, waba_id, phone_number_id, expires_at)
        VALUES ($2, $1, $3, $4, to_timestamp($5::bigint))"""
    "#;
    let (_dir, sidecar) = service.sidecar(upsert).await;

    let body = json!({ "accessToken": token }).to_string();
    let answer = send(sidecar.admin, "PUT /admin/tenants/acme", LOCAL, &body);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_end_is_known(&status(&sidecar, "GET /admin/token-status", "acme"));
    let stored = "SELECT expires_at > now() + interval '19 days' FROM tenant_whatsapp_config WHERE tenant_id = 'acme'";
    assert_eq!(service.database.psql(stored).trim(), "t");

    let code = graph.issue_code(CodeRequest {
        token: ends(),
        ..CodeRequest::default()
    });
    let body = json!({ "code": code, "tenant": "later" }).to_string();
    let answer = send(sidecar.admin, "POST /admin/signup", LOCAL, &body);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_end_is_known(&status(&sidecar, "GET /admin/token-status", "later"));

    assert_end_is_known(&status(&sidecar, "POST /admin/refresh-token", "shop"));
}
