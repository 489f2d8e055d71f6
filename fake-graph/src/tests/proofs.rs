use std::time::UNIX_EPOCH;

use super::support::HttpVersion;
use crate::Clock;
use crate::{FakeGraphConfig, ProofPolicy};
use serde_json::json;

use super::support::{TestGraph, appsecret_proof, request, text};

const SEND: &str = "/v26.0/1065/messages";

async fn graph_requiring_proof() -> TestGraph {
    let mut settings = FakeGraphConfig::new(Clock::system());
    settings.proof = ProofPolicy::Required;
    TestGraph::with(settings, HttpVersion::Auto).await
}

#[tokio::test]
async fn a_proof_counts_wherever_a_parameter_may_stand() {
    let world = graph_requiring_proof().await;
    let token = world.graph.issue(None);
    let proof = appsecret_proof(&token);
    let fields = format!(
        "messaging_product=whatsapp&to=15550100199&type=text&text=%7B%22body%22%3A%22x%22%7D&appsecret_proof={proof}"
    );
    let mut message = text("x");
    message["appsecret_proof"] = json!(proof);
    let part =
        |name: &str, value: &str| format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let parts = part("messaging_product", "whatsapp")
        + &part("to", "15550100199")
        + &part("text", "{\"body\":\"x\"}")
        + &part("appsecret_proof", &proof)
        + "--X--\r\n";
    let multipart = [("content-type", "multipart/form-data; boundary=X")];

    let query = format!("{SEND}?appsecret_proof={proof}");
    assert_eq!(world.post_json(&query, &token, &text("x")).await.status, 200);
    assert_eq!(world.post_form(SEND, &token, &fields).await.status, 200);
    assert_eq!(world.post_json(SEND, &token, &message).await.status, 200);
    let parts = world.send(request("POST", SEND, &token, &multipart, &parts)).await;
    assert_eq!(parts.status, 200);
    let none = world.post_json(SEND, &token, &text("x")).await;
    assert_eq!(none.error_codes(), (400, 100, None));
    assert!(none.header("www-authenticate").contains("\"invalid_request\""));
    let proofs: Vec<_> = world.graph.recorded_calls().iter().map(|seen| seen.proof).collect();
    assert_eq!(proofs, ["right", "right", "right", "right", "absent"]);
}

#[tokio::test]
async fn a_proof_with_a_time_lives_for_five_minutes() {
    let world = graph_requiring_proof().await;
    let token = world.graph.issue(None);
    let now = Clock::system().now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for (time, status) in [(now, 200), (now - 290, 200), (now - 310, 400)] {
        let proof = appsecret_proof(&format!("{token}|{time}"));
        let target = format!("/me?appsecret_proof={proof}&appsecret_time={time}");
        assert_eq!(world.get(&target, &token).await.status, status);
        let bare = format!("/me?appsecret_proof={proof}");
        assert_eq!(world.get(&bare, &token).await.status, 400);
    }
}

#[tokio::test]
async fn token_endpoints_need_no_proof_but_minting_does_even_where_others_do_not() {
    let world = graph_requiring_proof().await;
    let token = world.graph.issue(None);
    let exchange = format!(
        "/oauth/access_token?grant_type=fb_exchange_token&client_id=1234567890123456\
         &client_secret=0123456789abcdef0123456789abcdef&fb_exchange_token={token}"
    );
    assert_eq!(world.get(&exchange, "").await.status, 200);

    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let mint = "/122094563210074285/access_tokens";
    for (proof, status) in [
        (appsecret_proof(&token), 200),
        ("00".to_owned(), 400),
        (String::new(), 400),
    ] {
        let mut form = "business_app=1234567890123456&scope=a".to_owned();
        if !proof.is_empty() {
            form.push_str(&format!("&appsecret_proof={proof}"));
        }
        assert_eq!(world.post_form(mint, &token, &form).await.status, status);
    }
}
