//! Errors with status 200: the request asked Graph for that status, or for JSON-P, so only the body tells them.

use std::time::Duration;

use graphward::proxy::DeadTokenPolicy;
use tokio::time::sleep;

use crate::dead_tokens::{is_repeated, proxy_with_dead_token};
use crate::support::{
    EXPIRED_ERROR, PROTOCOL_PAIRS, ScriptedResponse, TestBody, TestProxy, TestProxyBuilder, get, gzip, request, sized,
    with,
};

const FORM: &str = "application/x-www-form-urlencoded";

fn send_form(target: &str, body: &'static str) -> http::Request<TestBody> {
    with(request("POST", target, sized(body)), &[("content-type", FORM)])
}

/// Requests that ask for status 200 whatever happens.
fn hiding_requests() -> [http::Request<TestBody>; 7] {
    let multipart = "--b\r\nContent-Disposition: form-data; name=\"suppress_http_code\"\r\n\r\n1\r\n--b--\r\n";
    [
        get("/v25.0/me?suppress_http_code=1"),
        get("/v25.0/me?fields=id&suppress_response_codes=true"),
        get("/v25.0/me?%73uppress%5Fhttp%5Fcode=1"),
        send_form("/v25.0/me/feed?suppress_http_code=1", "message=x"),
        send_form("/v25.0/me/feed", "message=x&suppress_http_code=1"),
        with(
            request("POST", "/v25.0/me/feed", sized(r#"{"suppress_http_code":"1"}"#)),
            &[("content-type", "application/json")],
        ),
        with(
            request("POST", "/v25.0/me/photos", sized(multipart)),
            &[("content-type", "multipart/form-data; boundary=b")],
        ),
    ]
}

async fn responses_with_verdict(proxy: &TestProxy, verdict: &str) -> i64 {
    let series = format!(r#"graphward_upstream_responses_total{{tenant="default",verdict="{verdict}"}}"#);
    proxy.metric(&series).await
}

#[tokio::test(start_paused = true)]
async fn a_token_error_with_status_200_is_healed_where_the_request_asks_for_that_status() {
    for protocols in PROTOCOL_PAIRS {
        for request in hiding_requests() {
            let proxy = TestProxy::start(protocols).await;
            proxy.rotate_token();
            proxy.graph.reject_with(ScriptedResponse::json(200, EXPIRED_ERROR));
            let target = request.uri().clone();
            assert_eq!(
                proxy.app.fetch(request).await.text(),
                r#"{"messages":[{"id":"wamid.1"}]}"#
            );
            assert_eq!(proxy.graph.attempts(), 2, "{target}");
            assert_eq!(proxy.requests_with_outcome("healed").await, 1);
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_error_in_json_p_or_compressed_is_healed_too() {
    let jsonp = format!("/**/ cb({EXPIRED_ERROR});");
    let zipped = gzip(EXPIRED_ERROR.as_bytes());
    for (target, reply) in [
        (
            "/me?callback=cb",
            ScriptedResponse::new(200, "text/javascript; charset=UTF-8", jsonp),
        ),
        (
            "/me?suppress_http_code=1",
            ScriptedResponse::json(200, zipped).with("content-encoding", "gzip"),
        ),
        (
            "/me?suppress_http_code=1",
            ScriptedResponse::json(200, EXPIRED_ERROR).chunked(7, Duration::from_millis(10)),
        ),
    ] {
        let proxy = TestProxyBuilder::new().start().await;
        proxy.rotate_token();
        proxy.graph.reject_with(reply);
        assert_eq!(proxy.app.get(target).await.status, 200);
        assert_eq!(proxy.requests_with_outcome("healed").await, 1, "{target}");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_with_status_200_does_not_make_a_dead_token_usable_again() {
    for target in ["/me?suppress_http_code=1", "/me?callback=cb"] {
        let (proxy, _) = proxy_with_dead_token(PROTOCOL_PAIRS[0], DeadTokenPolicy::Probe).await;
        assert_eq!(proxy.admin_get("/readyz").await.status, 503);
        // One request a second is sent as a probe.
        proxy.graph.reject_with(ScriptedResponse::json(200, EXPIRED_ERROR));
        sleep(Duration::from_secs(2)).await;
        assert_eq!(proxy.app.get(target).await.status, 200);
        assert_eq!(proxy.graph.attempts(), 2, "{target}");
        assert_eq!(proxy.admin_get("/readyz").await.status, 503, "{target}");
        // A response to HEAD has no body, so it proves nothing either.
        proxy.script(ScriptedResponse::json(200, ""));
        sleep(Duration::from_secs(2)).await;
        proxy.app.fetch(request("HEAD", target, sized(""))).await;
        assert_eq!(proxy.admin_get("/readyz").await.status, 503, "{target}");
        // A success does.
        proxy.script(ScriptedResponse::json(200, "{}"));
        sleep(Duration::from_secs(2)).await;
        assert_eq!(proxy.app.get(target).await.text(), "{}");
        assert_eq!(proxy.admin_get("/readyz").await.status, 200, "{target}");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_rejection_is_repeated_with_the_status_that_the_request_asked_for() {
    let (proxy, last) = proxy_with_dead_token(PROTOCOL_PAIRS[0], DeadTokenPolicy::Probe).await;
    let hidden = proxy.app.get("/me?suppress_http_code=1").await;
    assert!(is_repeated(&hidden));
    assert_eq!((hidden.status, hidden.text()), (200, last.text()));
    proxy.graph.reject_with(ScriptedResponse::json(200, EXPIRED_ERROR));
    sleep(Duration::from_secs(2)).await;
    assert!(!is_repeated(&proxy.app.get("/me?suppress_http_code=1").await));
    // What that probe heard is no success to the other requests.
    let shown = proxy.app.get("/me").await;
    assert!(is_repeated(&shown));
    assert_eq!((shown.status, shown.text()), (401, EXPIRED_ERROR));
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn every_other_answer_with_status_200_is_delivered_untouched() {
    let large = format!(r#"{{"data":["{}"]}}"#, "x".repeat(200_000));
    for protocols in PROTOCOL_PAIRS {
        for (reply, verdict) in [
            (ScriptedResponse::error(200, 10), "permission"),
            (ScriptedResponse::error(200, 131_031), "account_locked"),
            (ScriptedResponse::error(200, 100), "refused"),
            (ScriptedResponse::error(200, 4), "throttled"),
            (ScriptedResponse::json(200, "{}"), "success"),
            (ScriptedResponse::json(200, large.clone()), "success"),
            (
                ScriptedResponse::json(200, large.clone()).chunked(1000, Duration::ZERO),
                "success",
            ),
            (ScriptedResponse::new(200, "image/jpeg", EXPIRED_ERROR), "success"),
        ] {
            let proxy = TestProxy::start(protocols).await;
            proxy.script(reply.clone());
            let answer = proxy.app.get("/me?suppress_http_code=1").await;
            assert_eq!(answer.status, 200);
            assert!(answer.complete && answer.body == reply.bytes(), "{verdict}");
            assert_eq!((proxy.graph.attempts(), proxy.source.loads()), (1, 1));
            assert_eq!(responses_with_verdict(&proxy, verdict).await, 1, "{verdict}");
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_with_status_200_is_neither_a_success_nor_lost() {
    let proxy = TestProxyBuilder::new().start().await;
    let slow = ScriptedResponse::json(200, EXPIRED_ERROR).chunked(20, Duration::from_secs(2));
    proxy.script(slow);
    assert_eq!(proxy.app.get("/me?suppress_http_code=1").await.text(), EXPIRED_ERROR);
    assert_eq!(responses_with_verdict(&proxy, "opaque").await, 1);
    proxy.shutdown().await;
}
