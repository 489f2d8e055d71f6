use std::time::{Duration, SystemTime};

use crate::Clock;
use crate::{Expiry, InvalidationReason, TokenChange, TokenType};
use serde_json::{Value, json};

use super::support::TestGraph;

const APP: &str = "1234567890123456|0123456789abcdef0123456789abcdef";

async fn debug_token(world: &TestGraph, token: &str, access_token: &str) -> Value {
    let path = format!("/debug_token?input_token={}", token.replace('|', "%7C"));
    let answer = world.get(&path, access_token).await;
    assert_eq!(answer.status, 200);
    answer.json()["data"].clone()
}

fn unix_seconds(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    since.as_secs().try_into().unwrap()
}

#[tokio::test]
async fn each_kind_of_token_is_described_as_such() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let kinds = [
        (TokenType::User, "USER"),
        (TokenType::Page, "PAGE"),
        (TokenType::SystemUser, "SYSTEM_USER"),
    ];
    for (kind, name) in kinds {
        let change = TokenChange {
            kind: Some(kind),
            ..TokenChange::default()
        };
        assert!(world.graph.update_token(&token, change));
        let data = debug_token(&world, &token, APP).await;
        assert_eq!(data["type"], name);
        assert_eq!(data["profile_id"].is_string(), kind == TokenType::Page);
        assert_eq!(data["application"], "Fake Graph");
        assert!(data["user_id"].is_string());
    }
    let app = debug_token(&world, APP, APP).await;
    assert_eq!((&app["type"], &app["scopes"]), (&json!("APP"), &json!([])));
    assert_eq!(app.get("user_id"), None);
    assert!(!world.graph.update_token("EAAnobody", TokenChange::default()));
}

#[tokio::test]
async fn ends_scopes_and_targets_are_told_as_they_were_set_and_by_me_permissions_too() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let now = Clock::system().now();
    let day = Duration::from_secs(24 * 60 * 60);
    let change = TokenChange {
        issued_at: Some(now - day),
        expires_at: Some(Expiry::At(now + day)),
        data_access_expires_at: Some(Expiry::At(now - day)),
        scopes: Some(vec!["whatsapp_business_messaging".to_owned()]),
        target_ids: Some(vec!["1".to_owned(), "2".to_owned()]),
        kind: Some(TokenType::User),
        ..TokenChange::default()
    };
    assert!(world.graph.update_token(&token, change));
    let data = debug_token(&world, &token, &token).await;
    assert_eq!(data["issued_at"], unix_seconds(now - day));
    assert_eq!(data["expires_at"], unix_seconds(now + day));
    assert_eq!(data["data_access_expires_at"], unix_seconds(now - day));
    assert_eq!(data["is_valid"], true, "it lives on without the data");
    assert_eq!(data["scopes"], json!(["whatsapp_business_messaging"]));
    assert_eq!(data["granular_scopes"][0]["target_ids"], json!(["1", "2"]));
    let may = world.get("/me/permissions", &token).await.json();
    assert_eq!(
        may["data"],
        json!([{"permission": "whatsapp_business_messaging", "status": "granted"}])
    );
    let past = TokenChange {
        expires_at: Some(Expiry::At(now - day)),
        ..TokenChange::default()
    };
    assert!(world.graph.update_token(&token, past));
    let data = debug_token(&world, &token, APP).await;
    assert_eq!(
        (&data["is_valid"], &data["error"]["subcode"]),
        (&json!(false), &json!(463))
    );
    assert_eq!(data["type"], "USER", "a dead token is described as well");
}

#[tokio::test]
async fn an_app_is_told_nothing_of_another_apps_token_but_the_token_is() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let change = TokenChange {
        app_id: Some("99".to_owned()),
        kind: Some(TokenType::User),
        ..TokenChange::default()
    };
    assert!(world.graph.update_token(&token, change));
    let data = debug_token(&world, &token, APP).await;
    assert_eq!(
        (&data["is_valid"], &data["error"]["code"]),
        (&json!(false), &json!(100))
    );
    assert_eq!(data.get("type"), None);
    let own = debug_token(&world, &token, &token).await;
    assert_eq!((&own["is_valid"], &own["app_id"]), (&json!(true), &json!("99")));
}

#[tokio::test]
async fn a_system_user_may_not_inspect_tokens_not_even_its_own() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let path = format!("/debug_token?input_token={token}");
    assert_eq!(world.get(&path, &token).await.error_codes(), (400, 100, None));
    assert_eq!(debug_token(&world, &token, APP).await["is_valid"], true);
}

#[tokio::test]
async fn who_asks_needs_a_living_token_or_the_apps() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let path = format!("/debug_token?input_token={token}&access_token=");
    for wrong in [
        "1234567890123456%7Cwrong",
        "42%7C0123456789abcdef0123456789abcdef",
        "EAAnobody",
    ] {
        let answer = world.get(&format!("{path}{wrong}"), "").await;
        assert_eq!(answer.error_codes(), (400, 190, None), "{wrong}");
    }
    world.graph.invalidate(&token, InvalidationReason::LoggedOut);
    let answer = world.get(&format!("{path}{token}"), "").await;
    assert_eq!(answer.error_codes(), (400, 190, Some(467)));
    assert_eq!(world.graph.counts().inspections, 4);
    assert_eq!(world.graph.attempts(), 0);
}
