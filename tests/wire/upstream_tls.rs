//! TLS to the origin: trust (row 49), the negotiated protocol, and connections that end.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use graphward::net::ca::{CertAuthority, CertSpec};
use graphward::types::Clock;
use http::Version;
use tokio::time::{Duration, Instant};

use super::support::client::{get, post_request};
use super::support::h2_origin::H2Origin;
use super::support::{CA, Client, Origin, ProxyConfig, TIMEOUT, TOKEN, TestProxy, contains, sleep_millis, valid_leaf};

#[test]
fn row_49_an_origin_with_a_wrong_certificate_gets_no_request_until_it_has_a_valid_one() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let clock = Clock::system();
    let day = Duration::from_secs(86_400);
    let stranger = CertAuthority::new(&clock).unwrap();
    let named = |name: &str| CertSpec {
        names: vec![name.to_owned()],
        ..valid_leaf()
    };
    let expired = CertSpec {
        not_before: clock.now() - 2 * day,
        not_after: clock.now() - day,
        ..valid_leaf()
    };
    let early = CertSpec {
        not_before: clock.now() + day,
        ..valid_leaf()
    };
    for (what, by, leaf) in [
        ("another CA", &stranger, valid_leaf()),
        ("another name", &*CA, named("evil.example")),
        (
            "a name with the same prefix",
            &CA,
            named("graph.facebook.com.evil.example"),
        ),
        ("the address that was dialled", &CA, named("127.0.0.1")),
        ("expired", &CA, expired),
        ("not yet valid", &CA, early),
    ] {
        origin.set_certificate(by, &leaf, &[b"http/1.1"]);
        let response = Client::connect(graphward.proxy).round_trip(post_request("/r", "hello"));
        assert_eq!(response.status, 502, "row 49: {what}");
        assert_eq!(response.proxy_error(), "tls_certificate_error", "row 49: {what}");
        assert_eq!(origin.count(), 0, "row 49: {what}");
    }
    origin.set_certificate(&CA, &valid_leaf(), &[b"http/1.1"]);
    assert_eq!(get(graphward.proxy, "/r").status, 200, "row 49: it recovers");
    assert_eq!(
        origin.sni_names(),
        ["graph.facebook.com"],
        "no request on any other connection"
    );
}

/// A listener that replies to any input with these bytes, and records the input.
fn raw_tcp_server(response: &'static [u8]) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let received = Arc::new(Mutex::new(Vec::new()));
    let recording = Arc::clone(&received);
    thread::spawn(move || {
        for tcp in listener.incoming().take(1) {
            let mut tcp = tcp.unwrap();
            tcp.set_read_timeout(Some(TIMEOUT)).unwrap();
            let mut space = [0; 16 * 1024];
            let read = tcp.read(&mut space).unwrap();
            recording.lock().unwrap().extend_from_slice(&space[..read]);
            tcp.write_all(response).unwrap();
            while let Ok(read @ 1..) = tcp.read(&mut space) {
                recording.lock().unwrap().extend_from_slice(&space[..read]);
            }
        }
    });
    (port, received)
}

#[test]
fn row_49_an_origin_without_tls_or_with_an_old_version_gets_no_request() {
    for (what, response, error) in [
        (
            "plain HTTP",
            &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..],
            "tls_protocol_error",
        ),
        ("SSH", b"SSH-2.0-OpenSSH_9.9\r\n", "tls_protocol_error"),
        // Fatal alerts: protocol_version, handshake_failure.
        ("TLS 1.1 only", b"\x15\x03\x02\x00\x02\x02\x46", "tls_alert_received"),
        (
            "no shared cipher",
            b"\x15\x03\x03\x00\x02\x02\x28",
            "tls_alert_received",
        ),
        // A ServerHello of TLS 1.1.
        (
            "TLS 1.1",
            b"\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\x00\x00\x2f\x00",
            "tls_protocol_error",
        ),
    ] {
        let (port, received) = raw_tcp_server(response);
        let graphward = TestProxy::start(port);
        let reply = Client::connect(graphward.proxy).round_trip(post_request("/secret-path", "hello"));
        assert_eq!(reply.status, 502, "row 49: {what}: {reply:?}");
        assert_eq!(reply.proxy_error(), error, "row 49: {what}");
        let received = received.lock().unwrap();
        assert_eq!(received.first(), Some(&0x16), "row 49: {what}: a ClientHello");
        assert!(!contains(&received, TOKEN.as_bytes()), "row 49: {what}");
        assert!(!contains(&received, b"secret-path"), "row 49: {what}");
    }
}

#[test]
fn a_handshake_that_hangs_times_out_and_pooled_connections_are_unaffected() {
    let origin = Origin::plain("x");
    // The listener never accepts, so TCP connects and TLS waits forever.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let setup = ProxyConfig::upstream("connect_timeout = \"400ms\"");
    let good = TestProxy::start(origin.port);
    assert_eq!(get(good.proxy, "/warm").status, 200);
    let silent_port = silent.local_addr().unwrap().port();
    let timed_out_at = |setup| {
        let graphward = TestProxy::start_with(silent_port, setup);
        thread::spawn(move || {
            let response = Client::connect(graphward.proxy).round_trip(post_request("/r", "hello"));
            let ended_at = Instant::now();
            response.assert_refused(504, "connection_timeout");
            drop(graphward);
            ended_at
        })
    };
    let (by_default, by_setup) = (timed_out_at(ProxyConfig::default()), timed_out_at(setup));
    assert!(
        by_setup.join().unwrap() < by_default.join().unwrap(),
        "the default limit of 5 s was used"
    );
    assert_eq!(get(good.proxy, "/r").status, 200);
}

#[test]
fn a_new_connection_that_hangs_does_not_hold_up_the_pooled_ones() {
    use std::sync::atomic::{AtomicBool, Ordering};
    // The first connection is served; the handshake of a second one, opened while the first is busy, hangs.
    let origin = Origin::plain("x");
    let busy = Arc::new(AtomicBool::new(false));
    let front = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = front.local_addr().unwrap().port();
    let (behind, hang) = (origin.port, Arc::clone(&busy));
    thread::spawn(move || {
        let mut held = Vec::new();
        for tcp in front.incoming().take(3) {
            let tcp = tcp.unwrap();
            if hang.load(Ordering::SeqCst) {
                held.push(tcp);
                continue;
            }
            let onward = std::net::TcpStream::connect(("127.0.0.1", behind)).unwrap();
            let (mut a, mut b) = (tcp.try_clone().unwrap(), onward.try_clone().unwrap());
            thread::spawn(move || drop(std::io::copy(&mut a, &mut b)));
            let (mut a, mut b) = (onward, tcp);
            thread::spawn(move || drop(std::io::copy(&mut a, &mut b)));
        }
    });
    let graphward = TestProxy::start_with(port, ProxyConfig::upstream("connect_timeout = \"500ms\""));
    assert_eq!(get(graphward.proxy, "/warm").status, 200);
    busy.store(true, Ordering::SeqCst);
    for _ in 0..10 {
        assert_eq!(get(graphward.proxy, "/pooled").status, 200);
    }
}

#[test]
fn alpn_decides_the_version_among_those_that_the_setting_offers() {
    for (http, version) in [("auto", Version::HTTP_2), ("2", Version::HTTP_2)] {
        let origin = H2Origin::start();
        let upstream = format!("http = \"{http}\"");
        let graphward = TestProxy::start_with(origin.port, ProxyConfig::upstream(&upstream));
        let response = Client::connect(graphward.proxy).round_trip(post_request("/a%2Fb?x", "hello"));
        assert_eq!((response.status, response.text().as_str()), (200, "over h2"), "{http}");
        let seen = origin.take();
        let head = &seen[0].head;
        assert_eq!(head.version(), version, "{http}");
        assert_eq!(head.uri().to_string(), "https://graph.facebook.com/a%2Fb?x");
        assert_eq!(head.headers().get("host"), None, "the authority has it");
        assert_eq!(head.headers()["authorization"], format!("Bearer {TOKEN}").as_str());
        assert_eq!(seen[0].body, b"hello");
    }
    for (http, offered, status) in [
        ("auto", &[&b"http/1.1"[..]][..], 200),
        ("1.1", &[b"h2", b"http/1.1"], 200),
        ("1.1", &[], 200),
        ("auto", &[], 200),
        ("2", &[b"http/1.1"], 502),
    ] {
        let origin = Origin::plain("over h1");
        origin.set_certificate(&CA, &valid_leaf(), offered);
        let upstream = format!("http = \"{http}\"");
        let graphward = TestProxy::start_with(origin.port, ProxyConfig::upstream(&upstream));
        let response = get(graphward.proxy, "/r");
        assert_eq!(response.status, status, "{http}, {} offered", offered.len());
        assert_eq!(origin.count(), usize::from(status == 200), "{http}");
    }
}

#[test]
fn sni_and_verification_use_the_configured_host_with_connect_to() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    assert_eq!(get(graphward.proxy, "/r").status, 200);
    assert_eq!(origin.sni_names(), ["graph.facebook.com"]);
    assert_eq!(origin.only().header("host").as_deref(), Some("graph.facebook.com"));
}

#[test]
fn after_goaway_the_next_request_goes_on_a_new_connection() {
    let origin = H2Origin::start();
    let graphward = TestProxy::start(origin.port);
    for _ in 0..5 {
        assert_eq!(get(graphward.proxy, "/goaway").status, 200, "it was let finish");
        sleep_millis(30);
        assert_eq!(
            Client::connect(graphward.proxy)
                .round_trip(post_request("/next", "hello"))
                .status,
            200
        );
    }
    let seen = origin.take();
    let sent: Vec<usize> = seen.iter().map(|seen| seen.connection).collect();
    assert_eq!(sent.len(), 10);
    assert!(sent.chunks(2).all(|pair| pair[0] != pair[1]), "{sent:?}");
}

#[test]
fn row_47_a_post_that_the_origin_resets_over_http2_is_sent_once() {
    let origin = H2Origin::start();
    let graphward = TestProxy::start(origin.port);
    let response = Client::connect(graphward.proxy).round_trip(post_request("/reset", "hello"));
    response.assert_refused(502, "connection_terminated");
    assert_eq!(origin.take().len(), 1);
    assert_eq!(get(graphward.proxy, "/next").status, 200);
}

#[test]
fn an_origin_that_does_not_listen_causes_a_502_until_it_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let graphward = TestProxy::start(port);
    let response = get(graphward.proxy, "/r");
    response.assert_refused(502, "connection_refused");
    assert!(
        response.text().contains(&format!(
            "graph.facebook.com: 127.0.0.1:{port}: Connection refused (os error 111)"
        )),
        "{}",
        response.text()
    );
}
