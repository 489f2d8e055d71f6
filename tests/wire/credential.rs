//! Section 3: the token is sent to Graph, once, and nowhere else; and only the app can cause that.

use super::support::client::{get, round_trip};
use super::support::{ConnectionAction, Origin, ProxyConfig, TOKEN, TestProxy, contains};

/// Headers that an app, or an attacker in its place, may send.
const PRESENTED_CREDENTIALS: &[&str] = &[
    "Authorization: Bearer evil\r\n",
    "authorization: bearer evil\r\n",
    "AUTHORIZATION: Basic ZXZpbDpldmls\r\n",
    "Authorization:\r\n",
    "Authorization: Bearer evil\r\nAuthorization: Bearer evil2\r\n",
    "Authorization:\r\nAuthorization: Bearer evil\r\n",
    "Connection: Authorization\r\nAuthorization: Bearer evil\r\n",
    "Connection: authorization\r\n",
    "Proxy-Authorization: Bearer evil\r\n",
];

#[test]
fn exactly_one_credential_arrives_and_it_is_that_of_the_proxy() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    for fields in PRESENTED_CREDENTIALS {
        let response = round_trip(
            graphward.proxy,
            format!("GET /r HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"),
        );
        assert_eq!(response.status, 200, "{fields:?}");
        let seen = origin.only();
        assert_eq!(
            seen.header("authorization"),
            Some(format!("Bearer {TOKEN}")),
            "{fields:?}"
        );
        assert!(!contains(&seen.head, b"evil"), "{fields:?}");
        assert!(!contains(&response.head, TOKEN.as_bytes()), "{fields:?}");
    }
    for query in [
        "access_token=evil",
        "a=1&%61ccess_token=evil",
        "access_token=evil&access_token=evil",
    ] {
        assert_eq!(get(graphward.proxy, &format!("/r?{query}")).status, 200, "{query}");
        assert!(!contains(&origin.only().head, b"evil"), "{query}");
    }
}

#[test]
fn presented_credentials_are_refused_where_that_is_configured() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start_with(origin.port, ProxyConfig::heal("client_credentials = \"refuse\""));
    let request = "GET /r HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer evil\r\n\r\n";
    assert_eq!(round_trip(graphward.proxy, request).status, 403);
    assert_eq!(get(graphward.proxy, "/r?access_token=evil").status, 403);
    assert_eq!(origin.count(), 0);
}

#[test]
fn nothing_echoes_the_token() {
    // An origin that echoes the request, as TRACE would.
    let origin = Origin::scripted(|exchange| {
        exchange.read_body();
        exchange.write("HTTP/1.1 204 No Content\r\nAllow: GET\r\n\r\n");
        ConnectionAction::KeepAlive
    });
    let graphward = TestProxy::start(origin.port);
    for method in ["TRACE", "trace", "OPTIONS"] {
        let response = round_trip(
            graphward.proxy,
            format!("{method} /r HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        );
        assert!(!contains(&response.head, TOKEN.as_bytes()), "{method}");
        assert!(!contains(&response.body, TOKEN.as_bytes()), "{method}");
        let expected = if method == "TRACE" { 405 } else { 204 };
        assert_eq!(response.status, expected, "{method}");
        assert_eq!(origin.take().len(), usize::from(expected == 204), "{method}");
    }
}

#[test]
fn a_web_page_cannot_use_the_proxy() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    for fields in [
        "Host: evil.example\r\n",
        "Host: evil.example:8080\r\n",
        "Host: rebind.evil.example\r\n",
        "Host: 127.evil.example\r\n",
        "Host: localhost\r\nOrigin: http://evil.example\r\n",
        "Host: localhost\r\nOrigin: null\r\n",
        "Host: localhost\r\nOrigin: http://localhost.evil.example\r\n",
        "Host: localhost\r\nOrigin: http://localhost\r\nOrigin: http://evil.example\r\n",
        "Host: localhost:8080\r\nOrigin: http://localhost:3000\r\n",
        "Host: localhost:8080\r\nOrigin: http://localhost\r\n",
        "Host: localhost:8080\r\nOrigin: http://127.0.0.1:8080\r\n",
        "Host: localhost:8080\r\nOrigin: http://me@localhost:8080\r\n",
        "Host: localhost:8080\r\nOrigin: chrome-extension://localhost:8080\r\n",
        "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n",
        "Host: localhost\r\nSec-Fetch-Site: same-site\r\n",
        "Host: localhost\r\nSec-Fetch-Site: none, cross-site\r\n",
    ] {
        for method in ["GET", "POST", "OPTIONS"] {
            let response = round_trip(
                graphward.proxy,
                format!("{method} /r HTTP/1.1\r\n{fields}Access-Control-Request-Method: POST\r\n\r\n"),
            );
            assert!(matches!(response.status, 403 | 421), "{method} {fields}: {response:?}");
            assert_eq!(response.field("access-control-allow-origin"), None, "{fields}");
            assert_eq!(origin.count(), 0, "{method} {fields}");
        }
    }
    for fields in [
        "Host: localhost:8080\r\n",
        "Host: LOCALHOST\r\n",
        "Host: localhost.\r\n",
        "Host: 127.0.0.1\r\n",
        "Host: 127.1.2.3:1\r\n",
        "Host: [::1]:8080\r\n",
        "Host: graph.facebook.com\r\n",
        "Host: localhost\r\nSec-Fetch-Site: none\r\n",
        "Host: localhost:8080\r\nSec-Fetch-Site: same-origin\r\nOrigin: http://localhost:8080\r\n",
        "Host: localhost\r\nOrigin: http://LOCALHOST:80\r\n",
        "Host: [::1]:8080\r\nOrigin: https://[::1]:8080\r\n",
    ] {
        let response = round_trip(graphward.proxy, format!("GET /r HTTP/1.1\r\n{fields}\r\n"));
        assert_eq!(response.status, 200, "{fields}");
    }
}

#[test]
fn a_link_in_a_browser_cannot_override_the_method() {
    const NAVIGATES: &str = "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\n";
    const FOREIGN: &str = "Referer: https://evil.example/a?b\r\n";
    const OLD_BROWSER: &str = "User-Agent: Mozilla/5.0 (X11; rv:60.0) Firefox/60.0\r\nAccept: */*\r\n";
    const FORM_OF_OLD_BROWSER: &str = "User-Agent: Mozilla/4.0 (MSIE 8.0)\r\nReferer: https://evil.example/form\r\n";
    const JAVA: &str = "User-Agent: Java/17\r\nAccept: text/html, image/gif, */*; q=.2\r\n";
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let status = |method: &str, target: &str, fields: &str| {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost:8080\r\n{fields}\r\n");
        round_trip(graphward.proxy, request).status
    };
    for (method, target, fields) in [
        ("GET", "/123?method=delete", NAVIGATES),
        ("GET", "/123?a=b&%6dethod=POST&message=spam", NAVIGATES),
        ("HEAD", "/123?method=delete", FOREIGN),
        ("POST", "/123?method=delete", FOREIGN),
        ("GET", "/123?method=delete", "Referer: http://localhost:3000/\r\n"),
        ("GET", "/123?method=delete", "Referer: about:blank\r\n"),
        ("GET", "/123?method=delete", OLD_BROWSER),
        ("GET", "/123?method=delete", JAVA),
        ("GET", "/?batch=[%7B%22method%22:%22DELETE%22%7D]", NAVIGATES),
        // PHP's other spellings of a parameter.
        ("GET", "/123?METHOD=delete", NAVIGATES),
        ("GET", "/123?method[]=delete", NAVIGATES),
        ("GET", "/123?fields=id;method=delete", FOREIGN),
        ("GET", "/123?%20method=delete", OLD_BROWSER),
        // A form that a browser without `Origin` posts.
        ("POST", "/123/feed?message=spam", FORM_OF_OLD_BROWSER),
        ("DELETE", "/123", FORM_OF_OLD_BROWSER),
    ] {
        assert_eq!(status(method, target, fields), 403, "{method} {target} {fields}");
        assert_eq!(origin.count(), 0, "{method} {target} {fields}");
    }
    for (method, target, fields) in [
        // What a person opens, and what servers send.
        ("GET", "/123?fields=id", NAVIGATES),
        ("GET", "/123?method=get", FOREIGN),
        ("GET", "/123?fields=payment_method", OLD_BROWSER),
        ("POST", "/123?method=delete", OLD_BROWSER),
        ("POST", "/123?method=delete", JAVA),
        ("POST", "/123/feed", FOREIGN),
        ("GET", "/123?fields=id", FORM_OF_OLD_BROWSER),
        ("GET", "/123?method=delete", ""),
        (
            "GET",
            "/123?method=delete",
            "Sec-Fetch-Mode: cors\r\nUser-Agent: node\r\n",
        ),
        ("GET", "/123?method=delete", "Referer: http://localhost:8080/456\r\n"),
    ] {
        assert_eq!(status(method, target, fields), 200, "{method} {target} {fields}");
    }
}

#[test]
fn headers_that_would_make_the_app_bypass_the_proxy_are_dropped() {
    let origin = Origin::scripted(|exchange| {
        exchange.read_body();
        exchange.write("HTTP/1.1 200 OK\r\nAlt-Svc: h3=\":443\"\r\nStrict-Transport-Security: max-age=1\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-Kept: 1\r\nContent-Length: 0\r\n\r\n");
        ConnectionAction::KeepAlive
    });
    let graphward = TestProxy::start(origin.port);
    let response = get(graphward.proxy, "/");
    for gone in ["alt-svc", "strict-transport-security", "x-hop", "connection"] {
        assert_eq!(response.field(gone), None, "{gone}");
    }
    assert_eq!(response.field("x-kept").as_deref(), Some("1"));
}

#[test]
fn the_configuration_refuses_an_upstream_without_tls() {
    let dir = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_graphward"))
        .args(["serve", "--origin", "http://graph.facebook.com"])
        .current_dir(dir.path())
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("tokens are never sent over plain http"), "{stderr}");
}
