//! Rows 39 to 46: responses of an origin, and what the app receives.

use super::support::client::{get, get_request};
use super::support::{Client, ConnectionAction, Decoy, Origin, TestProxy, contains, sleep_millis};

/// An origin that responds to `GET /N` with the Nth of these, unchanged.
fn raw_origin(responses: &'static [(u8, &'static [u8])]) -> Origin {
    Origin::scripted(move |exchange| {
        exchange.read_body();
        let number: usize = exchange.path()[1..].parse().unwrap_or(usize::MAX);
        match responses.get(number) {
            Some((_row, bytes)) => exchange.write(bytes),
            None => exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nafter"),
        };
        ConnectionAction::KeepAlive
    })
}

/// Row, response; each becomes a 502 with `Proxy-Status`.
const MALFORMED_RESPONSES: &[(u8, &[u8])] = &[
    (42, b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
    (42, b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    (43, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nhello"),
    (43, b"HTTP/1.1 200 OK\r\nContent-Length: 3, 5\r\n\r\nhello"),
    (43, b"HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello"),
    (43, b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello"),
    (43, b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello"),
    (44, b"HTTP/1.1 200 OK\r\nX-Space : 1\r\nContent-Length: 5\r\n\r\nhello"),
    (44, b"HTTP/1.1 200 OK\r\nX-Nul: a\0b\r\nContent-Length: 5\r\n\r\nhello"),
    (44, b"HTTP/1.1 200 OK\r\nX-Cr: a\rX-Evil: b\r\nContent-Length: 5\r\n\r\nhello"),
    (44, b"HTTP/1.1 200 OK\r\nX-Fold: a\r\n b\r\nContent-Length: 5\r\n\r\nhello"),
    (44, b"HTTP/3.7 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    (44, b"HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\nhello"),
    (44, b"HTTP/1.1 20 OK\r\nContent-Length: 5\r\n\r\nhello"),
    (44, b"SSH-2.0-OpenSSH_9.9\r\n"),
    (44, b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00d\x00\x04"),
];

/// Row, response; each reaches the app as 200 `hello`.
const VALID_RESPONSES: &[(u8, &[u8])] = &[
    (41, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    (41, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    (41, b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    (43, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    (43, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    (43, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    (40, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"),
    (40, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"),
    (41, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n"),
];

#[test]
fn an_invalid_response_becomes_a_502() {
    let origin = raw_origin(MALFORMED_RESPONSES);
    let graphward = TestProxy::start(origin.port);
    for (number, (row, bytes)) in MALFORMED_RESPONSES.iter().enumerate() {
        let escaped = bytes.escape_ascii();
        let response = get(graphward.proxy, &format!("/{number}"));
        assert_eq!(response.status, 502, "row {row}: {escaped}: {response:?}");
        assert!(!response.proxy_error().is_empty(), "row {row}: {escaped}: {response:?}");
        assert_eq!(get(graphward.proxy, "/after").text(), "after", "row {row}: {escaped}");
        assert_eq!(origin.take().len(), 2, "row {row}: {escaped}: sent once each");
    }
}

#[test]
fn a_response_with_unambiguous_framing_is_reframed() {
    let origin = raw_origin(VALID_RESPONSES);
    let graphward = TestProxy::start(origin.port);
    for (number, (row, bytes)) in VALID_RESPONSES.iter().enumerate() {
        let escaped = bytes.escape_ascii();
        let mut client = Client::connect(graphward.proxy);
        for version in ["1.1", "1.0"] {
            client.send(format!("GET /{number} HTTP/{version}\r\nHost: localhost\r\n\r\n"));
            let response = client.read_response("GET");
            assert_eq!(
                (response.status, response.text().as_str()),
                (200, "hello"),
                "row {row}: {escaped}"
            );
            assert!(response.complete, "row {row}: {escaped}");
            let both = response
                .field("transfer-encoding")
                .and_then(|_| response.field("content-length"));
            assert_eq!(both, None, "row {row}: {escaped}: {response:?}");
        }
        // A poisoned connection is not used again.
        let after = get(graphward.proxy, "/after");
        assert_eq!(after.text(), "after", "row {row}: {escaped}");
    }
}

#[test]
fn row_39_responses_without_a_body_keep_their_length_and_consume_no_bytes() {
    let origin = Origin::scripted(|exchange| {
        exchange.read_body();
        let head = match exchange.path().as_str() {
            "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n",
            "/head-body" => "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON",
            "/204" => "HTTP/1.1 204 No Content\r\n\r\nPOISON",
            "/204-length" => "HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\nPOISON",
            "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\nETag: \"a\"\r\n\r\nPOISON",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nafter",
        };
        exchange.write(head);
        ConnectionAction::KeepAlive
    });
    let graphward = TestProxy::start(origin.port);
    for (method, path, status, length) in [
        ("HEAD", "/head", 200, Some("12")),
        ("HEAD", "/head-body", 200, Some("6")),
        ("GET", "/204", 204, None),
        ("GET", "/204-length", 204, None),
        // A 304 may have a Content-Length, but need not (RFC 9110, section 8.6).
        ("GET", "/304", 304, None),
    ] {
        let mut client = Client::connect(graphward.proxy);
        client.send(get_request(path).replacen("GET", method, 1));
        let response = client.final_response_to(method);
        assert_eq!(response.status, status, "row 39: {path}");
        assert_eq!(
            response.field("content-length").as_deref(),
            length,
            "row 39: {path}: {response:?}"
        );
        assert_eq!(response.field("transfer-encoding"), None, "row 39: {path}");
        assert_eq!(
            client.round_trip(get_request("/after")).text(),
            "after",
            "row 39: {path}"
        );
        assert_eq!(get(graphward.proxy, "/after").text(), "after", "row 39: {path}");
    }
}

#[test]
fn row_43_an_empty_error_with_two_lengths_ends_after_its_head() {
    let origin = Origin::scripted(|exchange| {
        exchange.read_body();
        exchange.write("HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n");
        ConnectionAction::KeepAlive
    });
    let graphward = TestProxy::start(origin.port);
    let mut client = Client::connect(graphward.proxy);
    for _ in 0..2 {
        let response = client.round_trip(get_request("/r"));
        assert_eq!(
            (response.status, response.body.len(), response.complete),
            (400, 0, true),
            "row 43: {response:?}"
        );
    }
}

#[test]
fn row_45_a_truncated_response_is_truncated_for_the_app() {
    let origin = Origin::scripted(|exchange| {
        exchange.read_body();
        let (length, chunked, until_close) = (
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\n\r\nhello",
        );
        let path = exchange.path();
        let (bytes, after) = match path.as_str() {
            "/length" => (length, ConnectionAction::Close),
            "/chunked" => (chunked, ConnectionAction::Close),
            "/mid-chunk" => (&chunked[..chunked.len() - 4], ConnectionAction::Close),
            "/length-cut" => (length, ConnectionAction::CloseWithoutNotify),
            "/length-reset" => (length, ConnectionAction::Reset),
            "/until-cut" => (until_close, ConnectionAction::CloseWithoutNotify),
            "/until-reset" => (until_close, ConnectionAction::Reset),
            _ => (until_close, ConnectionAction::Close),
        };
        exchange.write(bytes);
        sleep_millis(20);
        after
    });
    let graphward = TestProxy::start(origin.port);
    for path in [
        "/length",
        "/chunked",
        "/mid-chunk",
        "/length-cut",
        "/length-reset",
        "/until-cut",
        "/until-reset",
    ] {
        let response = get(graphward.proxy, path);
        assert_eq!(response.status, 200, "row 45: {path}");
        assert!(!response.complete, "row 45: {path}: {response:?}");
    }
    let response = get(graphward.proxy, "/until-close");
    assert_eq!((response.text().as_str(), response.complete), ("hello", true), "row 45");
}

#[test]
fn row_46_redirects_are_passed_on_to_the_app() {
    let decoy = Decoy::listen();
    let port = decoy.port;
    let origin = Origin::scripted(move |exchange| {
        exchange.read_body();
        let status = &exchange.path()[1..];
        let bytes =
            format!("HTTP/1.1 {status} Elsewhere\r\nLocation: https://127.0.0.1:{port}/x\r\nContent-Length: 0\r\n\r\n");
        exchange.write(bytes);
        ConnectionAction::KeepAlive
    });
    let graphward = TestProxy::start(origin.port);
    for status in [301, 302, 303, 307, 308] {
        let response = get(graphward.proxy, &format!("/{status}"));
        assert_eq!(response.status, status, "row 46");
        assert!(
            contains(response.field("location").unwrap().as_bytes(), b"/x"),
            "row 46"
        );
        assert_eq!(origin.take().len(), 1, "row 46");
    }
    assert!(decoy.had_no_connection(), "row 46");
}
