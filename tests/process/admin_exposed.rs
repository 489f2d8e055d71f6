//! An admin listener that other machines reach, without a key, and one at a Unix socket.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

use crate::admin_access::paste;
use crate::admin_changes::{LOCAL, document, exchange, put, send};
use crate::support::{Graph, Sidecar, replace_file, settings, together};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_other_machines_reach_changes_nothing_and_shows_nothing_to_a_rebound_name() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let (first, second) = (graph.sim.issue(None), graph.sim.issue(None));
    replace_file(&dir.path().join("token"), &first);
    for address in ["0.0.0.0:0", "[::]:0"] {
        let listen = format!("admin = \"{address}\"\nallowed_hosts = [\"graphward.internal\"]");
        let config = settings(&graph, "file = \"token\"", "").replace("admin = \"127.0.0.1:0\"", &listen);
        let sidecar = Sidecar::start(dir.path(), &config).await;
        sidecar.wait_until_uses(&graph, &first).await;
        let local = SocketAddr::from(([127, 0, 0, 1], sidecar.admin.port()));
        let look = |host: &str| send(local, "GET /admin/token-status", &format!("Host: {host}\r\n"), "");
        let answer = put(local, LOCAL, &document(&second));
        assert_eq!(answer.status, 403, "{}", answer.text);
        let words = "set listen.admin to a loopback address";
        assert!(answer.message().contains(words), "{}", answer.text);
        for host in [
            "localhost",
            "graphward.internal",
            "GRAPHWARD.internal:9080",
            "10.0.0.7:9080",
            "[::1]",
        ] {
            let shown = look(host);
            assert_eq!(shown.status, 200, "{host}: {}", shown.text);
            assert_eq!(shown.json()["changes_refused"], answer.message(), "{host}");
        }
        for host in ["rebound.example", "10.0.0.7.nip.io", "graphward.internal.evil.example"] {
            let refused = look(host);
            assert_eq!(refused.status, 403, "{host}: {}", refused.text);
            let message = refused.message();
            assert!(message.contains("listen.allowed_hosts"), "{host}: {message}");
            assert!(!message.contains(host), "{message}");
            // It names an address to which this machine can connect.
            let line = format!("curl {}", message.split_once("curl ").unwrap().1);
            assert!(!line.contains("0.0.0.0") && !line.contains("[::]"), "{line}");
            assert_eq!(paste(&line, "", dir.path()), "200", "{line}");
        }
        drop(sidecar);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_takes_changes_without_a_key() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let (first, second) = (graph.sim.issue(None), graph.sim.issue(None));
    replace_file(&dir.path().join("token"), &first);
    let socket = dir.path().join("admin.sock");
    let address = format!("admin = \"unix:{}\"", socket.display());
    let config = settings(&graph, "file = \"token\"", "").replace("admin = \"127.0.0.1:0\"", &address);
    let sidecar = Sidecar::start(dir.path(), &config).await;
    sidecar.wait_until_uses(&graph, &first).await;
    let stream = UnixStream::connect(socket).unwrap();
    let answer = exchange(stream, "PUT /admin/token", LOCAL, &document(&second));
    assert_eq!(answer.status, 200, "{}", answer.text);
    sidecar.wait_until_uses(&graph, &second).await;
}
