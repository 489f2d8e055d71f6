//! Row 50, and the other rows over HTTP/2 with prior knowledge.

use super::support::client::get;
use super::support::h2c::{self, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Outcome};
use super::support::{Decoy, H2c, Origin, TestProxy, contains};

type Field = (&'static [u8], &'static [u8]);

const METHOD: Field = (b":method", b"GET");
const SCHEME: Field = (b":scheme", b"http");
const AUTHORITY: Field = (b":authority", b"localhost");
const PATH: Field = (b":path", b"/r");

/// Header blocks that are refused, with a 4xx status or a reset.
const REFUSED: &[&[Field]] = &[
    &[METHOD, SCHEME, AUTHORITY, PATH, (b"X-Upper", b"1")],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b"connection", b"close")],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b"connection", b"x-a"), (b"x-a", b"1")],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b"transfer-encoding", b"chunked")],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b"keep-alive", b"5")],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b"proxy-connection", b"x")],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b"upgrade", b"h2c")],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b"te", b"gzip")],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b"x-a", b"1\r\nx-evil: 2")],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b"x-a", b"1\n2")],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b"x-a", b"1\r2")],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b"x-a", b"1\x002")],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b"x-a\r\nx-evil", b"1")],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b"x-\x00a", b"1")],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b"x a", b"1")],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b"x:a", b"1")],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b"", b"1")],
    &[METHOD, SCHEME, AUTHORITY, (b":path", b"/r\r\nx-evil: 1")],
    &[METHOD, SCHEME, AUTHORITY, (b":path", b"/r HTTP/1.1\r\nHost: x\r\n\r\n")],
    &[METHOD, SCHEME, AUTHORITY, (b":path", b"/r\x00")],
    &[METHOD, SCHEME, AUTHORITY, (b":path", b"/r r")],
    &[METHOD, SCHEME, AUTHORITY, (b":path", b"")],
    &[METHOD, SCHEME, AUTHORITY, (b":path", b"r")],
    &[METHOD, SCHEME, AUTHORITY, (b":path", b"*")],
    &[METHOD, SCHEME, AUTHORITY, (b":path", b"http://evil.example/")],
    &[(b":method", b"GET /x HTTP/1.1\r\nX: "), SCHEME, AUTHORITY, PATH],
    &[(b":method", b""), SCHEME, AUTHORITY, PATH],
    &[(b":method", b"TRACE"), SCHEME, AUTHORITY, PATH],
    &[SCHEME, AUTHORITY, PATH],
    &[METHOD, AUTHORITY, PATH],
    &[METHOD, SCHEME, PATH],
    &[METHOD, SCHEME, AUTHORITY],
    &[METHOD, METHOD, SCHEME, AUTHORITY, PATH],
    &[METHOD, SCHEME, SCHEME, AUTHORITY, PATH],
    &[METHOD, SCHEME, AUTHORITY, AUTHORITY, PATH],
    &[METHOD, SCHEME, AUTHORITY, PATH, PATH],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b":path", b"/evil")],
    &[METHOD, SCHEME, AUTHORITY, (b"x-a", b"1"), PATH],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b":status", b"200")],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b":unknown", b"1")],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b":protocol", b"websocket")],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b"host", b"evil.example")],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b"host", b"127.0.0.1")],
    &[
        METHOD,
        SCHEME,
        AUTHORITY,
        PATH,
        (b"host", b"localhost"),
        (b"host", b"localhost"),
    ],
    &[METHOD, SCHEME, PATH, (b"host", b"evil.example")],
    &[METHOD, SCHEME, (b":authority", b"evil.example"), PATH],
    &[METHOD, SCHEME, (b":authority", b"u@localhost"), PATH],
    &[METHOD, SCHEME, (b":authority", b"localhost/evil"), PATH],
    &[METHOD, SCHEME, (b":authority", b""), PATH],
    &[METHOD, (b":scheme", b"javascript"), AUTHORITY, PATH],
    &[METHOD, (b":scheme", b"http://evil.example/?"), AUTHORITY, PATH],
    &[METHOD, (b":scheme", b"file"), AUTHORITY, PATH],
    &[METHOD, (b":scheme", b""), AUTHORITY, PATH],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b"content-length", b"5")],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b"content-length", b"+0")],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b"sec-fetch-site", b"cross-site")],
    &[METHOD, SCHEME, AUTHORITY, PATH, (b"origin", b"http://evil.example")],
    &[(b":method", b"CONNECT"), (b":authority", b"localhost:80")],
    &[(b":method", b"CONNECT"), SCHEME, AUTHORITY, PATH],
];

fn is_refused(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Status(status, _body) => matches!(status, 400..500),
        Outcome::Reset(_) | Outcome::GoAway(_) | Outcome::Closed => true,
    }
}

fn describe_fields(fields: &[Field]) -> String {
    let show = |(name, value): &Field| format!("{}: {}", name.escape_ascii(), value.escape_ascii());
    fields.iter().map(show).collect::<Vec<_>>().join(", ")
}

#[test]
fn row_50_a_malformed_request_never_reaches_the_origin() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    for fields in REFUSED {
        let mut client = H2c::connect(graphward.proxy);
        client.request(1, fields);
        let outcome = client.outcome(1);
        assert!(is_refused(&outcome), "row 50: {}: {outcome:?}", describe_fields(fields));
        assert_eq!(origin.count(), 0, "row 50: {}", describe_fields(fields));
    }
    assert_eq!(
        H2c::connect(graphward.proxy).get(1, "/r"),
        Outcome::Status(200, b"x".to_vec())
    );
}

#[test]
fn row_50_a_length_that_is_not_that_of_the_data_is_refused() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    for (length, data) in [
        (&b"3"[..], &b"hello"[..]),
        (b"10", b"hello"),
        (b"0", b"hello"),
        (b"5, 5", b"hello"),
        (b"0x5", b"hello"),
    ] {
        let mut client = H2c::connect(graphward.proxy);
        let fields: &[(&[u8], &[u8])] = &[
            (b":method", b"POST"),
            SCHEME,
            AUTHORITY,
            PATH,
            (b"content-length", length),
        ];
        client.send(h2c::frame(HEADERS, END_HEADERS, 1, &h2c::block(fields)));
        client.send(h2c::frame(DATA, END_STREAM, 1, data));
        let outcome = client.outcome(1);
        assert!(is_refused(&outcome), "row 50: {}: {outcome:?}", length.escape_ascii());
        assert_eq!(origin.count(), 0, "row 50: {}", length.escape_ascii());
    }
}

#[test]
fn row_37_an_http2_connect_with_a_body_never_reaches_the_origin() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let decoy = Decoy::listen();
    let authority = format!("127.0.0.1:{}", decoy.port);
    let mut client = H2c::connect(graphward.proxy);
    let fields: &[(&[u8], &[u8])] = &[(b":method", b"CONNECT"), (b":authority", authority.as_bytes())];
    client.send(h2c::frame(HEADERS, END_HEADERS, 1, &h2c::block(fields)));
    let hidden = b"GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.send(h2c::frame(DATA, END_STREAM, 1, hidden));
    let outcome = client.outcome(1);
    assert!(is_refused(&outcome), "row 37: {outcome:?}");
    assert_eq!(get(graphward.proxy, "/after").status, 200);
    assert_eq!(origin.only().request_line(), "GET /after HTTP/1.1", "row 37");
    assert!(decoy.had_no_connection(), "row 37");
}

#[test]
fn what_is_said_over_http2_arrives_as_over_http1() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let mut client = H2c::connect(graphward.proxy);
    let fields: &[(&[u8], &[u8])] = &[
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":authority", b"graph.facebook.com"),
        (b":path", b"/a%2Fb/../c?x=1&&x=2"),
        (b"host", b"graph.facebook.com"),
        (b"te", b"trailers"),
        (b"cookie", b"a=1"),
        (b"cookie", b"b=2"),
        (b"authorization", b"Bearer evil"),
        (b"x_under", b"\x80\xff"),
        (b"x-empty", b""),
    ];
    let block = h2c::block(fields);
    let (early, late) = block.split_at(40);
    client.send(h2c::frame(HEADERS, 0, 1, early));
    client.send(h2c::frame(CONTINUATION, END_HEADERS, 1, late));
    client.send(h2c::frame(DATA, 0, 1, b"hel"));
    client.send(h2c::frame(DATA, 0, 1, b"lo"));
    let trailers = h2c::block(&[(b"authorization", b"Bearer evil"), (b"x-trailer", b"evil")]);
    client.send(h2c::frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers));
    assert_eq!(client.outcome(1), Outcome::Status(200, b"x".to_vec()));
    let seen = origin.only();
    let head = seen.head.escape_ascii();
    assert_eq!(seen.request_line(), "POST /a%2Fb/../c?x=1&&x=2 HTTP/1.1");
    assert_eq!((seen.body.as_slice(), seen.complete), (&b"hello"[..], true), "{head}");
    assert_eq!(seen.header("content-length").as_deref(), Some("5"), "{head}");
    assert!(contains(&seen.head, b"\r\nx_under: \x80\xff\r\n"), "{head}");
    assert!(!contains(&seen.head, b"evil"), "{head}");
    assert!(
        !seen.has("te") && !seen.has("cookie") && !seen.has("transfer-encoding"),
        "{head}"
    );
}

#[test]
fn answers_over_http2_have_no_field_of_one_connection_only() {
    let origin = Origin::scripted(|exchange| {
        exchange.read_body();
        exchange.write("HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: 5\r\nX-Hop: 1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        super::support::ConnectionAction::KeepAlive
    });
    let graphward = TestProxy::start(origin.port);
    let mut client = H2c::connect(graphward.proxy);
    assert_eq!(client.get(1, "/a"), Outcome::Status(200, b"hello".to_vec()));
    assert_eq!(client.get(3, "/b"), Outcome::Status(200, b"hello".to_vec()));
}

#[test]
fn a_broken_http2_connection_takes_no_other_with_it() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let mut good = H2c::connect(graphward.proxy);
    assert_eq!(good.get(1, "/a"), Outcome::Status(200, b"x".to_vec()));
    let block = h2c::block(&h2c::request_fields(b"GET", b"/evil"));
    let broken_table = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    for (what, bytes) in [
        ("a frame too large", h2c::frame(DATA, 0, 1, &vec![0; 20_000])),
        (
            "an even stream",
            h2c::frame(HEADERS, END_HEADERS | END_STREAM, 2, &block),
        ),
        ("stream 0", h2c::frame(HEADERS, END_HEADERS | END_STREAM, 0, &block)),
        ("DATA before HEADERS", h2c::frame(DATA, END_STREAM, 1, b"evil")),
        (
            "a broken block",
            h2c::frame(HEADERS, END_HEADERS | END_STREAM, 1, &broken_table),
        ),
        ("CONTINUATION alone", h2c::frame(CONTINUATION, END_HEADERS, 1, &block)),
        (
            "a request of HTTP/1",
            b"GET /evil HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        ),
    ] {
        let mut client = H2c::connect(graphward.proxy);
        client.send(bytes);
        let outcome = client.outcome(1);
        assert!(is_refused(&outcome), "{what}: {outcome:?}");
    }
    assert_eq!(good.get(3, "/b"), Outcome::Status(200, b"x".to_vec()));
    let seen = origin.take();
    assert!(
        seen.iter().all(|seen| !seen.request_line().contains("evil")),
        "{seen:?}"
    );
}
