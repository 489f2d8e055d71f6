use super::log::LogCapture;
use super::support::{
    ADMIN_TOKEN, APP_SECRET, TestGraph, client_with_response, error_chain, exchange, inspect, mint, renew_live,
    test_app,
};
use crate::graph::ProofSigner;
use crate::renew::TokenLifetime;
use fake_graph::{Effect, EndpointKind, Fault, TokenFamily, TokenResponse};

/// The ways in which a call can fail, each with all that Graph can be made to say.
fn failure_effects() -> Vec<Effect> {
    let error = |code, subcode| Effect::Error {
        code,
        subcode,
        status: None,
    };
    vec![
        error(1, None),
        error(4, None),
        error(100, None),
        error(190, Some(463)),
        Effect::MalformedToken,
        Effect::HtmlPage(http::StatusCode::BAD_GATEWAY),
        Effect::HtmlPage(http::StatusCode::OK),
        Effect::TokenResponse(TokenResponse::Oversized),
        Effect::TokenResponse(TokenResponse::Expired),
        Effect::Reset,
        Effect::Truncate,
        Effect::TokenResponse(TokenResponse::Normal),
    ]
}

#[tokio::test]
async fn no_secret_is_in_an_error_or_in_a_log_at_trace_level() {
    let log = LogCapture::start();
    let world = TestGraph::start().await;
    world.sim.register_token(ADMIN_TOKEN, None);
    let (graph, threads) = (world.sim.issue(None), world.sim.issue_for(TokenFamily::Threads, None));
    let mut errors = Vec::new();
    let mut new = Vec::new();
    for effect in failure_effects() {
        for endpoint in [
            EndpointKind::Exchange,
            EndpointKind::Mint,
            EndpointKind::Refresh,
            EndpointKind::DebugToken,
        ] {
            world
                .sim
                .inject_fault_on(endpoint, Fault::once(effect.clone()).times(2));
        }
        let renewals = [
            renew_live(&mut world.exchange(TokenLifetime::Default), &graph).await,
            renew_live(&mut world.exchange(TokenLifetime::SixtyDays), &graph).await,
            renew_live(&mut world.mint(TokenLifetime::Default), &graph).await,
            renew_live(&mut world.mint(TokenLifetime::SixtyDays), &graph).await,
            renew_live(&mut world.threads(), &threads).await,
        ];
        for renewal in renewals {
            match renewal {
                Ok(token) => {
                    new.push(token.secret.expose().to_owned());
                    errors.push(format!("{token:?}"));
                }
                Err(error) => errors.push(error_chain(&error)),
            }
        }
        for token in [&graph, &threads] {
            let result = inspect(&mut world.debug_token(Some(test_app(APP_SECRET))), token).await;
            errors.push(result.map_or_else(|error| error_chain(&error), |inspection| format!("{inspection:?}")));
        }
    }
    world.sim.reset();
    let wrong = inspect(&mut world.debug_token(Some(test_app("f0f0f0f0f0f0f0f0"))), &graph).await;
    assert!(wrong.is_ok());
    let log = log.end();
    assert!(log.contains("Graph rejected app.id"), "the log is kept");
    assert!(log.contains("hyper_util::"), "down to the wire");
    assert!(!new.is_empty() && errors.len() == 84);
    let proofs = [graph.as_str(), ADMIN_TOKEN].map(|token| {
        let proof = ProofSigner::new(APP_SECRET.as_bytes()).sign(token.as_bytes());
        let (_name, hex) = proof.as_query().split_once('=').unwrap();
        hex.to_owned()
    });
    let secrets = [APP_SECRET, ADMIN_TOKEN, "f0f0f0f0f0f0f0f0", &graph, &threads];
    let secrets = secrets.into_iter().chain(new.iter().map(String::as_str));
    for secret in secrets.chain(proofs.iter().map(String::as_str)) {
        assert!(!log.contains(secret), "a secret is in the log");
        for error in &errors {
            assert!(!error.contains(secret), "a secret is in: {error}");
        }
    }
    for word in ["client_secret", "input_token", "grant_type"] {
        assert!(!errors.iter().any(|error| error.contains(word)), "a query is shown");
    }
}

#[tokio::test]
async fn secrets_that_graph_repeats_are_not_repeated() {
    let echo = format!(
        r#"{{"error":{{"message":"Malformed access token EAAold0token client secret {APP_SECRET}","type":"EAAold0token x","code":190,"fbtrace_id":"A1"}}}}"#
    );
    for (status, body) in [
        (400, echo.clone()),
        (200, echo),
        (200, format!("<p>EAAold0token {APP_SECRET} {ADMIN_TOKEN}")),
        (200, format!("access_token=%ff{ADMIN_TOKEN}")),
        (502, format!("EAAold0token {APP_SECRET}")),
    ] {
        let client = client_with_response(status, &body);
        let errors = [
            renew_live(&mut exchange(&client, TokenLifetime::Default), "EAAold0token").await,
            renew_live(&mut mint(&client, TokenLifetime::Default), "EAAold0token").await,
        ];
        for error in errors {
            let text = error_chain(&error.unwrap_err());
            for secret in ["EAAold0token", APP_SECRET, ADMIN_TOKEN] {
                assert!(!text.contains(secret), "{text}");
            }
        }
    }
}
