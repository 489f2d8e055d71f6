//! Listeners: Unix sockets, a port that is taken, two protocols on one port.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use super::support::client::{get, get_request};
use super::support::{H2c, Origin, ProxyConfig, ProxyProcess, TestProxy, contains};

#[test]
fn a_stale_socket_file_is_replaced_and_removed_at_the_end() {
    let origin = Origin::plain("over unix");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("proxy.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "no process listens there any more");
    let proxy = format!("[\"unix:{}\", \"127.0.0.1:0\"]", path.display());
    let setup = ProxyConfig {
        proxy: Some(&proxy),
        ..ProxyConfig::default()
    };
    let mut process = ProxyProcess::start(origin.port, setup, "");
    let mut stream = UnixStream::connect(&path).unwrap();
    let request = "GET /r HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).unwrap();
    assert!(contains(&response, b"200 OK") && contains(&response, b"over unix"));
    assert_eq!(get(process.proxy, "/r").status, 200);
    process.terminate();
    assert_eq!(process.wait_exit().code(), Some(0));
    assert!(!path.exists(), "the socket file is left behind");
}

#[test]
fn a_regular_file_and_a_socket_in_use_are_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (file, socket) = (dir.path().join("file"), dir.path().join("socket"));
    std::fs::write(&file, "precious").unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    for path in [&file, &socket] {
        let address = format!("unix:{}", path.display());
        let (code, stderr) = start_and_fail(&address);
        assert_eq!(code, Some(3), "{stderr}");
        assert!(
            stderr.contains("cannot listen on") && stderr.contains(&address),
            "{stderr}"
        );
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    assert!(UnixStream::connect(&socket).is_ok());
    drop(listener);
}

#[test]
fn a_port_in_use_fails_the_start_with_3() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, stderr) = start_and_fail(&address);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains(&format!("cannot listen on {address}")), "{stderr}");
}

/// Starts graphward on an address that it cannot listen on; returns its exit code and standard error.
fn start_and_fail(address: &str) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_graphward"))
        .args(["serve", "--listen", address, "--admin", "127.0.0.1:0"])
        .current_dir(dir.path())
        .env_clear()
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), stderr)
}

#[test]
fn the_admin_paths_are_on_a_separate_listener_and_read_only() {
    let origin = Origin::plain("graph's own");
    let graphward = TestProxy::start(origin.port);
    for path in [
        "/metrics",
        "/livez",
        "/readyz",
        "/startupz",
        "/healthz",
        "/admin/token-status",
    ] {
        assert_eq!(get(graphward.proxy, path).text(), "graph's own", "{path}");
        assert_eq!(origin.take().len(), 1, "{path}");
    }
    for path in ["/metrics", "/livez", "/readyz", "/startupz", "/healthz"] {
        let response = get(graphward.admin, path);
        assert_eq!(response.status, 200, "{path}");
        assert!(!contains(&response.body, super::support::TOKEN.as_bytes()), "{path}");
        let posted = super::support::client::round_trip(graphward.admin, get_request(path).replacen("GET", "POST", 1));
        assert_eq!(posted.status, 405, "{path}");
    }
    assert_eq!(get(graphward.admin, "/shutdown").status, 404);
    assert_eq!(get(graphward.admin, "/v23.0/me").status, 404);
    assert_eq!(origin.count(), 0, "the operators' listener forwards nothing");
    assert!(matches!(
        H2c::connect(graphward.admin).get(1, "/livez"),
        super::support::h2c::Outcome::Status(200, _)
    ));
}

#[test]
fn a_tls_handshake_on_a_listener_without_tls_is_logged_once_with_the_remedy() {
    let origin = Origin::plain("x");
    let process = ProxyProcess::start(origin.port, ProxyConfig::default(), "");
    // The first bytes of a ClientHello of TLS 1.3 and of TLS 1.0.
    for hello in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\x16\x03\x00\x00\x54",
    ] {
        let mut stream = TcpStream::connect(process.proxy).unwrap();
        stream.write_all(hello).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
    }
    assert_eq!(get(process.proxy, "/r").status, 200);
    let events = process.log_events();
    let warnings: Vec<_> = events.iter().filter(|event| event["level"] == "WARN").collect();
    let hints = warnings
        .iter()
        .filter(|event| event["message"].as_str().unwrap().contains("listen.tls"));
    assert_eq!(hints.count(), 1, "{warnings:?}");
}
