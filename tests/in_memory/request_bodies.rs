//! Request bodies: held for a replay while there is room, streamed without licence where there is none.

use std::time::Duration;

use bytes::Bytes;
use graphward::config::Config;
use graphward::proxy::Spool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

use crate::support::{
    EXPIRED_ERROR, PROTOCOL_PAIRS, Protocol, Protocols, SECOND_TOKEN, ScriptedResponse, TestBody, TestProxy,
    TestProxyBuilder, aborted, chunked, chunked_with_delay, post_file, request, sized, stalled, with,
};

pub(crate) const MIB: usize = 1 << 20;

/// Bytes that differ everywhere.
pub(crate) fn pattern(length: usize) -> Bytes {
    (0..length).map(|position| (position * 31 % 251) as u8).collect()
}

/// Little memory, little disk.
pub(crate) fn with_small_limits(config: &mut Config) {
    config.heal.body_memory = 1_000;
    config.heal.body_disk = 4_000;
}

pub(crate) async fn assert_healed(home: &TestProxy, number: usize, request: http::Request<TestBody>, expected: &Bytes) {
    home.rotate_token_to(&format!("EAAnext{number}"));
    let before = home.graph.attempts();
    let answer = home.app.fetch(request).await;
    assert_eq!(answer.status, 200, "{number}: {} bytes", expected.len());
    let seen = home.graph.requests();
    let sent = seen.get(before..).unwrap();
    assert_eq!(sent.len(), 2);
    for attempt in sent {
        assert!(
            attempt.body.as_ref() == Some(expected),
            "{number}: {} bytes",
            expected.len()
        );
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
    for way in [PROTOCOL_PAIRS[0], PROTOCOL_PAIRS[1]] {
        let home = TestProxyBuilder::new().with_protocols(way).start().await;
        let lengths = [0, 1, 1_000, 65_536, MIB - 1, MIB, MIB + 1, 2 * MIB];
        for (number, length) in lengths.into_iter().enumerate() {
            let body = pattern(length);
            assert_healed(&home, 2 * number, post_file(sized(body.clone())), &body).await;
            let step = 1 + length / 20;
            assert_healed(&home, 2 * number + 1, post_file(chunked(body.clone(), step)), &body).await;
        }
        assert_eq!(home.requests_with_outcome("healed").await, 16);
        home.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_past_memory_is_spooled_and_replayed() {
    for way in PROTOCOL_PAIRS {
        let home = TestProxyBuilder::new()
            .with_protocols(way)
            .with(with_small_limits)
            .start()
            .await;
        for (number, length) in [999, 1_000, 1_001, 3_999, 4_000].into_iter().enumerate() {
            let body = pattern(length);
            assert_healed(&home, 2 * number, post_file(sized(body.clone())), &body).await;
            assert_healed(&home, 2 * number + 1, post_file(chunked(body.clone(), 300)), &body).await;
        }
        home.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_past_disk_streams_hears_graphs_words_and_the_next_request_is_fine() {
    for way in PROTOCOL_PAIRS {
        for body in [
            sized(pattern(10_000)),
            chunked(pattern(10_000), 700),
            sized(pattern(300_000)),
        ] {
            let home = TestProxyBuilder::new()
                .with_protocols(way)
                .with(with_small_limits)
                .start()
                .await;
            home.rotate_token();
            let answer = home.app.fetch(post_file(body)).await;
            assert_eq!((answer.status, answer.text()), (401, EXPIRED_ERROR));
            assert_eq!(home.graph.attempts(), 1);
            assert_eq!(home.requests_with_outcome("unhealed_not_replayable").await, 1);
            sleep(Duration::from_millis(1)).await;
            assert_eq!(
                home.app.fetch(post_file(chunked(pattern(10_000), 700))).await.status,
                200
            );
            assert_eq!(home.graph.last_request().body, Some(pattern(10_000)));
            assert_eq!(home.graph.attempts(), 2);
            home.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_without_licence_waits_for_the_successor_that_is_coming() {
    for way in PROTOCOL_PAIRS {
        let home = TestProxyBuilder::new()
            .with_protocols(way)
            .with(with_small_limits)
            .start()
            .await;
        home.rotate_token();
        home.drop.set_delay(Duration::from_secs(1));
        let second = async {
            sleep(Duration::from_millis(500)).await;
            home.app.fetch(post_file(sized(pattern(5_000)))).await.status
        };
        let (first, second) = tokio::join!(home.app.post("small"), second);
        assert_eq!((first.status, second), (200, 200));
        assert_eq!(
            home.graph.attempts(),
            3,
            "the large one was sent once, with the new token"
        );
        home.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_spool_a_body_past_memory_streams() {
    for way in PROTOCOL_PAIRS {
        for body in [sized(pattern(1_001)), chunked(pattern(3_000), 300)] {
            let house = TestProxyBuilder::new().with_protocols(way).with(with_small_limits);
            let home = house.with(|config| config.heal.spool = Spool::Off).start().await;
            home.rotate_token();
            assert_eq!(home.app.fetch(post_file(body)).await.text(), EXPIRED_ERROR);
            assert_eq!(home.app.fetch(post_file(sized(pattern(1_000)))).await.status, 200);
            home.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_spool_that_cannot_be_written_is_found_out_at_start_and_bodies_stream() {
    let nowhere = Spool::Directory("/dev/null/nowhere".into());
    let home = TestProxyBuilder::new()
        .with(with_small_limits)
        .with(|config| config.heal.spool = nowhere)
        .start()
        .await;
    assert_eq!(home.app.fetch(post_file(sized(pattern(3_000)))).await.status, 200);
    assert_eq!(home.graph.last_request().body, Some(pattern(3_000)));
    home.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn with_no_memory_and_no_disk_everything_streams_but_what_is_empty() {
    for way in PROTOCOL_PAIRS {
        let house = TestProxyBuilder::new().with_protocols(way).with(|config| {
            config.heal.body_memory = 0;
            config.heal.body_disk = 0;
        });
        let home = house.start().await;
        home.rotate_token();
        assert_eq!(home.app.post("x").await.text(), EXPIRED_ERROR);
        sleep(Duration::from_secs(1)).await;
        home.rotate_token_to("EAAnext");
        assert_eq!(home.app.get("/me").await.status, 200);
        home.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_get_whose_body_would_be_lost_on_the_way_is_refused() {
    let home = TestProxyBuilder::new()
        .with_protocols(Protocols::new(Protocol::Two, Protocol::Http1))
        .with(with_small_limits)
        .start()
        .await;
    for method in ["GET", "HEAD"] {
        let answer = home
            .app
            .fetch(with(
                request(method, "/me", chunked(pattern(10_000), 700)),
                &[("content-type", "application/octet-stream")],
            ))
            .await;
        assert_eq!(answer.status, 411, "{method}");
    }
    assert_eq!(home.graph.attempts(), 0);
    assert_healed(
        &home,
        1,
        request("GET", "/me", chunked(pattern(2_000), 700)),
        &pattern(2_000),
    )
    .await;
    assert_eq!(home.requests_with_outcome("refused_length_required").await, 2);
    home.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_refused_and_nothing_of_it_reaches_graph() {
    for way in PROTOCOL_PAIRS {
        let home = TestProxyBuilder::new().with_protocols(way).start().await;
        let began = Instant::now();
        let answer = home.app.fetch(post_file(stalled(b"begin"))).await;
        answer.refused(408, "http_request_error");
        assert_eq!(began.elapsed().as_secs(), 60);
        assert_eq!((home.graph.attempts(), home.graph.connections()), (0, 0));
        home.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_keeps_moving_may_take_its_time() {
    for way in PROTOCOL_PAIRS {
        let home = TestProxyBuilder::new().with_protocols(way).start().await;
        let body = chunked_with_delay(pattern(100), 10, Duration::from_secs(50));
        assert_eq!(home.app.fetch(post_file(body)).await.status, 200);
        assert_eq!(home.graph.last_request().body, Some(pattern(100)));
        home.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_body_is_refused_and_nothing_of_it_reaches_graph() {
    let home = TestProxyBuilder::new().start().await;
    let head = "POST /me HTTP/1.1\r\nhost: localhost\r\n";
    for (framing, body) in [
        ("content-length: 10\r\n\r\n", "12345"),
        ("transfer-encoding: chunked\r\n\r\n", "5\r\n12345\r\n"),
        ("transfer-encoding: chunked\r\n\r\n", "5\r\n12345\r\nZZ\r\n"),
        ("transfer-encoding: chunked\r\n\r\n", "5\r\n1234567\r\n0\r\n\r\n"),
    ] {
        let mut line = home.app.raw().await;
        line.write_all(format!("{head}{framing}{body}").as_bytes())
            .await
            .unwrap();
        line.shutdown().await.unwrap();
        let mut answer = String::new();
        line.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{body:?}: {answer}");
        assert!(answer.contains("graphward; error=http_request_error"), "{answer}");
    }
    assert_eq!(home.graph.attempts(), 0);
    assert_eq!(home.requests_with_outcome("request_body_incomplete").await, 4);
    home.shutdown().await;
    let home = TestProxyBuilder::new()
        .with_protocols(Protocols::new(Protocol::Two, Protocol::Two))
        .start()
        .await;
    assert!(
        home.app.send(post_file(aborted(b"12345"))).await.is_err(),
        "the stream is gone"
    );
    sleep(Duration::from_millis(10)).await;
    assert_eq!(home.graph.attempts(), 0);
    home.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_streaming_body_that_stalls_or_breaks_off_is_the_apps_fault() {
    for way in PROTOCOL_PAIRS {
        let home = TestProxyBuilder::new()
            .with_protocols(way)
            .with(with_small_limits)
            .start()
            .await;
        let mut request = post_file(stalled(b"begin"));
        request.headers_mut().insert("content-length", "9000".parse().unwrap());
        home.app.fetch(request).await.refused(408, "http_request_error");
        assert!(home.graph.accepted().is_empty());
        home.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn graph_may_answer_before_it_has_read_the_body() {
    for way in PROTOCOL_PAIRS {
        let home = TestProxyBuilder::new()
            .with_protocols(way)
            .with(with_small_limits)
            .start()
            .await;
        let too_large = ScriptedResponse::error(413, 1);
        for body in [sized(pattern(500)), sized(pattern(3_000)), sized(pattern(500_000))] {
            home.graph.enqueue(too_large.clone().before_request_body());
            let answer = home.app.fetch(post_file(body)).await;
            assert_eq!((answer.status, answer.body), (413, too_large.bytes()));
        }
        home.graph.expire_all();
        home.graph.accept(SECOND_TOKEN);
        home.drop.set_token(SECOND_TOKEN);
        home.graph.enqueue(ScriptedResponse::expired().before_request_body());
        assert_eq!(home.app.fetch(post_file(sized(pattern(3_000)))).await.status, 200);
        home.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_read_of_a_body_that_streams_is_counted_as_memory_until_it_is_sent() {
    for way in PROTOCOL_PAIRS {
        let home = TestProxyBuilder::new()
            .with_protocols(way)
            .with(|config| {
                config.heal.body_memory = 1_000;
                config.heal.spool = Spool::Off;
            })
            .start()
            .await;
        let body = chunked_with_delay("x".repeat(3_000), 500, Duration::from_secs(1));
        let under_way = async {
            sleep(Duration::from_millis(4_500)).await;
            assert_eq!(home.replay_bytes().await, 1_000, "{way:?}");
        };
        let (answer, ()) = tokio::join!(home.app.fetch(post_file(body)), under_way);
        assert_eq!(answer.status, 200);
        assert_eq!(home.graph.last_request().body.unwrap().len(), 3_000);
        home.shutdown().await;
    }
}
