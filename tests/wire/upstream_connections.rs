//! What a connection to Graph that ends, refuses or is full means for the requests on it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use h2::Reason;

use super::support::client::{get, get_request, post_request};
use super::support::h2_origin::{H2Action, H2Origin};
use super::support::{Client, ConnectionAction, H2c, Origin, ProxyConfig, TestProxy, h2c, wait_until};

#[test]
fn a_request_that_the_origin_refused_is_sent_once_more_on_another_connection() {
    let origin = H2Origin::scripted(None, |connection, path| match (connection, path) {
        (0, "/warm") => H2Action::Answer,
        (0, _) => H2Action::Reset(Reason::REFUSED_STREAM),
        (_, _) => H2Action::Answer,
    });
    let graphward = TestProxy::start(origin.port);
    assert_eq!(get(graphward.proxy, "/warm").status, 200);
    origin.take();
    let response = Client::connect(graphward.proxy).round_trip(post_request("/messages", "hello"));
    assert_eq!((response.status, response.text().as_str()), (200, "over h2"));
    let seen = origin.take();
    assert_eq!(
        (seen.len(), seen[0].connection, seen[0].body.as_slice()),
        (1, 1, &b"hello"[..])
    );
}

#[test]
fn a_request_that_is_refused_again_is_not_sent_a_third_time() {
    let origin = H2Origin::scripted(None, |_connection, _path| H2Action::Reset(Reason::REFUSED_STREAM));
    let graphward = TestProxy::start(origin.port);
    let response = Client::connect(graphward.proxy).round_trip(post_request("/messages", "hello"));
    response.assert_refused(503, "connection_terminated");
    assert!(response.text().contains("990031"), "{}", response.text());
    assert_eq!(origin.connections(), 2);
}

#[test]
fn a_request_above_the_last_identifier_of_goaway_is_sent_once_more() {
    let origin = H2Origin::that_goes_away_first();
    let graphward = TestProxy::start(origin.port);
    let response = Client::connect(graphward.proxy).round_trip(post_request("/messages", "hello"));
    assert_eq!((response.status, response.text().as_str()), (200, "over h2"));
    assert_eq!(origin.take().len(), 1);
}

#[test]
fn more_requests_than_the_peer_allows_on_one_connection_get_another_one() {
    let origin = H2Origin::scripted(Some(2), |_connection, _path| H2Action::AnswerTogether(7));
    let graphward = TestProxy::start(origin.port);
    let address = graphward.proxy;
    // The limit of a connection is known with its SETTINGS.
    let requests: Vec<_> = (0..7)
        .map(|_| thread::spawn(move || get(address, "/r").status))
        .collect();
    for request in requests {
        assert_eq!(request.join().unwrap(), 200);
    }
    assert!((4..=7).contains(&origin.connections()), "{}", origin.connections());
}

#[test]
fn a_get_on_a_reused_connection_that_ends_without_an_answer_is_sent_once_more() {
    let warm = AtomicUsize::new(usize::MAX);
    let origin = Origin::scripted(move |exchange| {
        exchange.read_body();
        let connection = exchange.seen.connection;
        if exchange.path() == "/warm" {
            warm.store(connection, Ordering::SeqCst);
        } else if warm.load(Ordering::SeqCst) == connection {
            return ConnectionAction::Close;
        }
        exchange.ok("x")
    });
    let graphward = TestProxy::start(origin.port);
    for (request, status, attempts) in [
        (get_request("/me"), 200, 2),
        // These may have been processed.
        (post_request("/messages", "hello"), 502, 1),
        (get_request("/123?method=delete"), 502, 1),
        (get_request("/oauth/access_token?grant_type=fb_exchange_token"), 502, 1),
    ] {
        assert_eq!(get(graphward.proxy, "/warm").status, 200);
        origin.take();
        let response = Client::connect(graphward.proxy).round_trip(&request);
        assert_eq!(response.status, status, "{}", request.lines().next().unwrap());
        assert!(
            wait_until(|| origin.count() == attempts),
            "{}",
            request.lines().next().unwrap()
        );
    }
}

#[test]
fn a_get_on_a_new_connection_that_ends_without_an_answer_is_not_sent_again() {
    let origin = Origin::scripted(|exchange| {
        exchange.read_body();
        ConnectionAction::Close
    });
    let graphward = TestProxy::start(origin.port);
    assert_eq!(get(graphward.proxy, "/me").status, 502);
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_response_that_has_its_declared_length_is_complete_even_if_the_stream_ends_later() {
    let origin = H2Origin::scripted(None, |_connection, _path| H2Action::Body(1_000));
    let graphward = TestProxy::start(origin.port);
    for _ in 0..20 {
        assert_eq!(get(graphward.proxy, "/me").body.len(), 1_000);
    }
    let delivered = || {
        let metrics = get(graphward.admin, "/metrics").text();
        let series = r#"graphward_requests_total{tenant="default",outcome="delivered"} "#;
        let value = metrics
            .lines()
            .find_map(|line| line.strip_prefix(series))
            .map(str::to_owned);
        value.unwrap_or(metrics)
    };
    assert!(wait_until(|| delivered() == "20"), "{}", delivered());
}

#[test]
fn apps_that_do_not_read_stall_no_other_request() {
    let origin = H2Origin::scripted(None, |_connection, path| match path {
        "/large" => H2Action::Body(1 << 20),
        _ => H2Action::Answer,
    });
    let graphward = TestProxy::start(origin.port);
    let stuck: Vec<_> = (0..64)
        .map(|_| {
            let mut client = Client::connect(graphward.proxy);
            assert!(client.send(get_request("/large")));
            client
        })
        .collect();
    assert!(wait_until(|| origin.count() == 64), "{}", origin.count());
    for _ in 0..50 {
        let mut healthy = Client::connect(graphward.proxy);
        assert_eq!(healthy.round_trip(post_request("/messages", "hello")).status, 200);
        assert_eq!(healthy.round_trip(get_request("/me")).status, 200);
    }
    drop(stuck);
}

#[test]
fn responses_that_an_app_does_not_read_are_given_up_and_its_connection_serves_on() {
    let origin = H2Origin::scripted(None, |_connection, path| match path {
        "/large" => H2Action::Body(1 << 20),
        // More than the system buffers for a connection.
        "/huge" => H2Action::Body(32 << 20),
        _ => H2Action::Answer,
    });
    let graphward = TestProxy::start_with(origin.port, ProxyConfig::listen("send_timeout = \"1s\""));
    let mut app = H2c::connect(graphward.proxy);
    // The window of the connection has room for all; the window of a stream has 64 KiB.
    app.send(h2c::frame(h2c::WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes()));
    let stuck: Vec<u32> = (0..64).map(|number| 2 * number + 1).collect();
    for stream in &stuck {
        app.request(*stream, &h2c::request_fields(b"GET", b"/large"));
    }
    let mut stuck_http1: Vec<_> = (0..2).map(|_| Client::connect(graphward.proxy)).collect();
    for client in &mut stuck_http1 {
        assert!(client.send(get_request("/huge")));
    }
    app.request(129, &h2c::request_fields(b"GET", b"/healthy"));
    let (mut given_up, mut is_served) = (Vec::new(), false);
    while given_up.len() < stuck.len() || !is_served {
        let frame = app.next().unwrap();
        if frame.kind == h2c::RST_STREAM {
            assert_eq!(frame.payload, [0, 0, 0, 8], "CANCEL");
            given_up.push(frame.stream);
        }
        is_served |= frame.stream == 129 && frame.kind == h2c::DATA && frame.payload == b"over h2";
    }
    given_up.sort_unstable();
    assert_eq!(given_up, stuck);
    assert_eq!(app.get(131, "/after"), h2c::Outcome::Status(200, b"over h2".to_vec()));
    let count = || {
        let metrics = get(graphward.admin, "/metrics").text();
        let series = r#"graphward_requests_total{tenant="default",outcome="client_stalled"} "#;
        let mut lines = metrics
            .lines()
            .filter_map(|line| line.strip_prefix(series)?.parse::<usize>().ok());
        lines.next().unwrap_or_default()
    };
    assert!(wait_until(|| count() == 66), "{}", count());
    for client in &mut stuck_http1 {
        assert!(!client.response().complete);
    }
}

#[test]
fn a_connection_whose_response_was_given_up_serves_no_other_request() {
    let origin = Origin::scripted(|exchange| {
        exchange.read_body();
        if exchange.path() == "/stalls" {
            exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhello");
            exchange.wait_for_peer();
            return ConnectionAction::Close;
        }
        exchange.ok("x")
    });
    let graphward = TestProxy::start(origin.port);
    for _ in 0..5 {
        let mut gone = Client::connect(graphward.proxy);
        assert!(gone.send(get_request("/stalls")) && gone.reads_head());
        drop(gone);
        let response = Client::connect(graphward.proxy).round_trip(post_request("/messages", "hello"));
        assert_eq!((response.status, response.text().as_str()), (200, "x"));
    }
}
