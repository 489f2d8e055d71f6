//! Every wait has an end, and says whose fault it was.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::support::{
    ConnectOutcome, EXPIRED_ERROR, FIRST_TOKEN, LogCapture, PROTOCOL_PAIRS, Protocol, SECOND_TOKEN, ScriptedResponse,
    TestProxy, TestProxyBuilder, TestResponse, chunked_with_delay, error_envelope, get, post_file,
};

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_waited_for_as_long_as_configured() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.script(ScriptedResponse::no_response());
        let began = Instant::now();
        proxy.app.post("x").await.refused(504, "http_response_timeout");
        assert_eq!(began.elapsed().as_secs(), 60);
        assert_eq!(proxy.graph.attempts(), 1);
        proxy.script(ScriptedResponse::json(200, "{}").delayed(Duration::from_secs(59)));
        assert_eq!(proxy.app.post("x").await.status, 200);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_an_answer_counts_from_the_end_of_the_requests_body() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start_with(protocols, |config| {
            config.heal.body_memory = 10;
            config.heal.body_disk = 10;
        })
        .await;
        let slow = || post_file(chunked_with_delay("x".repeat(1_000), 100, Duration::from_secs(20)));
        let began = Instant::now();
        proxy.script(ScriptedResponse::json(200, "{}").delayed(Duration::from_secs(55)));
        assert_eq!(proxy.app.fetch(slow()).await.status, 200);
        assert_eq!(began.elapsed().as_secs(), 255);
        let began = Instant::now();
        proxy.script(ScriptedResponse::no_response());
        proxy.app.fetch(slow()).await.refused(504, "http_response_timeout");
        assert_eq!(began.elapsed().as_secs(), 260);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_stalls_half_way_is_cut() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for reply in [
            ScriptedResponse::json(200, "{\"da").stalled(),
            ScriptedResponse::json(400, "{\"er").stalled(),
        ] {
            proxy.script(reply.clone());
            let began = Instant::now();
            let answer = proxy.app.post("x").await;
            assert!(!answer.complete && answer.body == reply.bytes(), "{answer:?}");
            assert!((60..=66).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        }
        assert_eq!(proxy.requests_with_outcome("upstream_aborted").await, 2);
        proxy.script(ScriptedResponse::json(200, "0123456789").chunked(1, Duration::from_secs(59)));
        assert!(proxy.app.post("x").await.complete, "slow is not stalled");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_envelope_that_takes_too_long_is_delivered_unread() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.rotate_token();
        // No challenge in the head, and no envelope that is whole in time.
        proxy.script(ScriptedResponse::json(401, EXPIRED_ERROR).chunked(50, Duration::from_secs(2)));
        let answer = proxy.app.post("x").await;
        assert!(answer.complete && (answer.status, answer.text()) == (401, EXPIRED_ERROR));
        assert_eq!(proxy.graph.attempts(), 1);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejection_whose_body_stalls_or_breaks_off_is_judged_by_what_came() {
    let (half, _rest) = EXPIRED_ERROR.split_at(EXPIRED_ERROR.len() / 2);
    let challenge = (
        "www-authenticate",
        r#"OAuth "Facebook Platform" "invalid_token" "Error validating access token""#,
    );
    for protocols in PROTOCOL_PAIRS {
        for rejection in [
            // All of the envelope but not the end of the body.
            ScriptedResponse::json(401, EXPIRED_ERROR).stalled(),
            ScriptedResponse::json(400, EXPIRED_ERROR).gzipped().stalled(),
            // The head says it.
            ScriptedResponse::json(401, half)
                .with(challenge.0, challenge.1)
                .stalled(),
            ScriptedResponse::json(400, "").with(challenge.0, challenge.1).stalled(),
            ScriptedResponse::expired().chunked(50, Duration::from_secs(2)),
            ScriptedResponse::json(401, EXPIRED_ERROR).truncated(),
            ScriptedResponse::json(400, EXPIRED_ERROR).gzipped().truncated(),
            ScriptedResponse::json(401, half)
                .with(challenge.0, challenge.1)
                .truncated(),
            ScriptedResponse::json(400, "")
                .with(challenge.0, challenge.1)
                .truncated(),
        ] {
            let proxy = TestProxy::start(protocols).await;
            proxy.rotate_token();
            proxy.script(rejection.clone());
            let began = Instant::now();
            let answer = proxy.app.post("x").await;
            assert_eq!((answer.status, proxy.graph.attempts()), (200, 2), "{rejection:?}");
            assert!(began.elapsed() < Duration::from_secs(6), "{rejection:?}");
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_whose_body_stalls_or_breaks_off_after_its_envelope_is_delivered_whole() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        let envelope = error_envelope(100);
        for error in [
            ScriptedResponse::error(400, 100).stalled(),
            ScriptedResponse::error(400, 100).truncated(),
        ] {
            proxy.script(error);
            let answer = proxy.app.post("x").await;
            assert!(answer.complete && answer.text() == envelope, "{answer:?}");
        }
        proxy.script(ScriptedResponse::json(200, "{}"));
        assert_eq!(proxy.app.post("x").await.status, 200, "on another connection");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejection_that_breaks_off_and_is_not_healed_breaks_off_for_the_app() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.script(
            ScriptedResponse::json(401, "{\"error\":")
                .with("www-authenticate", r#"OAuth "Facebook Platform" "invalid_token" "x""#)
                .truncated(),
        );
        let answer = proxy.app.post("x").await;
        assert_eq!((answer.status, answer.text()), (401, "{\"error\":"), "{protocols:?}");
        assert!(!answer.complete, "{protocols:?}");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_read_whole_is_held_for_a_minute_in_all() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        // Each frame comes in time.
        let body = r#"{"url":"https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=7"}"#;
        let began = Instant::now();
        proxy.script(ScriptedResponse::json(200, body).chunked(7, Duration::from_secs(20)));
        let response = proxy.app.send(get("/v21.0/1037543291543636")).await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 60);
        let answer = TestResponse::read(response).await;
        assert!(answer.complete && answer.text() == body, "unchanged: {answer:?}");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_token_a_request_is_refused_and_told_when_to_come_again() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxyBuilder::over(protocols).empty().start().await;
        for (permanent, error) in [(false, "proxy_internal_error"), (true, "proxy_configuration_error")] {
            proxy.source.set_empty(permanent);
            // Longer than any rest.
            sleep(Duration::from_secs(70)).await;
            let began = Instant::now();
            let answer = proxy.app.post("x").await;
            answer.refused(503, error);
            // A retry helps only if the fault can pass by itself.
            assert_eq!(answer.header("retry-after"), if permanent { "" } else { "1" });
            let is_transient = format!("\"is_transient\":{}", !permanent);
            assert!(answer.text().contains(&is_transient), "{}", answer.text());
            assert!(began.elapsed() < Duration::from_secs(1));
        }
        let refused = r#"graphward_token_files_rejected_total{tenant="default",reason="refused"}"#;
        assert!(proxy.metric(refused).await >= 1);
        assert_eq!(proxy.graph.attempts(), 0);
        proxy.publish_token(FIRST_TOKEN);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(proxy.app.post("x").await.status, 200);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_token_is_waited_for_as_long_as_configured() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxyBuilder::over(protocols)
            .with_source_delay(Duration::from_secs(8))
            .start()
            .await;
        let began = Instant::now();
        proxy.app.post("x").await.refused(503, "proxy_internal_error");
        assert_eq!(began.elapsed().as_secs(), 5);
        assert_eq!(proxy.app.post("x").await.status, 200, "it came meanwhile");
        assert_eq!(began.elapsed().as_secs(), 8);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_look_is_waited_for_as_long_as_configured_and_ends_for_the_others() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.rotate_token();
        proxy.source.set_delay(Duration::from_secs(7));
        let began = Instant::now();
        assert_eq!(proxy.app.post("x").await.text(), EXPIRED_ERROR);
        assert_eq!(began.elapsed().as_secs(), 5);
        assert_eq!(proxy.app.post("x").await.status, 200);
        assert_eq!(began.elapsed().as_secs(), 7);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_connection_says_what_failed() {
    for protocols in PROTOCOL_PAIRS {
        let log = LogCapture::at_info();
        let proxy = TestProxy::start(protocols).await;
        for (dial, status, error, cause) in [
            (ConnectOutcome::Refused, 502, "connection_refused", "connection refused"),
            (
                ConnectOutcome::NameNotFound,
                502,
                "dns_error",
                "Name or service not known",
            ),
            (
                ConnectOutcome::NoRoute,
                502,
                "destination_ip_unroutable",
                "network unreachable",
            ),
            (
                ConnectOutcome::NoDescriptor,
                503,
                "proxy_internal_error",
                "Too many open files",
            ),
            (
                ConnectOutcome::TimedOut,
                504,
                "connection_timeout",
                "timed out connecting to",
            ),
            (
                ConnectOutcome::UntrustedCert,
                502,
                "tls_certificate_error",
                "UnknownIssuer",
            ),
        ] {
            proxy.graph.next_connect(dial);
            let answer = proxy.app.post("x").await;
            answer.refused(status, error);
            for said in [answer.text(), log.lines_containing(error_label(error)).last().unwrap()] {
                assert!(
                    said.contains("graph.facebook.com") && said.contains(cause),
                    "{cause}: {said}"
                );
            }
            let details = answer.header("proxy-status");
            assert!(details.contains("; details=\"graph.facebook.com"), "{details}");
        }
        assert_eq!(proxy.graph.attempts(), 0);
        assert_eq!(proxy.app.post("x").await.status, 200, "the next one connects");
        proxy.shutdown().await;
    }
}

/// The outcome of a request with this error of RFC 9209.
fn error_label(error: &str) -> &'static str {
    match error {
        "proxy_internal_error" => "refused_exhausted",
        "connection_timeout" => "upstream_connect_timeout",
        "tls_certificate_error" => "upstream_tls_failed",
        _ => "upstream_connect_failed",
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_says_whether_graph_may_have_processed_the_request() {
    for protocols in PROTOCOL_PAIRS {
        let log = LogCapture::at_trace();
        let proxy = TestProxy::start(protocols).await;
        proxy.graph.next_connect(ConnectOutcome::Refused);
        proxy.app.post("x").await.refused(502, "connection_refused");
        proxy.script(ScriptedResponse::connection_lost());
        proxy.app.post("x").await.refused(502, "connection_terminated");
        proxy.script(ScriptedResponse::stream_refused());
        let response = proxy.app.post("x").await;
        match protocols.graph {
            Protocol::Http1 => response.refused(502, "connection_terminated"),
            Protocol::Two => assert_eq!(response.status, 200, "it is sent on another connection"),
        }
        let (attempts, fates) = match protocols.graph {
            Protocol::Http1 => (2, vec!["not_sent", "unknown", "unknown"]),
            Protocol::Two => (3, vec!["not_sent", "unknown", "not_processed"]),
        };
        assert_eq!(
            proxy.graph.attempts(),
            attempts,
            "{protocols:?}: only what Graph refused is sent again"
        );
        let logged = log.lines_containing(r#""message":"upstream attempt failed""#);
        let logged_fates: Vec<serde_json::Value> = logged
            .iter()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["fate"].clone())
            .collect();
        assert_eq!(logged_fates, fates, "{protocols:?}");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ends_is_renewed_before_it_does() {
    let proxy = TestProxyBuilder::new()
        .with_renewer()
        .with_source_delay(Duration::from_secs(1))
        .start()
        .await;
    proxy
        .source
        .set_expiry(crate::support::start_time() + Duration::from_secs(1_001));
    // A life of 1,000 s is renewed at half time, or a little before.
    sleep(Duration::from_secs(440)).await;
    assert_eq!(
        (
            proxy.renewer.calls(),
            proxy.tokens.current().unwrap().generation().get()
        ),
        (0, 1)
    );
    sleep(Duration::from_secs(70)).await;
    assert_eq!(
        (
            proxy.renewer.calls(),
            proxy.tokens.current().unwrap().generation().get()
        ),
        (1, 2)
    );
    assert_eq!(proxy.app.post("x").await.status, 200);
    assert_eq!(proxy.graph.attempts(), 1);
    proxy.source.set_token(SECOND_TOKEN);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_app_that_is_slower_than_graph_may_be_is_not_taken_for_a_slow_graph() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start_with(protocols, |config| {
            config.heal.body_memory = 10;
            config.heal.body_disk = 10;
            config.upstream.settings.head_timeout = Duration::from_secs(10);
        })
        .await;
        let slow = || post_file(chunked_with_delay("x".repeat(1_000), 100, Duration::from_secs(25)));
        assert_eq!(proxy.app.fetch(slow()).await.status, 200);
        let began = Instant::now();
        proxy.script(ScriptedResponse::no_response());
        proxy.app.fetch(slow()).await.refused(504, "http_response_timeout");
        assert_eq!(began.elapsed().as_secs(), 260);
        proxy.shutdown().await;
    }
}
