//! Section 5: published vulnerabilities of other proxies that no row covers.

use super::support::client::{get, get_request, post_request, round_trip};
use super::support::{Client, ConnectionAction, H2c, Origin, ProxyConfig, TestProxy, contains};

#[test]
fn a_deeply_nested_error_is_passed_on_unchanged() {
    let deep = "[".repeat(60_000);
    let nested = format!("{{\"error\":{}", "{\"error\":".repeat(6_000));
    for body in [deep, nested] {
        let sent = body.clone();
        let origin = Origin::scripted(move |exchange| {
            exchange.read_body();
            let length = sent.len();
            exchange.write(format!(
                "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{sent}"
            ));
            ConnectionAction::KeepAlive
        });
        let graphward = TestProxy::start(origin.port);
        let response = get(graphward.proxy, "/deep");
        assert_eq!((response.status, response.text() == body), (400, true));
        assert_eq!(origin.count(), 1);
    }
}

#[test]
fn a_decompression_bomb_is_passed_on_compressed() {
    use std::io::Write as _;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(b"{\"error\":{\"code\":190,\"message\":\"").unwrap();
    for _ in 0..400 {
        gzip.write_all(&[b'a'; 64 * 1024]).unwrap();
    }
    let bomb = gzip.finish().unwrap();
    assert!(bomb.len() < 64 * 1024, "{}", bomb.len());
    let sent = bomb.clone();
    let origin = Origin::scripted(move |exchange| {
        exchange.read_body();
        let length = sent.len();
        exchange.write(format!(
            "HTTP/1.1 400 Bad Request\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n"
        ));
        exchange.write(&sent);
        ConnectionAction::KeepAlive
    });
    let graphward = TestProxy::start(origin.port);
    let response = round_trip(
        graphward.proxy,
        "GET / HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n",
    );
    assert_eq!((response.status, response.body == bomb), (400, true));
    assert_eq!(origin.count(), 1, "what it unfolds to is not looked at");
}

#[test]
fn an_endless_error_is_streamed() {
    let origin = Origin::scripted(|exchange| {
        exchange.read_body();
        exchange.write("HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = format!("10000\r\n{}\r\n", "a".repeat(65_536));
        while exchange.write(&chunk) {}
        ConnectionAction::Reset
    });
    let graphward = TestProxy::start(origin.port);
    let mut client = Client::connect(graphward.proxy);
    client.send(get_request("/endless"));
    assert!(client.reads_head(), "its head is not held back");
}

#[test]
fn hostile_input_creates_no_metric_series() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let strange = |number: usize| {
        let n = number;
        for request in [
            format!("GET /{n}?{n} HTTP/1.1\r\nHost: localhost\r\nX-{n}: {n}\r\n\r\n"),
            format!("M{n} /x HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            format!("GET /x HTTP/1.1\r\nHost: h{n}.example\r\n\r\n"),
            format!("GET /x HTTP/1.1\r\nHost: localhost\r\nAuthorization: S{n} x\r\n\r\n"),
            format!("GET /x?access_token={n} HTTP/1.1\r\nHost: localhost\r\nX-Tenant: {n}\r\n\r\n"),
            format!("POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: t{n}\r\n\r\n"),
            format!("BROKEN{n}\r\n\r\n"),
        ] {
            round_trip(graphward.proxy, request);
        }
    };
    let series = || get(graphward.admin, "/metrics").text().lines().count();
    strange(0);
    let before = series();
    (1..40).for_each(strange);
    assert_eq!(series(), before);
}

#[test]
fn an_unread_body_is_not_parsed_as_a_request() {
    // Pingora, CVE-2025-4366: the origin answers before it read the body, and keeps the connection.
    let origin = Origin::scripted(|exchange| {
        if exchange.path() == "/early" {
            exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly");
            exchange.read_body();
            return ConnectionAction::KeepAlive;
        }
        exchange.ok("x")
    });
    let streaming = "body_memory = \"1KiB\"\nspool_dir = \"off\"";
    for heal in ["", streaming] {
        let setup = ProxyConfig {
            heal,
            ..ProxyConfig::default()
        };
        let graphward = TestProxy::start_with(origin.port, setup);
        let hidden = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1_000);
        let mut client = Client::connect(graphward.proxy);
        let response = client.round_trip(post_request("/early", &hidden));
        assert_eq!(response.text(), "early");
        for _ in 0..3 {
            assert_eq!(get(graphward.proxy, "/next").text(), "x");
        }
        let lines: Vec<String> = origin.take().iter().map(|seen| seen.request_line()).collect();
        assert!(!lines.iter().any(|line| line.contains("hidden")), "{lines:?}");
        assert_eq!(lines.len(), 4, "{lines:?}");
    }
}

#[test]
fn the_body_of_a_refused_request_is_skipped() {
    // Refused for its host or its origin, but well framed: its body is skipped, and the next request is served.
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let hidden = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (fields, status) in [
        ("Host: evil.example\r\n", 421),
        ("Host: localhost\r\nOrigin: null\r\n", 403),
    ] {
        let mut client = Client::connect(graphward.proxy);
        let length = hidden.len();
        let response = client.round_trip(format!(
            "POST /r HTTP/1.1\r\n{fields}Content-Length: {length}\r\n\r\n{hidden}"
        ));
        assert_eq!(response.status, status);
        let next = client.round_trip(get_request("/next"));
        assert!(matches!(next.status, 0 | 200), "{next:?}");
        assert!(origin.take().iter().all(|seen| seen.request_line().contains("/next")));
    }
}

#[test]
fn two_protocols_share_a_port_and_neither_sees_the_others_token() {
    let origin = Origin::scripted(|exchange| {
        let path = exchange.path();
        exchange.ok(&path)
    });
    let graphward = TestProxy::start(origin.port);
    let mut http2 = H2c::connect(graphward.proxy);
    let mut http1 = Client::connect(graphward.proxy);
    for turn in 0..20u32 {
        let path = format!("/h2/{turn}");
        let outcome = http2.get(turn * 2 + 1, &path);
        assert_eq!(outcome, super::support::h2c::Outcome::Status(200, path.into_bytes()));
        let path = format!("/h1/{turn}");
        assert_eq!(http1.round_trip(get_request(&path)).text(), path);
    }
    let seen = origin.take();
    assert_eq!(seen.len(), 40);
    assert!(
        seen.iter()
            .all(|seen| contains(&seen.head, super::support::TOKEN.as_bytes()))
    );
}
