//! Rows 12 to 23 and 27: where a request's body ends.

use super::support::client::get;
use super::support::{Client, House, Origin, Setup, contains};

/// What must never be taken for a request.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Row, version, fields, body. All are refused with 400 or 501, and the connection is closed.
const REFUSED: &[(u8, &str, &str, &str)] = &[
    (
        13,
        "1.1",
        "Content-Length: 0\r\nContent-Length: 5\r\n",
        "hello",
    ),
    (
        13,
        "1.1",
        "Content-Length: 5\r\nContent-Length: 0\r\n",
        "hello",
    ),
    (13, "1.1", "Content-Length: 5, 6\r\n", "hello"),
    (14, "1.1", "Content-Length: 5, 5\r\n", "hello"),
    (15, "1.1", "Content-Length: +5\r\n", "hello"),
    (15, "1.1", "Content-Length: +3\r\n", "hello"),
    (15, "1.1", "Content-Length: 0x5\r\n", "hello"),
    (15, "1.1", "Content-Length: 5 5\r\n", "hello"),
    (15, "1.1", "Content-Length: -5\r\n", "hello"),
    (
        15,
        "1.1",
        "Content-Length: 18446744073709551621\r\n",
        "hello",
    ),
    (15, "1.1", "Content-Length: 5_0\r\n", "hello"),
    (15, "1.1", "Content-Length:\r\n", "hello"),
    (15, "1.1", "Content-Length: \"5\"\r\n", "hello"),
    (
        16,
        "1.1",
        "Transfer-Encoding: xchunked\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        16,
        "1.1",
        "Transfer-Encoding: chunkedx\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        16,
        "1.1",
        "Transfer-Encoding: chunked, identity\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        16,
        "1.1",
        "Transfer-Encoding: identity\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
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
    (
        16,
        "1.1",
        "Transfer-Encoding:\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
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
    (
        17,
        "1.0",
        "Transfer-Encoding: chunked\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
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
    (
        18,
        "1.1",
        "Transfer-Encoding: chunked\r\n",
        "G\r\nhello\r\n0\r\n\r\n",
    ),
    (
        18,
        "1.1",
        "Transfer-Encoding: chunked\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        18,
        "1.1",
        "Transfer-Encoding: chunked\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        18,
        "1.1",
        "Transfer-Encoding: chunked\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
    ),
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
    (
        18,
        "1.1",
        "Transfer-Encoding: chunked\r\n",
        "\r\nhello\r\n0\r\n\r\n",
    ),
    (
        18,
        "1.1",
        "Transfer-Encoding: chunked\r\n",
        "3\r\nhello\r\n0\r\n\r\n",
    ),
    (
        18,
        "1.1",
        "Transfer-Encoding: chunked\r\n",
        "5\r\nhelloxx0\r\n\r\n",
    ),
    (
        18,
        "1.1",
        "Transfer-Encoding: chunked\r\n",
        "5\rXhello\r\n0\r\n\r\n",
    ),
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
    (
        19,
        "1.1",
        "Transfer-Encoding: chunked\r\n",
        "5\nhello\r\n0\r\n\r\n",
    ),
    (
        19,
        "1.1",
        "Transfer-Encoding: chunked\r\n",
        "5;a=\rb\r\nhello\r\n0\r\n\r\n",
    ),
];

/// Row, fields, body; all arrive as `hello`, framed once.
const PASSED: &[(u8, &str, &str)] = &[
    (14, "Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
    (15, "Content-Length: 005\r\n", "hello"),
    (
        16,
        "Transfer-Encoding: CHUNKED\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        20,
        "Transfer-Encoding: chunked\r\n",
        "5;a=b\r\nhello\r\n0\r\n\r\n",
    ),
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
    (
        27,
        "Connection: Content-Length\r\nContent-Length: 5\r\n",
        "hello",
    ),
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
fn a_body_whose_end_can_be_argued_about_is_refused() {
    let origin = Origin::plain("x");
    let house = House::before(origin.port);
    for (row, version, fields, body) in REFUSED {
        let shown = format!("row {row}: {:?}", format!("{fields} {body}"));
        let mut client = Client::connect(house.proxy);
        let answer = client.ask(format!(
            "POST /r HTTP/{version}\r\nHost: localhost\r\n{fields}\r\n{body}{HIDDEN}"
        ));
        assert!(matches!(answer.status, 400 | 501), "{shown}: {answer:?}");
        assert!(client.is_closed_within(2_000), "{shown}: still open");
        assert_eq!(origin.count(), 0, "{shown}: {:?}", origin.take());
    }
    assert_eq!(get(house.proxy, "/after").status, 200);
}

#[test]
fn a_body_arrives_whole_and_framed_once() {
    let origin = Origin::plain("x");
    let house = House::before(origin.port);
    for (row, fields, body) in PASSED {
        let shown = format!("row {row}: {:?}", format!("{fields} {body}"));
        let mut client = Client::connect(house.proxy);
        let answer = client.ask(format!(
            "POST /r HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{body}"
        ));
        assert_eq!(answer.status, 200, "{shown}: {answer:?}");
        let seen = origin.only();
        let head = seen.head.escape_ascii();
        assert_eq!(
            (seen.body.as_slice(), seen.whole),
            (&b"hello"[..], true),
            "{shown}: {head}"
        );
        assert_eq!(
            seen.field("content-length").as_deref(),
            Some("5"),
            "{shown}: {head}"
        );
        assert!(!seen.has("transfer-encoding"), "{shown}: {head}");
        assert!(!contains(&seen.head, b"evil"), "{shown}: {head}");
        let bearer = format!("Bearer {}", super::support::TOKEN);
        assert_eq!(seen.field("authorization"), Some(bearer), "{shown}: {head}");
        // What was left over would be the next request's beginning.
        assert_eq!(
            client
                .ask("GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .status,
            200,
            "{shown}"
        );
        assert_eq!(origin.only().line(), "GET /next HTTP/1.1", "{shown}");
    }
}

#[test]
fn row_12_of_two_lengths_the_chunks_count_and_the_connection_ends() {
    let origin = Origin::plain("x");
    let house = House::before(origin.port);
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let mut client = Client::connect(house.proxy);
        let answer = client.ask(format!(
            "POST /r HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n5\r\nhello\r\n0\r\n\r\n{HIDDEN}"
        ));
        assert!(
            client.is_closed_within(2_000),
            "row 12: {fields}: still open"
        );
        let seen = origin.take();
        match answer.status {
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

#[test]
fn row_18_chunks_that_stop_short_are_no_request() {
    let origin = Origin::plain("x");
    let house = House::before(origin.port);
    for body in ["5\r\nhel", "5\r\nhello\r\n", "5\r\nhello\r\n0\r\n", "5", ""] {
        let mut client = Client::connect(house.proxy);
        client.send(format!(
            "POST /r HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
        ));
        client.finish();
        let answer = client.answer();
        assert!(
            matches!(answer.status, 0 | 400),
            "row 18: {body:?}: {answer:?}"
        );
        assert_eq!(origin.count(), 0, "row 18: {body:?}");
    }
}

#[test]
fn row_21_endless_extensions_and_trailers_are_cut_off() {
    let origin = Origin::plain("x");
    let house = House::before(origin.port);
    let long = format!("{}\r\n", "a".repeat(64 * 1024));
    let many = "X-T: aaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(2_000);
    let extensions = "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n".repeat(2_000);
    for (what, start, piece) in [
        ("one extension", "5;a=", long.trim_end()),
        ("one trailer", "5\r\nhello\r\n0\r\nX-T: ", long.trim_end()),
        ("trailers", "5\r\nhello\r\n0\r\n", many.as_str()),
        ("extensions", "", extensions.as_str()),
    ] {
        let mut client = Client::connect(house.proxy);
        client.send(format!(
            "POST /r HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{start}"
        ));
        assert!(
            client.is_cut_off_within_4_mib(piece),
            "row 21: {what}: 4 MiB were taken"
        );
        assert_eq!(origin.count(), 0, "row 21: {what}");
    }
}

#[test]
fn row_23_the_body_of_a_get_is_a_body() {
    let origin = Origin::plain("x");
    let house = House::before(origin.port);
    for method in ["GET", "DELETE", "OPTIONS"] {
        let mut client = Client::connect(house.proxy);
        let answer = client.ask(format!(
            "{method} /r HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{HIDDEN}",
            HIDDEN.len()
        ));
        assert_eq!(answer.status, 200, "row 23: {method}");
        let seen = origin.only();
        assert_eq!(seen.body, HIDDEN.as_bytes(), "row 23: {method}");
        assert_eq!(
            client
                .ask("GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .status,
            200
        );
        assert_eq!(
            origin.only().line(),
            "GET /next HTTP/1.1",
            "row 23: {method}"
        );
    }
}

#[test]
fn bodies_too_large_to_hold_stream_and_are_framed_once_too() {
    let origin = Origin::plain("x");
    let setup = Setup {
        heal: "body_memory = \"1KiB\"\nspool_dir = \"off\"",
        ..Setup::default()
    };
    let house = House::with(origin.port, setup);
    let chunk = format!("1000\r\n{}\r\n", "a".repeat(4096));
    let head = "POST /r HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut client = Client::connect(house.proxy);
    let answer = client.ask(format!(
        "{head}{}0\r\nAuthorization: evil\r\n\r\n",
        chunk.repeat(3)
    ));
    assert_eq!(answer.status, 200);
    let seen = origin.only();
    assert_eq!((seen.body.len(), seen.whole), (3 * 4096, true));
    assert!(!contains(&seen.head, b"evil"));

    // A client's mistake is the client's, though half of it is at the origin already.
    let answer = Client::connect(house.proxy).ask(format!("{head}{}G\r\n", chunk.repeat(3)));
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(origin.take().iter().all(|seen| !seen.whole));
}
