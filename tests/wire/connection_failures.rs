//! Rows 47 and 48, and faults of an origin: resets, stalls, garbage, and closed connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::support::client::{get, get_request, post_request};
use super::support::{Client, ConnectionAction, Origin, ProxyConfig, TestProxy, sleep_millis, wait_until};

#[test]
fn row_47_a_post_that_was_written_is_never_sent_again() {
    let origin = Origin::scripted(|exchange| {
        exchange.read_body();
        match exchange.path().as_str() {
            "/reset" => ConnectionAction::Reset,
            "/cut" => ConnectionAction::CloseWithoutNotify,
            "/close" => ConnectionAction::Close,
            "/half" => {
                exchange.write("HTTP/1.1 200 OK\r\nContent-Le");
                ConnectionAction::Close
            }
            _ => exchange.ok("x"),
        }
    });
    let graphward = TestProxy::start(origin.port);
    for path in ["/reset", "/cut", "/close", "/half"] {
        for pooled in [false, true] {
            if pooled {
                assert_eq!(get(graphward.proxy, "/warm").status, 200);
                sleep_millis(20);
            }
            origin.take();
            let response = Client::connect(graphward.proxy).round_trip(post_request(path, "hello"));
            assert_eq!(response.status, 502, "row 47: {path}, pooled: {pooled}");
            assert_eq!(response.proxy_error(), "connection_terminated", "row 47: {path}");
            assert!(
                response.text().contains("may or may not have processed"),
                "row 47: {path}"
            );
            assert_eq!(origin.only().body, b"hello", "row 47: {path}, pooled: {pooled}");
        }
    }
}

#[test]
fn row_48_a_pooled_connection_that_was_closed_while_idle_fails_no_request() {
    for after in [
        ConnectionAction::Close,
        ConnectionAction::CloseWithoutNotify,
        ConnectionAction::Reset,
    ] {
        let origin = Origin::scripted(move |exchange| {
            exchange.ok("x");
            if exchange.path() == "/last" {
                return after;
            }
            ConnectionAction::KeepAlive
        });
        let graphward = TestProxy::start(origin.port);
        for turn in 0..5 {
            assert_eq!(get(graphward.proxy, "/last").status, 200);
            assert!(wait_until(|| origin.closed_connections() == turn + 1));
            sleep_millis(60);
            let response = Client::connect(graphward.proxy).round_trip(post_request("/next", "hello"));
            assert_eq!(response.status, 200, "row 48: {after:?}, turn {turn}");
        }
        assert_eq!(origin.count(), 10, "row 48: {after:?}");
    }
}

#[test]
fn after_connection_close_the_next_request_uses_a_new_connection() {
    let origin = Origin::scripted(|exchange| {
        exchange.read_body();
        exchange.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx");
        ConnectionAction::Close
    });
    let graphward = TestProxy::start(origin.port);
    let mut client = Client::connect(graphward.proxy);
    for _ in 0..30 {
        let response = client.round_trip(post_request("/r", "hello"));
        assert_eq!((response.status, response.text().as_str()), (200, "x"));
        assert_eq!(response.field("connection"), None, "it is a hop-by-hop header");
    }
    assert_eq!(origin.connections(), 30);
    let seen = origin.take();
    assert!(seen.iter().enumerate().all(|(turn, seen)| seen.connection == turn));
}

#[test]
fn a_burst_of_5xx_is_passed_on_unchanged_and_not_retried() {
    let origin = Origin::scripted(|exchange| {
        exchange.read_body();
        let status = &exchange.path()[1..];
        exchange.write(format!("HTTP/1.1 {status} Oops\r\nContent-Length: 4\r\n\r\noops"));
        ConnectionAction::KeepAlive
    });
    let graphward = TestProxy::start(origin.port);
    for status in [500, 502, 503, 504, 599] {
        let response = Client::connect(graphward.proxy).round_trip(post_request(&format!("/{status}"), "hello"));
        assert_eq!((response.status, response.text().as_str()), (status, "oops"));
        assert_eq!(response.field("proxy-status"), None, "it is Graph's own");
        assert_eq!(origin.take().len(), 1);
    }
}

#[test]
fn a_stalled_response_times_out_and_other_requests_are_not_delayed() {
    let release = Arc::new(AtomicBool::new(false));
    let released = Arc::clone(&release);
    let origin = Origin::scripted(move |exchange| match exchange.path().as_str() {
        "/stall" => {
            wait_until(|| released.load(Ordering::SeqCst));
            ConnectionAction::Close
        }
        "/half" => {
            exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
            wait_until(|| released.load(Ordering::SeqCst));
            ConnectionAction::Close
        }
        _ => exchange.ok("x"),
    });
    // Long for the other requests on a busy machine, and less than the client waits: the defaults are a minute.
    let setup = ProxyConfig::upstream("head_timeout = \"5s\"\nidle_timeout = \"5s\"");
    let graphward = TestProxy::start_with(origin.port, setup);
    let mut stalled = Client::connect(graphward.proxy);
    stalled.send(get_request("/stall"));
    let mut half = Client::connect(graphward.proxy);
    half.send(get_request("/half"));
    for _ in 0..20 {
        assert_eq!(get(graphward.proxy, "/other").status, 200);
    }
    let response = stalled.response();
    response.assert_refused(504, "http_response_timeout");
    let response = half.response();
    assert_eq!(
        (response.status, response.complete),
        (200, false),
        "a stall in the body shows as a cut"
    );
    assert_eq!(
        origin
            .take()
            .iter()
            .filter(|seen| seen.request_line().contains("/stall"))
            .count(),
        1
    );
    release.store(true, Ordering::SeqCst);
}

#[test]
fn a_slow_response_arrives_completely() {
    let origin = Origin::scripted(|exchange| {
        exchange.read_body();
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello" {
            exchange.write([*byte]);
            sleep_millis(2);
        }
        ConnectionAction::KeepAlive
    });
    let graphward = TestProxy::start(origin.port);
    let response = get(graphward.proxy, "/slow");
    assert_eq!((response.text().as_str(), response.complete), ("hello", true));
}
