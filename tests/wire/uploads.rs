//! Rows 24 to 28: bodies in transit, and responses that come before their end.

use super::support::client::{get, post_request};
use super::support::{Client, ConnectionAction, Origin, ProxyConfig, TestProxy, contains, sleep_millis};

/// Bodies are streamed, not buffered.
const STREAMING: ProxyConfig<'static> = ProxyConfig::heal("body_memory = \"1KiB\"\nspool_dir = \"off\"");

const TOO_LARGE: &str = "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig";

#[test]
fn row_24_an_early_413_reaches_the_app_while_it_uploads() {
    let origin = Origin::scripted(|exchange| {
        exchange.write(TOO_LARGE);
        ConnectionAction::Close
    });
    let graphward = TestProxy::start_with(origin.port, STREAMING);
    let mut client = Client::connect(graphward.proxy);
    client.send("POST /r HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\nContent-Length: 1000000\r\n\r\n");
    client.send("a".repeat(4_000));
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (413, "big"), "row 24");
    client.send("GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100));
    sleep_millis(50);
    assert_eq!(origin.count(), 1, "row 24: the rest was taken for a request");
}

#[test]
fn row_24_an_early_413_reaches_the_app_whose_body_was_received_first() {
    // It reads for a moment before it closes, as servers do so that a reset does not destroy the response.
    let origin = Origin::scripted(|exchange| {
        exchange.write(TOO_LARGE);
        exchange.read_body();
        ConnectionAction::Close
    });
    let graphward = TestProxy::start(origin.port);
    for size in [10, 500_000] {
        let mut client = Client::connect(graphward.proxy);
        let response = client.round_trip(post_request("/r", &"a".repeat(size)));
        assert_eq!(
            (response.status, response.text().as_str()),
            (413, "big"),
            "row 24: {size}"
        );
        assert_eq!(origin.take().len(), 1, "row 24: {size}");
    }
}

#[test]
fn row_24_an_early_413_is_read_although_the_origin_resets_the_connection() {
    let origin = Origin::scripted(|exchange| {
        exchange.write(TOO_LARGE);
        ConnectionAction::Close
    });
    let graphward = TestProxy::start(origin.port);
    for round in 0..20 {
        let mut client = Client::connect(graphward.proxy);
        let response = client.round_trip(post_request("/r", &"a".repeat(900_000)));
        assert_eq!(response.status, 413, "row 24, round {round}");
    }
}

#[test]
fn row_24_an_early_413_reaches_an_app_that_sends_on_whatever_happens() {
    // It closes with unread bytes, which resets the connection to graphward.
    let origin = Origin::scripted(|exchange| {
        exchange.write(TOO_LARGE);
        ConnectionAction::Close
    });
    let graphward = TestProxy::start_with(origin.port, STREAMING);
    let piece = "a".repeat(256 * 1024);
    for round in 0..10 {
        let mut client = Client::connect(graphward.proxy);
        client.send(format!(
            "POST /r HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
            64 * piece.len()
        ));
        // As clients do that read the response after the body.
        let sent = (0..64).take_while(|_| client.send(&piece)).count();
        let response = client.response();
        assert_eq!(response.status, 413, "row 24, round {round}, after {sent} pieces");
    }
}

#[test]
fn row_25_after_a_declined_upgrade_the_next_bytes_are_a_request() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let next = "GET /next HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer evil\r\n\r\n";
    for upgrade in ["x", "websocket", "h2c", "TLS/1.0"] {
        let mut client = Client::connect(graphward.proxy);
        client.send(format!(
            "GET /first HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n{next}"
        ));
        assert_eq!(client.response().status, 200, "row 25: {upgrade}");
        assert_eq!(client.response().status, 200, "row 25: {upgrade}");
        let seen = origin.take();
        assert_eq!(seen.len(), 2, "row 25: {upgrade}: {seen:?}");
        for seen in seen {
            let lower = seen.head.to_ascii_lowercase();
            assert!(!contains(&lower, b"upgrade") && !contains(&lower, b"http2"), "row 25");
            let bearer = format!("Bearer {}", super::support::TOKEN);
            assert_eq!(seen.header("authorization"), Some(bearer), "row 25: {upgrade}");
        }
    }
}

#[test]
fn row_25_a_java_client_that_offers_h2c_keeps_its_body() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let mut client = Client::connect(graphward.proxy);
    let response = client.round_trip(
        "POST /r HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: 5\r\nHost: localhost\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\nUser-Agent: Java-http-client/21\r\n\r\nhello",
    );
    assert_eq!(response.status, 200, "row 25");
    let seen = origin.only();
    assert_eq!(seen.body, b"hello", "row 25");
    assert!(!seen.has("upgrade") && !seen.has("http2-settings"), "row 25");
    assert_eq!(client.round_trip(post_request("/next", "x")).status, 200, "row 25");
}

#[test]
fn row_26_an_aborted_upload_is_never_a_complete_request_at_the_origin() {
    for (setup, size) in [(ProxyConfig::default(), 10), (STREAMING, 10_000)] {
        let origin = Origin::plain("x");
        let graphward = TestProxy::start_with(origin.port, setup);
        let data = "a".repeat(size);
        let (length, more) = (size + 1, size * 2);
        for (framing, body) in [
            (format!("Content-Length: {length}\r\n"), data.clone()),
            (format!("Content-Length: {more}\r\n"), data.clone()),
            (
                "Transfer-Encoding: chunked\r\n".to_owned(),
                format!("{size:x}\r\n{data}\r\n"),
            ),
            (
                "Transfer-Encoding: chunked\r\n".to_owned(),
                format!("{more:x}\r\n{data}"),
            ),
        ] {
            for reset in [false, true] {
                let mut client = Client::connect(graphward.proxy);
                client.send(format!("POST /r HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n{framing}\r\n{body}"));
                if reset {
                    sleep_millis(20);
                    client.reset();
                } else {
                    client.shutdown_write();
                    let response = client.response();
                    assert!(matches!(response.status, 0 | 400), "row 26: {framing}: {response:?}");
                }
                sleep_millis(20);
                let seen = origin.take();
                assert!(seen.iter().all(|seen| !seen.complete), "row 26: {framing}");
            }
        }
        assert_eq!(get(graphward.proxy, "/after").status, 200, "row 26");
    }
}

#[test]
fn row_28_a_client_that_expects_100_gets_it_and_417_is_passed_on() {
    let origin = Origin::scripted(|exchange| {
        if exchange.path() == "/417" {
            exchange.read_body();
            exchange.write("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
            return ConnectionAction::KeepAlive;
        }
        exchange.ok("x")
    });
    for setup in [ProxyConfig::default(), STREAMING] {
        let graphward = TestProxy::start_with(origin.port, setup);
        for (path, status) in [("/r", 200), ("/417", 417)] {
            for (framing, body) in [
                ("Content-Length: 5000\r\n", "a".repeat(5_000)),
                (
                    "Transfer-Encoding: chunked\r\n",
                    format!("1388\r\n{}\r\n0\r\n\r\n", "a".repeat(5_000)),
                ),
            ] {
                let mut client = Client::connect(graphward.proxy);
                client.send(format!(
                    "POST {path} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n{framing}\r\n"
                ));
                assert_eq!(client.read_response("POST").status, 100, "row 28: {path}");
                client.send(body);
                assert_eq!(client.response().status, status, "row 28: {path}");
                let seen = origin.only();
                assert!(!seen.has("expect"), "row 28: {path}");
                assert_eq!(seen.body.len(), 5_000, "row 28: {path}");
            }
        }
    }
}

#[test]
fn row_28_a_refused_request_gets_no_100_continue() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let mut client = Client::connect(graphward.proxy);
    client.send("POST /r HTTP/1.1\r\nHost: evil.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.read_response("POST").status, 421, "row 28");
    assert_eq!(origin.count(), 0, "row 28");
}
