use std::time::Duration;

use super::support::{
    APP_SECRET, CALL_TIMEOUT, DAY, TestGraph, api, client_with_response, exchange, renew_dead, renew_live,
    seconds_left, secret, test_app,
};
use crate::net::{Dialer, HttpClient, HttpClientConfig};
use crate::renew::{ExchangeRenewer, ExchangeSettings, TokenLifetime, UnknownExpiry};
use crate::token::Renewer as _;
use fake_graph::{Effect, EndpointKind, Fault, TokenResponse};

fn inject_grant(world: &TestGraph, grant: TokenResponse) {
    let fault = Fault::once(Effect::TokenResponse(grant));
    world.sim.inject_fault_on(EndpointKind::Exchange, fault);
}

#[tokio::test]
async fn a_living_token_is_exchanged_and_when_the_new_one_ends_is_known() {
    let world = TestGraph::start().await;
    let old = world.sim.issue(Some(Duration::from_secs(600)));
    for lasting in [TokenLifetime::Default, TokenLifetime::SixtyDays] {
        let new = renew_live(&mut world.exchange(lasting), &old).await.unwrap();
        assert_ne!(new.secret.expose(), old);
        assert!((5_183_930..=5_183_944).contains(&seconds_left(&new).unwrap()));
        assert!(world.sim.expire(new.secret.expose()), "Graph knows it");
    }
    let calls = world.sim.recorded_calls();
    let names = |call: usize| calls[call].parameters.iter().map(|(_, name)| name.as_str());
    let usual = ["grant_type", "client_id", "client_secret", "fb_exchange_token"];
    assert_eq!(names(0).collect::<Vec<_>>(), usual);
    assert!(names(1).any(|name| name == "set_token_expires_in_60_days"));
    assert_eq!((calls.len(), calls[0].method.as_str()), (2, "GET"));
}

#[tokio::test]
async fn a_token_of_unknown_expiry_is_exchanged_only_if_the_operator_wants_it() {
    let world = TestGraph::start().await;
    let seen_at = world.clock.now();
    let renew_at = |unknown_expiry| {
        let settings = ExchangeSettings {
            unknown_expiry,
            ..ExchangeSettings::default()
        };
        let api = api(&world.client, "https://graph.facebook.com");
        ExchangeRenewer::new(api, test_app(APP_SECRET), settings).renew_at_if_expiry_unknown(seen_at)
    };
    assert_eq!(
        renew_at(UnknownExpiry::Keep),
        None,
        "it may be a token that never expires"
    );
    assert_eq!(renew_at(UnknownExpiry::Exchange), Some(seen_at + DAY));
    assert_eq!(world.threads().renew_at_if_expiry_unknown(seen_at), Some(seen_at + DAY));
}

#[tokio::test]
async fn a_dead_token_is_not_even_sent_and_the_error_says_what_to_do() {
    let world = TestGraph::start().await;
    let old = world.sim.issue(None);
    let error = renew_dead(&mut world.exchange(TokenLifetime::Default), &old)
        .await
        .unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("token_dead", false));
    assert!(error.to_string().contains("create a new token"), "{error}");
    assert_eq!(world.sim.recorded_calls().len(), 0);
}

#[tokio::test]
async fn a_token_that_graph_knows_to_be_dead_and_a_wrong_app_need_an_operator() {
    let world = TestGraph::start().await;
    let old = world.sim.issue(None);
    for (id, secret_of_app, reason) in [
        ("1234567890123456", "ffffffffffffffffffffffffffffffff", "app_refused"),
        ("42", APP_SECRET, "app_refused"),
    ] {
        let mut wrong = test_app(secret_of_app);
        wrong.id = id.to_owned();
        let api = api(&world.client, "https://graph.facebook.com");
        let mut exchange = ExchangeRenewer::new(api, wrong, ExchangeSettings::default());
        let error = renew_live(&mut exchange, &old).await.unwrap_err();
        assert_eq!((error.reason(), error.is_transient()), (reason, false), "{error}");
        assert!(error.to_string().contains("set app.id and app.secret"));
    }
    world.sim.expire(&old);
    let error = renew_live(&mut world.exchange(TokenLifetime::Default), &old)
        .await
        .unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("token_rejected", false));
    assert_eq!(error.alert_reason(), "token_rejected/190/463");
    let text = error.to_string();
    let start = "graph.facebook.com/oauth/access_token rejected the request: code 190, subcode 463, fbtrace_id A";
    assert!(text.starts_with(start), "{text}");
}

#[tokio::test]
async fn a_response_without_an_expiry_leaves_it_unknown() {
    let world = TestGraph::start().await;
    let old = world.sim.issue(None);
    inject_grant(&world, TokenResponse::WithoutExpiry);
    let new = renew_live(&mut world.exchange(TokenLifetime::Default), &old)
        .await
        .unwrap();
    assert_eq!(new.expires_at, None);
    inject_grant(&world, TokenResponse::WithoutExpiry);
    let new = renew_live(&mut world.exchange(TokenLifetime::SixtyDays), &old)
        .await
        .unwrap();
    let sixty_days = 60 * 24 * 60 * 60;
    assert!(
        seconds_left(&new).unwrap().abs_diff(sixty_days) < 10,
        "the request asked for it"
    );
}

#[tokio::test]
async fn the_old_form_of_the_response_is_read_and_the_same_token_may_come_again() {
    let world = TestGraph::start().await;
    let old = world.sim.issue(Some(Duration::from_secs(600)));
    inject_grant(&world, TokenResponse::FormEncoded);
    let new = renew_live(&mut world.exchange(TokenLifetime::Default), &old)
        .await
        .unwrap();
    assert!(seconds_left(&new).unwrap() > 5_183_900);
    inject_grant(&world, TokenResponse::SameToken);
    let same = renew_live(&mut world.exchange(TokenLifetime::Default), &old)
        .await
        .unwrap();
    assert_eq!(same.secret.expose(), old);
    assert!(seconds_left(&same).unwrap() > 5_183_900, "it ends later now");
}

#[tokio::test]
async fn an_expired_token_and_an_endless_response_are_errors() {
    let world = TestGraph::start().await;
    let old = world.sim.issue(None);
    for (grant, reason) in [
        (TokenResponse::Expired, "answer_expired"),
        (TokenResponse::Oversized, "too_large"),
    ] {
        inject_grant(&world, grant);
        let error = renew_live(&mut world.exchange(TokenLifetime::Default), &old)
            .await
            .unwrap_err();
        assert_eq!((error.reason(), error.is_transient()), (reason, true), "{error}");
    }
    assert_eq!(world.sim.counts().exchanges, 2, "one call each");
}

#[tokio::test]
async fn temporary_failures_are_distinguished_from_permanent_ones() {
    let world = TestGraph::start().await;
    let old = world.sim.issue(None);
    let error = |code, status| Effect::Error {
        code,
        subcode: None,
        status: http::StatusCode::from_u16(status).ok(),
    };
    for (effect, reason, passes) in [
        (error(1, 500), "graph_error", true),
        (error(1, 400), "graph_error", true),
        (error(2, 400), "graph_error", true),
        (error(4, 400), "throttled", true),
        (error(613, 403), "throttled", true),
        (error(10, 403), "refused", false),
        (error(100, 400), "refused", false),
        (error(3962, 400), "refused", false),
        (error(190, 200), "token_rejected", false),
        (Effect::HtmlPage(http::StatusCode::BAD_GATEWAY), "graph_error", true),
        (Effect::HtmlPage(http::StatusCode::OK), "not_understood", true),
        (Effect::HtmlPage(http::StatusCode::FOUND), "not_understood", true),
        (Effect::HtmlPage(http::StatusCode::NOT_FOUND), "not_understood", true),
        (Effect::HtmlPage(http::StatusCode::TOO_MANY_REQUESTS), "throttled", true),
        (Effect::Reset, "connection_closed", true),
        (Effect::Truncate, "connection_closed", true),
    ] {
        world
            .sim
            .inject_fault_on(EndpointKind::Exchange, Fault::once(effect.clone()));
        let error = renew_live(&mut world.exchange(TokenLifetime::Default), &old)
            .await
            .unwrap_err();
        assert_eq!(
            (error.reason(), error.is_transient()),
            (reason, passes),
            "{effect:?}: {error}"
        );
    }
    let new = renew_live(&mut world.exchange(TokenLifetime::Default), &old).await;
    assert!(new.is_ok(), "nothing lasts");
}

#[tokio::test]
async fn a_closed_port_and_an_untrusted_certificate_are_connection_failures() {
    let world = TestGraph::start().await;
    let port = world.address().port();
    for address in ["127.0.0.1:1".to_owned(), format!("127.0.0.1:{port}")] {
        let config = HttpClientConfig {
            dialer: Dialer {
                connect_to: [("graph.facebook.com".to_owned(), address)].into(),
                ..Dialer::default()
            },
            ..HttpClientConfig::default()
        };
        let client = HttpClient::new(config, CALL_TIMEOUT).unwrap();
        let error = renew_live(&mut exchange(&client, TokenLifetime::Default), "EAAx")
            .await
            .unwrap_err();
        assert_eq!((error.reason(), error.is_transient()), ("connect_failed", true));
    }
    assert_eq!(world.sim.recorded_calls().len(), 0);
}

#[test]
fn it_has_the_name_that_meta_gives_it_and_shows_no_secret() {
    let exchange = exchange(&client_with_response(200, ""), TokenLifetime::Default);
    assert_eq!(exchange.describe(), "fb_exchange_token");
    assert!(!format!("{exchange:?}").contains(APP_SECRET));
    assert!(format!("{exchange:?}").contains(&secret(APP_SECRET).fingerprint().to_string()));
}
