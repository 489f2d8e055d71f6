//! Rows 18, 21 and 23: bodies that are truncated, endless, look like requests, or are too large to buffer.

use super::support::{Client, Origin, ProxyConfig, TestProxy, contains};

/// Bytes that must never be parsed as a request.
const SMUGGLED_REQUEST: &str = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn row_18_truncated_chunks_are_not_a_request() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    for body in ["5\r\nhel", "5\r\nhello\r\n", "5\r\nhello\r\n0\r\n", "5", ""] {
        let mut client = Client::connect(graphward.proxy);
        client.send(format!(
            "POST /r HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
        ));
        client.shutdown_write();
        let response = client.response();
        assert!(matches!(response.status, 0 | 400), "row 18: {body:?}: {response:?}");
        assert_eq!(origin.count(), 0, "row 18: {body:?}");
    }
}

#[test]
fn row_21_endless_extensions_and_trailers_are_cut_off() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let long = format!("{}\r\n", "a".repeat(64 * 1024));
    let many = "X-T: aaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(2_000);
    let extensions = "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n".repeat(2_000);
    for (what, start, piece) in [
        ("one extension", "5;a=", long.trim_end()),
        ("one trailer", "5\r\nhello\r\n0\r\nX-T: ", long.trim_end()),
        ("trailers", "5\r\nhello\r\n0\r\n", many.as_str()),
        ("extensions", "", extensions.as_str()),
    ] {
        let mut client = Client::connect(graphward.proxy);
        client.send(format!(
            "POST /r HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n{start}"
        ));
        assert!(
            client.stops_reading_within_4_mib(piece),
            "row 21: {what}: 4 MiB were taken"
        );
        assert_eq!(origin.count(), 0, "row 21: {what}");
    }
}

#[test]
fn a_client_that_sends_all_of_its_body_before_it_reads_gets_the_refusal() {
    let graphward = TestProxy::start(Origin::plain("x").port);
    let body = "x".repeat(1 << 20);
    let mut client = Client::connect(graphward.proxy);
    client.send("TRACE /me HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20971520\r\n\r\n");
    for piece in 0..20 {
        assert!(client.send(&body), "MiB {piece} found the connection closed");
        super::support::sleep_millis(10);
    }
    assert_eq!(client.response().status, 405);
    assert!(client.is_closed());
}

#[test]
fn row_23_the_body_of_a_get_is_a_body() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    for method in ["GET", "DELETE", "OPTIONS"] {
        let mut client = Client::connect(graphward.proxy);
        let response = client.round_trip(format!(
            "{method} /r HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{SMUGGLED_REQUEST}",
            SMUGGLED_REQUEST.len()
        ));
        assert_eq!(response.status, 200, "row 23: {method}");
        let seen = origin.only();
        assert_eq!(seen.body, SMUGGLED_REQUEST.as_bytes(), "row 23: {method}");
        assert_eq!(
            client
                .round_trip("GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .status,
            200
        );
        assert_eq!(origin.only().request_line(), "GET /next HTTP/1.1", "row 23: {method}");
    }
}

#[test]
fn bodies_too_large_to_buffer_are_streamed_and_framed_once() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start_with(
        origin.port,
        ProxyConfig::heal("body_memory = \"1KiB\"\nspool_dir = \"off\""),
    );
    let chunk = format!("1000\r\n{}\r\n", "a".repeat(4096));
    let head = "POST /r HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut client = Client::connect(graphward.proxy);
    let response = client.round_trip(format!("{head}{}0\r\nAuthorization: evil\r\n\r\n", chunk.repeat(3)));
    assert_eq!(response.status, 200);
    let seen = origin.only();
    assert_eq!((seen.body.len(), seen.complete), (3 * 4096, true));
    assert!(!contains(&seen.head, b"evil"));

    // An error of the client is a 400, although half of the body is at the origin already.
    let response = Client::connect(graphward.proxy).round_trip(format!("{head}{}G\r\n", chunk.repeat(3)));
    assert_eq!(response.status, 400, "{response:?}");
    assert!(origin.take().iter().all(|seen| !seen.complete));
}
