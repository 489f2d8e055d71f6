//! Rows 39 to 46: what an origin may answer, and what the app hears of it.

use super::support::client::{get, get_request};
use super::support::{Client, ConnectionAction, Decoy, Origin, TestProxy, contains, sleep_millis};

/// An origin that answers `GET /N` with the Nth of these, as they are.
fn raw_origin(answers: &'static [(u8, &'static [u8])]) -> Origin {
    Origin::scripted(move |exchange| {
        exchange.read_body();
        let number: usize = exchange.path()[1..].parse().unwrap_or(usize::MAX);
        match answers.get(number) {
            Some((_row, bytes)) => exchange.write(bytes),
            None => exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nafter"),
        };
        ConnectionAction::KeepAlive
    })
}

/// Row, answer; each becomes a 502 with `Proxy-Status`.
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

/// Row, answer; each reaches the app as 200 `hello`.
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
fn an_answer_that_is_none_becomes_a_502() {
    let origin = raw_origin(MALFORMED_RESPONSES);
    let graphward = TestProxy::start(origin.port);
    for (number, (row, bytes)) in MALFORMED_RESPONSES.iter().enumerate() {
        let shown = bytes.escape_ascii();
        let answer = get(graphward.proxy, &format!("/{number}"));
        assert_eq!(answer.status, 502, "row {row}: {shown}: {answer:?}");
        assert!(!answer.proxy_error().is_empty(), "row {row}: {shown}: {answer:?}");
        assert_eq!(get(graphward.proxy, "/after").text(), "after", "row {row}: {shown}");
        assert_eq!(origin.take().len(), 2, "row {row}: {shown}: sent once each");
    }
}

#[test]
fn an_answer_that_can_be_understood_is_framed_anew() {
    let origin = raw_origin(VALID_RESPONSES);
    let graphward = TestProxy::start(origin.port);
    for (number, (row, bytes)) in VALID_RESPONSES.iter().enumerate() {
        let shown = bytes.escape_ascii();
        let mut client = Client::connect(graphward.proxy);
        for version in ["1.1", "1.0"] {
            client.send(format!("GET /{number} HTTP/{version}\r\nHost: localhost\r\n\r\n"));
            let answer = client.read_response("GET");
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (200, "hello"),
                "row {row}: {shown}"
            );
            assert!(answer.complete, "row {row}: {shown}");
            let both = answer
                .field("transfer-encoding")
                .and_then(|_| answer.field("content-length"));
            assert_eq!(both, None, "row {row}: {shown}: {answer:?}");
        }
        // A poisoned connection is not used again.
        let after = get(graphward.proxy, "/after");
        assert_eq!(after.text(), "after", "row {row}: {shown}");
    }
}

#[test]
fn row_39_answers_without_a_body_keep_their_length_and_swallow_nothing() {
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
        // What a 304 may say of a length, it need not (RFC 9110, section 8.6).
        ("GET", "/304", 304, None),
    ] {
        let mut client = Client::connect(graphward.proxy);
        client.send(get_request(path).replacen("GET", method, 1));
        let answer = client.final_response_to(method);
        assert_eq!(answer.status, status, "row 39: {path}");
        assert_eq!(
            answer.field("content-length").as_deref(),
            length,
            "row 39: {path}: {answer:?}"
        );
        assert_eq!(answer.field("transfer-encoding"), None, "row 39: {path}");
        assert_eq!(
            client.round_trip(get_request("/after")).text(),
            "after",
            "row 39: {path}"
        );
        assert_eq!(get(graphward.proxy, "/after").text(), "after", "row 39: {path}");
    }
}

#[test]
fn row_43_an_empty_error_with_two_lengths_ends_where_it_should() {
    let origin = Origin::scripted(|exchange| {
        exchange.read_body();
        exchange.write("HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n");
        ConnectionAction::KeepAlive
    });
    let graphward = TestProxy::start(origin.port);
    let mut client = Client::connect(graphward.proxy);
    for _ in 0..2 {
        let answer = client.round_trip(get_request("/r"));
        assert_eq!(
            (answer.status, answer.body.len(), answer.complete),
            (400, 0, true),
            "row 43: {answer:?}"
        );
    }
}

#[test]
fn row_45_an_answer_that_breaks_off_is_shown_as_cut() {
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
        let answer = get(graphward.proxy, path);
        assert_eq!(answer.status, 200, "row 45: {path}");
        assert!(!answer.complete, "row 45: {path}: {answer:?}");
    }
    let answer = get(graphward.proxy, "/until-close");
    assert_eq!((answer.text().as_str(), answer.complete), ("hello", true), "row 45");
}

#[test]
fn row_46_redirects_are_the_apps_to_follow() {
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
        let answer = get(graphward.proxy, &format!("/{status}"));
        assert_eq!(answer.status, status, "row 46");
        assert!(contains(answer.field("location").unwrap().as_bytes(), b"/x"), "row 46");
        assert_eq!(origin.take().len(), 1, "row 46");
    }
    assert!(decoy.had_no_connection(), "row 46");
}
