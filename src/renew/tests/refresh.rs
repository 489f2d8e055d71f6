use std::time::{Duration, SystemTime};

use super::support::{DAY, TestGraph, renew_dead, renew_live, seconds_left};
use crate::token::Renewer as _;
use fake_graph::{Effect, EndpointKind, Fault, TokenFamily, TokenResponse};

#[tokio::test]
async fn each_family_is_refreshed_on_its_own_host() {
    let world = TestGraph::start().await;
    for family in [TokenFamily::Instagram, TokenFamily::Threads] {
        let (mut own, mut other) = (world.instagram(), world.threads());
        if family == TokenFamily::Threads {
            std::mem::swap(&mut own, &mut other);
        }
        let old = world.sim.issue_for(family, Some(30 * DAY));
        world.set_token_age(&old, DAY);
        let new = renew_live(&mut own, &old).await.unwrap();
        assert_eq!(seconds_left(&new).map(|seconds| seconds / 100), Some(51_839));
        assert_ne!(new.secret.expose(), old);
        let error = renew_live(&mut other, &old).await.unwrap_err();
        assert_eq!((error.reason(), error.is_transient()), ("token_rejected", false));
    }
    let hosts: Vec<_> = world.sim.recorded_calls().into_iter().map(|call| call.host).collect();
    let [instagram, threads] = ["graph.instagram.com", "graph.threads.net"];
    assert_eq!(hosts, [instagram, threads, threads, instagram]);
    let names = [world.instagram().describe(), world.threads().describe()];
    assert_eq!(names, ["ig_refresh_token", "th_refresh_token"]);
}

#[tokio::test]
async fn a_token_younger_than_a_day_is_not_refreshed_and_graph_refuses_it_too() {
    let world = TestGraph::start().await;
    let issued = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    assert_eq!(world.threads().earliest_renewal(issued), issued + DAY);
    let young = world.sim.issue_for(TokenFamily::Threads, None);
    let error = renew_live(&mut world.threads(), &young).await.unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("refused", false), "{error}");
}

#[tokio::test]
async fn an_expired_token_is_not_sent_if_graphward_knows_it_and_not_refreshed_otherwise() {
    let world = TestGraph::start().await;
    let old = world.sim.issue_for(TokenFamily::Instagram, Some(60 * DAY));
    world.set_token_age(&old, DAY);
    world.sim.expire(&old);
    let error = renew_dead(&mut world.instagram(), &old).await.unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("token_dead", false));
    assert!(error.to_string().contains("log in again"), "{error}");
    assert_eq!(world.sim.recorded_calls().len(), 0);
    let error = renew_live(&mut world.instagram(), &old).await.unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("token_rejected", false));
    assert!(error.to_string().contains("code 190, subcode 463"), "{error}");
}

#[tokio::test]
async fn unusual_responses_are_read_as_those_of_an_exchange() {
    let world = TestGraph::start().await;
    let old = world.sim.issue_for(TokenFamily::Threads, Some(60 * DAY));
    world.set_token_age(&old, DAY);
    let inject_grant = |grant| {
        let fault = Fault::once(Effect::TokenResponse(grant));
        world.sim.inject_fault_on(EndpointKind::Refresh, fault);
    };
    inject_grant(TokenResponse::WithoutExpiry);
    let new = renew_live(&mut world.threads(), &old).await.unwrap();
    assert_eq!(new.expires_at, None);
    inject_grant(TokenResponse::SameToken);
    let same = renew_live(&mut world.threads(), &old).await.unwrap();
    assert_eq!(same.secret.expose(), old);
    inject_grant(TokenResponse::Expired);
    let error = renew_live(&mut world.threads(), &old).await.unwrap_err();
    assert_eq!(error.reason(), "answer_expired");
    assert_eq!(world.sim.counts().refreshes, 3);
}
