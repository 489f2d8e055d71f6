//! Several tenants in one process.

mod allow;
mod exchanged;
mod removed;
mod tunnels;
mod uploads;

use std::path::Path;

use bytes::Bytes;
use fake_graph::TokenChange;
use graphward::net::Tasks;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::support::{Client, Graph, Sidecar, TestResponse, get, network_settings, replace_file, together, wait_until};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// Issues the token of a tenant that may act on one phone number, and writes its file.
fn issue(graph: &Graph, dir: &Path, name: &str, phone: &str) -> String {
    let token = graph.sim.issue(None);
    let change = TokenChange {
        target_ids: Some(vec![phone.to_owned()]),
        name: Some(name.to_owned()),
        ..TokenChange::default()
    };
    assert!(graph.sim.update_token(&token, change));
    replace_file(&dir.join(name), &token);
    token
}

fn config(graph: &Graph, dir: &Path, extra: &str) -> String {
    format!(
        r#"{}
[routing]
header = "X-Tenant-Id"
[tenants.acme]
ids = ["101"]
source = {{ file = "acme" }}
[tenants."Shop@eu"]
ids = ["201"]
source = {{ file = "Shop@eu" }}
listen = "unix:{}/shop.sock"
{extra}
"#,
        network_settings(graph),
        dir.display(),
    )
}

/// A sidecar with both tenants.
async fn start() -> (TempDir, Graph, Sidecar) {
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    issue(&graph, dir.path(), "acme", "101");
    issue(&graph, dir.path(), "Shop@eu", "201");
    let sidecar = Sidecar::start(dir.path(), &config(&graph, dir.path(), "")).await;
    (dir, graph, sidecar)
}

/// A request with these headers and this body.
async fn send(sidecar: &Sidecar, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> TestResponse {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes())).boxed();
    Client::connect(sidecar.proxy)
        .await
        .send(request.body(body).unwrap())
        .await
}

fn reload(sidecar: &Sidecar, dir: &Path, config: &str) {
    replace_file(&dir.join("graphward.toml"), config);
    sidecar.signal(Signal::HUP);
}

/// The name of the token with which Graph saw a request for `/me`.
fn name(response: &TestResponse) -> String {
    assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
    response.json()["name"].as_str().unwrap_or_default().to_owned()
}

fn code(response: &TestResponse) -> (u16, i64, String) {
    let error = &response.json()["error"];
    (
        response.status,
        error["code"].as_i64().unwrap_or_default(),
        error["message"].as_str().unwrap_or_default().to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_sign_leads_to_its_tenants_token_and_is_not_forwarded() {
    let _turn = together().await;
    let (_dir, graph, sidecar) = start().await;
    let slot = "Bearer tenant:Shop@eu";
    for (method, path, headers, body) in [
        ("GET", "/v26.0/me", &[("x-tenant-id", "Shop@eu")][..], ""),
        ("GET", "/v26.0/me", &[("authorization", slot)], ""),
        ("GET", "/v26.0/me", &[("authorization", "OAuth tenant:Shop@eu")], ""),
        ("GET", "/v26.0/me?access_token=tenant:Shop%40eu&fields=id,name", &[], ""),
        ("GET", "/-/Shop@eu/v26.0/me", &[], ""),
        (
            "GET",
            "/-/Shop%40eu/v26.0/me",
            &[("authorization", slot), ("X-Tenant-Id", "Shop@eu")],
            "",
        ),
        (
            "POST",
            "/v26.0/me?method=get",
            &[("content-type", FORM)],
            "access_token=tenant%3AShop%40eu",
        ),
        (
            "POST",
            "/v26.0/me?method=get",
            &[("content-type", JSON)],
            r#"{"access_token":"tenant:Shop@eu"}"#,
        ),
        (
            "POST",
            "/v26.0/me?method=get",
            &[("content-type", "multipart/form-data; boundary=b")],
            "--b\r\nContent-Disposition: form-data; name=\"access_token\"\r\n\r\ntenant:Shop@eu\r\n--b--\r\n",
        ),
    ] {
        let response = send(&sidecar, method, path, headers, body).await;
        assert_eq!(name(&response), "Shop@eu", "{path} {headers:?} {body}");
    }
    // By the id of an object, without anything else.
    for (path, expected) in [
        ("/v26.0/101", "acme"),
        ("/v26.0/201", "Shop@eu"),
        ("/?ids=201", "Shop@eu"),
    ] {
        let before = graph.sim.object_uses();
        assert_eq!(get(sidecar.proxy, path).await.status, 200, "{path}");
        let uses = graph.sim.object_uses();
        let used = uses
            .iter()
            .filter(|used| !before.contains(used))
            .map(|used| used.token.clone());
        assert_eq!(used.collect::<Vec<_>>(), [expected], "{path}");
    }
    let batch = json!([{"method": "GET", "relative_url": "me?access_token=tenant:acme"}, {"method": "GET", "relative_url": "101"}]);
    let batch = format!(
        "batch={}",
        percent_encoding::utf8_percent_encode(&batch.to_string(), percent_encoding::NON_ALPHANUMERIC)
    );
    let response = send(&sidecar, "POST", "/", &[("content-type", FORM)], &batch).await;
    let items = response.json();
    assert_eq!(
        (items[0]["code"].as_i64(), items[1]["code"].as_i64()),
        (Some(200), Some(200)),
        "{items}"
    );
    assert!(items[0]["body"].as_str().unwrap().contains("acme"), "{items}");
    assert_eq!(graph.sim.violations().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_of_a_tenants_own_is_for_that_tenant_only() {
    let _turn = together().await;
    let (dir, _graph, _sidecar) = start().await;
    let socket = dir.path().join("shop.sock");
    let curl = |path: &str| {
        let output = std::process::Command::new("curl")
            .args(["-sS", "--unix-socket"])
            .arg(&socket)
            .arg(format!("http://localhost{path}"))
            .output()
            .unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    assert_eq!(curl("/v26.0/me?fields=name")["name"], "Shop@eu");
    assert_eq!(curl("/v26.0/101")["error"]["code"], 990_027);
    assert_eq!(curl("/-/acme/v26.0/me")["error"]["code"], 990_027);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_without_one_tenant_is_refused_before_anything_is_sent() {
    let _turn = together().await;
    let (_dir, graph, sidecar) = start().await;
    let before = graph.sim.counts();
    for (path, headers, body, expected, says) in [
        ("/v26.0/me", &[][..], "", (400, 990_024), "does not say which tenant"),
        ("/v26.0/999/messages", &[], "", (400, 990_024), "/-/NAME/"),
        (
            "/v26.0/101",
            &[("x-tenant-id", "ACME")],
            "",
            (404, 990_025),
            "the tenant header names the tenant \"ACME\"",
        ),
        ("/-/../v26.0/101", &[], "", (404, 990_025), "the prefix of the path"),
        (
            "/-/acme/-/Shop@eu/v26.0/me",
            &[],
            "",
            (400, 990_006),
            "a tenant is named once",
        ),
        ("//-/acme/v26.0/me", &[], "", (400, 990_006), "a tenant is named once"),
        ("/v26.0/?id=201", &[("x-tenant-id", "acme")], "", (403, 990_027), ""),
        (
            "/v26.0/101",
            &[("x-tenant-id", "Shop@eu")],
            "",
            (403, 990_027),
            "names the tenant",
        ),
        (
            "/v26.0/101",
            &[("x-tenant-id", "acme"), ("x-tenant-id", "Shop@eu")],
            "",
            (403, 990_027),
            "",
        ),
        ("/v26.0/101?ids=201", &[], "", (403, 990_027), ""),
        ("/v26.0/101?phone_number_id=201", &[], "", (403, 990_027), ""),
        (
            "/v26.0/101",
            &[("content-type", FORM)],
            "access_token=tenant:Shop%40eu",
            (403, 990_027),
            "",
        ),
        (
            "/v26.0/101",
            &[("content-type", FORM)],
            "access_token=tenant:other",
            (404, 990_025),
            "the place of the token",
        ),
        (
            "/-/acme/",
            &[("content-type", JSON)],
            r#"{"batch":[{"method":"GET","relative_url":"201"}]}"#,
            (403, 990_027),
            "",
        ),
    ] {
        let response = send(&sidecar, "POST", path, headers, body).await;
        let (status, code, message) = code(&response);
        assert_eq!((status, code), expected, "{path} {headers:?} {body}: {message}");
        assert!(message.contains(says), "{message}");
        assert!(response.header("proxy-status").starts_with("graphward; error="));
    }
    assert_eq!(graph.sim.counts().accepted, before.accepted);
    assert_eq!(graph.sim.violations().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dead_token_of_one_tenant_holds_no_other_up_and_a_file_heals_it() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let acme = issue(&graph, dir.path(), "acme", "101");
    issue(&graph, dir.path(), "Shop@eu", "201");
    let sidecar = Sidecar::start(dir.path(), &config(&graph, dir.path(), "")).await;
    assert_eq!(get(sidecar.proxy, "/v26.0/101").await.status, 200);
    graph.sim.expire(&acme);
    let (answered, held) = oneshot::channel();
    let proxy = sidecar.proxy;
    drop(Tasks::default().spawn(async move { answered.send(get(proxy, "/v26.0/101").await.status) }));
    wait_until("it is known to be dead", async || {
        get(sidecar.admin, "/admin/token-status?tenant=acme").await.json()["tenants"][0]["usable"] == false
    })
    .await;
    assert_eq!(get(sidecar.proxy, "/v26.0/201").await.status, 200, "the other tenant");
    let status = get(sidecar.admin, "/readyz").await;
    assert_eq!(
        (status.status, &status.json()["tenants"]["Shop@eu"]["usable"]),
        (200, &json!(true))
    );
    issue(&graph, dir.path(), "acme", "101");
    wait_until("it is healed", async || {
        get(sidecar.proxy, "/v26.0/101").await.status == 200
    })
    .await;
    assert!(
        [200, 400].contains(&held.await.unwrap()),
        "Graph's own answer, or the healed one"
    );
    assert_eq!(graph.sim.violations().len(), 0);
    let metrics = sidecar.metrics().await;
    assert!(metrics.contains("tenant=\"acme\"") && metrics.contains("tenant=\"Shop@eu\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_in_answers_name_the_tenant_so_that_a_download_needs_the_url_only() {
    let _turn = together().await;
    let (_dir, _graph, sidecar) = start().await;
    let form = "--f\r\nContent-Disposition: form-data; name=\"messaging_product\"\r\n\r\nwhatsapp\r\n--f\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\npng\r\n--f--\r\n";
    let multipart = [("content-type", "multipart/form-data; boundary=f")];
    let uploaded = send(&sidecar, "POST", "/v26.0/201/media", &multipart, form).await;
    assert_eq!(uploaded.status, 200, "{}", uploaded.json());
    let media = uploaded.json()["id"].as_str().unwrap().to_owned();
    let looked_up = send(
        &sidecar,
        "GET",
        &format!("/v26.0/{media}"),
        &[("X-Tenant-Id", "Shop@eu")],
        "",
    )
    .await;
    let url = looked_up.json()["url"].as_str().unwrap().to_owned();
    let path = url
        .strip_prefix(&format!("http://{}", sidecar.proxy))
        .unwrap_or_else(|| panic!("{url}"));
    assert!(path.starts_with("/-/Shop%40eu/"), "{url}");
    let download = get(sidecar.proxy, path).await;
    assert_eq!((download.status, &*download.body), (200, &b"png"[..]));
    let other = get(sidecar.proxy, &path.replace("/-/Shop%40eu/", "/-/acme/")).await;
    assert_ne!(other.status, 200, "the token of another tenant");
}
