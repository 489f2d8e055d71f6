//! Tenants that a reload adds and removes.

use tempfile::TempDir;

use super::{FORM, code, config, issue, name, reload, send};
use crate::support::{Graph, Sidecar, get, together, wait_until};

/// Two tenants beside the default tenant: their folder, their Graph and the configuration.
async fn with_default() -> (TempDir, Graph, String) {
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    for (name, phone) in [("acme", "101"), ("Shop@eu", "201"), ("default", "301")] {
        issue(&graph, dir.path(), name, phone);
    }
    let config = config(&graph, dir.path(), "[token]\nsource = { file = \"default\" }\n");
    (dir, graph, config)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_adds_a_tenant_and_refuses_the_requests_of_one_that_is_gone() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    for (name, phone) in [("acme", "101"), ("Shop@eu", "201"), ("new", "301")] {
        issue(&graph, dir.path(), name, phone);
    }
    let with_new = config(
        &graph,
        dir.path(),
        "[tenants.new]\nids = [\"301\"]\nsource = { file = \"new\" }\n",
    );
    let sidecar = Sidecar::start(dir.path(), &config(&graph, dir.path(), "")).await;
    let by_name = async |name: &str| {
        send(&sidecar, "GET", "/v26.0/me", &[("x-tenant-id", name)], "")
            .await
            .status
    };
    assert_eq!((by_name("acme").await, by_name("new").await), (200, 404));
    reload(&sidecar, dir.path(), &with_new);
    wait_until("it is added", async || by_name("new").await == 200).await;
    assert_eq!(get(sidecar.proxy, "/v26.0/301").await.status, 200);
    reload(
        &sidecar,
        dir.path(),
        &with_new.replace("[tenants.acme]", "[tenants.renamed]"),
    );
    wait_until("it is gone", async || by_name("acme").await == 403).await;
    assert_eq!((by_name("new").await, by_name("renamed").await), (200, 200));
    let tenants = get(sidecar.admin, "/admin/token-status").await.json()["tenants"].clone();
    let names: Vec<_> = tenants
        .as_array()
        .unwrap()
        .iter()
        .map(|tenant| tenant["tenant"].clone())
        .collect();
    assert_eq!(names, ["Shop@eu", "new", "renamed"]);
    wait_until("its series are gone", async || {
        !sidecar.metrics().await.contains("tenant=\"acme\"")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_requests_of_a_tenant_that_is_gone_do_not_become_those_of_the_default_one() {
    let _turn = together().await;
    let (dir, graph, before) = with_default().await;
    let (listeners, _tenants) = before.split_once("[routing]").unwrap();
    let after = format!("{listeners}[token]\nsource = {{ file = \"default\" }}\n");
    let sidecar = Sidecar::start(dir.path(), &before).await;
    let me = async |headers: &[(&str, &str)]| send(&sidecar, "GET", "/v26.0/me", headers, "").await;
    assert_eq!(name(&me(&[]).await), "default");
    assert_eq!(name(&me(&[("x-tenant-id", "acme")]).await), "acme");
    reload(&sidecar, dir.path(), &after);
    let slot = [("authorization", "Bearer tenant:acme")];
    wait_until("the tenant is gone", async || me(&slot).await.status == 403).await;
    assert_eq!(name(&me(&[]).await), "default");
    assert_eq!(code(&me(&[("x-tenant-id", "acme")]).await).1, 990_026);
    for target in ["/-/acme/v26.0/me", "/v26.0/101", "/v26.0/101_7", "/v26.0/me?id=101"] {
        let refused = send(&sidecar, "GET", target, &[], "").await;
        assert_eq!(code(&refused).1, 990_026, "{target}");
    }
    let batch = "batch=[{\"method\":\"GET\",\"relative_url\":\"101\"}]";
    let refused = send(&sidecar, "POST", "/v26.0/", &[("content-type", FORM)], batch).await;
    assert_eq!(code(&refused).1, 990_026);
    assert_eq!(graph.sim.violations(), []);

    // Its ids are those of another one that has them now.
    let moved = "[tenants.moved]\nids = [\"101\"]\nsource = { file = \"acme\" }\n";
    reload(&sidecar, dir.path(), &format!("{after}{moved}"));
    wait_until("the other one has the id", async || {
        get(sidecar.proxy, "/v26.0/101").await.status == 200
    })
    .await;
    assert_eq!(code(&me(&slot).await).1, 990_026);
    // And it comes back.
    reload(&sidecar, dir.path(), &before);
    wait_until("the tenant is back", async || me(&slot).await.status == 200).await;
    assert_eq!(name(&me(&slot).await), "acme");
    assert_eq!(get(sidecar.proxy, "/v26.0/101").await.status, 200);
    // An id that the operator has taken out of a section that stays is that of no tenant.
    reload(&sidecar, dir.path(), &before.replace("ids = [\"201\"]", "ids = []"));
    wait_until("the id is that of no tenant", async || {
        let response = get(sidecar.proxy, "/v26.0/201").await;
        response.status != 200 && code(&response).1 != 990_026
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_a_reload_renames_names_its_tenant_as_before() {
    let _turn = together().await;
    let (dir, _graph, before) = with_default().await;
    let after = before.replace("X-Tenant-Id", "X-Organization");
    assert_ne!(before, after);
    let sidecar = Sidecar::start(dir.path(), &before).await;
    let me = async |headers: &[(&str, &str)]| send(&sidecar, "GET", "/v26.0/me", headers, "").await;
    assert_eq!(name(&me(&[("x-tenant-id", "acme")]).await), "acme");
    assert_eq!(name(&me(&[("x-organization", "acme")]).await), "default");
    reload(&sidecar, dir.path(), &after);
    let organization = [("x-organization", "acme")];
    wait_until("the new header counts", async || {
        name(&me(&organization).await) == "acme"
    })
    .await;
    assert_eq!(name(&me(&[("x-tenant-id", "acme")]).await), "acme");
    let both = [("x-organization", "acme"), ("x-tenant-id", "Shop@eu")];
    assert_eq!(code(&me(&both).await).1, 990_027);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_a_reload_gives_to_two_sections_is_refused_for_good_beside_a_service_that_lists_no_ids() {
    let _turn = together().await;
    let (dir, _graph, config) = with_default().await;
    let config = format!("{config}[tenants_from]\nhttp = \"http://127.0.0.1:9/{{tenant}}\"\n");
    let sidecar = Sidecar::start(dir.path(), &config).await;
    let by_id = async || send(&sidecar, "GET", "/v26.0/201", &[], "").await;
    assert_eq!(by_id().await.status, 200);
    reload(&sidecar, dir.path(), &config.replace("\"101\"", "\"101\", \"201\""));
    wait_until("two tenants have it", async || by_id().await.status != 200).await;
    let refused = code(&by_id().await);
    assert_eq!((refused.0, refused.1), (400, 990_024), "{refused:?}");
}
