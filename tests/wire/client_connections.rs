//! The limit of the connections of clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::support::client::{get, get_request};
use super::support::h2c::Outcome;
use super::support::{Client, ConnectionAction, H2c, Origin, ProxyConfig, TestProxy, wait_until};

/// An origin that answers `/slow` only when it may.
fn origin_with_slow_path() -> (Origin, Arc<AtomicBool>) {
    let may_answer = Arc::new(AtomicBool::new(false));
    let answers = Arc::clone(&may_answer);
    let origin = Origin::scripted(move |exchange| {
        exchange.read_body();
        if exchange.path() == "/slow" {
            wait_until(|| answers.load(Ordering::SeqCst));
        }
        exchange.ok("x");
        ConnectionAction::KeepAlive
    });
    (origin, may_answer)
}

#[test]
fn at_the_limit_the_oldest_idle_connection_makes_room_and_without_one_a_new_one_is_refused() {
    let (origin, may_answer) = origin_with_slow_path();
    let graphward = TestProxy::start_with(origin.port, ProxyConfig::listen("max_connections = 3"));
    let mut open: Vec<_> = (0..3).map(|_| Client::connect(graphward.proxy)).collect();
    for at in [1, 0, 2] {
        assert_eq!(open[at].round_trip(get_request("/r")).status, 200);
    }
    let mut fourth = Client::connect(graphward.proxy);
    assert_eq!(fourth.round_trip(get_request("/r")).status, 200);
    assert!(open.remove(1).is_closed(), "it had been idle for the longest");
    open.push(fourth);
    for client in &mut open {
        assert_eq!(client.round_trip(get_request("/r")).status, 200);
    }

    for client in &mut open {
        client.send(get_request("/slow"));
    }
    assert!(wait_until(|| origin.count() == 7 + 3));
    for _ in 0..3 {
        let mut refused = Client::connect(graphward.proxy);
        let response = refused.response();
        response.assert_refused(503, "connection_limit_reached");
        assert!(
            response.complete && response.text().contains("\"code\":990002"),
            "{response:?}"
        );
        assert!(refused.is_closed());
    }
    // The admin endpoint has connections of its own.
    assert_eq!(get(graphward.admin, "/livez").status, 200);

    may_answer.store(true, Ordering::SeqCst);
    for client in &mut open {
        assert_eq!(client.response().status, 200);
    }
    for _ in 0..10 {
        assert_eq!(get(graphward.proxy, "/r").status, 200);
    }
}

#[test]
fn an_http2_connection_and_a_silent_one_make_room_and_a_request_that_has_arrived_is_answered() {
    let (origin, _) = origin_with_slow_path();
    let graphward = TestProxy::start_with(origin.port, ProxyConfig::listen("max_connections = 2"));
    let mut http2 = H2c::connect(graphward.proxy);
    assert_eq!(http2.get(1, "/r"), Outcome::Status(200, b"x".to_vec()));
    let mut silent = Client::connect(graphward.proxy);
    assert_eq!(get(graphward.proxy, "/r").status, 200);
    assert_eq!(http2.goaway(), Some(0), "an orderly close");
    assert_eq!(get(graphward.proxy, "/r").status, 200);
    let mut busy = Client::connect(graphward.proxy);
    busy.send(get_request("/slow"));
    assert!(wait_until(|| origin.count() == 4));
    assert_eq!(get(graphward.proxy, "/r").status, 200);
    assert!(silent.is_closed());
}

#[test]
fn a_connection_whose_request_is_incomplete_makes_room_if_none_is_idle() {
    let (origin, _) = origin_with_slow_path();
    let graphward = TestProxy::start_with(origin.port, ProxyConfig::listen("max_connections = 2"));
    let mut busy = Client::connect(graphward.proxy);
    busy.send(get_request("/slow"));
    assert!(wait_until(|| origin.count() == 1));
    let mut half = Client::connect(graphward.proxy);
    half.send("GET /r HTTP/1.1\r\nHost: loc");
    // Whether the half has been read by then or not: it is incomplete, or has brought nothing.
    for _ in 0..3 {
        assert_eq!(get(graphward.proxy, "/r").status, 200);
    }
    assert!(half.is_closed());
}

#[test]
fn probes_are_answered_beside_any_number_of_incomplete_requests() {
    let (origin, _) = origin_with_slow_path();
    let graphward = TestProxy::start_with(origin.port, ProxyConfig::default());
    let mut halves = Vec::new();
    for _ in 0..300 {
        let mut half = Client::connect(graphward.admin);
        half.send("GET /livez HTTP/1.1\r\nHost: loc");
        halves.push(half);
    }
    assert_eq!(get(graphward.admin, "/livez").status, 200);
    assert!(halves[0].is_closed(), "the oldest made room");
}
