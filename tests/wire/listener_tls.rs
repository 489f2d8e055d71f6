//! TLS for the app: on the same port as plain HTTP, with a certificate that may change.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::process::Command;

use graphward::net::ca::CertSpec;
use graphward::types::Clock;
use tokio::time::Duration;

use super::support::client::get;
use super::support::tls_client::{listen_config_for, write_certificate};
use super::support::{
    H2c, Origin, ProxyConfig, ProxyProcess, TOKEN, TestPki, TestProxy, contains, sleep_millis, valid_leaf, wait_until,
};

fn tls_proxy(origin: &Origin, pki: &TestPki) -> TestProxy {
    TestProxy::start_with(origin.port, ProxyConfig::listen(&pki.listen_config()))
}

#[test]
fn https_http_and_http2_are_served_on_one_port() {
    let (origin, pki) = (Origin::plain("graph's own"), TestPki::new());
    let graphward = tls_proxy(&origin, &pki);
    for alpn in [&[&b"http/1.1"[..]][..], &[]] {
        let mut secure = pki.connect(graphward.proxy, "localhost", alpn).unwrap();
        assert_eq!(secure.alpn(), alpn.first().copied());
        for _ in 0..2 {
            let response = secure.get("localhost", "graph's own");
            assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
        }
    }
    let secure = pki.connect(graphward.proxy, "localhost", &[b"h2", b"http/1.1"]);
    assert_eq!(secure.unwrap().alpn(), Some(&b"h2"[..]));
    assert_eq!(get(graphward.proxy, "/plain").text(), "graph's own");
    assert!(matches!(
        H2c::connect(graphward.proxy).get(1, "/h2c"),
        super::support::h2c::Outcome::Status(200, _)
    ));
    let seen = origin.take();
    assert_eq!(seen.len(), 6);
    for seen in seen {
        assert!(contains(&seen.head, TOKEN.as_bytes()));
    }
}

#[test]
fn every_name_of_graph_and_of_this_machine_is_vouched_for_and_no_other() {
    let (origin, pki) = (Origin::plain("x"), TestPki::new());
    let graphward = tls_proxy(&origin, &pki);
    for name in valid_leaf().names {
        assert!(pki.connect(graphward.proxy, &name, &[]).is_ok(), "{name}");
    }
    assert!(pki.connect(graphward.proxy, "example.com", &[]).is_err());
    // As with a hosts file: the name of Graph resolves to graphward.
    let mut secure = pki.connect(graphward.proxy, "graph.facebook.com", &[]).unwrap();
    let response = secure.get("graph.facebook.com", "x");
    assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
    assert_eq!(origin.count(), 1);
    // A client that trusts another CA sends no request.
    let stranger = TestPki::new();
    assert!(stranger.connect(graphward.proxy, "localhost", &[]).is_err());
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_unix_socket_takes_both_as_well() {
    let (origin, pki) = (Origin::plain("over unix"), TestPki::new());
    let path = pki.path("proxy.sock");
    let proxy = format!("\"unix:{}\"", path.display());
    let setup = ProxyConfig {
        listen: &pki.listen_config(),
        proxy: Some(&proxy),
        ..ProxyConfig::default()
    };
    let _graphward = TestProxy::start_with(origin.port, setup);
    let mut plain = UnixStream::connect(&path).unwrap();
    plain
        .write_all(b"GET /r HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut response = Vec::new();
    plain.read_to_end(&mut response).unwrap();
    assert!(contains(&response, b"over unix"));
    // An invalid handshake is answered with a TLS alert; invalid HTTP would get a 400.
    let mut handshake = UnixStream::connect(&path).unwrap();
    handshake.write_all(b"\x16\x03\x01\x00\x04\xff\x00\x00\x00").unwrap();
    let mut response = Vec::new();
    handshake.read_to_end(&mut response).unwrap();
    assert_eq!(response.first(), Some(&0x15), "an alert: {response:?}");
}

#[test]
fn a_renewed_certificate_is_shown_to_new_connections_and_open_ones_go_on() {
    let (origin, pki) = (Origin::plain("x"), TestPki::new());
    let graphward = tls_proxy(&origin, &pki);
    let mut open = pki.connect(graphward.proxy, "localhost", &[]).unwrap();
    let before = pki.served_certificate(graphward.proxy).unwrap();
    pki.reissue();
    assert!(wait_until(|| pki.served_certificate(graphward.proxy).unwrap() != before));
    assert!(open.get("localhost", "x").starts_with("HTTP/1.1 200"));
    // A mismatched pair is not used …
    let renewed = pki.served_certificate(graphward.proxy).unwrap();
    std::fs::write(pki.path("key.pem"), pki.sign().signing_key.serialize_pem()).unwrap();
    std::fs::write(pki.path("cert.pem"), "half").unwrap();
    sleep_millis(1_500);
    assert_eq!(pki.served_certificate(graphward.proxy).unwrap(), renewed);
    // … until it matches.
    pki.reissue();
    assert!(wait_until(
        || pki.served_certificate(graphward.proxy).unwrap() != renewed
    ));
}

#[test]
fn a_certificate_behind_a_swapped_link_is_seen() {
    let (origin, pki) = (Origin::plain("x"), TestPki::new());
    let mounted = pki.path("mounted");
    let version = |name: &str| {
        let directory = mounted.join(name);
        std::fs::create_dir_all(&directory).unwrap();
        write_certificate(&directory, &pki.sign());
    };
    // As Kubernetes mounts a secret.
    version("..1");
    symlink("..1", mounted.join("..data")).unwrap();
    for name in ["cert.pem", "key.pem"] {
        symlink(format!("..data/{name}"), mounted.join(name)).unwrap();
    }
    let graphward = TestProxy::start_with(origin.port, ProxyConfig::listen(&listen_config_for(&mounted)));
    let before = pki.served_certificate(graphward.proxy).unwrap();
    version("..2");
    symlink("..2", mounted.join("..next")).unwrap();
    std::fs::rename(mounted.join("..next"), mounted.join("..data")).unwrap();
    std::fs::remove_dir_all(mounted.join("..1")).unwrap();
    assert!(wait_until(|| pki.served_certificate(graphward.proxy).unwrap() != before));
}

#[test]
fn a_pair_that_does_not_fit_fails_the_start_with_2_and_doubts_are_warned_of() {
    let pki = TestPki::new();
    let start = |listen: &str| {
        let setup = ProxyConfig {
            listen,
            ..ProxyConfig::default()
        };
        let dir = tempfile::tempdir().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_graphward"))
            .args(["serve", "--config"])
            .arg(setup.write(dir.path(), 1))
            .env_clear()
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    std::fs::write(pki.path("key.pem"), pki.sign().signing_key.serialize_pem()).unwrap();
    let (code, stderr) = start(&pki.listen_config());
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("cannot use listen.tls: the key in"), "{stderr}");
    let (code, stderr) = start("tls = { cert = \"/nowhere/c\", key = \"/nowhere/k\" }");
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("cannot read `/nowhere/c`"), "{stderr}");

    // A certificate that works but will expire soon is reported.
    let clock = Clock::system();
    let day = Duration::from_secs(86_400);
    let until = |not_after| CertSpec {
        not_before: clock.now() - 9 * day,
        not_after,
        ..valid_leaf()
    };
    let warnings = [
        "the private key is world-readable",
        "expires soon",
        "the TLS certificate has expired",
    ];
    for (leaf, mode, warned) in [
        (valid_leaf(), 0o600, [false, false, false]),
        (valid_leaf(), 0o644, [true, false, false]),
        (until(clock.now() + 29 * day), 0o640, [false, true, false]),
        (until(clock.now() - day), 0o600, [false, false, true]),
    ] {
        write_certificate(&pki.path(""), &pki.sign_for(&leaf));
        let mode = PermissionsExt::from_mode(mode);
        std::fs::set_permissions(pki.path("key.pem"), mode).unwrap();
        let origin = Origin::plain("x");
        let process = ProxyProcess::start(origin.port, ProxyConfig::listen(&pki.listen_config()), "");
        let log = process.stdout();
        assert_eq!(warnings.map(|warning| log.contains(warning)), warned, "{log}");
    }
}

#[test]
fn without_tls_a_handshake_is_not_answered_and_does_no_harm() {
    let origin = Origin::plain("x");
    let graphward = TestProxy::start(origin.port);
    let pki = TestPki::new();
    assert!(pki.connect(graphward.proxy, "localhost", &[]).is_err());
    let mut idle = TcpStream::connect(graphward.proxy).unwrap();
    assert_eq!(get(graphward.proxy, "/r").status, 200);
    idle.write_all(b"GET /r HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut response = Vec::new();
    idle.read_to_end(&mut response).unwrap();
    assert!(contains(&response, b"200 OK"));
}
