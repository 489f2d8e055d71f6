use std::time::Duration;

use super::support::HttpVersion;
use crate::Clock;
use crate::{FakeGraphConfig, InvalidationReason};
use serde_json::json;

use super::support::{TestGraph, request};

const CLIENT: &str = "client_id=1234567890123456&client_secret=0123456789abcdef0123456789abcdef";
const APP: &str = "1234567890123456|0123456789abcdef0123456789abcdef";

fn exchange(token: &str) -> String {
    format!("/v26.0/oauth/access_token?grant_type=fb_exchange_token&{CLIENT}&fb_exchange_token={token}")
}

#[tokio::test]
async fn a_living_token_is_exchanged_for_a_longer_one() {
    let world = TestGraph::start().await;
    let old = world.graph.issue(Some(Duration::from_secs(600)));
    let answer = world.get(&exchange(&old), "").await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!(
        (&body["token_type"], &body["expires_in"]),
        (&json!("bearer"), &json!(5_183_944))
    );
    for token in [answer.text("access_token"), old] {
        assert_eq!(world.get("/me", &token).await.status, 200, "the old one lives on");
    }
    assert_eq!(world.graph.attempts(), 2, "asking for a token is no data call");
}

#[tokio::test]
async fn a_sim_with_short_lived_tokens_grants_short_lived_ones() {
    let mut settings = FakeGraphConfig::new(Clock::system());
    settings.token_ttl = Some(Duration::from_secs(4));
    let world = TestGraph::with(settings, HttpVersion::Auto).await;
    let token = world.graph.issue(None);
    assert_eq!(world.get(&exchange(&token), "").await.json()["expires_in"], 4);
}

#[tokio::test]
async fn an_expired_token_or_a_wrong_secret_gets_no_exchange() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let wrong = exchange(&token).replace("client_secret=0", "client_secret=x");
    let wrong = world.get(&wrong, "").await;
    assert_eq!(wrong.error_codes(), (400, 1, None));
    assert_eq!(wrong.json()["error"]["message"], "Error validating client secret.");
    let other = exchange(&token).replace("client_id=1", "client_id=2");
    assert_eq!(world.get(&other, "").await.error_codes(), (400, 101, None));
    world.graph.expire(&token);
    assert_eq!(
        world.get(&exchange(&token), "").await.error_codes(),
        (400, 190, Some(463))
    );
}

#[tokio::test]
async fn client_credentials_buy_an_app_token_and_codes_are_always_used_up() {
    let world = TestGraph::start().await;
    let path = "/oauth/access_token";
    let bought = world
        .get(&format!("{path}?grant_type=client_credentials&{CLIENT}"), "")
        .await;
    let token = bought.text("access_token");
    assert!(token.starts_with("1234567890123456|"));
    let debug = format!("/debug_token?input_token={}", token.replace('|', "%7C"));
    let debug = world.get(&debug, &token).await;
    assert_eq!(debug.json()["data"]["type"], "APP");
    let code = world.post_form(path, "", &format!("{CLIENT}&code=abc")).await;
    assert_eq!(code.error_codes(), (400, 100, Some(36_009)));
}

#[tokio::test]
async fn debug_token_is_a_200_for_the_living_and_the_dead() {
    let world = TestGraph::start().await;
    let (mortal, immortal) = (
        world.graph.issue(Some(Duration::from_secs(600))),
        world.graph.issue(None),
    );
    let debug = |token: &str| format!("/v26.0/debug_token?input_token={token}");

    let alive = world.get(&debug(&mortal), APP).await.json()["data"].clone();
    assert_eq!(alive["is_valid"], true);
    assert_eq!(alive["type"], "SYSTEM_USER");
    assert_eq!(alive["app_id"], "1234567890123456");
    let life = alive["expires_at"].as_i64().unwrap() - alive["issued_at"].as_i64().unwrap();
    assert_eq!(life, 600);
    assert!(
        alive["scopes"]
            .as_array()
            .unwrap()
            .contains(&json!("whatsapp_business_messaging"))
    );
    let forever = world.get(&debug(&immortal), APP).await.json();
    assert_eq!(forever["data"]["expires_at"], 0);

    world.graph.invalidate(&mortal, InvalidationReason::PasswordChanged);
    let dead = world.get(&debug(&mortal), APP).await;
    assert_eq!(dead.status, 200);
    let dead = dead.json()["data"].clone();
    assert_eq!(dead["is_valid"], false);
    assert_eq!(
        (&dead["error"]["code"], &dead["error"]["subcode"]),
        (&json!(190), &json!(460))
    );
    let unknown = world.get(&debug("EAAwhatever"), APP).await.json();
    assert_eq!(unknown["data"]["error"]["code"], 190);
    assert_eq!(
        world.get(&debug(&mortal), &mortal).await.error_codes(),
        (401, 190, Some(460))
    );
    assert_eq!(world.get("/debug_token", APP).await.error_codes(), (400, 100, None));
}

#[tokio::test]
async fn a_system_user_mints_with_a_proof_and_revokes_everything() {
    let world = TestGraph::start().await;
    world.graph.register_token("EAAadmin", None);
    let path = "/v26.0/122094563210074285/access_tokens";
    let form = "business_app=1234567890123456&scope=whatsapp_business_messaging";
    assert_eq!(
        world.post_form(path, "EAAadmin", form).await.error_codes(),
        (400, 100, None)
    );
    // printf EAAadmin | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
    let proven = format!("{form}&appsecret_proof=82a8873e517b05d8a4242ff61e675beab3c38872a4bea16eea9224dd0b47c69e");
    let minted = world.post_form(path, "EAAadmin", &proven).await;
    let token = minted.text("access_token");
    assert_eq!(minted.json().as_object().unwrap().len(), 1, "no expiry");
    assert_eq!(world.get("/me", &token).await.status, 200);

    let gone = world.send(request("DELETE", path, "EAAadmin", &[], "")).await;
    assert_eq!(gone.json(), json!({"success": true}));
    assert_eq!(world.get("/me", &token).await.error_codes(), (401, 190, Some(466)));
}

#[tokio::test]
async fn one_token_is_revoked_by_name() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let path = format!("/oauth/revoke?{CLIENT}&revoke_token={token}");
    assert_eq!(world.get(&path, "").await.json(), json!({"success": true}));
    assert_eq!(world.get("/me", &token).await.error_codes(), (401, 190, Some(466)));
}
