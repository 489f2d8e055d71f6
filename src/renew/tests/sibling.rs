use std::time::{Duration, SystemTime};

use super::world::{DAY, World, left, renewed, revived};
use crate::sim::{Effect, Endpoint, Family, Fault, Grant};
use crate::token::Renewer as _;

#[tokio::test]
async fn each_family_is_refreshed_on_its_own_host() {
    let world = World::start().await;
    for family in [Family::Instagram, Family::Threads] {
        let (mut own, mut other) = (world.instagram(), world.threads());
        if family == Family::Threads {
            std::mem::swap(&mut own, &mut other);
        }
        let old = world.sim.issue_for(family, Some(30 * DAY));
        world.age(&old, DAY);
        let new = renewed(&mut own, &old).await.unwrap();
        assert_eq!(left(&new).map(|seconds| seconds / 100), Some(51_839));
        assert_ne!(new.secret.expose(), old);
        let error = renewed(&mut other, &old).await.unwrap_err();
        assert_eq!(
            (error.reason(), error.is_transient()),
            ("token_rejected", false)
        );
    }
    let hosts: Vec<_> = world
        .sim
        .calls()
        .into_iter()
        .map(|call| call.host)
        .collect();
    let [instagram, threads] = ["graph.instagram.com", "graph.threads.net"];
    assert_eq!(hosts, [instagram, threads, threads, instagram]);
    let names = [world.instagram().describe(), world.threads().describe()];
    assert_eq!(names, ["ig_refresh_token", "th_refresh_token"]);
}

#[tokio::test]
async fn the_first_day_has_to_be_over_and_graph_minds_it_too() {
    let world = World::start().await;
    let issued = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    assert_eq!(world.threads().earliest(issued), issued + DAY);
    let young = world.sim.issue_for(Family::Threads, None);
    let error = renewed(&mut world.threads(), &young).await.unwrap_err();
    assert_eq!(
        (error.reason(), error.is_transient()),
        ("refused", false),
        "{error}"
    );
}

#[tokio::test]
async fn what_has_expired_is_not_sent_if_that_is_known_and_not_refreshed_if_not() {
    let world = World::start().await;
    let old = world.sim.issue_for(Family::Instagram, Some(60 * DAY));
    world.age(&old, DAY);
    world.sim.expire(&old);
    let error = revived(&mut world.instagram(), &old).await.unwrap_err();
    assert_eq!(
        (error.reason(), error.is_transient()),
        ("token_dead", false)
    );
    assert!(error.to_string().contains("has to log in again"), "{error}");
    assert_eq!(world.sim.calls().len(), 0);
    let error = renewed(&mut world.instagram(), &old).await.unwrap_err();
    assert_eq!(
        (error.reason(), error.is_transient()),
        ("token_rejected", false)
    );
    assert!(
        error.to_string().contains("code 190, subcode 463"),
        "{error}"
    );
}

#[tokio::test]
async fn odd_answers_are_read_as_those_of_an_exchange() {
    let world = World::start().await;
    let old = world.sim.issue_for(Family::Threads, Some(60 * DAY));
    world.age(&old, DAY);
    let odd = |grant| {
        let fault = Fault::once(Effect::Grant(grant));
        world.sim.fault_on(Endpoint::Refresh, fault);
    };
    odd(Grant::Untold);
    let new = renewed(&mut world.threads(), &old).await.unwrap();
    assert_eq!(new.expires_at, None);
    odd(Grant::Same);
    let same = renewed(&mut world.threads(), &old).await.unwrap();
    assert_eq!(same.secret.expose(), old);
    odd(Grant::Stale);
    let error = renewed(&mut world.threads(), &old).await.unwrap_err();
    assert_eq!(error.reason(), "answer_expired");
    assert_eq!(world.sim.counts().refreshes, 3);
}
