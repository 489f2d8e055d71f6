//! Request bodies: held for a replay while there is room, otherwise streamed and never replayed.

use std::time::Duration;

use bytes::Bytes;
use graphward::proxy::Spool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

use crate::support::{
    EXPIRED_ERROR, PROTOCOL_PAIRS, Protocol, Protocols, ScriptedResponse, TestBody, TestProxy, TestProxyBuilder,
    aborted, chunked, chunked_with_delay, post_file, request, sized, stalled, with,
};

pub(crate) const MIB: usize = 1 << 20;

/// Bytes that differ everywhere.
pub(crate) fn pattern(length: usize) -> Bytes {
    (0..length).map(|position| (position * 31 % 251) as u8).collect()
}

/// Fails unless this request is replayed with the next token, and its body arrives both times as expected.
pub(crate) async fn assert_healed(proxy: &TestProxy, request: http::Request<TestBody>, expected: &Bytes) {
    let before = proxy.graph.attempts();
    proxy.rotate_token_to(&format!("EAAnext{before}"));
    let answer = proxy.app.fetch(request).await;
    assert_eq!(answer.status, 200, "{} bytes", expected.len());
    let seen = proxy.graph.requests();
    let sent = seen.get(before..).unwrap();
    assert_eq!(sent.len(), 2);
    for attempt in sent {
        assert!(attempt.body.as_ref() == Some(expected), "{} bytes", expected.len());
        let length = expected.len().to_string();
        // An empty body needs none over HTTP/2.
        if !(expected.is_empty() && attempt.all("content-length").is_empty()) {
            assert_eq!(attempt.all("content-length"), [length]);
        }
        assert!(attempt.all("transfer-encoding").is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_can_be_held_is_replayed_whole_with_its_length() {
    for protocols in [PROTOCOL_PAIRS[0], PROTOCOL_PAIRS[1]] {
        let proxy = TestProxy::start(protocols).await;
        let lengths = [0, 1, 1_000, 65_536, MIB - 1, MIB, MIB + 1, 2 * MIB];
        for length in lengths {
            let body = pattern(length);
            assert_healed(&proxy, post_file(sized(body.clone())), &body).await;
            let step = 1 + length / 20;
            assert_healed(&proxy, post_file(chunked(body.clone(), step)), &body).await;
        }
        assert_eq!(proxy.requests_with_outcome("healed").await, 16);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_past_memory_is_spooled_and_replayed() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxyBuilder::over(protocols).with_small_limits().start().await;
        for length in [999, 1_000, 1_001, 3_999, 4_000] {
            let body = pattern(length);
            assert_healed(&proxy, post_file(sized(body.clone())), &body).await;
            assert_healed(&proxy, post_file(chunked(body.clone(), 300)), &body).await;
        }
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_past_disk_streams_hears_graphs_words_and_the_next_request_is_fine() {
    for protocols in PROTOCOL_PAIRS {
        for body in [
            sized(pattern(10_000)),
            chunked(pattern(10_000), 700),
            sized(pattern(300_000)),
        ] {
            let proxy = TestProxyBuilder::over(protocols).with_small_limits().start().await;
            proxy.rotate_token();
            let answer = proxy.app.fetch(post_file(body)).await;
            assert_eq!((answer.status, answer.text()), (401, EXPIRED_ERROR));
            assert_eq!(proxy.graph.attempts(), 1);
            assert_eq!(proxy.requests_with_outcome("unhealed_not_replayable").await, 1);
            sleep(Duration::from_millis(1)).await;
            let seen = proxy.forwarded(post_file(chunked(pattern(10_000), 700))).await;
            assert_eq!(seen.body, Some(pattern(10_000)));
            assert_eq!(proxy.graph.attempts(), 2);
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_cannot_be_replayed_waits_for_the_token_that_is_coming() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxyBuilder::over(protocols).with_small_limits().start().await;
        proxy.rotate_token();
        proxy.source.set_delay(Duration::from_secs(1));
        let second = async {
            sleep(Duration::from_millis(500)).await;
            proxy.app.fetch(post_file(sized(pattern(5_000)))).await.status
        };
        let (first, second) = tokio::join!(proxy.app.post("small"), second);
        assert_eq!((first.status, second), (200, 200));
        assert_eq!(
            proxy.graph.attempts(),
            3,
            "the large one was sent once, with the new token"
        );
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_spool_a_body_past_memory_streams() {
    for protocols in PROTOCOL_PAIRS {
        for body in [sized(pattern(1_001)), chunked(pattern(3_000), 300)] {
            let proxy = TestProxyBuilder::over(protocols)
                .with_small_limits()
                .with(|config| config.heal.spool = Spool::Off)
                .start()
                .await;
            proxy.rotate_token();
            assert_eq!(proxy.app.fetch(post_file(body)).await.text(), EXPIRED_ERROR);
            assert_eq!(proxy.app.fetch(post_file(sized(pattern(1_000)))).await.status, 200);
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_spool_that_cannot_be_written_is_found_out_at_start_and_bodies_stream() {
    let nowhere = Spool::Directory("/dev/null/nowhere".into());
    let proxy = TestProxyBuilder::new()
        .with_small_limits()
        .with(|config| config.heal.spool = nowhere)
        .start()
        .await;
    let seen = proxy.forwarded(post_file(sized(pattern(3_000)))).await;
    assert_eq!(seen.body, Some(pattern(3_000)));
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn with_no_memory_and_no_disk_everything_streams_but_what_is_empty() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start_with(protocols, |config| {
            config.heal.body_memory = 0;
            config.heal.body_disk = 0;
        })
        .await;
        proxy.rotate_token();
        assert_eq!(proxy.app.post("x").await.text(), EXPIRED_ERROR);
        sleep(Duration::from_secs(1)).await;
        proxy.rotate_token_to("EAAnext");
        assert_eq!(proxy.app.get("/me").await.status, 200);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_get_whose_body_would_be_lost_on_the_way_is_refused() {
    let proxy = TestProxyBuilder::over(Protocols::new(Protocol::Two, Protocol::Http1))
        .with_small_limits()
        .start()
        .await;
    for method in ["GET", "HEAD"] {
        let answer = proxy
            .app
            .fetch(with(
                request(method, "/me", chunked(pattern(10_000), 700)),
                &[("content-type", "application/octet-stream")],
            ))
            .await;
        assert_eq!(answer.status, 411, "{method}");
    }
    assert_eq!(proxy.graph.attempts(), 0);
    assert_healed(
        &proxy,
        request("GET", "/me", chunked(pattern(2_000), 700)),
        &pattern(2_000),
    )
    .await;
    assert_eq!(proxy.requests_with_outcome("refused_length_required").await, 2);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_refused_and_nothing_of_it_reaches_graph() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        let began = Instant::now();
        let answer = proxy.app.fetch(post_file(stalled(b"begin"))).await;
        answer.refused(408, "http_request_error");
        assert_eq!(began.elapsed().as_secs(), 60);
        assert_eq!((proxy.graph.attempts(), proxy.graph.connections()), (0, 0));
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_keeps_moving_may_take_its_time() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        let body = chunked_with_delay(pattern(100), 10, Duration::from_secs(50));
        assert_eq!(proxy.forwarded(post_file(body)).await.body, Some(pattern(100)));
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_body_is_refused_and_nothing_of_it_reaches_graph() {
    let proxy = TestProxyBuilder::new().start().await;
    let head = "POST /me HTTP/1.1\r\nhost: localhost\r\n";
    for (framing, body) in [
        ("content-length: 10\r\n\r\n", "12345"),
        ("transfer-encoding: chunked\r\n\r\n", "5\r\n12345\r\n"),
        ("transfer-encoding: chunked\r\n\r\n", "5\r\n12345\r\nZZ\r\n"),
        ("transfer-encoding: chunked\r\n\r\n", "5\r\n1234567\r\n0\r\n\r\n"),
    ] {
        let mut line = proxy.app.raw().await;
        line.write_all(format!("{head}{framing}{body}").as_bytes())
            .await
            .unwrap();
        line.shutdown().await.unwrap();
        let mut answer = String::new();
        line.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{body:?}: {answer}");
        assert!(answer.contains("graphward; error=http_request_error"), "{answer}");
    }
    assert_eq!(proxy.graph.attempts(), 0);
    assert_eq!(proxy.requests_with_outcome("request_body_incomplete").await, 4);
    proxy.shutdown().await;
    let proxy = TestProxyBuilder::over(Protocols::new(Protocol::Two, Protocol::Two))
        .start()
        .await;
    assert!(
        proxy.app.send(post_file(aborted(b"12345"))).await.is_err(),
        "the stream is gone"
    );
    sleep(Duration::from_millis(10)).await;
    assert_eq!(proxy.graph.attempts(), 0);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_streaming_body_that_stalls_or_breaks_off_is_the_apps_fault() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxyBuilder::over(protocols).with_small_limits().start().await;
        let mut request = post_file(stalled(b"begin"));
        request.headers_mut().insert("content-length", "9000".parse().unwrap());
        proxy.app.fetch(request).await.refused(408, "http_request_error");
        assert!(proxy.graph.accepted().is_empty());
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn graph_may_answer_before_it_has_read_the_body() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxyBuilder::over(protocols).with_small_limits().start().await;
        let too_large = ScriptedResponse::error(413, 1);
        for body in [sized(pattern(500)), sized(pattern(3_000)), sized(pattern(500_000))] {
            proxy.script(too_large.clone().before_request_body());
            let answer = proxy.app.fetch(post_file(body)).await;
            assert_eq!((answer.status, answer.body), (413, too_large.bytes()));
        }
        proxy.rotate_token();
        proxy.script(ScriptedResponse::expired().before_request_body());
        assert_eq!(proxy.app.fetch(post_file(sized(pattern(3_000)))).await.status, 200);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_read_of_a_body_that_streams_is_counted_as_memory_until_it_is_sent() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start_with(protocols, |config| {
            config.heal.body_memory = 1_000;
            config.heal.spool = Spool::Off;
        })
        .await;
        let body = chunked_with_delay("x".repeat(3_000), 500, Duration::from_secs(1));
        let under_way = async {
            sleep(Duration::from_millis(4_500)).await;
            assert_eq!(proxy.replay_bytes().await, 1_000, "{protocols:?}");
        };
        let (answer, ()) = tokio::join!(proxy.app.fetch(post_file(body)), under_way);
        assert_eq!(answer.status, 200);
        assert_eq!(proxy.graph.last_request().body.unwrap().len(), 3_000);
        proxy.shutdown().await;
    }
}
