use std::time::{Duration, SystemTime};

use super::world::{APP_SECRET, DAY, World, inspected, key, origin};
use crate::graph::{Destinations, Ends, Inspection, TokenKind};
use crate::renew::DebugToken;
use crate::sim::{Change, Death, Effect, Endpoint, Family, Fault, Kind, Proof, Until};
use crate::types::Secret;

fn code(inspection: &Inspection) -> (Option<i64>, Option<i64>) {
    let dead = inspection.dead.as_ref().unwrap();
    (dead.code, dead.subcode)
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn all_that_is_known_of_a_living_token_is_learnt() {
    let world = World::start().await;
    let now = world.clock.wall();
    let token = world.sim.issue(None);
    let change = Change {
        kind: Some(Kind::User),
        issued: Some(now - DAY),
        ends: Some(Until::Then(now + DAY)),
        data_access: Some(Until::Then(now + 2 * DAY)),
        scopes: Some(vec!["public_profile".to_owned()]),
        ..Change::default()
    };
    assert!(world.sim.change(&token, change));
    for key in [Some(key(APP_SECRET)), None] {
        let said = inspected(&mut world.debug_token(key), &token)
            .await
            .unwrap();
        assert_eq!((&said.dead, said.kind), (&None, Some(TokenKind::User)));
        assert_eq!(said.expires.at().map(seconds), Some(seconds(now + DAY)));
        assert_eq!(
            said.data_access.at().map(seconds),
            Some(seconds(now + 2 * DAY))
        );
        assert_eq!(said.issued_at.map(seconds), Some(seconds(now - DAY)));
        assert_eq!(
            said.scopes.as_deref(),
            Some(&["public_profile".to_owned()][..])
        );
        assert_eq!(said.app_id.as_deref(), Some("1234567890123456"));
    }
    let calls = world.sim.calls();
    let asking = |call: usize| calls[call].access_tokens[0].state;
    assert_eq!((asking(0), asking(1), calls.len()), ("app", "alive", 2));
    let forever = world.sim.issue(None);
    let said = inspected(&mut world.debug_token(None), &forever)
        .await
        .unwrap();
    assert_eq!(
        (said.expires, said.kind),
        (Ends::Never, Some(TokenKind::SystemUser))
    );
}

#[tokio::test]
async fn a_dead_token_is_an_answer_whoever_asks() {
    let world = World::start().await;
    let token = world.sim.issue(None);
    world.sim.kill(&token, Death::Checkpointed);
    for key in [Some(key(APP_SECRET)), None] {
        let said = inspected(&mut world.debug_token(key), &token)
            .await
            .unwrap();
        assert_eq!(code(&said), (Some(190), Some(459)));
    }
    let said = inspected(&mut world.debug_token(None), "EAAnobody")
        .await
        .unwrap();
    assert_eq!(code(&said), (Some(190), None));
}

#[tokio::test]
async fn a_refused_app_token_is_replaced_by_the_token_itself_once() {
    let world = World::start().await;
    let token = world.sim.issue(None);
    let mut wrong = world.debug_token(Some(key("ffffffffffffffffffffffffffffffff")));
    let said = inspected(&mut wrong, &token).await.unwrap();
    assert_eq!(said.kind, Some(TokenKind::SystemUser));
    assert_eq!(
        world.sim.counts().inspections,
        3,
        "by the app, with a proof that is as wrong as its secret, and without"
    );
    let mut strange = key(APP_SECRET);
    strange.id = "42".to_owned();
    world.sim.expire(&token);
    let said = inspected(&mut world.debug_token(Some(strange)), &token)
        .await
        .unwrap();
    assert_eq!(code(&said), (Some(190), Some(463)));
    assert_eq!(world.sim.counts().inspections, 5);
}

#[tokio::test]
async fn another_apps_token_is_not_dead_because_this_app_is_told_nothing_of_it() {
    let world = World::start().await;
    let token = world.sim.issue(None);
    let change = Change {
        app: Some("99".to_owned()),
        ..Change::default()
    };
    assert!(world.sim.change(&token, change));
    let mut asker = world.debug_token(Some(key(APP_SECRET)));
    let said = inspected(&mut asker, &token).await.unwrap();
    assert_eq!((said.dead, said.app_id.as_deref()), (None, Some("99")));
}

#[tokio::test]
async fn when_graph_is_in_trouble_nothing_is_learnt_and_nobody_else_is_asked() {
    let world = World::start().await;
    let token = world.sim.issue(None);
    let mut asker = world.debug_token(Some(key(APP_SECRET)));
    let throttled = Effect::Error {
        code: 4,
        subcode: None,
        status: None,
    };
    for (effect, reason) in [
        (throttled, "throttled"),
        (Effect::Page(http::StatusCode::BAD_GATEWAY), "graph_error"),
        (Effect::Page(http::StatusCode::OK), "not_understood"),
        (Effect::Reset, "broken"),
        (Effect::Cut, "broken"),
        (Effect::Hang, "late"),
    ] {
        world
            .sim
            .fault_on(Endpoint::DebugToken, Fault::once(effect));
        let error = inspected(&mut asker, &token).await.unwrap_err();
        assert_eq!(
            (error.reason(), error.is_transient()),
            (reason, true),
            "{error}"
        );
    }
    assert_eq!(world.sim.counts().inspections, 6);
    assert!(inspected(&mut asker, &token).await.is_ok());
}

#[tokio::test]
async fn an_app_that_demands_proofs_says_nothing_to_a_token_alone() {
    let world = World::with(|settings| settings.proof = Proof::Required).await;
    let token = world.sim.issue(None);
    let error = inspected(&mut world.debug_token(None), &token)
        .await
        .unwrap_err();
    assert_eq!(error.reason(), "app_refused");
    assert!(
        inspected(&mut world.debug_token(Some(key(APP_SECRET))), &token)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_token_that_asks_about_itself_brings_the_proof_that_its_app_may_demand() {
    let world = World::with(|settings| settings.proof = Proof::Required).await;
    let token = world.sim.issue(Some(Duration::from_secs(600)));
    let error = inspected(&mut world.debug_token(None), &token)
        .await
        .unwrap_err();
    assert!(
        !error.is_transient(),
        "without the secret there is no proof: {error}"
    );
    let secret = Secret::new(APP_SECRET).unwrap();
    let mut asker = world.debug_token(None).proving(Some(secret));
    let said = inspected(&mut asker, &token).await.unwrap();
    assert!(said.dead.is_none() && said.expires.at().is_some());
}

#[tokio::test]
async fn tokens_of_other_families_are_asked_about_on_their_own_hosts() {
    let world = World::start().await;
    let mut asker = world.debug_token(Some(key(APP_SECRET)));
    for (family, host) in [
        (Family::Instagram, "graph.instagram.com"),
        (Family::Threads, "graph.threads.net"),
    ] {
        world.sim.reset();
        let token = world.sim.issue_for(family, Some(Duration::from_secs(600)));
        let said = inspected(&mut asker, &token).await.unwrap();
        assert_eq!(
            said,
            Inspection::default(),
            "it lives, and more is not said"
        );
        world.sim.expire(&token);
        let said = inspected(&mut asker, &token).await.unwrap();
        assert_eq!(code(&said), (Some(190), Some(463)));
        let calls = world.sim.calls();
        assert!(
            calls
                .iter()
                .all(|call| call.host == host && call.target.starts_with("/me?fields=id&"))
        );

        world
            .sim
            .fault(Fault::once(Effect::Page(http::StatusCode::BAD_GATEWAY)));
        let error = inspected(&mut asker, &token).await.unwrap_err();
        assert!(error.is_transient());
    }
}

#[tokio::test]
async fn a_token_goes_to_no_host_of_another_family() {
    let world = World::start().await;
    let main = origin("https://graph.facebook.com");
    let alone = Destinations::new(main, []);
    let mut asker = DebugToken::new(&world.caller, alone, None);
    let token = world.sim.issue_for(Family::Threads, None);
    let error = inspected(&mut asker, &token).await.unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("no_host", true));
    let threads = Destinations::new(origin("https://graph.threads.net"), []);
    let mut asker = DebugToken::new(&world.caller, threads, None);
    assert!(inspected(&mut asker, &token).await.is_ok());
    let facebook = world.sim.issue(None);
    let error = inspected(&mut asker, &facebook).await.unwrap_err();
    assert_eq!(error.reason(), "no_host");
    assert_eq!(world.sim.calls().len(), 1);
}
