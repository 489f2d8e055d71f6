//! An upload goes on with the token of the tenant that started it, although the next call says nothing about a tenant.

use std::path::Path;

use serde_json::{Value, json};

use super::{code, config, issue, send};
use crate::support::{Graph, Sidecar, TestResponse, get, together};

const APP: &str = "1234567890123456";
const FILE: (&str, &str) = ("content-type", "application/octet-stream");

/// A sidecar with two tenants that knows the host for the bytes of reels.
async fn start(dir: &Path) -> (Graph, Sidecar) {
    let graph = Graph::start().await;
    issue(&graph, dir, "acme", "101");
    issue(&graph, dir, "Shop@eu", "201");
    let media = format!("\"lookaside.fbsbx.com\" = \"{}\"", graph.running.address);
    let rupload = media.replace("lookaside.fbsbx.com", "rupload.facebook.com");
    let config = config(&graph, dir, "").replace(&media, &format!("{media}, {rupload}"));
    assert!(config.contains("rupload"));
    let sidecar = Sidecar::start(dir, &config).await;
    (graph, sidecar)
}

fn text(response: &TestResponse, member: &str) -> String {
    let value: Value = response.json();
    value[member].as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_id_of_an_upload_session_names_its_tenant_and_reaches_graph_as_it_was() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let (graph, sidecar) = start(dir.path()).await;
    let start = format!("/v26.0/{APP}/uploads?file_length=6&file_type=image%2Fjpeg");
    for name in ["acme", "Shop@eu"] {
        let started = send(&sidecar, "POST", &start, &[("x-tenant-id", name)], "").await;
        assert_eq!(started.status, 200, "{}", started.json());
        let id = text(&started, "id");
        assert!(id.ends_with(&format!("&access_token=tenant:{name}")), "{id}");
        let path = format!("/v26.0/{id}");
        // As clients do: a base URL, the id, and a token or none.
        let first = send(&sidecar, "POST", &path, &[("file_offset", "0"), FILE], "abc").await;
        assert_eq!(first.json(), json!({"id": id, "file_offset": 3}));
        assert_eq!(get(sidecar.proxy, &path).await.json()["file_offset"], 3);
        let slot = format!("OAuth tenant:{name}");
        for other in ["acme", "Shop@eu"] {
            let asked = send(&sidecar, "GET", &path, &[("x-tenant-id", other)], "").await;
            let (status, code, _message) = code(&asked);
            let expected = if name == other { (200, 0) } else { (403, 990_027) };
            assert_eq!((status, code), expected, "{other}");
        }
        let headers = [("file_offset", "3"), FILE, ("authorization", &*slot)];
        let last = send(&sidecar, "POST", &path, &headers, "def").await;
        assert!(text(&last, "h").starts_with("4::"));
        let seen = graph.sim.recorded_calls().pop().unwrap().target;
        assert_eq!(Some(&*seen), path.split("&access_token").next());
    }
    assert_eq!(graph.sim.violations().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_keeps_a_token_of_its_own_gets_the_id_as_graph_wrote_it() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let own = issue(&graph, dir.path(), "acme", "101");
    issue(&graph, dir.path(), "Shop@eu", "201");
    let config = config(&graph, dir.path(), "[heal]\nclient_credentials = \"keep\"\n");
    let sidecar = Sidecar::start(dir.path(), &config).await;
    let start = format!("/-/acme/v26.0/{APP}/uploads?file_length=3&file_type=image%2Fjpeg");
    let authorization = format!("OAuth {own}");
    let mut headers = vec![("authorization", &*authorization)];
    let id = text(&send(&sidecar, "POST", &start, &headers, "").await, "id");
    assert!(!id.contains("tenant:"), "{id}");
    headers.extend([("file_offset", "0"), FILE]);
    let sent = send(&sidecar, "POST", &format!("/-/acme/v26.0/{id}"), &headers, "abc").await;
    assert!(text(&sent, "h").starts_with("4::"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_url_of_a_reel_names_its_tenant() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let (graph, sidecar) = start(dir.path()).await;
    let started = send(&sidecar, "POST", "/v26.0/201/video_reels?upload_phase=start", &[], "").await;
    let url = text(&started, "upload_url");
    let base = format!("http://{}", sidecar.proxy);
    let path = url.strip_prefix(&base).unwrap_or_else(|| panic!("{url}"));
    assert!(path.starts_with("/-/Shop%40eu/video-upload/v26.0/"), "{url}");
    let bytes = [("offset", "0"), ("file_size", "3"), FILE];
    let sent = send(&sidecar, "POST", path, &bytes, "abc").await;
    assert_eq!(sent.json(), json!({"success": true}));
    let video = text(&started, "video_id");
    let finish = format!("/v26.0/201/video_reels?upload_phase=finish&video_id={video}");
    assert_eq!(send(&sidecar, "POST", &finish, &[], "").await.status, 200);
    let other = send(&sidecar, "POST", &path.replace("Shop%40eu", "acme"), &bytes, "abc").await;
    assert_eq!(other.status, 404, "Graph has no such upload for another tenant");
    assert_eq!(graph.sim.violations().len(), 1);
}
