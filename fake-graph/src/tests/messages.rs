use serde_json::{Value, json};

use super::support::{TestGraph, text};

const SEND: &str = "/v26.0/106540352242922/messages";

#[tokio::test]
async fn an_accepted_message_is_answered_as_graph_does_and_recorded_once() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
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

    world.graph.expire(&token);
    assert_eq!(world.post_json(SEND, &token, &text("hello")).await.status, 401);
    let accepted = world.graph.accepted_messages();
    assert_eq!(accepted.len(), 1);
    assert_eq!(accepted[0].id, id);
    assert_eq!(accepted[0].phone_id, "106540352242922");
    assert_eq!(accepted[0].kind, "text");
    assert_eq!(accepted[0].params["text"]["body"], "hello");
    assert!(!format!("{accepted:?}").contains(&token));
    let counts = world.graph.counts();
    assert_eq!((counts.attempts, counts.rejected, counts.accepted), (2, 1, 1));
    assert_eq!((world.graph.attempts(), world.graph.rejected()), (2, 1));
}

#[tokio::test]
async fn unversioned_paths_forms_and_templates_are_accepted() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let unversioned = world.post_json("/1065/messages", &token, &text("a")).await;
    assert_eq!(unversioned.status, 200);
    let form = "messaging_product=whatsapp&to=15550100199&type=text&text=%7B%22body%22%3A%22b+c%22%7D";
    let form = world.post_form(SEND, "", &format!("{form}&access_token={token}")).await;
    assert_eq!(form.status, 200);
    let template = json!({
        "messaging_product": "whatsapp", "to": "15550100199", "type": "template",
        "template": {"name": "hello_world", "language": {"code": "en_US"}},
    });
    let template = world.post_json(SEND, &token, &template).await.json();
    assert_eq!(template["messages"][0]["message_status"], "accepted");
    let accepted = world.graph.accepted_messages();
    assert_eq!(accepted[1].params["text"]["body"], "b c");
    assert!(accepted[1].params.get("access_token").is_none());
    assert_eq!(accepted[2].kind, "template");
}

#[tokio::test]
async fn only_the_test_number_may_send_hello_world() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let template = |name: &str| {
        json!({
            "messaging_product": "whatsapp", "to": "15550100199", "type": "template",
            "template": {"name": name, "language": {"code": "en_US"}},
        })
    };
    let refused = world
        .post_json("/v26.0/1065/messages", &token, &template("hello_world"))
        .await;
    assert_eq!(refused.error_codes(), (400, 131_058, None));
    let error = &refused.json()["error"];
    assert_eq!(error["type"], "OAuthException");
    assert!(
        error["error_data"]["details"]
            .as_str()
            .unwrap()
            .contains("Public Test Numbers"),
        "{error}"
    );
    assert!(world.graph.accepted_messages().is_empty());
    for (path, name) in [("/v26.0/1065/messages", "order_sent"), (SEND, "hello_world")] {
        assert_eq!(
            world.post_json(path, &token, &template(name)).await.status,
            200,
            "{path}"
        );
    }
}

#[tokio::test]
async fn marking_as_read_succeeds_and_is_no_message() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let mut read = json!({"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.x"});
    let answer = world.post_json(SEND, &token, &read).await;
    assert_eq!(answer.json(), json!({"success": true}));
    read.as_object_mut().unwrap().remove("message_id");
    assert_eq!(
        world.post_json(SEND, &token, &read).await.error_codes(),
        (400, 100, None)
    );
    assert!(world.graph.accepted_messages().is_empty());
}

#[tokio::test]
async fn a_message_with_a_fault_is_refused_with_the_code_of_the_fault() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let with = |name: &str, value: Value| {
        let mut message = text("x");
        message[name] = value;
        message
    };
    let cases = [
        (with("messaging_product", json!("telegram")), 100),
        (with("to", json!("no number")), 131_009),
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
        assert_eq!(answer.error_codes(), (400, code, None), "{message}");
        if code > 131_000 {
            let data = &answer.json()["error"]["error_data"];
            assert_eq!(data["messaging_product"], "whatsapp");
            assert!(data["details"].is_string());
        }
    }
    assert!(world.graph.accepted_messages().is_empty());
}

#[tokio::test]
async fn a_body_that_is_too_large_gets_the_edges_page() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let message = text(&"x".repeat(1024 * 1024));
    let answer = world.post_json(SEND, &token, &message).await;
    assert_eq!(answer.status, 413);
    assert!(answer.header("content-type").starts_with("text/html"));
}
