//! CONNECT where TLS is offered: graphward terminates tunnels to Graph, passes through the configured ones, refuses others.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use graphward::app::RunOutcome;

use super::support::refusing_address;
use super::support::{
    Client, Decoy, H2c, Origin, ProxyConfig, TIMEOUT, TOKEN, TestPki, TestProxy, contains, h2c, sleep_millis,
    wait_until,
};

const GRAPH: &str = "graph.facebook.com:443";

fn tls_proxy(origin: &Origin, pki: &TestPki) -> TestProxy {
    TestProxy::start_with(origin.port, ProxyConfig::listen(&pki.listen_config()))
}

/// Requests a tunnel and reads the head of the response.
fn open_tunnel(address: SocketAddr, target: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    write!(stream, "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").unwrap();
    let head = read_head(&mut stream);
    (stream, head)
}

/// Reads a head and not one byte more.
fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn a_tunnel_to_graph_is_terminated_with_the_certificate_and_token_of_the_proxy() {
    let (origin, pki) = (Origin::plain("graph's own"), TestPki::new());
    let graphward = tls_proxy(&origin, &pki);
    for target in [GRAPH, "GRAPH.facebook.com:443"] {
        let (stream, head) = open_tunnel(graphward.proxy, target);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(!head.to_lowercase().contains("content-length"), "{head}");
        let mut secure = pki.handshake_over(stream, "graph.facebook.com", &[]).unwrap();
        for _ in 0..2 {
            let response = secure.get("graph.facebook.com", "graph's own");
            assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
        }
        let seen = origin.take();
        assert_eq!(seen.len(), 2);
        assert!(contains(&seen[0].head, TOKEN.as_bytes()));
    }
    // Without TLS inside; from an HTTP/1.0 client, which sends no Host; and over TLS to graphward.
    let (stream, _head) = open_tunnel(graphward.proxy, GRAPH);
    assert!(read_plaintext(stream).contains("graph's own"));
    let mut old = TcpStream::connect(graphward.proxy).unwrap();
    old.write_all(b"CONNECT graph.facebook.com:443 HTTP/1.0\r\n\r\n")
        .unwrap();
    assert!(read_head(&mut old).contains(" 200 "));
    assert!(read_plaintext(old).contains("graph's own"));
    let mut outer = pki.connect(graphward.proxy, "localhost", &[]).unwrap();
    outer.send("CONNECT graph.facebook.com:443 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(outer.read_until("\r\n\r\n").contains(" 200 "));
    assert!(outer.get("localhost", "graph's own").contains(" 200 "));
    assert_eq!(origin.count(), 3);
}

/// Sends one request without TLS and reads to the end.
fn read_plaintext(mut stream: TcpStream) -> String {
    stream
        .write_all(b"GET /r HTTP/1.1\r\nHost: graph.facebook.com\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

#[test]
fn row_37_a_tunnel_to_any_other_host_is_refused_without_a_connection() {
    let (origin, pki, decoy) = (Origin::plain("x"), TestPki::new(), Decoy::listen());
    let graphward = tls_proxy(&origin, &pki);
    let hidden = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let length = format!("Content-Length: {}\r\n", hidden.len());
    for (target, fields, status) in [
        (format!("127.0.0.1:{}", decoy.port).as_str(), "", 403),
        ("example.com:443", "", 403),
        ("evil-graph.facebook.com:443", "", 403),
        ("graph.facebook.com:80", "", 403),
        ("localhost:443", "", 403),
        ("graph.facebook.com", "", 400),
        (GRAPH, length.as_str(), 400),
        (GRAPH, "Transfer-Encoding: chunked\r\n", 400),
        (GRAPH, "Host: graph.facebook.com\r\n", 400),
        (GRAPH, "Origin: https://evil.example\r\n", 403),
    ] {
        let mut client = Client::connect(graphward.proxy);
        let response = client.round_trip(format!(
            "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{fields}\r\n{hidden}"
        ));
        assert_eq!(response.status, status, "{target} {fields}: {response:?}");
        assert!(!response.proxy_error().is_empty());
        if response.text().contains("990020") {
            assert!(response.text().contains(&format!("no CONNECT tunnel to {target},")));
            let details = response.field("proxy-status").unwrap();
            assert!(details.ends_with(&format!("; details=\"{target}\"")), "{details}");
            assert!(
                response
                    .text()
                    .contains("only to graph.facebook.com, graph-video.facebook.com,")
            );
            assert!(response.text().contains("NO_PROXY"));
        }
        if fields != "Origin: https://evil.example\r\n" {
            assert!(client.is_closed(), "{target} {fields}: still open");
            assert_eq!(origin.count(), 0, "{target} {fields}");
        }
    }
    assert!(decoy.had_no_connection());
}

#[test]
fn a_tunnel_to_a_host_of_graph_that_is_left_out_is_refused_with_what_fits_the_origin() {
    let (origin, pki) = (Origin::plain("x"), TestPki::new());
    for (upstream, target, advice) in [
        (
            "origin = \"https://fake.internal\"",
            GRAPH,
            "as the base URL of the app",
        ),
        (
            "origin = \"https://fake.internal\"",
            "graph.threads.com:443",
            "as the base URL of the app",
        ),
        ("hosts = []", "graph.instagram.com:443", "add it to upstream.hosts"),
    ] {
        let config = ProxyConfig {
            upstream,
            listen: &pki.listen_config(),
            ..ProxyConfig::default()
        };
        let graphward = TestProxy::start_with(origin.port, config);
        let response =
            Client::connect(graphward.proxy).round_trip(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
        let text = response.text();
        assert_eq!(response.status, 403, "{text}");
        let start = format!("no CONNECT tunnel to {target}, a host of Graph; ");
        assert!(
            text.contains(&start) && text.contains(advice) && !text.contains("NO_PROXY"),
            "{text}"
        );
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_tunnel_that_a_connection_cannot_become_is_refused_with_its_host_and_what_to_do() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    for (target, shown) in [
        ("api.openai.com:443", "api.openai.com:443"),
        (GRAPH, GRAPH),
        ("169.254.169.254:80", "169.254.169.254:80"),
        ("eaagm0px4zcpsbakzcmistake0123456789:443", "(not shown: a token):443"),
    ] {
        let response =
            Client::connect(graphward.proxy).round_trip(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
        assert_eq!(response.status, 405, "{response:?}");
        let text = response.text();
        assert!(
            text.contains(&format!("tunnel to {shown} here")) && text.contains("Set listen.tls"),
            "{text}"
        );
        let details = response.field("proxy-status").unwrap();
        assert!(details.ends_with(&format!("; details=\"{shown}\"")), "{details}");
    }
}

#[test]
fn row_37_http2_opens_no_tunnel_and_tunnels_do_not_nest() {
    let (origin, pki) = (Origin::plain("x"), TestPki::new());
    let graphward = tls_proxy(&origin, &pki);
    let mut h2 = H2c::connect(graphward.proxy);
    let fields: &[(&[u8], &[u8])] = &[(b":method", b"CONNECT"), (b":authority", GRAPH.as_bytes())];
    h2.request(1, fields);
    let outcome = h2.outcome(1);
    assert!(!matches!(outcome, h2c::Outcome::Status(200..300, _)), "{outcome:?}");
    let (mut stream, _head) = open_tunnel(graphward.proxy, GRAPH);
    write!(stream, "CONNECT {GRAPH} HTTP/1.1\r\nHost: {GRAPH}\r\n\r\n").unwrap();
    let refusal = read_head(&mut stream);
    assert!(
        refusal.starts_with("HTTP/1.1 405 ") && refusal.contains("graph.facebook.com:443"),
        "{refusal}"
    );
    assert_eq!(origin.count(), 0);
}

#[test]
fn bytes_before_the_200_are_handled_as_a_request_and_never_passed_through() {
    let (origin, pki) = (Origin::plain("graph's own"), TestPki::new());
    let graphward = tls_proxy(&origin, &pki);
    let mut client = Client::connect(graphward.proxy);
    client.send(format!(
        "CONNECT {GRAPH} HTTP/1.1\r\nHost: {GRAPH}\r\n\r\n\
         GET /early HTTP/1.1\r\nHost: graph.facebook.com\r\nAuthorization: Bearer from-app\r\n\r\n"
    ));
    assert_eq!(client.read_response("HEAD").status, 200);
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "graph's own"));
    let seen = origin.only();
    assert!(contains(&seen.head, TOKEN.as_bytes()) && !contains(&seen.head, b"from-app"));
    // A foreign host is refused inside a tunnel, too.
    assert_eq!(
        client.round_trip("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n").status,
        421
    );
}

/// Another host, which echoes what it receives.
fn echo_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut space = [0; 1024];
                while let Ok(read @ 1..) = stream.read(&mut space) {
                    stream.write_all(&space[..read]).unwrap();
                }
            });
        }
    });
    port
}

/// A proxy that passes tunnels through to two hosts: one that echoes and one that does not listen.
fn proxy_with_passthrough(origin: &Origin, pki: &TestPki, gone: SocketAddr) -> TestProxy {
    let listen = format!(
        "{}\ntunnel_hosts = [\"echo.example\", \"gone.example\"]",
        pki.listen_config()
    );
    let connect_to = format!(
        "\"echo.example\" = \"127.0.0.1:{}\"\n\"gone.example\" = \"{gone}\"",
        echo_server()
    );
    let setup = ProxyConfig {
        listen: &listen,
        connect_to: &connect_to,
        ..ProxyConfig::default()
    };
    TestProxy::start_with(origin.port, setup)
}

#[test]
fn bytes_to_a_configured_host_are_passed_through_unchanged() {
    let (origin, pki) = (Origin::plain("x"), TestPki::new());
    let (_closed, gone) = refusing_address();
    let graphward = proxy_with_passthrough(&origin, &pki, gone);
    let (mut stream, head_) = open_tunnel(graphward.proxy, "echo.example:443");
    assert!(head_.starts_with("HTTP/1.1 200 "), "{head_}");
    for sent in [&b"\x16\x03\x01 not TLS at all"[..], b"GET / HTTP/1.1\r\n\r\n"] {
        stream.write_all(sent).unwrap();
        let mut echoed = vec![0; sent.len()];
        stream.read_exact(&mut echoed).unwrap();
        assert_eq!(echoed, sent);
    }
    assert_eq!(
        open_tunnel(graphward.proxy, "gone.example:443").1.split(' ').nth(1),
        Some("502")
    );
    assert_eq!(
        open_tunnel(graphward.proxy, "echo.example:80").1.split(' ').nth(1),
        Some("403")
    );
    assert_eq!(origin.count(), 0);
    // A stuck tunnel does not hold up the stop forever: it is force-closed in the end.
    graphward.request_stop();
    sleep_millis(300);
    graphward.request_stop();
    assert_eq!(graphward.wait_exit(), RunOutcome::ForceClosed(1));
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
}

#[test]
fn a_stop_lets_a_request_in_a_tunnel_end_and_closes_idle_ones() {
    let origin = Origin::scripted(|exchange| {
        exchange.read_body();
        sleep_millis(600);
        exchange.ok("late")
    });
    let pki = TestPki::new();
    let graphward = tls_proxy(&origin, &pki);
    let (stream, _head) = open_tunnel(graphward.proxy, GRAPH);
    let mut idle = pki.handshake_over(stream, "graph.facebook.com", &[]).unwrap();
    let (unbegun, _head) = open_tunnel(graphward.proxy, GRAPH);
    let (stream, _head) = open_tunnel(graphward.proxy, GRAPH);
    let mut busy = pki.handshake_over(stream, "graph.facebook.com", &[]).unwrap();
    busy.send("GET /slow HTTP/1.1\r\nHost: graph.facebook.com\r\n\r\n");
    assert!(wait_until(|| origin.connections() == 1));
    sleep_millis(100);
    graphward.request_stop();
    assert!(busy.read_until("late").contains("200 OK"));
    assert_eq!(idle.read_until("never"), "");
    assert_eq!(graphward.wait_exit(), RunOutcome::Drained);
    drop(unbegun);
}

#[test]
fn row_25_an_upgrade_that_graph_declines_opens_no_tunnel() {
    let (origin, pki) = (Origin::plain("graph's own"), TestPki::new());
    let graphward = tls_proxy(&origin, &pki);
    let mut client = Client::connect(graphward.proxy);
    client.send(
        "GET /first HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n\
         GET /second HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer from-app\r\n\r\n",
    );
    for _ in 0..2 {
        let response = client.response();
        assert_eq!((response.status, response.text().as_str()), (200, "graph's own"));
    }
    let seen = origin.take();
    assert_eq!(seen.len(), 2, "row 25");
    assert!(contains(&seen[1].head, TOKEN.as_bytes()) && !contains(&seen[1].head, b"from-app"));
}
