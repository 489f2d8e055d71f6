//! Clients that do not read their responses, or slowly, beside one that does.

use std::time::Duration;

use futures_util::future::join_all;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

use crate::support::{LogCapture, PROTOCOL_PAIRS, Protocol, ScriptedResponse, TestProxy, get};

/// More than graphward, the pipe and the client hold together.
const LENGTH: usize = 3 << 20;
/// The default of `listen.send_timeout`.
const SEND_TIMEOUT: Duration = Duration::from_secs(300);

/// Begins to receive large responses.
async fn receive_large(proxy: &TestProxy, count: usize) -> Vec<Incoming> {
    let mut bodies = Vec::new();
    for _ in 0..count {
        proxy.script(ScriptedResponse::json(200, vec![b' '; LENGTH]));
        bodies.push(proxy.app.send(get("/me")).await.unwrap().into_body());
    }
    bodies
}

/// Reads frame by frame; returns the number of bytes, up to the end or to an error.
async fn read(mut body: Incoming, pause: Duration) -> usize {
    let mut length = 0;
    while let Some(Ok(frame)) = body.frame().await {
        length += frame.into_data().map_or(0, |data| data.len());
        sleep(pause).await;
    }
    length
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_not_read_is_given_up_beside_slow_and_healthy_clients() {
    for protocols in PROTOCOL_PAIRS {
        let (log, proxy) = (LogCapture::at_info(), TestProxy::start(protocols).await);
        // Over HTTP/2 the requests of the app share one connection, and its window.
        let (count, pause) = match protocols.app {
            Protocol::Http1 => (64, SEND_TIMEOUT * 5 / 6),
            // The client enlarges its window after each MiB.
            Protocol::Two => (1, SEND_TIMEOUT / 80),
        };
        let stuck = receive_large(&proxy, count).await;
        let slow = receive_large(&proxy, count).await;
        let slow = slow.into_iter().map(|body| read(body, pause));
        let healthy = async {
            let began = Instant::now();
            while began.elapsed() < 2 * SEND_TIMEOUT {
                proxy.script(ScriptedResponse::json(200, "{}"));
                assert_eq!(proxy.app.post("x").await.status, 200);
                sleep(Duration::from_secs(5)).await;
            }
            let given_up = proxy.requests_with_outcome("client_stalled").await;
            assert_eq!(given_up, i64::try_from(count).unwrap(), "{protocols:?}");
        };
        let (slow, ()) = tokio::join!(join_all(slow), healthy);
        assert!(slow.iter().all(|length| *length == LENGTH), "{protocols:?}: {slow:?}");
        let stuck = join_all(stuck.into_iter().map(|body| read(body, Duration::ZERO))).await;
        assert!(stuck.iter().all(|length| *length < LENGTH), "{protocols:?}: {stuck:?}");
        let lines = log.lines_containing(r#""outcome":"client_stalled""#);
        assert_eq!(lines.len(), count);
        assert!(lines.iter().all(|line| line.contains("WARN")), "{lines:?}");
        assert_eq!(proxy.requests_with_outcome("client_disconnected").await, 0);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_response_that_hyper_holds_is_given_up_too() {
    const SMALL: usize = 120_000;
    let proxy = TestProxy::start(PROTOCOL_PAIRS[0]).await;
    for (pause, is_given_up) in [(SEND_TIMEOUT * 5 / 6, false), (SEND_TIMEOUT * 2, true)] {
        proxy.script(ScriptedResponse::json(200, vec![b' '; SMALL]));
        let mut client = proxy.app.raw().await;
        let request = b"GET /me HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        client.write_all(request).await.unwrap();
        let (mut length, mut space) = (0, vec![0; 10_000]);
        for _ in 0..4 {
            sleep(pause).await;
            length += client.read(&mut space).await.unwrap();
        }
        let mut rest = Vec::new();
        length += client.read_to_end(&mut rest).await.unwrap();
        assert_eq!(length < SMALL, is_given_up, "{pause:?}: {length}");
    }
    assert_eq!(
        proxy.requests_with_outcome("delivered").await,
        2,
        "hyper had taken them"
    );
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_for_graph_has_not_stalled() {
    for protocols in PROTOCOL_PAIRS {
        let proxy =
            TestProxy::start_with(protocols, |config| config.listen.send_timeout = Duration::from_secs(5)).await;
        let slow = ScriptedResponse::json(200, "0123456789").chunked(1, Duration::from_secs(50));
        proxy.script(slow.delayed(Duration::from_secs(50)));
        assert!(proxy.app.get("/me").await.complete, "{protocols:?}");
        // A client that has read everything, and keeps its connection.
        sleep(Duration::from_secs(120)).await;
        assert_eq!(proxy.requests_with_outcome("client_stalled").await, 0);
        proxy.shutdown().await;
    }
}
