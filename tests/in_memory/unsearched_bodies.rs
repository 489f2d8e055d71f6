//! JSON bodies and forms that cannot be read whole: forwarded as they are, counted and logged, unless they are batches.

use bytes::Bytes;

use crate::body_credentials::{STALE, form, json, removed_credentials};
use crate::request_bodies::MIB;
use crate::routing;
use crate::support::{
    FIRST_TOKEN, LogCapture, PROTOCOL_PAIRS, RecordedRequest, TestBody, TestProxy, TestProxyBuilder, chunked, request,
    sized, with,
};

/// How many bodies were forwarded without a search.
async fn unsearched(proxy: &TestProxy, reason: &str) -> i64 {
    let series = format!(r#"graphward_unsearched_bodies_total{{tenant="default",reason="{reason}"}}"#);
    proxy.metric(&series).await
}

/// The app's body arrived as it was, and with the tenant's token in the header.
fn assert_unsearched(seen: &RecordedRequest, sent: &Bytes) {
    assert!(seen.body.as_ref() == Some(sent));
    seen.assert_bearer(FIRST_TOKEN);
}

#[tokio::test(start_paused = true)]
async fn json_and_forms_past_eight_mebibytes_are_forwarded_unsearched_and_counted() {
    for protocols in [PROTOCOL_PAIRS[0], PROTOCOL_PAIRS[1]] {
        let log = LogCapture::at_trace();
        let proxy = TestProxy::start(protocols).await;
        for case in [form(STALE, 8 * MIB), json(STALE, 8 * MIB)] {
            for request in case.both_framings(100_003) {
                assert_unsearched(&proxy.forwarded(request).await, &case.sent);
            }
        }
        assert_eq!(unsearched(&proxy, "too_large").await, 4);
        assert_eq!((removed_credentials(&proxy).await, proxy.replay_bytes().await), (0, 0));
        assert!(
            log.text()
                .contains("forwarding a request body without searching it for credentials")
        );
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn json_and_forms_without_memory_left_are_forwarded_unsearched_and_counted() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start_with(protocols, |config| {
            config.heal.body_memory = 1_000;
            config.heal.memory_total = 4_000;
        })
        .await;
        for case in [form(STALE, 5_000), json(STALE, 5_000)] {
            for request in case.both_framings(503) {
                assert_unsearched(&proxy.forwarded(request).await, &case.sent);
            }
        }
        assert_eq!(unsearched(&proxy, "no_memory").await, 4);
        assert_eq!(proxy.replay_bytes().await, 0);
        let small = json(STALE, 100);
        let seen = proxy.forwarded(small.sized()).await;
        assert!(seen.body == Some(small.stripped), "the budget came back");
        proxy.shutdown().await;
    }
}

/// A batch with so many bytes of white space in it.
fn batch_with_fill(fill: usize) -> String {
    format!(
        r#"{{"batch":[{}{{"relative_url":"me?access_token=EAAold"}}]}}"#,
        " ".repeat(fill)
    )
}

fn post_batch(body: TestBody) -> http::Request<TestBody> {
    let batch = request("POST", "/v21.0/", body);
    with(batch, &[("content-type", "application/json")])
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_cannot_be_searched_is_refused() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for body in [sized(batch_with_fill(8 * MIB)), chunked(batch_with_fill(8 * MIB), MIB)] {
            let answer = proxy.app.fetch(post_batch(body)).await;
            answer.refused(400, "http_request_error");
            assert_eq!(answer.code(), 990_018);
        }
        proxy.shutdown().await;

        let proxy = TestProxy::start_with(protocols, |config| config.heal.memory_total = 1_000).await;
        let answer = proxy.app.fetch(post_batch(sized(batch_with_fill(1_000)))).await;
        answer.refused(503, "connection_limit_reached");
        assert!(
            answer
                .text()
                .contains("heal.memory_total, of which a tenant among several may take as much as it leaves free"),
            "{}",
            answer.text()
        );
        assert_eq!(proxy.graph.attempts(), 0);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn with_several_tenants_a_body_without_memory_left_may_be_anothers_and_is_refused_for_now() {
    let proxy = routing::start(TestProxyBuilder::new().with(|config| {
        config.heal.body_memory = 1_000;
        config.heal.memory_total = 4_000;
    }))
    .await;
    let body = format!(r#"{{"a":"{}","phone_number_id":"2001"}}"#, "x".repeat(5_000));
    let headers = [("content-type", "application/json"), ("x-tenant-id", "acme")];
    let refused = proxy
        .app
        .fetch(with(request("POST", "/v25.0/me/feed", sized(body)), &headers))
        .await;
    assert_eq!((refused.status, refused.code()), (503, 990_002), "{refused:?}");
    assert_eq!(proxy.graph.attempts(), 0);
    proxy.shutdown().await;
}
