use super::support::HttpVersion;
use crate::Clock;
use crate::{Effect, FakeGraphConfig, Fault, ProofPolicy};
use serde_json::{Value, json};

use super::support::{TestGraph, appsecret_proof, request};

#[tokio::test]
async fn a_batch_is_a_200_with_an_answer_for_each_item() {
    let world = TestGraph::start().await;
    let (token, dead) = (world.graph.issue(None), world.graph.issue(None));
    world.graph.expire(&dead);
    let batch = json!([
        {"method": "GET", "relative_url": "v26.0/me?fields=id"},
        {"method": "GET", "relative_url": format!("me?access_token={dead}")},
        {"method": "POST", "relative_url": "1065/messages",
         "body": "messaging_product=whatsapp&to=15550100199&type=text&text=%7B%22body%22%3A%22b%22%7D"},
    ]);
    let answer = world.post_json("/", &token, &json!({"batch": batch})).await;
    assert_eq!(answer.status, 200);
    let items = answer.json();
    let codes: Vec<_> = items
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["code"].clone())
        .collect();
    assert_eq!(codes, [200, 400, 200]);
    let inner = |n: usize| -> Value { serde_json::from_str(items[n]["body"].as_str().unwrap()).unwrap() };
    assert!(inner(0)["id"].is_string());
    assert_eq!(inner(1)["error"]["error_subcode"], 463);
    assert!(inner(2)["messages"][0]["id"].is_string());
    let headers = items[1]["headers"].as_array().unwrap();
    assert!(headers.iter().any(|header| header["name"] == "WWW-Authenticate"));
    assert_eq!(world.graph.accepted_messages().len(), 1);
    assert_eq!(
        (world.graph.attempts(), world.graph.rejected()),
        (1, 0),
        "the batch itself was good"
    );
}

#[tokio::test]
async fn a_batch_with_a_dead_token_of_its_own_is_a_single_error() {
    let world = TestGraph::start().await;
    let (token, dead) = (world.graph.issue(None), world.graph.issue(None));
    world.graph.expire(&dead);
    let batch = format!("[{{\"method\":\"GET\",\"relative_url\":\"me?access_token={token}\"}}]");
    let encoded = percent_encoding::utf8_percent_encode(&batch, percent_encoding::NON_ALPHANUMERIC);
    let by_query = request("POST", &format!("/?batch={encoded}"), &dead, &[], "");
    assert_eq!(world.send(by_query).await.error_codes(), (401, 190, Some(463)));
    let form = format!("access_token={dead}&batch={encoded}");
    assert_eq!(
        world.post_form("/", "", &form).await.error_codes(),
        (400, 190, Some(463))
    );
    let good = format!("include_headers=false&access_token={token}&batch={encoded}");
    let items = world.post_form("/", "", &good).await.json();
    assert_eq!(items[0]["code"], 200);
    assert!(items[0].get("headers").is_none());
}

#[tokio::test]
async fn a_batch_has_at_most_fifty_items() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    for (count, status) in [(50, 200), (51, 400), (0, 400)] {
        let items = vec![json!({"method": "GET", "relative_url": "me"}); count];
        let answer = world.post_json("/", &token, &json!({"batch": items})).await;
        assert_eq!(answer.status, status);
    }
}

/// The codes of the items of an answer, and the envelopes or objects in them.
fn items(answer: &Value) -> Vec<(i64, Value)> {
    let items = answer.as_array().unwrap().iter();
    let read = |item: &Value| {
        let body = item["body"].as_str().unwrap();
        (item["code"].as_i64().unwrap(), serde_json::from_str(body).unwrap())
    };
    items.map(read).collect()
}

#[tokio::test]
async fn an_items_own_token_and_proof_are_looked_at_and_the_others_share_those_of_the_batch() {
    let mut settings = FakeGraphConfig::new(Clock::system());
    settings.proof = ProofPolicy::Required;
    let world = TestGraph::with(settings, HttpVersion::Auto).await;
    let (token, own, dead) = (
        world.graph.issue(None),
        world.graph.issue(None),
        world.graph.issue(None),
    );
    world.graph.revoke(&dead);
    let send = "messaging_product=whatsapp&to=15550100199&type=text&text=%7B%22body%22%3A%22b%22%7D";
    let batch = json!([
        {"method": "POST", "relative_url": "1065/messages", "body": send},
        {"method": "GET", "relative_url": format!("me?access_token={own}")},
        {"method": "GET", "relative_url": format!("me?access_token={own}&appsecret_proof={}", appsecret_proof(&own))},
        {"method": "GET", "relative_url": format!("me?access_token={own}&appsecret_proof={}", appsecret_proof(&token))},
        {"method": "POST", "relative_url": "1065/messages",
         "body": format!("{send}&access_token={dead}&appsecret_proof={}", appsecret_proof(&dead))},
        {"method": "GET", "relative_url": "me?appsecret_proof=00"},
    ]);
    let path = format!("/?appsecret_proof={}", appsecret_proof(&token));
    let answer = world.post_json(&path, &token, &json!({"batch": batch})).await;
    let items = items(&answer.json());
    let codes: Vec<_> = items.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [200, 400, 200, 400, 400, 400]);
    let message = |n: usize| items[n].1["error"]["message"].as_str().unwrap();
    assert!(message(1).contains("require an appsecret_proof"));
    assert!(message(3).contains("Invalid appsecret_proof"));
    assert_eq!(items[4].1["error"]["error_subcode"], 466);
    assert!(message(5).contains("Invalid appsecret_proof"));
    assert_eq!(world.graph.accepted_messages().len(), 1, "siblings ran");

    let bare = world.post_json("/", &token, &json!({"batch": batch})).await;
    assert_eq!(bare.error_codes(), (400, 100, None), "the batch needs a proof itself");
}

#[tokio::test]
async fn an_item_whose_time_ran_out_is_null_on_command() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    world.graph.fault(Fault::once(Effect::NullBatchItem));
    let batch = json!({"batch": vec![json!({"method": "GET", "relative_url": "me"}); 2]});
    let answer = world.post_json("/", &token, &batch).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()[0], Value::Null);
    assert_eq!(answer.json()[1]["code"], 200);
    assert_eq!(world.post_json("/", &token, &batch).await.json()[0]["code"], 200);
}
