//! Rows 34 to 38, and the host: request targets.

use super::support::client::{get, round_trip};
use super::support::{Client, Decoy, Origin, TestProxy, contains};

/// Paths that arrive byte for byte.
const PRESERVED_PATHS: &[&str] = &[
    "/",
    "/a%2Fb%2fc%3Ad%25",
    "/x?",
    "/v23.0/me?a=1&a=2&&=v",
    "//d//",
    "//evil.example/d",
    "/;p/a;b=c",
    "/%zz",
    "/a/../b/./c",
    "/..",
    "/%2e%2e/a",
    "/..%2f..%2fetc",
    "/a\\b",
    "/~a!$&'()*+,;=:@",
    "/x?a=/?b=c/../d",
    "/x?a=%0d%0aX-Evil:%201",
    "/{a}|\"",
    "/metrics",
    "/readyz",
    "/healthz",
    "/admin/token-status",
    "/shutdown",
];

#[test]
fn row_34_a_path_arrives_byte_for_byte() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    for path in PRESERVED_PATHS {
        let response = get(graphward.proxy, path);
        match response.status {
            // The admin paths are on the other listener; here they are paths of Graph.
            200 => assert_eq!(origin.only().request_line(), format!("GET {path} HTTP/1.1"), "row 34"),
            400 => assert_eq!(origin.count(), 0, "row 34: {path}"),
            other => panic!("row 34: {path}: {other}"),
        }
    }
}

#[test]
fn row_34_a_fragment_never_reaches_the_origin() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    for path in ["/a#b", "/a?b#c", "/admin#/../b", "/a#?access_token=evil"] {
        let response = get(graphward.proxy, path);
        assert!(matches!(response.status, 200 | 400), "row 34: {path}");
        for seen in origin.take() {
            assert!(!contains(&seen.head, b"#"), "row 34: {path}");
            assert!(!contains(&seen.head, b"evil"), "row 34: {path}");
        }
    }
}

#[test]
fn row_35_an_absolute_target_with_the_own_host_is_a_path() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let own = graphward.proxy;
    for target in [
        format!("http://{own}/p?q"),
        format!("HTTP://LOCALHOST:{}/p?q", own.port()),
        "http://graph.facebook.com/p?q".to_owned(),
        "https://graph.facebook.com/p?q".to_owned(),
        "http://[::1]:1/p?q".to_owned(),
    ] {
        let response = round_trip(own, format!("GET {target} HTTP/1.1\r\nHost: {own}\r\n\r\n"));
        assert_eq!(response.status, 200, "row 35: {target}");
        let seen = origin.only();
        assert_eq!(seen.request_line(), "GET /p?q HTTP/1.1", "row 35: {target}");
        assert_eq!(seen.header("host").as_deref(), Some("graph.facebook.com"), "row 35");
    }
    let response = round_trip(own, format!("GET http://{own}?q HTTP/1.1\r\nHost: {own}\r\n\r\n"));
    assert!(matches!(response.status, 200 | 400), "row 35: without a path");
    for seen in origin.take() {
        assert_eq!(seen.request_line(), "GET /?q HTTP/1.1", "row 35");
    }
}

#[test]
fn row_36_no_request_is_redirected() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let decoy = Decoy::listen();
    let port = decoy.port;
    // The decoy is on loopback, whose names graphward accepts, so only its port differs.
    for request in [
        "GET http://other.example/p HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET http://other.example/p HTTP/1.1\r\nHost: other.example\r\n\r\n".to_owned(),
        "GET http://localhost/p HTTP/1.1\r\nHost: other.example\r\n\r\n".to_owned(),
        "GET /p HTTP/1.1\r\nHost: other.example\r\n\r\n".to_owned(),
        "GET /p HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n".to_owned(),
        "GET /p HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n".to_owned(),
        "GET /p HTTP/1.1\r\nHost: 127.0.0.1.nip.io\r\n\r\n".to_owned(),
        "GET http://u:p@localhost/p HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET file:///etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET gopher://localhost/p HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
    ] {
        let response = round_trip(graphward.proxy, &request);
        assert!(
            matches!(response.status, 400 | 403 | 421),
            "row 36: {request}: {response:?}"
        );
        assert_eq!(origin.count(), 0, "row 36: {request}");
    }
    for (target, fields) in [
        (format!("http://127.0.0.1:{port}/p"), String::new()),
        (format!("https://localhost:{port}/p"), String::new()),
        ("/p".to_owned(), format!("X-Forwarded-Host: 127.0.0.1:{port}\r\n")),
        ("/p".to_owned(), format!("X_Forwarded_Host: 127.0.0.1:{port}\r\n")),
        ("/p".to_owned(), format!("Forwarded: host=127.0.0.1:{port}\r\n")),
        ("/p".to_owned(), format!("X-Original-URL: http://127.0.0.1:{port}/\r\n")),
        (
            "/p".to_owned(),
            "X-Forwarded-For: 1\r\nX_Forwarded_For: 2\r\nX-Real-IP: 3\r\n".to_owned(),
        ),
    ] {
        let response = round_trip(
            graphward.proxy,
            format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{fields}\r\n"),
        );
        assert_eq!(response.status, 200, "row 36: {target} {fields}");
        let seen = origin.only();
        let head = seen.head.escape_ascii();
        assert_eq!(
            seen.header("host").as_deref(),
            Some("graph.facebook.com"),
            "row 36: {head}"
        );
        assert_eq!(seen.request_line(), "GET /p HTTP/1.1", "row 36: {head}");
        let lower = seen.head.to_ascii_lowercase();
        assert!(
            !contains(&lower, b"forwarded") && !contains(&lower, b"x-real-ip"),
            "row 36: {head}"
        );
    }
    assert!(decoy.had_no_connection(), "row 36");
}

#[test]
fn row_37_connect_is_refused() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let decoy = Decoy::listen();
    let hidden = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (target, fields) in [
        (format!("127.0.0.1:{}", decoy.port), String::new()),
        ("graph.facebook.com:443".to_owned(), String::new()),
        (
            "localhost:80".to_owned(),
            format!("Content-Length: {}\r\n", hidden.len()),
        ),
        ("localhost:80".to_owned(), "Transfer-Encoding: chunked\r\n".to_owned()),
    ] {
        let mut client = Client::connect(graphward.proxy);
        let response = client.round_trip(format!(
            "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{fields}\r\n{hidden}"
        ));
        assert!(matches!(response.status, 400..500), "row 37: {target}: {response:?}");
        assert!(client.is_closed(), "row 37: {target}: still open");
        assert_eq!(origin.count(), 0, "row 37: {target}");
    }
    assert!(decoy.had_no_connection(), "row 37");
}

#[test]
fn row_38_an_asterisk_target_is_handled_by_the_proxy_and_only_for_options() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let response = round_trip(graphward.proxy, "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(response.status, 204, "row 38: {response:?}");
    assert!(response.field("allow").unwrap().contains("POST"), "row 38");
    for request in [
        "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: other.example\r\n\r\n",
        "OPTIONS *a HTTP/1.1\r\nHost: localhost\r\n\r\n",
        // Not a form of request target: section 1, item 4.
        "GET foo HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET evil.example:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET localhost HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET ?q HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET ../a HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let response = round_trip(graphward.proxy, request);
        assert!(matches!(response.status, 400 | 421), "row 38: {request}: {response:?}");
    }
    assert_eq!(origin.count(), 0, "row 38");
}
