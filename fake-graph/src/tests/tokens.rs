use std::time::{Duration, SystemTime};

use super::support::HttpVersion;
use crate::Clock;
use crate::{FakeGraph, FakeGraphConfig, InvalidationReason, ProofPolicy};
use http_body_util::Full;

use super::support::{TestGraph, request, text};

const SEND: &str = "/v26.0/106540352242922/messages";

#[tokio::test]
async fn a_dead_token_is_a_401_by_header_and_a_400_by_parameter() {
    for http in [HttpVersion::Http1, HttpVersion::Http2] {
        let world = TestGraph::with(FakeGraphConfig::new(Clock::system()), http).await;
        let token = world.graph.issue(None);
        assert_eq!(world.post_json(SEND, &token, &text("a")).await.status, 200);
        assert!(world.graph.expire(&token));

        let by_header = world.post_json(SEND, &token, &text("b")).await;
        assert_eq!(by_header.error_codes(), (401, 190, Some(463)));
        let by_query = world.get(&format!("/v26.0/me?access_token={token}"), "").await;
        assert_eq!(by_query.error_codes(), (400, 190, Some(463)));
        let by_form = world.post_form(SEND, "", &format!("access_token={token}")).await;
        assert_eq!(by_form.error_codes(), (400, 190, Some(463)));
        let mut json = text("c");
        json["access_token"] = token.as_str().into();
        assert_eq!(
            world.post_json(SEND, "", &json).await.error_codes(),
            (400, 190, Some(463))
        );

        let message = by_header.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with("Error validating access token: Session has expired on "));
        assert!(message.contains(". The current time is "));
        assert!(message.ends_with("DT.") || message.ends_with("ST."));
    }
}

#[tokio::test]
async fn a_parameter_beats_the_header_wherever_it_stands() {
    let world = TestGraph::start().await;
    let (good, bad) = (world.graph.issue(None), world.graph.issue(None));
    world.graph.revoke(&bad);
    let refused = (400, 190, Some(466));

    let by_query = world.get(&format!("/me?access_token={bad}"), &good).await;
    assert_eq!(by_query.error_codes(), refused);
    assert_eq!(world.get(&format!("/me?access_token={good}"), &bad).await.status, 200);
    let form = format!("access_token={bad}");
    assert_eq!(world.post_form(SEND, &good, &form).await.error_codes(), refused);
    let mut json = text("a");
    json["access_token"] = bad.as_str().into();
    assert_eq!(world.post_json(SEND, &good, &json).await.error_codes(), refused);
    let multipart = format!("--X\r\nContent-Disposition: form-data; name=\"access_token\"\r\n\r\n{bad}\r\n--X--\r\n");
    let kind = [("content-type", "multipart/form-data; boundary=X")];
    let by_part = world.send(request("POST", SEND, &good, &kind, &multipart)).await;
    assert_eq!(by_part.error_codes(), refused);
    assert_eq!(
        world.get("/me?access_token=", &good).await.status,
        200,
        "an empty one does not count"
    );
}

#[tokio::test]
async fn both_schemes_are_understood() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let oauth = format!("OAuth {token}");
    let answer = world
        .send(request("GET", "/me", "", &[("authorization", &oauth)], ""))
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn each_death_has_its_own_answer() {
    let world = TestGraph::start().await;
    let deaths = [
        (InvalidationReason::Expired, Some(463), "Session has expired on"),
        (InvalidationReason::PasswordChanged, Some(460), "changed their password"),
        (InvalidationReason::LoggedOut, Some(467), "logged out"),
        (
            InvalidationReason::AppRemoved,
            Some(458),
            "has not authorized application 1234567890123456",
        ),
        (
            InvalidationReason::Checkpointed,
            Some(459),
            "log in to www.facebook.com",
        ),
        (InvalidationReason::Revoked, Some(466), "explicitly invalidated"),
        (InvalidationReason::CannotParse, None, "Cannot parse access token"),
        (InvalidationReason::CannotDecrypt, None, "could not be decrypted"),
    ];
    for (death, subcode, says) in deaths {
        let token = world.graph.issue(None);
        assert!(world.graph.invalidate(&token, death));
        let answer = world.get("/v26.0/me", &token).await;
        assert_eq!(answer.error_codes(), (401, 190, subcode), "{death:?}");
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(says), "{message}");
    }
}

#[tokio::test]
async fn no_token_is_104_or_2500_on_me_and_a_text_that_is_none_is_190() {
    let world = TestGraph::start().await;
    assert_eq!(world.get("/106540352242922", "").await.error_codes(), (400, 104, None));
    assert_eq!(world.get("/me", "").await.error_codes(), (400, 2500, None));
    let none = world.get("/me", "None").await;
    assert_eq!(none.error_codes(), (401, 190, None));
    assert!(
        none.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("Cannot parse")
    );
    let quoted = world.get("/me", "\"EAAx\"").await;
    assert_eq!(quoted.json()["error"]["message"], "Malformed access token \"EAAx\"");
}

#[tokio::test]
async fn an_app_token_serves_where_one_is_asked_for_and_nowhere_else() {
    let world = TestGraph::start().await;
    let user = world.graph.issue(None);
    let app = "1234567890123456%7C0123456789abcdef0123456789abcdef";
    let path = "/v26.0/1234567890123456/subscriptions";
    // As pywa does: a system token in the header, the app's as a parameter.
    let both = world.get(&format!("{path}?access_token={app}"), &user).await;
    assert_eq!(both.status, 200);
    assert_eq!(world.get(path, &user).await.error_codes(), (400, 15, None));
    let me = world.get(&format!("/me?access_token={app}"), "").await;
    assert_eq!(me.error_codes(), (400, 2500, None));
    let send = world
        .post_json(&format!("{SEND}?access_token={app}"), "", &text("a"))
        .await;
    assert_eq!(send.error_codes(), (403, 200, None));
    let wrong = world
        .get(&format!("{path}?access_token=1234567890123456%7Cno"), "")
        .await;
    assert_eq!(wrong.error_codes(), (400, 190, None));
}

#[tokio::test]
async fn a_wrong_proof_is_refused_and_a_missing_one_only_if_it_is_required() {
    let mut settings = FakeGraphConfig::new(Clock::system());
    settings.app_secret = "app-secret".to_owned();
    let lenient = TestGraph::with(settings.clone(), HttpVersion::Auto).await;
    settings.proof = ProofPolicy::Required;
    let strict = TestGraph::with(settings, HttpVersion::Auto).await;
    // printf EAAproof | openssl dgst -sha256 -hmac app-secret
    const RIGHT: &str = "2e06b2188efa97e7dc1db5ce131f3b6762234212af9f43e6e88367ecd47a62ae";
    for world in [&lenient, &strict] {
        world.graph.register_token("EAAproof", None);
        let right = format!("/me?appsecret_proof={RIGHT}");
        assert_eq!(world.get(&right, "EAAproof").await.status, 200);
        let wrong = world.get("/me?appsecret_proof=00", "EAAproof").await;
        assert_eq!(wrong.error_codes(), (400, 100, None));
        assert_eq!(wrong.json()["error"]["type"], "GraphMethodException");
    }
    assert_eq!(lenient.get("/me", "EAAproof").await.status, 200);
    assert_eq!(strict.get("/me", "EAAproof").await.error_codes(), (400, 100, None));
}

#[tokio::test(start_paused = true)]
async fn a_token_expires_by_the_clock() {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_719_676_740);
    let graph = FakeGraph::new(FakeGraphConfig::new(Clock::manual(start)));
    let token = graph.issue(Some(Duration::from_secs(60)));
    assert!(token.starts_with("EAA") && (180..=220).contains(&token.len()));
    let me = || request("GET", "/v26.0/me", &token, &[], "");

    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(graph.handle(me()).await.unwrap().status(), 200);
    tokio::time::advance(Duration::from_secs(1)).await;
    let answer = graph.handle(me()).await.unwrap();
    assert_eq!(answer.status(), 401);
    let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains("has expired on Saturday, 29-Jun-24 09:00:00 PDT. The current"));
    assert_eq!((graph.attempts(), graph.rejected()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn within_the_grace_an_expired_token_is_accepted_and_a_revoked_one_is_not() {
    let graph = FakeGraph::new(FakeGraphConfig {
        expiry_grace: Duration::from_secs(10),
        ..FakeGraphConfig::new(Clock::manual(
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        ))
    });
    let (token, revoked) = (graph.issue(Some(Duration::from_secs(60))), graph.issue(None));
    tokio::time::advance(Duration::from_secs(69)).await;
    assert!(graph.is_alive(&token));
    assert!(graph.revoke(&revoked));
    assert!(!graph.is_alive(&revoked));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(!graph.is_alive(&token));
}

#[tokio::test]
async fn it_is_a_service_that_takes_any_body_and_all_tokens_can_expire_at_once() {
    use hyper::service::Service as _;
    let graph = FakeGraph::new(FakeGraphConfig::new(Clock::system()));
    let tokens = [graph.issue(None), graph.issue(None)];
    assert_eq!(graph.expire_all(), 2);
    assert_eq!(graph.expire_all(), 0);
    for token in tokens {
        let request = request("GET", "/me", &token, &[], "").map(|_| Full::new(&b""[..]));
        assert_eq!(graph.call(request).await.unwrap().status(), 401);
    }
}
