use serde_json::{Value, json};

use super::control::Control;
use super::support::{TestGraph, request, text};
use crate::{FakeGraph, TokenChange};

fn tenant(graph: &FakeGraph, name: &str, targets: &[&str]) -> String {
    let token = graph.issue(None);
    let change = TokenChange {
        target_ids: Some(targets.iter().map(ToString::to_string).collect()),
        name: Some(name.to_owned()),
        ..TokenChange::default()
    };
    assert!(graph.update_token(&token, change));
    token
}

fn uses(graph: &FakeGraph) -> Vec<(String, String, u64)> {
    let uses = graph.object_uses().into_iter();
    uses.map(|one| (one.token, one.object, one.calls)).collect()
}

fn counted(token: &str, object: &str, calls: u64) -> (String, String, u64) {
    (token.to_owned(), object.to_owned(), calls)
}

#[tokio::test]
async fn calls_and_batch_items_are_counted_by_token_and_object() {
    let world = TestGraph::start().await;
    let (a, b) = (tenant(&world.graph, "a", &["101"]), tenant(&world.graph, "b", &["201"]));
    for _ in 0..3 {
        world.post_json("/v26.0/101/messages", &a, &text("x")).await;
    }
    world.get("/201?phone_number_id=201", &b).await;
    let batch = json!({"batch": [
        {"method": "GET", "relative_url": "101"},
        {"method": "GET", "relative_url": format!("201?access_token={b}")},
    ]});
    world.post_json("/v26.0", &a, &batch).await;
    world.get("/me", &a).await;
    world.get("/101", "EAAunknown").await;
    assert_eq!(uses(&world.graph), [counted("a", "101", 4), counted("b", "201", 2)]);
    assert_eq!(world.graph.violations(), []);

    let successor = tenant(&world.graph, "a", &["101"]);
    world.get("/101", &successor).await;
    assert_eq!(
        uses(&world.graph)[0],
        counted("a", "101", 5),
        "a name outlives its token"
    );
}

#[tokio::test]
async fn a_call_with_anothers_token_is_a_violation_even_if_the_token_is_dead_or_a_fault_answers() {
    let world = TestGraph::start().await;
    let (_a, b) = (tenant(&world.graph, "a", &["101"]), tenant(&world.graph, "b", &["201"]));
    let batch = json!({"batch": [{"method": "POST", "relative_url": "v26.0/101/messages", "body": "to=1"}]});
    world.post_json("/v26.0", &b, &batch).await;
    world.graph.fault(crate::Fault {
        effect: crate::Effect::HtmlPage(http::StatusCode::BAD_GATEWAY),
        timing: crate::FaultTiming::BeforeHandling,
        times: 1,
    });
    assert_eq!(world.get("/v26.0/101?fields=id", &b).await.status, 502);
    world.graph.expire(&b);
    assert_eq!(world.get(&format!("/101?access_token={b}"), "").await.status, 400);

    let violations = world.graph.violations();
    let seen: Vec<_> = violations
        .iter()
        .map(|one| {
            (
                one.token.as_str(),
                one.object.as_str(),
                one.owner.as_deref(),
                one.method.as_str(),
                one.path.as_str(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("b", "101", Some("a"), "POST", "v26.0/101/messages"),
            ("b", "101", Some("a"), "GET", "/v26.0/101"),
            ("b", "101", Some("a"), "GET", "/101"),
        ]
    );
    assert_eq!(world.graph.counts().violations, 3);
    assert!(!format!("{violations:?}").contains(&b));
    world.graph.reset();
    assert_eq!(
        (world.graph.counts().violations, world.graph.object_uses().len()),
        (0, 0)
    );
}

#[tokio::test]
async fn the_control_api_shows_the_counts_and_the_violations_but_no_token() {
    let control = Control::start().await;
    let (a, _b) = (
        tenant(&control.graph, "a", &["101"]),
        tenant(&control.graph, "b", &["201"]),
    );
    let unnamed = control.graph.issue(None);
    for (token, path) in [(&a, "/101"), (&a, "/201"), (&unnamed, "/101")] {
        control
            .graph
            .handle(request("GET", path, token, &[], ""))
            .await
            .unwrap();
    }
    let shown = control.ok("GET", "/objects", Value::Null).await;
    let fingerprint = crate::digest::fingerprint(&unnamed);
    let mut names: Vec<_> = shown["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["token"].clone())
        .collect();
    names.sort_by_key(ToString::to_string);
    let mut expected = [json!("a"), json!("a"), json!(fingerprint)];
    expected.sort_by_key(ToString::to_string);
    assert_eq!(names, expected);
    assert_eq!(shown["violations"][0]["object"], "201");
    assert_eq!(shown["violations"][0]["owner"], "b");
    assert!(!shown.to_string().contains("EAA"));
    let state = control.ok("GET", "/state", Value::Null).await;
    assert_eq!(state["counts"]["violations"], 1);
    assert_eq!(state["tokens"][0]["name"], "a");
    assert_eq!(state["tokens"][2]["name"], Value::Null);
}

#[tokio::test]
async fn twenty_thousand_uses_of_ten_thousand_tokens_are_counted_exactly() {
    let control = Control::start().await;
    let graph = &control.graph;
    let tokens: Vec<_> = (0..10_000)
        .map(|n| tenant(graph, &format!("t{n}"), &[&format!("7{n:05}")]))
        .collect();
    // Fifty items in a call, each with a token of its own.
    for call in 0..400_usize {
        let items = (0..50).map(|item| {
            let n = (call * 50 + item) % tokens.len();
            json!({"method": "GET", "relative_url": format!("7{n:05}?fields=id&access_token={}", tokens[n])})
        });
        let body = json!({"batch": items.collect::<Vec<_>>()}).to_string();
        let json = [("content-type", "application/json")];
        let answer = graph
            .handle(request("POST", "/v26.0", &tokens[0], &json, &body))
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
    }
    let uses = graph.object_uses();
    assert_eq!(uses.len(), 10_000);
    assert!(uses.iter().all(|one| one.calls == 2));
    assert_eq!(graph.counts().violations, 0);
}

#[tokio::test]
async fn an_account_is_no_phone_number_and_a_number_is_not_its_id() {
    let world = TestGraph::start().await;
    let token = tenant(&world.graph, "a", &["500"]);
    world.graph.set_phone_numbers("500", &["106540352242922"]);
    let fields = "fields=display_phone_number,verified_name";
    let number = world.get(&format!("/106540352242922?{fields}"), &token).await;
    assert_eq!(number.status, 200);
    assert_eq!(number.json()["display_phone_number"], "+1 555-010-2922");
    for path in [
        format!("/500?{fields}"),
        "/106540352242922/phone_numbers".to_owned(),
        format!("/15550102922?{fields}"),
    ] {
        let refused = world.get(&path, &token).await;
        let (status, code, _) = refused.error_codes();
        assert_eq!((status, code), (400, 100), "{path}");
    }
    assert_eq!(
        world.get("/500/phone_numbers", &token).await.json()["data"][0]["id"],
        "106540352242922"
    );
}
