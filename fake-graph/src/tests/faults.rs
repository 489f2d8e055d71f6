use std::time::{Duration, SystemTime};

use crate::Clock;
use crate::server::serve_connection;
use crate::{Effect, FakeGraph, FakeGraphConfig, Fault, InvalidationReason};
use futures_util::FutureExt as _;
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::{Instant, timeout};

use super::support::{HttpVersion, TestGraph, request, text};

const SEND: &str = "/v26.0/106540352242922/messages";

#[tokio::test]
async fn throttling_comes_on_command_with_the_documented_status() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    for code in [4, 80_007, 130_429] {
        world.graph.fault(Fault::error(code).times(2));
        for _ in 0..2 {
            assert_eq!(
                world.post_json(SEND, &token, &text("a")).await.error_codes(),
                (429, code, None)
            );
        }
    }
    assert_eq!(world.post_json(SEND, &token, &text("a")).await.status, 200);
    assert_eq!(world.graph.counts().faults_injected, 6);
    assert_eq!(world.graph.accepted_messages().len(), 1);
}

#[tokio::test]
async fn an_error_on_command_has_the_code_subcode_and_status_asked_for() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    world.graph.fault(Fault::once(Effect::Error {
        code: 190,
        subcode: Some(459),
        status: None,
    }));
    assert_eq!(world.get("/me", &token).await.error_codes(), (401, 190, Some(459)));
    world.graph.fault(Fault::error(190));
    let by_query = world.get(&format!("/me?access_token={token}"), "").await;
    assert_eq!(by_query.error_codes(), (400, 190, None));
    world.graph.fault(Fault::once(Effect::Error {
        code: 4,
        subcode: None,
        status: Some(StatusCode::FORBIDDEN),
    }));
    assert_eq!(
        world.get("/me", "EAAdead").await.error_codes(),
        (401, 190, None),
        "the token first"
    );
    assert_eq!(world.get("/me", &token).await.error_codes(), (403, 4, None));
    world.graph.fault(Fault::error(2));
    let transient = world.get("/me", &token).await;
    assert_eq!(transient.error_codes(), (500, 2, None));
    assert_eq!(transient.json()["error"]["is_transient"], true);
}

#[tokio::test]
async fn trouble_spares_the_calls_that_are_about_tokens() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    world
        .graph
        .fault(Fault::once(Effect::HtmlPage(StatusCode::BAD_GATEWAY)));
    let app = "1234567890123456|0123456789abcdef0123456789abcdef";
    let debug = world.get(&format!("/debug_token?input_token={token}"), app).await;
    assert_eq!(debug.status, 200);
    let page = world.get("/me", &token).await;
    assert_eq!(page.status, 502);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(String::from_utf8_lossy(&page.body).contains("Sorry, something went wrong."));
}

#[tokio::test]
async fn a_message_can_be_on_its_way_although_the_answer_is_lost() {
    for http in [HttpVersion::Http1, HttpVersion::Http2] {
        let world = TestGraph::with(FakeGraphConfig::new(Clock::system()), http).await;
        let token = world.graph.issue(None);
        let send = || {
            let json = [("content-type", "application/json")];
            request("POST", SEND, &token, &json, &text("once").to_string())
        };
        world.graph.fault(Fault::once(Effect::Reset));
        assert!(world.try_send(send()).await.is_err());
        assert_eq!(world.graph.accepted_messages().len(), 0);
        world.graph.fault(Fault::once(Effect::Reset).after_handling());
        assert!(world.try_send(send()).await.is_err());
        assert_eq!(world.graph.accepted_messages().len(), 1);
        assert_eq!(world.graph.attempts(), 2, "the client did not try again by itself");
    }
}

#[tokio::test]
async fn a_cut_body_ends_in_an_error_and_never_looks_whole() {
    for http in [HttpVersion::Http1, HttpVersion::Http2] {
        let world = TestGraph::with(FakeGraphConfig::new(Clock::system()), http).await;
        let token = world.graph.issue(None);
        world.graph.fault(Fault::once(Effect::Truncate));
        let answer = world.client.request(request("GET", "/me", &token, &[], "")).await;
        let mut body = answer.unwrap().into_body();
        let mut received = 0;
        let broken = loop {
            match body.frame().await {
                Some(Ok(frame)) => received += frame.into_data().unwrap().len(),
                Some(Err(_)) => break true,
                None => break false,
            }
        };
        assert!(broken && received > 0, "{http:?}: {received} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn delays_hang_ups_and_stalls_take_tokio_time() {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let graph = FakeGraph::new(FakeGraphConfig::new(Clock::manual(start)));
    let token = graph.issue(Some(Duration::from_secs(60)));
    let me = || request("GET", "/me", &token, &[], "");
    let began = Instant::now();

    graph.fault(Fault::once(Effect::Delay(Duration::from_secs(30))));
    assert_eq!(graph.handle(me()).await.unwrap().status(), 200);
    assert_eq!(began.elapsed(), Duration::from_secs(30));
    graph.fault(Fault::once(Effect::Delay(Duration::from_secs(30))));
    let late = graph.handle(me()).await.unwrap();
    assert_eq!(late.status(), 401, "it expired while the call waited");

    graph.fault(Fault::once(Effect::Hang));
    assert!(timeout(Duration::from_secs(3600), graph.handle(me())).await.is_err());
    graph.fault(Fault::once(Effect::Stall));
    let mut stalled = graph.handle(me()).await.unwrap().into_body();
    assert!(stalled.frame().await.unwrap().is_ok());
    assert!(timeout(Duration::from_secs(3600), stalled.frame()).await.is_err());
    graph.fault(Fault::once(Effect::Hang));
    graph.reset();
    assert_eq!(graph.handle(me()).await.unwrap().status(), 401);
}

#[tokio::test]
async fn held_calls_go_on_when_they_are_released() {
    let graph = FakeGraph::new(FakeGraphConfig::new(Clock::system()));
    let token = graph.issue(None);
    let call = || graph.handle(request("GET", "/me", &token, &[], ""));
    graph.fault(Fault::once(Effect::Hold).times(2));
    let (mut one, mut two) = (Box::pin(call()), Box::pin(call()));
    assert!((&mut one).now_or_never().is_none() && (&mut two).now_or_never().is_none());
    graph.release_held(1);
    assert_eq!(one.await.unwrap().status(), 200);
    assert!((&mut two).now_or_never().is_none());
    // A held call is handled when it goes on.
    graph.expire(&token);
    graph.release_held(1);
    assert_eq!(two.await.unwrap().status(), 401);
}

#[tokio::test(start_paused = true)]
async fn an_in_memory_pipe_is_served_in_paused_time() {
    let graph = FakeGraph::new(FakeGraphConfig::new(Clock::manual(SystemTime::UNIX_EPOCH)));
    let token = graph.issue(Some(Duration::from_secs(30)));
    let connect = || {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        tokio::spawn(serve_connection(theirs, graph.clone()));
        TokioIo::new(ours)
    };
    let (mut one, connection) = hyper::client::conn::http1::handshake(connect()).await.unwrap();
    tokio::spawn(connection);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), connect()).await;
    let (mut two, connection) = handshake.unwrap();
    tokio::spawn(connection);

    for status in [200, 401] {
        let answer = one.send_request(request("GET", "/me", &token, &[], "")).await;
        assert_eq!(answer.unwrap().status(), status);
        let answer = two.send_request(request("GET", "/me", &token, &[], "")).await;
        assert_eq!(answer.unwrap().status(), status);
        tokio::time::advance(Duration::from_secs(30)).await;
    }
}

#[tokio::test]
async fn a_malformed_token_is_echoed_in_body_and_header_by_itself_and_on_command() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let check = |answer: super::support::TestResponse, status: u16, shown: &str, header: &str| {
        assert_eq!(answer.error_codes(), (status, 190, None));
        let message = answer.json()["error"]["message"].clone();
        assert_eq!(message, format!("Malformed access token {shown}"));
        assert_eq!(
            answer.header("www-authenticate"),
            format!("OAuth \"Facebook Platform\" \"invalid_token\" \"Malformed access token {header}\"")
        );
    };
    let quoted = format!("\"{token}\"");
    check(world.get("/me", &quoted).await, 401, &quoted, &quoted);
    let twice = format!("Bearer {token}");
    check(world.get("/me", &twice).await, 401, &twice, &twice);
    let broken = world.get(&format!("/me?access_token={token}%0A"), "").await;
    check(broken, 400, &format!("{token}\n"), &format!("{token} "));

    world.graph.fault(Fault::once(Effect::MalformedToken).times(2));
    check(world.get("/me", &token).await, 401, &token, &token);
    let by_query = world.get(&format!("/me?access_token={token}"), "").await;
    check(by_query, 400, &token, &token);
    assert_eq!(world.get("/me", &token).await.status, 200);
    world.graph.invalidate(&token, InvalidationReason::Malformed);
    check(world.get("/me", &token).await, 401, &token, &token);
    let other = world.graph.issue(None);
    world.graph.invalidate(&other, InvalidationReason::CannotDecrypt);
    let says = world.get("/me", &other).await.json()["error"]["message"].clone();
    assert_eq!(says, "The access token could not be decrypted");
}

#[tokio::test]
async fn usage_is_what_it_is_told_to_be_on_errors_too() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let business = serde_json::json!({"1": [
        {"type": "whatsapp", "call_count": 100, "total_cputime": 25, "total_time": 25, "estimated_time_to_regain_access": 19},
        {"type": "messenger", "call_count": 1, "total_cputime": 1, "total_time": 1, "estimated_time_to_regain_access": 0},
    ]});
    let usage = serde_json::json!({
        "x-app-usage": {"call_count": 28, "total_time": 25, "total_cputime": 25},
        "x-business-use-case-usage": business,
        "x-ad-account-usage": "{broken",
    });
    world.graph.set_usage_headers(usage.as_object().unwrap()).unwrap();
    for token in [token.as_str(), "EAAdead"] {
        let answer = world.get("/me", token).await;
        let header = |name: &str| serde_json::from_str::<serde_json::Value>(answer.header(name)).unwrap();
        assert_eq!(header("x-app-usage")["call_count"], 28);
        assert_eq!(header("x-business-use-case-usage"), business);
        assert_eq!(answer.header("x-ad-account-usage"), "{broken");
    }
    world.graph.reset();
    let answer = world.get("/me", &token).await;
    assert!(answer.header("x-app-usage").contains("\"call_count\":0"));
    assert_eq!(answer.header("x-ad-account-usage"), "");
}
