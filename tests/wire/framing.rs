//! Rows 12 to 23 and 27: the end of a request body.

use super::support::client::get;
use super::support::{Client, Origin, TestProxy, contains};

/// Bytes that must never be parsed as a request.
const SMUGGLED_REQUEST: &str = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Row, version, fields, body. All are refused with 400 or 501, and the connection is closed.
const REFUSED: &[(u8, &str, &str, &str)] = &[
    (13, "1.1", "Content-Length: 0\r\nContent-Length: 5\r\n", "hello"),
    (13, "1.1", "Content-Length: 5\r\nContent-Length: 0\r\n", "hello"),
    (13, "1.1", "Content-Length: 5, 6\r\n", "hello"),
    (14, "1.1", "Content-Length: 5, 5\r\n", "hello"),
    (15, "1.1", "Content-Length: +5\r\n", "hello"),
    (15, "1.1", "Content-Length: +3\r\n", "hello"),
    (15, "1.1", "Content-Length: 0x5\r\n", "hello"),
    (15, "1.1", "Content-Length: 5 5\r\n", "hello"),
    (15, "1.1", "Content-Length: -5\r\n", "hello"),
    (15, "1.1", "Content-Length: 18446744073709551621\r\n", "hello"),
    (15, "1.1", "Content-Length: 5_0\r\n", "hello"),
    (15, "1.1", "Content-Length:\r\n", "hello"),
    (15, "1.1", "Content-Length: \"5\"\r\n", "hello"),
    (16, "1.1", "Transfer-Encoding: xchunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    (16, "1.1", "Transfer-Encoding: chunkedx\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    (
        16,
        "1.1",
        "Transfer-Encoding: chunked, identity\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    (16, "1.1", "Transfer-Encoding: identity\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    (
        16,
        "1.1",
        "Transfer-Encoding: gzip, chunked\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        16,
        "1.1",
        "Transfer-Encoding: chunked, chunked\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        16,
        "1.1",
        "Transfer-Encoding: \x0bchunked\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        16,
        "1.1",
        "Transfer-Encoding: \"chunked\"\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        16,
        "1.1",
        "Transfer-Encoding: chunked;a=b\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    (16, "1.1", "Transfer-Encoding:\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    (
        16,
        "1.1",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        16,
        "1.1",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        16,
        "1.1",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    (17, "1.0", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    (
        17,
        "1.0",
        "Transfer-Encoding: identity, chunked, identity\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        17,
        "1.0",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        17,
        "1.0",
        "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    (18, "1.1", "Transfer-Encoding: chunked\r\n", "G\r\nhello\r\n0\r\n\r\n"),
    (18, "1.1", "Transfer-Encoding: chunked\r\n", "0x5\r\nhello\r\n0\r\n\r\n"),
    (18, "1.1", "Transfer-Encoding: chunked\r\n", "-5\r\nhello\r\n0\r\n\r\n"),
    (18, "1.1", "Transfer-Encoding: chunked\r\n", "+5\r\nhello\r\n0\r\n\r\n"),
    (
        18,
        "1.1",
        "Transfer-Encoding: chunked\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
    ),
    (
        18,
        "1.1",
        "Transfer-Encoding: chunked\r\n",
        "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
    ),
    (18, "1.1", "Transfer-Encoding: chunked\r\n", "\r\nhello\r\n0\r\n\r\n"),
    (18, "1.1", "Transfer-Encoding: chunked\r\n", "3\r\nhello\r\n0\r\n\r\n"),
    (18, "1.1", "Transfer-Encoding: chunked\r\n", "5\r\nhelloxx0\r\n\r\n"),
    (18, "1.1", "Transfer-Encoding: chunked\r\n", "5\rXhello\r\n0\r\n\r\n"),
    (
        19,
        "1.1",
        "Transfer-Encoding: chunked\r\n",
        "2;\nxx\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        19,
        "1.1",
        "Transfer-Encoding: chunked\r\n",
        "2;a=\nb\r\nhe\r\n0\r\n\r\n",
    ),
    (19, "1.1", "Transfer-Encoding: chunked\r\n", "5\nhello\r\n0\r\n\r\n"),
    (
        19,
        "1.1",
        "Transfer-Encoding: chunked\r\n",
        "5;a=\rb\r\nhello\r\n0\r\n\r\n",
    ),
];

/// Row, fields, body; all arrive as `hello`, framed once.
const ACCEPTED: &[(u8, &str, &str)] = &[
    (14, "Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
    (15, "Content-Length: 005\r\n", "hello"),
    (16, "Transfer-Encoding: CHUNKED\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    (20, "Transfer-Encoding: chunked\r\n", "5;a=b\r\nhello\r\n0\r\n\r\n"),
    (
        20,
        "Transfer-Encoding: chunked\r\n",
        "5; a=\"b;c\"\r\nhello\r\n0;last\r\n\r\n",
    ),
    (
        20,
        "Transfer-Encoding: chunked\r\n",
        "2; z\r\nhe\r\n3\r\nllo\r\n000\r\n\r\n",
    ),
    (
        22,
        "Transfer-Encoding: chunked\r\n",
        "5\r\nhello\r\n0\r\nAuthorization: Bearer evil\r\nHost: evil.example\r\nX-T: 1\r\n\r\n",
    ),
    (
        22,
        "Transfer-Encoding: chunked\r\nTrailer: Authorization\r\n",
        "5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n",
    ),
    (27, "Connection: Content-Length\r\nContent-Length: 5\r\n", "hello"),
    (
        27,
        "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        27,
        "Connection: Authorization, Host, Content-Length\r\nAuthorization: Bearer evil\r\nContent-Length: 5\r\n",
        "hello",
    ),
];

#[test]
fn a_body_with_ambiguous_framing_is_refused() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    for (row, version, fields, body) in REFUSED {
        let case = format!("row {row}: {:?}", format!("{fields} {body}"));
        let mut client = Client::connect(graphward.proxy);
        let response = client.round_trip(format!(
            "POST /r HTTP/{version}\r\nHost: localhost\r\n{fields}\r\n{body}{SMUGGLED_REQUEST}"
        ));
        assert!(matches!(response.status, 400 | 501), "{case}: {response:?}");
        assert!(client.is_closed(), "{case}: still open");
        assert_eq!(origin.count(), 0, "{case}: {:?}", origin.take());
    }
    assert_eq!(get(graphward.proxy, "/after").status, 200);
}

#[test]
fn a_body_arrives_complete_and_framed_once() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    for (row, fields, body) in ACCEPTED {
        let case = format!("row {row}: {:?}", format!("{fields} {body}"));
        let mut client = Client::connect(graphward.proxy);
        let response = client.round_trip(format!("POST /r HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{body}"));
        assert_eq!(response.status, 200, "{case}: {response:?}");
        let seen = origin.only();
        let head = seen.head.escape_ascii();
        assert_eq!(
            (seen.body.as_slice(), seen.complete),
            (&b"hello"[..], true),
            "{case}: {head}"
        );
        assert_eq!(seen.header("content-length").as_deref(), Some("5"), "{case}: {head}");
        assert!(!seen.has("transfer-encoding"), "{case}: {head}");
        assert!(!contains(&seen.head, b"evil"), "{case}: {head}");
        let bearer = format!("Bearer {}", super::support::TOKEN);
        assert_eq!(seen.header("authorization"), Some(bearer), "{case}: {head}");
        // Leftover bytes would be the beginning of the next request.
        assert_eq!(
            client
                .round_trip("GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .status,
            200,
            "{case}"
        );
        assert_eq!(origin.only().request_line(), "GET /next HTTP/1.1", "{case}");
    }
}

#[test]
fn row_12_chunked_overrides_a_content_length_and_the_connection_closes() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let mut client = Client::connect(graphward.proxy);
        let response = client.round_trip(format!(
            "POST /r HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n5\r\nhello\r\n0\r\n\r\n{SMUGGLED_REQUEST}"
        ));
        assert!(client.is_closed(), "row 12: {fields}: still open");
        let seen = origin.take();
        match response.status {
            400 => assert!(seen.is_empty(), "row 12: {fields}"),
            200 => {
                assert_eq!(seen.len(), 1, "row 12: {fields}: {seen:?}");
                assert_eq!(seen[0].body, b"hello", "row 12: {fields}");
                assert!(!seen[0].has("transfer-encoding"), "row 12: {fields}");
            }
            other => panic!("row 12: {fields}: {other}"),
        }
    }
}
