use std::time::Duration;

use super::support::HttpVersion;
use crate::Clock;
use crate::{Effect, EndpointKind, FakeGraphConfig, Fault, TokenChange, TokenFamily, TokenResponse, TokenType};
use http::StatusCode;
use serde_json::json;

use super::support::{TestGraph, appsecret_proof};

const CLIENT: &str = "client_id=1234567890123456&client_secret=0123456789abcdef0123456789abcdef";
const THREADS: &str = "https://graph.threads.net";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn exchange(token: &str) -> String {
    format!("/oauth/access_token?grant_type=fb_exchange_token&{CLIENT}&fb_exchange_token={token}")
}

fn refresh(token: &str) -> String {
    format!("{THREADS}/refresh_access_token?grant_type=th_refresh_token&access_token={token}")
}

fn issued_ago(by: Duration) -> TokenChange {
    TokenChange {
        issued_at: Some(Clock::system().now() - by),
        ..TokenChange::default()
    }
}

#[tokio::test]
async fn a_grant_may_be_odd_on_command() {
    let world = TestGraph::start().await;
    let old = world.graph.issue(Some(Duration::from_secs(600)));
    let odd = |grant| {
        let fault = Fault::once(Effect::TokenResponse(grant));
        world.graph.inject_fault_on(EndpointKind::Exchange, fault);
    };
    odd(TokenResponse::WithoutExpiry);
    let untold = world.get(&exchange(&old), "").await.json();
    assert_eq!(untold.as_object().unwrap().len(), 2, "no expiry");
    odd(TokenResponse::FormEncoded);
    let form = world.get(&exchange(&old), "").await;
    let form = String::from_utf8(form.body.to_vec()).unwrap();
    assert!(form.starts_with("access_token=EAA") && form.ends_with("&expires=5183944"));
    odd(TokenResponse::SameToken);
    let same = world.get(&exchange(&old), "").await;
    assert_eq!(same.text("access_token"), old);
    odd(TokenResponse::Expired);
    let stale = world.get(&exchange(&old), "").await;
    assert_eq!(stale.json()["expires_in"], -3600);
    let stale = world.get("/me", &stale.text("access_token")).await;
    assert_eq!(stale.error_codes(), (401, 190, Some(463)));
    odd(TokenResponse::Oversized);
    assert!(world.get(&exchange(&old), "").await.body.len() > 65_536);
    assert_eq!(world.get(&exchange(&old), "").await.json()["expires_in"], 5_183_944);
    assert_eq!(world.graph.counts().exchanges, 6);
}

#[tokio::test]
async fn trouble_befalls_the_endpoint_it_was_made_for() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let page = Fault::once(Effect::HtmlPage(StatusCode::BAD_GATEWAY));
    world.graph.inject_fault_on(EndpointKind::Exchange, page.clone());
    world.graph.inject_fault_on(EndpointKind::Exchange, Fault::error(4));
    world.graph.fault(page);
    assert_eq!(world.get(&exchange(&token), "").await.status, 502);
    assert_eq!(world.get(&exchange(&token), "").await.error_codes(), (429, 4, None));
    assert_eq!(world.get(&exchange(&token), "").await.status, 200);
    assert_eq!(world.get("/me", &token).await.status, 502);
    assert_eq!(world.graph.counts().faults_injected, 3);
}

#[tokio::test]
async fn a_successor_may_do_what_its_predecessor_may() {
    let world = TestGraph::start().await;
    let old = world.graph.issue(None);
    let change = TokenChange {
        kind: Some(TokenType::User),
        scopes: Some(vec!["public_profile".to_owned()]),
        ..TokenChange::default()
    };
    assert!(world.graph.update_token(&old, change));
    let new = world.get(&exchange(&old), "").await.text("access_token");
    let debug = world.get(&format!("/debug_token?input_token={new}"), &new).await;
    let data = &debug.json()["data"];
    assert_eq!(
        (&data["type"], &data["scopes"]),
        (&json!("USER"), &json!(["public_profile"]))
    );
}

#[tokio::test]
async fn a_mint_wants_a_living_caller_its_proof_the_app_and_scopes() {
    let world = TestGraph::start().await;
    world.graph.register_token("EAAadmin", None);
    let path = "/122094563210074285/access_tokens";
    let proof = appsecret_proof("EAAadmin");
    let right = format!("business_app=1234567890123456&scope=a,b&appsecret_proof={proof}");
    let mint = async |form: &str| {
        let form = format!("access_token=EAAadmin&{form}");
        world.post_form(path, "", &form).await
    };
    for wrong in [
        right.replace("app=1", "app=2"),
        right.replace("scope", "scape"),
        right.replace(&proof, &appsecret_proof("EAAother")),
        right.replace("&appsecret", "&appsekret"),
    ] {
        assert_eq!(mint(&wrong).await.error_codes(), (400, 100, None), "{wrong}");
    }
    let limited = format!("{right}&set_token_expires_in_60_days=true");
    let minted = mint(&limited).await.text("access_token");
    let app = "1234567890123456|0123456789abcdef0123456789abcdef";
    let debug = world.get(&format!("/debug_token?input_token={minted}"), app).await;
    let data = debug.json()["data"].clone();
    let life = data["expires_at"].as_i64().unwrap() - data["issued_at"].as_i64().unwrap();
    assert_eq!((life, &data["scopes"]), (5_183_944, &json!(["a", "b"])));
    assert_eq!(mint(&right).await.status, 200);
    world.graph.revoke("EAAadmin");
    assert_eq!(mint(&right).await.error_codes(), (400, 190, Some(466)));
    assert_eq!(world.graph.counts().system_user_tokens, 7);
    assert_eq!(world.graph.attempts(), 0, "it is not about data");
}

#[tokio::test]
async fn a_token_of_threads_is_refreshed_from_its_first_day_to_its_last() {
    let world = TestGraph::start().await;
    let token = world.graph.issue_for(TokenFamily::Threads, Some(60 * DAY));
    assert_eq!(world.get(&refresh(&token), "").await.error_codes(), (400, 100, None));
    assert!(
        world
            .graph
            .update_token(&token, issued_ago(DAY - Duration::from_secs(60)))
    );
    assert_eq!(world.get(&refresh(&token), "").await.error_codes(), (400, 100, None));
    assert!(world.graph.update_token(&token, issued_ago(DAY)));
    let answer = world.get(&refresh(&token), "").await.json();
    assert_eq!(answer["expires_in"], 5_183_944);
    world.graph.expire(&token);
    assert_eq!(
        world.get(&refresh(&token), "").await.error_codes(),
        (400, 190, Some(463))
    );
    assert_eq!(world.graph.counts().refreshes, 4);
}

#[tokio::test]
async fn the_first_day_is_shorter_where_tokens_live_shorter() {
    let mut settings = FakeGraphConfig::new(Clock::system());
    settings.token_ttl = Some(Duration::from_secs(60));
    let world = TestGraph::with(settings, HttpVersion::Auto).await;
    let token = world.graph.issue_for(TokenFamily::Threads, None);
    assert!(world.graph.update_token(&token, issued_ago(Duration::from_secs(2))));
    let answer = world.get(&refresh(&token), "").await.json();
    assert_eq!(answer["expires_in"], 60);
}
