use super::support::{ADMIN_TOKEN, TestGraph, renew_dead, renew_live, seconds_left};
use crate::renew::TokenLifetime;
use crate::token::Renewer as _;
use fake_graph::{Effect, EndpointKind, Fault, TokenChange, TokenResponse, TokenType};

#[tokio::test]
async fn a_token_is_minted_though_the_outgoing_one_is_dead() {
    let world = TestGraph::start().await;
    world.sim.register_token(ADMIN_TOKEN, None);
    let old = world.sim.issue(None);
    world.sim.expire(&old);
    let new = renew_dead(&mut world.mint(TokenLifetime::Default), &old).await.unwrap();
    assert_eq!(new.expires_at, None, "it has no expiry, or an unknown one");
    let limited = renew_dead(&mut world.mint(TokenLifetime::SixtyDays), &old)
        .await
        .unwrap();
    let sixty_days = 60 * 24 * 60 * 60;
    assert!(
        seconds_left(&limited).unwrap().abs_diff(sixty_days) < 10,
        "the request asked for it"
    );

    let calls = world.sim.recorded_calls();
    assert_eq!((calls[0].method.as_str(), calls[0].proof), ("POST", "right"));
    assert_eq!(calls[0].target, "/122094563210074285/access_tokens");
    let names = |call: usize| calls[call].parameters.iter().map(|(_, name)| name.as_str());
    let usual = ["business_app", "scope", "appsecret_proof", "access_token"];
    assert_eq!(names(0).collect::<Vec<_>>(), usual);
    assert!(names(1).any(|name| name == "set_token_expires_in_60_days"));
    assert!(
        !calls
            .iter()
            .any(|call| call.access_tokens.iter().any(|token| token.state == "dead"))
    );
}

#[tokio::test]
async fn an_admin_token_that_may_not_mint_is_an_error() {
    let world = TestGraph::start().await;
    let mut mint = world.mint(TokenLifetime::Default);
    let error = renew_live(&mut mint, "EAAold").await.unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("token_rejected", false));
    assert!(error.to_string().contains("admin token"), "{error}");

    world.sim.register_token(ADMIN_TOKEN, None);
    let page = TokenChange {
        kind: Some(TokenType::Page),
        ..TokenChange::default()
    };
    assert!(world.sim.update_token(ADMIN_TOKEN, page));
    let error = renew_live(&mut mint, "EAAold").await.unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("refused", false));

    world
        .sim
        .invalidate(ADMIN_TOKEN, fake_graph::InvalidationReason::Checkpointed);
    let error = renew_live(&mut mint, "EAAold").await.unwrap_err();
    assert!(error.to_string().contains("code 190, subcode 459"), "{error}");

    let other = TestGraph::with(|settings| settings.app_secret = "f".repeat(32)).await;
    other.sim.register_token(ADMIN_TOKEN, None);
    let error = renew_live(&mut other.mint(TokenLifetime::Default), "EAAold")
        .await
        .unwrap_err();
    assert_eq!(
        (error.reason(), error.is_transient()),
        ("app_refused", false),
        "{error}"
    );
}

#[tokio::test]
async fn a_failure_of_graph_is_temporary() {
    let world = TestGraph::start().await;
    world.sim.register_token(ADMIN_TOKEN, None);
    let huge = Effect::TokenResponse(TokenResponse::Oversized);
    let page = Effect::HtmlPage(http::StatusCode::INTERNAL_SERVER_ERROR);
    for (effect, reason) in [
        (huge, "too_large"),
        (page, "graph_error"),
        (Effect::Reset, "connection_closed"),
    ] {
        world.sim.inject_fault_on(EndpointKind::Mint, Fault::once(effect));
        let error = renew_live(&mut world.mint(TokenLifetime::Default), "EAAold")
            .await
            .unwrap_err();
        assert_eq!((error.reason(), error.is_transient()), (reason, true), "{error}");
    }
    assert_eq!(world.mint(TokenLifetime::Default).describe(), "mint");
    assert_eq!(world.sim.counts().system_user_tokens, 3);
}
