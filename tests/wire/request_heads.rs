//! Rows 1 to 11, 29 to 33: request lines and fields.

use super::support::client::{get, round_trip};
use super::support::{Client, Origin, ProxyConfig, TestProxy, contains};

/// Row, request, statuses with which it may be refused.
const REFUSED: &[(u8, &[u8], &[u16])] = &[
    (1, b"GET /r HTTP/1.1\r\nHost: localhost\r\nX-Foo : bar\r\n\r\n", &[400]),
    (1, b"GET /r HTTP/1.1\r\nHost : localhost\r\n\r\n", &[400]),
    (1, b"GET /r HTTP/1.1\r\nHost: localhost\r\nX Foo: bar\r\n\r\n", &[400]),
    (1, b"GET /r HTTP/1.1\r\nHost: localhost\r\n: bar\r\n\r\n", &[400]),
    (1, b"GET /r HTTP/1.1\r\nHost: localhost\r\nX-Foo\r\n\r\n", &[400]),
    (
        2,
        b"GET /r HTTP/1.1\r\nHost: localhost\r\nX-Fold: one\r\n two\r\n\r\n",
        &[400],
    ),
    (
        2,
        b"GET /r HTTP/1.1\r\nHost: localhost\r\nX-Fold: one\r\n\ttwo\r\n\r\n",
        &[400],
    ),
    (
        4,
        b"GET /r HTTP/1.1\r\nHost: localhost\r\nX-A: one\rX-Evil: two\r\n\r\n",
        &[400],
    ),
    (
        4,
        b"GET /r HTTP/1.1\r\nHost: localhost\r\nX-A: one\0two\r\n\r\n",
        &[400],
    ),
    (4, b"GET /r HTTP/1.1\r\nHost: localhost\r\nX-\0A: one\r\n\r\n", &[400]),
    (5, b"GET /r HTTP/1.1\r\n\r\n", &[400]),
    (5, b"GET /r HTTP/1.1\r\nHost:\r\n\r\n", &[400]),
    (
        5,
        b"GET /r HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        &[400],
    ),
    (
        5,
        b"GET /r HTTP/1.1\r\nHost: localhost\r\nX-A: 1\r\nHost: evil.example\r\n\r\n",
        &[400],
    ),
    (5, b"GET /r HTTP/1.1\r\nHost: a b\r\n\r\n", &[400]),
    (5, b"GET /r HTTP/1.1\r\nHost: u@localhost\r\n\r\n", &[400]),
    (5, b"GET /r HTTP/1.1\r\nHost: u@localhost/x\r\n\r\n", &[400]),
    (5, b"GET /r HTTP/1.1\r\nHost: localhost/x\r\n\r\n", &[400]),
    (5, b"GET /r HTTP/1.1\r\nHost: localhost:80:80\r\n\r\n", &[400]),
    (5, b"GET /r HTTP/1.1\r\nHost: localhost:port\r\n\r\n", &[400]),
    (5, b"GET /r HTTP/1.1\r\nHost: localhost, localhost\r\n\r\n", &[400]),
    (6, b"GET /r HTTP/1.1\r\n Host: localhost\r\n\r\n", &[400]),
    (6, b"GET /r HTTP/1.1\r\n X-A: 1\r\nHost: localhost\r\n\r\n", &[400]),
    (7, b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
    (7, b"GET  /a HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
    (7, b"GET /a  HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
    (7, b"GET\t/a HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
    (7, b"GET /a\r\nHost: localhost\r\n\r\n", &[400]),
    (8, b"GET /r HTTP/1.1x\r\nHost: localhost\r\n\r\n", &[400, 505]),
    (8, b"GET /r HTTP/3.7\r\nHost: localhost\r\n\r\n", &[400, 505]),
    (8, b"GET /r HTTP/2.0\r\nHost: localhost\r\n\r\n", &[400, 505]),
    (8, b"GET /r HTTP/0.9\r\nHost: localhost\r\n\r\n", &[400, 505]),
    (8, b"GET /r http/1.1\r\nHost: localhost\r\n\r\n", &[400, 505]),
    (8, b"GET /r HTTP/1\r\nHost: localhost\r\n\r\n", &[400, 505]),
    (8, b"GET /r HTTP/1.10\r\nHost: localhost\r\n\r\n", &[400, 505]),
    (8, b"GET /r HTP/1.1\r\nHost: localhost\r\n\r\n", &[400, 505]),
];

/// Row, request, the request line at the origin, lines of the head that arrive, lines that do not.
type AcceptedCase = (
    u8,
    &'static [u8],
    &'static str,
    &'static [&'static [u8]],
    &'static [&'static [u8]],
);

const ACCEPTED: &[AcceptedCase] = &[
    (3, b"GET /r HTTP/1.1\nHost: localhost\nX-A: 1\n\n", "GET /r HTTP/1.1", &[b"\r\nx-a: 1\r\n"], &[b"1\n\r", b"1\nx"]),
    (11, b"get /r HTTP/1.1\r\nHost: localhost\r\n\r\n", "get /r HTTP/1.1", &[], &[b"GET"]),
    (11, b"PURR /r HTTP/1.1\r\nHost: localhost\r\n\r\n", "PURR /r HTTP/1.1", &[], &[]),
    (11, b"PATCH /r HTTP/1.1\r\nHost: localhost\r\n\r\n", "PATCH /r HTTP/1.1", &[], &[]),
    (29, b"GET /r HTTP/1.1\r\nHost: localhost\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nX-Kept: 2\r\n\r\n",
        "GET /r HTTP/1.1", &[b"\r\nx-kept: 2\r\n"], &[b"x-hop", b"connection"]),
    (29, b"GET /r HTTP/1.1\r\nHost: localhost\r\nConnection: X-A\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-A: 2\r\n\r\n",
        "GET /r HTTP/1.1", &[], &[b"x-hop", b"x-a", b"connection"]),
    (29, b"GET /r HTTP/1.1\r\nHost: localhost\r\nKeep-Alive: 5\r\nTE: trailers\r\nTrailer: X\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\nUpgrade: x\r\n\r\n",
        "GET /r HTTP/1.1", &[], &[b"keep-alive", b"\r\nte:", b"trailer", b"proxy-", b"upgrade"]),
    (30, b"GET /r HTTP/1.1\r\nHost: localhost\r\nVia: 1.0 fred\r\n\r\n",
        "GET /r HTTP/1.1", &[b"\r\nvia: 1.0 fred\r\n"], &[b"graphward"]),
    (32, b"GET /r HTTP/1.1\r\nHost: localhost\r\nX-High: \x80\xa0\xc3\xa9\xfe\xff\r\n\r\n",
        "GET /r HTTP/1.1", &[b"\r\nx-high: \x80\xa0\xc3\xa9\xfe\xff\r\n"], &[]),
    (33, b"GET /r HTTP/1.1\r\nHost: localhost\r\nX_Under: 1\r\nX-Empty:\r\n!#$%&'*+-.^_`|~09az: odd\r\n\r\n",
        "GET /r HTTP/1.1", &[b"\r\nx_under: 1\r\n", b"\r\nx-empty: \r\n", b"\r\n!#$%&'*+-.^_`|~09az: odd\r\n"], &[]),
    (33, b"GET /r HTTP/1.1\r\nHost: localhost\r\nX-Twice: b\r\nX-Other: 1\r\nX-Twice: a\r\nX-Tab: a\tb\r\n\r\n",
        "GET /r HTTP/1.1", &[b"\r\nx-twice: b\r\nx-twice: a\r\n", b"\r\nx-tab: a\tb\r\n"], &[]),
];

#[test]
fn what_is_no_request_is_refused_and_the_connection_closed() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    for (row, bytes, statuses) in REFUSED {
        let escaped = bytes.escape_ascii();
        let mut client = Client::connect(graphward.proxy);
        let response = client.round_trip(bytes);
        assert!(
            statuses.contains(&response.status),
            "row {row}: {escaped}: {response:?}"
        );
        assert!(client.is_closed(), "row {row}: {escaped}: still open");
        assert_eq!(origin.count(), 0, "row {row}: {escaped}");
    }
    assert_eq!(get(graphward.proxy, "/after").status, 200);
}

#[test]
fn what_is_a_request_arrives_as_it_was_meant() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    for (row, bytes, line, has, lacks) in ACCEPTED {
        let escaped = bytes.escape_ascii();
        let response = round_trip(graphward.proxy, bytes);
        assert_eq!(response.status, 200, "row {row}: {escaped}");
        let seen = origin.only();
        let head = seen.head.escape_ascii();
        assert_eq!(seen.request_line(), *line, "row {row}: {escaped}: {head}");
        for wanted in *has {
            assert!(contains(&seen.head, wanted), "row {row}: {escaped}: {head}");
        }
        for unwanted in *lacks {
            assert!(!contains(&seen.head, unwanted), "row {row}: {escaped}: {head}");
        }
        assert_eq!(seen.header("host").as_deref(), Some("graph.facebook.com"), "row {row}");
    }
}

#[test]
fn row_9_heads_without_measure_are_refused() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let field = format!("X-Long: {}\r\n", "a".repeat(256 * 1024));
    let fields = "X-Many: 1\r\n".repeat(10_000);
    let just_too_many = "X-Many: 1\r\n".repeat(100);
    for (what, more) in [("long", field), ("many", fields), ("101", just_too_many)] {
        let bytes = format!("GET /r HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
        assert_eq!(round_trip(graphward.proxy, bytes).status, 431, "row 9: {what}");
    }
    // Past the buffer for heads, it is only known that the head is too long.
    for (kibibytes, status) in [(66, 414), (256, 431)] {
        let target = "a".repeat(kibibytes * 1024);
        let bytes = format!("GET /{target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(round_trip(graphward.proxy, bytes).status, status, "row 9: target");
    }
    assert_eq!(origin.count(), 0);

    let within = "X-Many: 1\r\n".repeat(99);
    let bytes = format!("GET /r HTTP/1.1\r\nHost: localhost\r\n{within}\r\n");
    assert_eq!(
        round_trip(graphward.proxy, bytes).status,
        200,
        "row 9: as many as are taken"
    );
    let path = format!("/{}", "a".repeat(60 * 1024));
    assert_eq!(get(graphward.proxy, &path).status, 200, "row 9: as long as is taken");
    assert_eq!(origin.take()[1].request_line(), format!("GET {path} HTTP/1.1"));
}

#[test]
fn row_9_a_head_that_never_ends_is_cut_off() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let mut client = Client::connect(graphward.proxy);
    client.send("GET /r HTTP/1.1\r\nHost: localhost\r\nX-Long: ");
    let piece = "a".repeat(64 * 1024);
    assert!(client.stops_reading_within_4_mib(&piece), "4 MiB of a field were taken");
    assert_eq!(origin.count(), 0);
}

#[test]
fn row_10_an_old_client_gets_a_chunked_answer_unchunked_and_its_connection_ends() {
    let origin = Origin::scripted(|exchange| {
        exchange.read_body();
        exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nold\r\n2\r\n!!\r\n0\r\n\r\n");
        super::support::ConnectionAction::KeepAlive
    });
    let graphward = TestProxy::start(origin.port);
    for request in ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"] {
        let mut client = Client::connect(graphward.proxy);
        let response = client.round_trip(request);
        assert_eq!((response.status, response.body.as_slice()), (200, &b"old!!"[..]));
        assert_eq!(response.field("transfer-encoding"), None);
        assert!(client.is_closed());
        assert_eq!(origin.only().request_line(), "GET / HTTP/1.1");
    }
}

#[test]
fn rows_30_and_31_via_is_appended_and_max_forwards_obeyed_where_configured() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start_with(origin.port, ProxyConfig::upstream("via = true"));
    round_trip(
        graphward.proxy,
        "GET /r HTTP/1.1\r\nHost: localhost\r\nVia: 1.0 fred\r\n\r\n",
    );
    let seen = origin.only();
    let via = super::support::message::values(&seen.head, "via");
    assert_eq!(via, [b"1.0 fred".to_vec(), b"1.1 graphward".to_vec()], "row 30");

    let options = |left: &str| format!("OPTIONS /r HTTP/1.1\r\nHost: localhost\r\nMax-Forwards: {left}\r\n\r\n");
    let response = round_trip(graphward.proxy, options("0"));
    assert_eq!(response.status, 204, "row 31");
    assert!(response.field("allow").unwrap().contains("POST"), "row 31");
    assert_eq!(origin.count(), 0, "row 31");
    assert_eq!(round_trip(graphward.proxy, options("3")).status, 200, "row 31");
    assert_eq!(origin.only().header("max-forwards").as_deref(), Some("2"), "row 31");
}

#[test]
fn row_32_high_bytes_of_an_answer_come_back_byte_for_byte() {
    let origin = Origin::scripted(|exchange| {
        exchange.read_body();
        exchange.write(b"HTTP/1.1 200 OK\r\nX-High: \x80\xa0\xc3\xa9\xfe\xff\r\nContent-Length: 0\r\n\r\n");
        super::support::ConnectionAction::KeepAlive
    });
    let graphward = TestProxy::start(origin.port);
    let response = get(graphward.proxy, "/");
    assert!(
        contains(&response.head, b"\r\nx-high: \x80\xa0\xc3\xa9\xfe\xff\r\n"),
        "row 32: {response:?}"
    );
}
