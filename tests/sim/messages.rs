use serde_json::{Value, json};

use crate::support::{World, request, text};

const SEND: &str = "/v26.0/106540352242922/messages";

#[tokio::test]
async fn an_accepted_message_is_answered_as_graph_does_and_recorded_once() {
    let world = World::start().await;
    let token = world.sim.issue(None);
    let answer = world.post_json(SEND, &token, &text("hello")).await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!(body["messaging_product"], "whatsapp");
    assert_eq!(
        body["contacts"][0],
        json!({"input": "+1 555 010 0199", "wa_id": "15550100199"})
    );
    let id = body["messages"][0]["id"].as_str().unwrap();
    assert!(id.starts_with("wamid."));

    world.sim.expire(&token);
    assert_eq!(
        world.post_json(SEND, &token, &text("hello")).await.status,
        401
    );
    let accepted = world.sim.accepted();
    assert_eq!(accepted.len(), 1);
    assert_eq!(accepted[0].id, id);
    assert_eq!(accepted[0].phone_id, "106540352242922");
    assert_eq!(accepted[0].kind, "text");
    assert_eq!(accepted[0].said["text"]["body"], "hello");
    assert!(!format!("{accepted:?}").contains(&token));
    let counts = world.sim.counts();
    assert_eq!(
        (counts.attempts, counts.rejected, counts.accepted),
        (2, 1, 1)
    );
    assert_eq!((world.sim.attempts(), world.sim.rejected()), (2, 1));
}

#[tokio::test]
async fn unversioned_paths_forms_and_templates_are_accepted() {
    let world = World::start().await;
    let token = world.sim.issue(None);
    let unversioned = world.post_json("/1065/messages", &token, &text("a")).await;
    assert_eq!(unversioned.status, 200);
    let form =
        "messaging_product=whatsapp&to=15550100199&type=text&text=%7B%22body%22%3A%22b+c%22%7D";
    let form = world
        .post_form(SEND, "", &format!("{form}&access_token={token}"))
        .await;
    assert_eq!(form.status, 200);
    let template = json!({
        "messaging_product": "whatsapp", "to": "15550100199", "type": "template",
        "template": {"name": "hello_world", "language": {"code": "en_US"}},
    });
    let template = world.post_json(SEND, &token, &template).await.json();
    assert_eq!(template["messages"][0]["message_status"], "accepted");
    let accepted = world.sim.accepted();
    assert_eq!(accepted[1].said["text"]["body"], "b c");
    assert!(accepted[1].said.get("access_token").is_none());
    assert_eq!(accepted[2].kind, "template");
}

#[tokio::test]
async fn marking_as_read_succeeds_and_is_no_message() {
    let world = World::start().await;
    let token = world.sim.issue(None);
    let mut read =
        json!({"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.x"});
    let answer = world.post_json(SEND, &token, &read).await;
    assert_eq!(answer.json(), json!({"success": true}));
    read.as_object_mut().unwrap().remove("message_id");
    assert_eq!(
        world.post_json(SEND, &token, &read).await.error(),
        (400, 100, None)
    );
    assert!(world.sim.accepted().is_empty());
}

#[tokio::test]
async fn a_message_with_a_fault_is_refused_with_the_code_of_the_fault() {
    let world = World::start().await;
    let token = world.sim.issue(None);
    let with = |name: &str, value: Value| {
        let mut message = text("x");
        message[name] = value;
        message
    };
    let cases = [
        (with("messaging_product", json!("telegram")), 100),
        (with("to", json!("nobody")), 131_009),
        (with("type", json!("telepathy")), 100),
        (with("type", json!("image")), 100),
        (with("text", json!({})), 131_008),
        (with("text", json!({"body": ""})), 131_009),
        (with("text", json!({"body": "x".repeat(4097)})), 100),
        (json!({}), 100),
        (json!("no object"), 100),
    ];
    for (message, code) in cases {
        let answer = world.post_json(SEND, &token, &message).await;
        assert_eq!(answer.error(), (400, code, None), "{message}");
        if code > 131_000 {
            let data = &answer.json()["error"]["error_data"];
            assert_eq!(data["messaging_product"], "whatsapp");
            assert!(data["details"].is_string());
        }
    }
    assert!(world.sim.accepted().is_empty());
}

#[tokio::test]
async fn a_body_that_is_too_large_gets_the_edges_page() {
    let world = World::start().await;
    let token = world.sim.issue(None);
    let message = text(&"x".repeat(1024 * 1024));
    let answer = world.post_json(SEND, &token, &message).await;
    assert_eq!(answer.status, 413);
    assert!(answer.header("content-type").starts_with("text/html"));
}

#[tokio::test]
async fn a_batch_is_a_200_with_an_answer_for_each_item() {
    let world = World::start().await;
    let (token, dead) = (world.sim.issue(None), world.sim.issue(None));
    world.sim.expire(&dead);
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
    let inner =
        |n: usize| -> Value { serde_json::from_str(items[n]["body"].as_str().unwrap()).unwrap() };
    assert!(inner(0)["id"].is_string());
    assert_eq!(inner(1)["error"]["error_subcode"], 463);
    assert!(inner(2)["messages"][0]["id"].is_string());
    let headers = items[1]["headers"].as_array().unwrap();
    assert!(
        headers
            .iter()
            .any(|header| header["name"] == "WWW-Authenticate")
    );
    assert_eq!(world.sim.accepted().len(), 1);
    assert_eq!(
        (world.sim.attempts(), world.sim.rejected()),
        (1, 0),
        "the batch itself was good"
    );
}

#[tokio::test]
async fn a_batch_with_a_dead_token_of_its_own_is_a_single_error() {
    let world = World::start().await;
    let (token, dead) = (world.sim.issue(None), world.sim.issue(None));
    world.sim.expire(&dead);
    let batch = format!("[{{\"method\":\"GET\",\"relative_url\":\"me?access_token={token}\"}}]");
    let encoded = percent_encoding::utf8_percent_encode(&batch, percent_encoding::NON_ALPHANUMERIC);
    let by_query = request("POST", &format!("/?batch={encoded}"), &dead, &[], "");
    assert_eq!(world.send(by_query).await.error(), (401, 190, Some(463)));
    let form = format!("access_token={dead}&batch={encoded}");
    assert_eq!(
        world.post_form("/", "", &form).await.error(),
        (400, 190, Some(463))
    );
    let good = format!("include_headers=false&access_token={token}&batch={encoded}");
    let items = world.post_form("/", "", &good).await.json();
    assert_eq!(items[0]["code"], 200);
    assert!(items[0].get("headers").is_none());
}

#[tokio::test]
async fn a_batch_has_at_most_fifty_items() {
    let world = World::start().await;
    let token = world.sim.issue(None);
    for (count, status) in [(50, 200), (51, 400), (0, 400)] {
        let items = vec![json!({"method": "GET", "relative_url": "me"}); count];
        let answer = world.post_json("/", &token, &json!({"batch": items})).await;
        assert_eq!(answer.status, status);
    }
}
