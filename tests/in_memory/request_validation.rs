//! What is taken, and what is refused before anything is done.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::AsyncWriteExt as _;
use tokio::time::sleep;

use crate::support::{PROTOCOL_PAIRS, TestProxyBuilder};

#[tokio::test(start_paused = true)]
async fn absolute_targets_and_the_upstreams_own_name_are_taken() {
    let proxy = TestProxyBuilder::new().start().await;
    for head in [
        "GET http://graph.facebook.com/me?a HTTP/1.1\r\nhost: graph.facebook.com",
        "GET https://graph.facebook.com/me?a HTTP/1.1\r\nhost: localhost",
        "GET /me?a HTTP/1.1\r\nhost: 127.0.0.1:8080",
        "GET /me?a HTTP/1.1\r\nhost: [::1]:8080",
        "GET /me?a HTTP/1.0",
    ] {
        let answer = proxy
            .app
            .send_raw(format!("{head}\r\nconnection: close\r\n\r\n").as_bytes())
            .await;
        assert!(answer.contains(" 200 OK\r\n"), "{head}: {answer}");
        assert_eq!(proxy.graph.last_request().target(), "/me?a");
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_must_not_be_forwarded_is_refused_and_never_reaches_graph() {
    let proxy = TestProxyBuilder::new().start().await;
    for (head, status) in [
        ("GET /me HTTP/1.1", 400),
        ("GET /me HTTP/1.1\r\nhost: localhost\r\nhost: localhost", 400),
        ("GET /me HTTP/1.1\r\nhost: user@localhost", 400),
        ("GET /me HTTP/1.1\r\nhost: evil.example", 421),
        ("GET http://evil.example/me HTTP/1.1\r\nhost: localhost", 421),
        ("GET ftp://localhost/me HTTP/1.1\r\nhost: localhost", 400),
        ("OPTIONS * HTTP/1.1\r\nhost: localhost", 204),
        ("GET * HTTP/1.1\r\nhost: localhost", 400),
        ("TRACE /me HTTP/1.1\r\nhost: localhost", 405),
        ("CONNECT localhost:443 HTTP/1.1\r\nhost: localhost:443", 405),
        (
            "GET /me HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.example",
            403,
        ),
        ("GET /me HTTP/1.1\r\nhost: localhost\r\nsec-fetch-site: cross-site", 403),
        (
            "POST /me HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked, chunked",
            400,
        ),
        ("POST /me HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip", 400),
        (
            "POST /me HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2",
            400,
        ),
        (
            "POST /me HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/xml\r\ncontent-type: application/json",
            400,
        ),
    ] {
        let mut line = proxy.app.raw().await;
        line.write_all(format!("{head}\r\nconnection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut line, &mut answer)
            .await
            .unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}");
    }
    let big = format!("x-big: {}", "y".repeat(70 * 1024));
    let answer = proxy
        .app
        .send_raw(format!("GET /me HTTP/1.1\r\nhost: localhost\r\n{big}\r\n\r\n").as_bytes())
        .await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(proxy.graph.attempts(), 0);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn past_the_most_that_may_be_under_way_the_next_is_refused_and_then_taken_again() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxyBuilder::over(protocols)
            .with_max_inflight(100)
            .with_source_delay(Duration::from_secs(4))
            .start()
            .await;
        let crowd = join_all((0..100).map(|_| proxy.app.get("/me")));
        let one_more = async {
            sleep(Duration::from_secs(1)).await;
            assert_eq!(proxy.metric("graphward_inflight_requests").await, 100);
            let waiters = r#"graphward_token_waiting_requests{tenant="default"}"#;
            assert_eq!(proxy.metric(waiters).await, 100);
            let answer = proxy.app.get("/me").await;
            answer.refused(503, "connection_limit_reached");
            assert_eq!(answer.header("retry-after"), "1");
        };
        let (crowd, ()) = tokio::join!(crowd, one_more);
        assert!(crowd.iter().all(|answer| answer.status == 200));
        assert_eq!(proxy.app.get("/me").await.status, 200);
        assert_eq!(proxy.requests_with_outcome("refused_overloaded").await, 1);
        proxy.shutdown().await;
    }
}
