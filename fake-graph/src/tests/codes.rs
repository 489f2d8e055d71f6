use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::control::Control;
use super::support::{HttpVersion, TestGraph, request};
use crate::{
    Clock, CodeRequest, Effect, EndpointKind, Expiry, FakeGraph, FakeGraphConfig, Fault, FaultTiming, TokenChange,
    TokenResponse, TokenType,
};

const CLIENT: &str = "client_id=1234567890123456&client_secret=0123456789abcdef0123456789abcdef";
const APP: &str = "1234567890123456|0123456789abcdef0123456789abcdef";

fn exchange(code: &str) -> String {
    format!("/v26.0/oauth/access_token?{CLIENT}&code={code}")
}

#[tokio::test]
async fn a_code_buys_one_token_whichever_of_many_calls_is_first() {
    let world = TestGraph::start().await;
    let code = world.graph.issue_code(CodeRequest::default());
    let path = exchange(&code);
    let form = format!("{CLIENT}&code={code}");
    let (a, b, c) = tokio::join!(
        world.get(&path, ""),
        world.post_form("/v26.0/oauth/access_token", "", &form),
        world.get(&path, ""),
    );
    let (bought, refused): (Vec<_>, Vec<_>) = [a, b, c].into_iter().partition(|answer| answer.status == 200);
    assert_eq!(bought.len(), 1);
    assert_eq!(bought[0].json()["token_type"], "bearer");
    assert_eq!(bought[0].json()["expires_in"], 5_183_944);
    for answer in refused {
        assert_eq!(answer.error_codes(), (400, 100, Some(36_009)));
        let says = answer.header("www-authenticate");
        assert!(
            says.ends_with("\"invalid_code\" \"This authorization code has been used.\""),
            "{says}"
        );
    }
    assert_eq!(world.get("/me", &bought[0].text("access_token")).await.status, 200);
}

#[tokio::test]
async fn a_wrong_secret_or_redirect_uri_does_not_use_a_code_up() {
    let world = TestGraph::start().await;
    let dialog = "https://app.example/callback?x=1";
    let code = world.graph.issue_code(CodeRequest {
        redirect_uri: Some(dialog.to_owned()),
        ..CodeRequest::default()
    });
    let path = exchange(&code);
    let wrong = world.get(&path.replace("client_secret=0", "client_secret=1"), "").await;
    assert_eq!(wrong.error_codes(), (400, 1, None));
    for missed in [
        "",
        "&redirect_uri=",
        "&redirect_uri=https%3A%2F%2Fapp.example%2Fcallback",
    ] {
        let answer = world.get(&format!("{path}{missed}"), "").await;
        assert_eq!(answer.error_codes(), (400, 100, Some(36_008)), "{missed}");
    }
    let right = "&redirect_uri=https%3A%2F%2Fapp.example%2Fcallback%3Fx%3D1";
    assert_eq!(world.get(&format!("{path}{right}"), "").await.status, 200);

    let signup = world.graph.issue_code(CodeRequest::default());
    let with = world.get(&format!("{}{right}", exchange(&signup)), "").await;
    assert_eq!(with.error_codes(), (400, 100, Some(36_008)));
    let empty = world.get(&format!("{}&redirect_uri=", exchange(&signup)), "").await;
    assert_eq!(empty.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_code_expires_after_its_time() {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let graph = FakeGraph::new(FakeGraphConfig::new(Clock::manual(start)));
    let (short, usual) = (
        graph.issue_code(CodeRequest {
            ttl: Some(Duration::from_secs(30)),
            ..CodeRequest::default()
        }),
        graph.issue_code(CodeRequest::default()),
    );
    let status = |code: &str| {
        let (graph, call) = (graph.clone(), request("GET", &exchange(code), "", &[], ""));
        async move { graph.handle(call).await.unwrap() }
    };
    tokio::time::advance(Duration::from_secs(30)).await;
    let expired = status(&short).await;
    assert_eq!(expired.status(), 400);
    let challenge = expired.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.ends_with("\"invalid_code\" \"This authorization code has expired.\""));
    tokio::time::advance(Duration::from_secs(569)).await;
    assert_eq!(status(&usual).await.status(), 200);
}

#[tokio::test]
async fn the_token_of_a_code_is_as_it_was_described_and_its_answer_obeys_faults() {
    let world = TestGraph::start().await;
    let forever = world.graph.issue_code(CodeRequest {
        token: TokenChange {
            kind: Some(TokenType::SystemUser),
            expires_at: Some(Expiry::Never),
            target_ids: Some(vec!["555".to_owned()]),
            name: Some("acme".to_owned()),
            ..TokenChange::default()
        },
        ..CodeRequest::default()
    });
    let answer = world.get(&exchange(&forever), "").await;
    assert_eq!(answer.json().get("expires_in"), None);
    let token = answer.text("access_token");
    let data = world
        .get(&format!("/debug_token?input_token={token}"), APP)
        .await
        .json()["data"]
        .clone();
    assert_eq!((&data["type"], &data["expires_at"]), (&json!("SYSTEM_USER"), &json!(0)));
    assert_eq!(data["granular_scopes"][0]["target_ids"], json!(["555"]));
    assert_eq!(world.get("/me", &token).await.json()["name"], "acme");

    for response in [TokenResponse::SameToken, TokenResponse::FormEncoded] {
        let fault = Fault {
            effect: Effect::TokenResponse(response),
            timing: FaultTiming::BeforeHandling,
            times: 1,
        };
        world.graph.inject_fault_on(EndpointKind::Exchange, fault);
        let code = world.graph.issue_code(CodeRequest::default());
        let answer = world.get(&exchange(&code), "").await;
        let body = String::from_utf8(answer.body.to_vec()).unwrap();
        assert_eq!(
            body.starts_with("access_token=EAA"),
            response == TokenResponse::FormEncoded,
            "{body}"
        );
    }
}

#[tokio::test]
async fn the_control_api_issues_codes_with_all_that_a_token_can_have() {
    let control = Control::start().await;
    let asked = json!({"redirect_uri": "https://a/", "ttl": "10m",
        "token": {"ttl": "never", "kind": "page", "targets": ["7"], "name": "acme"}});
    let issued = control.ok("POST", "/codes", asked).await;
    let path = exchange(issued["code"].as_str().unwrap());
    let call = request("GET", &format!("{path}&redirect_uri=https%3A%2F%2Fa%2F"), "", &[], "");
    assert_eq!(control.graph.handle(call).await.unwrap().status(), 200);
    let tokens = control.ok("GET", "/state", Value::Null).await["tokens"].clone();
    assert_eq!(
        (&tokens[0]["kind"], &tokens[0]["name"]),
        (&json!("page"), &json!("acme"))
    );
    assert_eq!(tokens[0]["expires_at"], Value::Null);
    for wrong in [
        json!({"token": {"token": "EAAx"}}),
        json!({"ttl": "soon"}),
        json!({"uri": "x"}),
    ] {
        let (status, answer) = control.call("POST", "/codes", wrong).await;
        assert_eq!(status, 400, "{answer}");
    }
}

#[tokio::test]
async fn a_code_is_masked_in_the_record_of_its_call() {
    let world = TestGraph::with(FakeGraphConfig::new(Clock::system()), HttpVersion::Http1).await;
    let code = world.graph.issue_code(CodeRequest::default());
    world.get(&exchange(&code), "").await;
    let call = &world.graph.recorded_calls()[0];
    assert!(call.target.ends_with("&code=<secret>"), "{}", call.target);
    assert!(!format!("{call:?}").contains(&code));
}
