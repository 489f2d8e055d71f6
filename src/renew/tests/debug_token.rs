use std::time::{Duration, SystemTime};

use super::log::LogCapture;
use super::support::{APP_SECRET, DAY, TestGraph, inspect, origin, test_app};
use crate::graph::{Destinations, Expiry, Inspection, TokenKind};
use crate::renew::{DebugTokenInspector, MeRequest, RejectedApps};
use crate::types::Secret;
use fake_graph::{
    AppTokenPolicy, Effect, EndpointKind, Expiry as SimExpiry, Fault, InvalidationReason, ProofPolicy, TokenChange,
    TokenFamily, TokenType,
};

fn error_codes(inspection: &Inspection) -> (Option<i64>, Option<i64>) {
    let dead = inspection.error.as_ref().unwrap();
    (dead.code, dead.subcode)
}

fn unix_seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn an_inspection_reads_all_fields_of_a_living_token() {
    let world = TestGraph::start().await;
    let now = world.clock.now();
    let token = world.sim.issue(None);
    let change = TokenChange {
        kind: Some(TokenType::User),
        issued_at: Some(now - DAY),
        expires_at: Some(SimExpiry::At(now + DAY)),
        data_access_expires_at: Some(SimExpiry::At(now + 2 * DAY)),
        scopes: Some(vec!["public_profile".to_owned()]),
        ..TokenChange::default()
    };
    assert!(world.sim.update_token(&token, change));
    for key in [Some(test_app(APP_SECRET)), None] {
        let said = inspect(&mut world.debug_token(key), &token).await.unwrap();
        assert_eq!((&said.error, said.kind), (&None, Some(TokenKind::User)));
        assert_eq!(
            said.expires_at.as_system_time().map(unix_seconds),
            Some(unix_seconds(now + DAY))
        );
        assert_eq!(
            said.data_access_expires_at.as_system_time().map(unix_seconds),
            Some(unix_seconds(now + 2 * DAY))
        );
        assert_eq!(said.issued_at.map(unix_seconds), Some(unix_seconds(now - DAY)));
        assert_eq!(said.scopes.as_deref(), Some(&["public_profile".to_owned()][..]));
        assert_eq!(said.app_id.as_deref(), Some("1234567890123456"));
    }
    let calls = world.sim.recorded_calls();
    let asking = |call: usize| calls[call].access_tokens[0].state;
    assert_eq!((asking(0), asking(1), calls.len()), ("app", "alive", 2));
    let forever = world.sim.issue(None);
    let mut inspector = world.debug_token(Some(test_app(APP_SECRET)));
    let said = inspect(&mut inspector, &forever).await.unwrap();
    assert_eq!(
        (said.expires_at, said.kind),
        (Expiry::Never, Some(TokenKind::SystemUser))
    );
}

#[tokio::test]
async fn a_dead_token_is_a_result_for_the_app_token_and_for_itself() {
    let world = TestGraph::start().await;
    let token = world.sim.issue(None);
    world.sim.invalidate(&token, InvalidationReason::Checkpointed);
    for key in [Some(test_app(APP_SECRET)), None] {
        let said = inspect(&mut world.debug_token(key), &token).await.unwrap();
        assert_eq!(error_codes(&said), (Some(190), Some(459)));
    }
    let said = inspect(&mut world.debug_token(None), "EAAunknown").await.unwrap();
    assert_eq!(error_codes(&said), (Some(190), None));
}

#[tokio::test]
async fn what_is_wrong_with_an_app_is_said_once_for_all_its_tenants_and_again_for_another_secret() {
    let log = LogCapture::start();
    let world = TestGraph::start().await;
    let token = world.issue_for_developer(None);
    let apps = RejectedApps::default();
    // As many tenants as that, and a good app between them: its answers end nothing.
    let (wrong, other) = ("f".repeat(32), "e".repeat(32));
    for app_secret in [&wrong, &wrong, APP_SECRET, &wrong, &other, &other, &wrong] {
        let inspector = world.debug_token(Some(test_app(app_secret)));
        let mut inspector = inspector.with_rejected_apps(apps.clone());
        for _ in 0..2 {
            inspect(&mut inspector, &token).await.unwrap();
        }
    }
    assert_eq!(log.end().matches("Graph rejected app.id and app.secret").count(), 2);
}

#[tokio::test]
async fn a_refused_app_token_is_replaced_by_the_token_itself_once() {
    let world = TestGraph::start().await;
    let token = world.issue_for_developer(None);
    let mut wrong = world.debug_token(Some(test_app("ffffffffffffffffffffffffffffffff")));
    let said = inspect(&mut wrong, &token).await.unwrap();
    assert_eq!(said.kind, Some(TokenKind::User));
    assert_eq!(
        world.sim.counts().inspections,
        3,
        "by the app, with a proof that is as wrong as its secret, and without"
    );
    let mut strange = test_app(APP_SECRET);
    strange.id = "42".to_owned();
    world.sim.expire(&token);
    let said = inspect(&mut world.debug_token(Some(strange)), &token).await.unwrap();
    assert_eq!(error_codes(&said), (Some(190), Some(463)));
    assert_eq!(world.sim.counts().inspections, 5);
}

#[tokio::test]
async fn another_apps_token_is_not_dead_because_graph_reports_nothing_about_it() {
    let world = TestGraph::start().await;
    let token = world.issue_for_developer(None);
    let change = TokenChange {
        app_id: Some("99".to_owned()),
        ..TokenChange::default()
    };
    assert!(world.sim.update_token(&token, change));
    let mut inspector = world.debug_token(Some(test_app(APP_SECRET)));
    let said = inspect(&mut inspector, &token).await.unwrap();
    assert_eq!((said.error, said.app_id.as_deref()), (None, Some("99")));
}

#[tokio::test]
async fn when_graph_fails_nothing_is_learned_and_no_other_token_asks() {
    let world = TestGraph::start().await;
    let token = world.sim.issue(None);
    let mut inspector = world.debug_token(Some(test_app(APP_SECRET)));
    let throttled = Effect::Error {
        code: 4,
        subcode: None,
        status: None,
    };
    for (effect, reason) in [
        (throttled, "throttled"),
        (Effect::HtmlPage(http::StatusCode::BAD_GATEWAY), "graph_error"),
        (Effect::HtmlPage(http::StatusCode::OK), "not_understood"),
        (Effect::Reset, "connection_closed"),
        (Effect::Truncate, "connection_closed"),
        (Effect::Hang, "timeout"),
    ] {
        world.sim.inject_fault_on(EndpointKind::DebugToken, Fault::once(effect));
        let error = inspect(&mut inspector, &token).await.unwrap_err();
        assert_eq!((error.reason(), error.is_transient()), (reason, true), "{error}");
    }
    assert_eq!(world.sim.counts().inspections, 6);
    assert!(inspect(&mut inspector, &token).await.is_ok());
}

#[tokio::test]
async fn an_app_that_demands_proofs_rejects_a_token_alone() {
    let world = TestGraph::with(|settings| settings.proof = ProofPolicy::Required).await;
    let token = world.sim.issue(None);
    let error = inspect(&mut world.debug_token(None), &token).await.unwrap_err();
    assert_eq!(error.reason(), "app_refused");
    assert!(
        inspect(&mut world.debug_token(Some(test_app(APP_SECRET))), &token)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_token_that_inspects_itself_sends_the_proof_that_its_app_may_demand() {
    let world = TestGraph::with(|settings| settings.proof = ProofPolicy::Required).await;
    let token = world.issue_for_developer(Some(Duration::from_secs(600)));
    let error = inspect(&mut world.debug_token(None), &token).await.unwrap_err();
    assert!(!error.is_transient(), "without the secret there is no proof: {error}");
    let secret = Secret::new(APP_SECRET).unwrap();
    let mut inspector = world.debug_token_with_secret(None, Some(secret));
    let said = inspect(&mut inspector, &token).await.unwrap();
    assert!(said.error.is_none() && said.expires_at.as_system_time().is_some());
}

#[tokio::test]
async fn a_system_users_token_may_not_inspect_itself_but_shows_at_me_that_it_lives() {
    let world = TestGraph::with(|settings| settings.proof = ProofPolicy::Required).await;
    let wrong = "ffffffffffffffffffffffffffffffff";
    for (app, secret, me_calls) in [
        (None, Some(APP_SECRET), 1),
        (Some(test_app(wrong)), Some(APP_SECRET), 1),
        (Some(test_app(APP_SECRET)), None, 0),
    ] {
        world.sim.reset();
        let token = world.sim.issue(Some(DAY));
        let secret = secret.map(|secret| Secret::new(secret).unwrap());
        let secret = secret.or_else(|| app.as_ref().map(|app| app.secret.clone()));
        let mut inspector = world.debug_token_with_secret(app, secret);
        let said = inspect(&mut inspector, &token).await.unwrap();
        assert_eq!(said.error, None);
        assert_eq!(said.expires_at == Expiry::Unknown, me_calls > 0);
        let calls = world.sim.recorded_calls();
        let to_me = calls.iter().filter(|call| call.target.starts_with("/me?"));
        assert_eq!(to_me.count(), me_calls);
        world.sim.revoke(&token);
        let said = inspect(&mut inspector, &token).await.unwrap();
        assert_eq!(error_codes(&said), (Some(190), Some(466)));
    }
    // A wrong secret leaves no way to ask an app that demands proofs.
    let token = world.sim.issue(Some(DAY));
    let error = inspect(&mut world.debug_token(Some(test_app(wrong))), &token).await;
    assert_eq!(error.unwrap_err().reason(), "app_refused");
}

#[tokio::test]
async fn where_id_and_secret_are_no_app_token_graph_issues_one_for_them() {
    let world = TestGraph::with(|settings| settings.app_tokens = AppTokenPolicy::Issued).await;
    let token = world.sim.issue(Some(DAY));
    let mut inspector = world.debug_token(Some(test_app(APP_SECRET)));
    for inspections in [2, 3, 4] {
        let said = inspect(&mut inspector, &token).await.unwrap();
        assert!(said.expires_at.as_system_time().is_some());
        let counts = world.sim.counts();
        assert_eq!(
            (counts.inspections, counts.exchanges),
            (inspections, 1),
            "it is asked for once"
        );
    }
    // The secret is not the app's.
    let mut wrong = world.debug_token(Some(test_app("ffffffffffffffffffffffffffffffff")));
    let said = inspect(&mut wrong, &token).await.unwrap();
    assert_eq!((said.error, said.expires_at), (None, Expiry::Unknown));
}

#[tokio::test]
async fn tokens_of_other_families_are_inspected_on_their_own_hosts() {
    let world = TestGraph::start().await;
    let mut inspector = world.debug_token(Some(test_app(APP_SECRET)));
    for (family, host) in [
        (TokenFamily::Instagram, "graph.instagram.com"),
        (TokenFamily::Threads, "graph.threads.net"),
    ] {
        world.sim.reset();
        let token = world.sim.issue_for(family, Some(Duration::from_secs(600)));
        let said = inspect(&mut inspector, &token).await.unwrap();
        assert_eq!(said, Inspection::default(), "it lives, and more is not said");
        world.sim.expire(&token);
        let said = inspect(&mut inspector, &token).await.unwrap();
        assert_eq!(error_codes(&said), (Some(190), Some(463)));
        let calls = world.sim.recorded_calls();
        assert!(
            calls
                .iter()
                .all(|call| call.host == host && call.target == "/me?fields=id")
        );

        let fault = Fault::once(Effect::HtmlPage(http::StatusCode::BAD_GATEWAY));
        world.sim.inject_fault_on(EndpointKind::Me, fault);
        let error = inspect(&mut inspector, &token).await.unwrap_err();
        assert!(error.is_transient());
    }
}

#[tokio::test]
async fn a_token_goes_to_no_host_of_another_family() {
    let world = TestGraph::start().await;
    let main = origin("https://graph.facebook.com");
    let alone = Destinations::new(main, []);
    let mut inspector = DebugTokenInspector::new(MeRequest::new(world.client.clone(), alone, None), None);
    let token = world.sim.issue_for(TokenFamily::Threads, None);
    let error = inspect(&mut inspector, &token).await.unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("no_host", true));
    let threads = Destinations::new(origin("https://graph.threads.net"), []);
    let mut inspector = DebugTokenInspector::new(MeRequest::new(world.client.clone(), threads, None), None);
    assert!(inspect(&mut inspector, &token).await.is_ok());
    let facebook = world.sim.issue(None);
    let error = inspect(&mut inspector, &facebook).await.unwrap_err();
    assert_eq!(error.reason(), "no_host");
    assert_eq!(world.sim.recorded_calls().len(), 1);
}

#[tokio::test]
async fn a_prefix_that_tells_no_family_is_inspected_where_it_is_configured_or_else_found_out() {
    let world = TestGraph::start().await;
    // The fake Graph takes any prefix that it does not know for Facebook's.
    let token = "XYZ0a0token0of0tomorrow";
    world.sim.register_token(token, None);
    let hosts = || {
        let others = ["https://graph.facebook.com", "https://graph.instagram.com"];
        Destinations::new(origin("https://graph.threads.net"), others.map(origin))
    };
    let asked = || {
        let calls = world.sim.recorded_calls().into_iter();
        let hosts: Vec<_> = calls.map(|call| call.host).collect();
        world.sim.reset();
        world.sim.register_token(token, None);
        hosts
    };
    let mut inspector = DebugTokenInspector::new(MeRequest::new(world.client.clone(), hosts(), None), None);
    let said = inspect(&mut inspector, token).await.unwrap();
    assert!(said.error.is_none());
    assert_eq!(said.family, Some(crate::types::TokenFamily::Facebook));
    assert_eq!(asked(), ["graph.threads.net", "graph.facebook.com"]);

    let configured = hosts().with_token_family(Some(crate::types::TokenFamily::Facebook));
    let mut inspector = DebugTokenInspector::new(MeRequest::new(world.client.clone(), configured, None), None);
    assert!(inspect(&mut inspector, token).await.unwrap().error.is_none());
    assert_eq!(
        asked(),
        ["graph.facebook.com"; 2],
        "debug_token is refused, and /me is not"
    );

    // A known prefix goes to its own host, whatever is configured, and so does no other token.
    for known in ["THQWJ0an0older0token", "IGQVJ0an0older0token"] {
        let everywhere = hosts().with_token_family(Some(crate::types::TokenFamily::Facebook));
        let mut inspector = DebugTokenInspector::new(MeRequest::new(world.client.clone(), everywhere, None), None);
        assert!(
            inspect(&mut inspector, known).await.unwrap().error.is_some(),
            "Graph does not know it"
        );
        assert_eq!(asked().len(), 1, "{known}");
    }
}
