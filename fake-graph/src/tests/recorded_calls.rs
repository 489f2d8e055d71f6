use crate::Clock;
use crate::{FakeGraph, FakeGraphConfig};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::support::{TestGraph, request};

fn fingerprint(token: &str) -> String {
    let digest = Sha256::digest(token);
    digest[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_call_is_shown_as_it_arrived_and_without_its_secrets() {
    let world = TestGraph::start().await;
    let (alive, dead) = (world.graph.issue(None), world.graph.issue(None));
    world.graph.expire(&dead);
    let headers = [
        ("user-agent", "curl/8"),
        ("accept", "*/*"),
        ("x-note", dead.as_str()),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let target = format!("/v26.0//1065/messages/?x=%7c&access_token={dead}&appsecret_proof=ab");
    let body = "access_token=&type=text&messaging_product=whatsapp";
    let call = request("POST", &target, &alive, &headers, body);
    assert_eq!(world.send(call).await.status, 400);

    let calls = world.graph.recorded_calls();
    let [seen] = calls.as_slice() else { panic!("{calls:?}") };
    let (living, gone) = (fingerprint(&alive), fingerprint(&dead));
    assert_eq!(
        (seen.method.as_str(), seen.host.as_str()),
        ("POST", "graph.facebook.com")
    );
    assert_eq!(
        seen.target,
        format!("/v26.0//1065/messages/?x=%7c&access_token=<{gone}>&appsecret_proof=<proof>")
    );
    let value = serde_json::to_value(seen).unwrap();
    assert_eq!(
        value["authorization"],
        json!({"scheme": "Bearer", "token": living, "state": "alive"})
    );
    assert_eq!(
        value["access_tokens"],
        json!([{"location": "query", "token": gone, "state": "dead"}])
    );
    assert_eq!(value["parameters"][3], json!(["form", "access_token"]));
    assert_eq!((seen.proof, seen.data, seen.status), ("wrong", true, Some(400)));
    assert_eq!(seen.user_agent.as_deref(), Some("curl/8"));
    assert_eq!(seen.body_length, body.len() as u64);
    let sha256 = Sha256::digest(body);
    let sha256: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(seen.body_sha256, sha256);
    assert!(seen.headers.contains(&("x-note".to_owned(), format!("<{gone}>"))));
    let text = value.to_string();
    assert!(!text.contains(&alive) && !text.contains(&dead));
    world.graph.reset();
    assert!(world.graph.recorded_calls().is_empty());
}

#[tokio::test]
async fn credentials_are_found_wherever_they_stand() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let multipart = [("content-type", "multipart/form-data; boundary=X")];
    let parts = format!(
        "--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nabc\r\n\
         --X\r\nContent-Disposition: form-data; name=\"access_token\"\r\n\r\n{token}\r\n--X--\r\n"
    );
    world.send(request("POST", "/1/media", "", &multipart, &parts)).await;
    world
        .post_json("/1/messages", "", &json!({"access_token": token}))
        .await;
    world
        .post_form("/1/messages", "", &format!("access_token={token}"))
        .await;
    let batch = json!([
        {"method": "GET", "relative_url": format!("me?access_token={token}&appsecret_proof=no")},
        {"method": "POST", "relative_url": "1/messages", "body": format!("a=b&access_token={token}")},
    ]);
    world.post_json("/", "1|app", &json!({"batch": batch})).await;

    let calls = world.graph.recorded_calls();
    let locations: Vec<Vec<_>> = calls
        .iter()
        .map(|seen| seen.access_tokens.iter().map(|token| token.location).collect())
        .collect();
    assert_eq!(
        locations,
        [vec!["multipart"], vec!["json"], vec!["form"], vec!["batch"; 2]]
    );
    let tokens = calls.iter().flat_map(|seen| &seen.access_tokens);
    assert!(tokens.into_iter().all(|token| token.state == "alive"));
    let last = calls.last().unwrap();
    let print = fingerprint(&token);
    assert_eq!(
        serde_json::to_value(&last.items).unwrap(),
        json!([
            {"method": "GET", "body": "", "proof": "wrong",
             "relative_url": format!("me?access_token=<{print}>&appsecret_proof=<proof>")},
            {"method": "POST", "relative_url": "1/messages", "proof": "absent",
             "body": format!("a=b&access_token=<{print}>")},
        ])
    );
    assert_eq!(last.authorization.as_ref().unwrap().state, "unknown");
}

#[tokio::test]
async fn calls_about_tokens_are_shown_too_and_said_to_be_such() {
    let graph = FakeGraph::new(FakeGraphConfig::new(Clock::system()));
    let token = graph.issue(None);
    for path in [
        format!("/oauth/access_token?client_id=1&client_secret=hush&fb_exchange_token={token}"),
        format!("/debug_token?input_token={token}"),
    ] {
        graph.handle(request("GET", &path, "", &[], "")).await.unwrap();
    }
    let calls = graph.recorded_calls();
    assert!(calls.iter().all(|seen| !seen.data && seen.authorization.is_none()));
    let print = fingerprint(&token);
    assert_eq!(
        calls[0].target,
        format!("/oauth/access_token?client_id=1&client_secret=<secret>&fb_exchange_token=<{print}>")
    );
    assert_eq!(calls[1].target, format!("/debug_token?input_token=<{print}>"));
}
