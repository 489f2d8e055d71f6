//! Tunnels through a listener of a tenant's own.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::support::{Body, tls_settings};

async fn send_in(tunnel: &mut Client, path: &str, headers: &[(&str, &str)]) -> TestResponse {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    tunnel.send(request.body(Body::default()).unwrap()).await
}

/// A sidecar with both tenants that opens tunnels.
async fn start_with_tls() -> (Graph, TempDir, Sidecar) {
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    issue(&graph, dir.path(), "acme", "101");
    issue(&graph, dir.path(), "Shop@eu", "201");
    let settings = config(&graph, dir.path(), &tls_settings(dir.path()));
    let sidecar = Sidecar::start(dir.path(), &settings).await;
    (graph, dir, sidecar)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_through_a_listener_of_a_tenants_own_is_for_that_tenant_only() {
    let _turn = together().await;
    let (graph, dir, sidecar) = start_with_tls().await;
    let (socket, ca) = (dir.path().join("shop.sock"), dir.path().join("pki/ca.pem"));

    let mut shared = Client::connect_through(sidecar.proxy, &ca).await.unwrap();
    let refused = code(&send_in(&mut shared, "/v26.0/me", &[]).await);
    assert_eq!((refused.0, refused.1), (400, 990_024), "a tunnel itself is no sign");

    let mut own = Client::connect_through_socket(&socket, &ca).await.unwrap();
    for headers in [
        &[][..],
        &[("x-tenant-id", "Shop@eu")],
        &[("authorization", "Bearer tenant:Shop@eu")],
        &[("authorization", "Bearer EAAGfrom0the0app")],
    ] {
        let response = send_in(&mut own, "/v26.0/me?fields=id,name", headers).await;
        assert_eq!(name(&response), "Shop@eu", "{headers:?}");
    }
    let before = graph.sim.attempts();
    for (path, headers) in [
        ("/v26.0/me", &[("x-tenant-id", "acme")][..]),
        ("/v26.0/me", &[("authorization", "Bearer tenant:acme")]),
        ("/v26.0/me?access_token=tenant:acme", &[]),
        ("/-/acme/v26.0/me", &[]),
        ("/v26.0/101", &[]),
    ] {
        let refused = code(&send_in(&mut own, path, headers).await);
        assert_eq!(
            (refused.0, refused.1),
            (403, 990_027),
            "{path} {headers:?}: {}",
            refused.2
        );
    }
    assert_eq!(graph.sim.attempts(), before, "nothing was sent");
    assert_eq!(send_in(&mut own, "/v26.0/201", &[]).await.status, 200);
    assert_eq!(graph.sim.violations(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_is_not_opened_for_a_sign_that_its_requests_would_not_have() {
    let _turn = together().await;
    let (graph, _dir, sidecar) = start_with_tls().await;
    for (header, status) in [
        ("X-Tenant-Id: acme", 400),
        // `HTTPS_PROXY=http://tenant:acme@127.0.0.1:8080`
        ("Proxy-Authorization: Basic dGVuYW50OmFjbWU=", 400),
        ("Proxy-Authorization: Bearer tenant:acme", 400),
        ("Proxy-Authorization: Basic dXNlcjpwYXNzd29yZA==", 200),
        ("User-Agent: curl/8.5.0", 200),
    ] {
        let mut stream = TcpStream::connect(sidecar.proxy).await.unwrap();
        let head = format!("CONNECT graph.facebook.com:443 HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{header}: {answer}");
    }
    assert_eq!(graph.sim.attempts(), 0);
}
