//! Tunnels through a listener of a tenant's own.

use super::*;
use crate::support::{Body, tls_settings};

async fn send_in(tunnel: &mut Client, path: &str, headers: &[(&str, &str)]) -> TestResponse {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    tunnel.send(request.body(Body::default()).unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_through_a_listener_of_a_tenants_own_is_for_that_tenant_only() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    issue(&graph, dir.path(), "acme", "101");
    issue(&graph, dir.path(), "Shop@eu", "201");
    let settings = config(&graph, dir.path(), &tls_settings(dir.path()));
    let sidecar = Sidecar::start(dir.path(), &settings).await;
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
