//! Ids that rows had, or have for the first time, across a restart.

use std::path::Path;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::task::block_in_place;

use super::support::{
    NOTIFY, Service, TABLE, assert_is, config, insertion, issue, me, refusal, table_settings, wait_until_started,
};
use super::unread::default_section;
use crate::postgres::server::Server;
use crate::support::{Client, Graph, Sidecar, together, wait_until};

const CACHE: &str = "cache = { file = \"tenants-cache\", fernet_key = { file = \"key\" } }\n";
const SHORT_WAIT: &str = "[heal]\ntoken_wait = \"300ms\"\n";

/// The settings with a cache, and with a tenant for the requests without a sign.
fn settings(graph: &Graph, dir: &Path, url: &str) -> String {
    let table = table_settings(dir, url);
    let default = default_section(graph, dir);
    config(graph, dir, &format!("{table}{CACHE}{default}{SHORT_WAIT}"))
}

async fn wait_until_cached(dir: &TempDir, text: &str) {
    let cache = dir.path().join("tenants-cache");
    wait_until(text, async || {
        std::fs::read_to_string(&cache).is_ok_and(|cached| cached.contains(text))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_the_ids_of_a_row_that_was_deactivated_before_are_not_those_of_the_default_tenant() {
    let _turn = together().await;
    let (service, dir) = (Service::start().await, tempfile::tempdir().unwrap());
    service.insert("acme", "106", "206");
    service.insert("shop", "107", "207");
    let settings = settings(&service.graph, dir.path(), &service.database.url());
    let sidecar = Sidecar::start(dir.path(), &settings).await;
    wait_until_started(&sidecar).await;
    service.set("acme", "is_active = false");
    let mut client = Client::connect(sidecar.proxy).await;
    wait_until("it is withdrawn", async || {
        refusal(&me(&mut client, "acme").await) == (403, 990_026)
    })
    .await;
    wait_until_cached(&dir, r#""106":"acme""#).await;
    drop(sidecar);

    let sidecar = Sidecar::start(dir.path(), &settings).await;
    wait_until_started(&sidecar).await;
    let mut client = Client::connect(sidecar.proxy).await;
    for target in ["/v26.0/106?fields=id", "/v26.0/206?fields=id"] {
        let refused = client.get(target).await;
        assert_eq!(refusal(&refused), (403, 990_026), "{}", refused.json());
    }
    assert_eq!(client.get("/v26.0/me?fields=id,name").await.json()["name"], "default");
    assert_is(&me(&mut client, "shop").await, "shop");
    service.set("acme", "is_active = true");
    wait_until("it is active again", async || {
        client.get("/v26.0/106?fields=id").await.status == 200
    })
    .await;
    assert_eq!(service.graph.sim.violations(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_of_a_row_that_is_newer_than_the_cache_is_not_that_of_the_default_tenant_while_the_database_is_gone() {
    let _turn = together().await;
    let (graph, server, dir) = (Graph::start().await, Server::new(), tempfile::tempdir().unwrap());
    let acme = issue(&graph, "acme", &["106", "206"]);
    let row = insertion("acme", "106", "206", &acme);
    server.psql("postgres", &format!("{TABLE}{NOTIFY}{row};"));
    let settings = settings(&graph, dir.path(), &server.url_of("postgres", "postgres"));
    let sidecar = Sidecar::start(dir.path(), &settings).await;
    wait_until_cached(&dir, r#""acme""#).await;
    drop(sidecar);
    let shop = issue(&graph, "shop", &["107", "207"]);
    server.psql("postgres", &insertion("shop", "107", "207", &shop));
    block_in_place(|| server.stop());

    let sidecar = Sidecar::start(dir.path(), &settings).await;
    wait_until_started(&sidecar).await;
    let mut client = Client::connect(sidecar.proxy).await;
    let newer = client.get("/v26.0/107?fields=id").await;
    assert_eq!(refusal(&newer), (503, 990_003), "{}", newer.json());
    assert_eq!(newer.json()["error"]["is_transient"], true);
    // What a sign leads to a tenant of the cache is served, also with an id that no tenant has.
    assert_eq!(client.get("/v26.0/106?fields=id").await.status, 200);
    assert_is(&client.get("/-/acme/v26.0/me?fields=id,name").await, "acme");
    let of_media = client.get("/-/acme/v26.0/4242?fields=id").await;
    assert_ne!(refusal(&of_media).1, 990_003, "{}", of_media.json());
    assert_eq!(client.get("/v26.0/me?fields=id,name").await.json()["name"], "default");
    block_in_place(|| server.start());
    wait_until("the table is read", async || {
        client.get("/v26.0/107?fields=id").await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_an_id_that_a_row_with_the_name_of_a_removed_section_had_is_not_that_of_the_default_tenant() {
    let _turn = together().await;
    let (service, dir) = (Service::start().await, tempfile::tempdir().unwrap());
    service.insert("acme", "106", "206");
    service.insert("shop", "107", "207");
    std::fs::write(dir.path().join("acme"), issue(&service.graph, "section", &["108"])).unwrap();
    let settings = settings(&service.graph, dir.path(), &service.database.url());
    let section = "[tenants.acme]\nids = [\"108\"]\nsource = { file = \"acme\" }\n";
    let sidecar = Sidecar::start(dir.path(), &format!("{settings}{section}")).await;
    wait_until_started(&sidecar).await;
    std::fs::write(dir.path().join("graphward.toml"), &settings).unwrap();
    sidecar.signal(Signal::HUP);
    let mut client = Client::connect(sidecar.proxy).await;
    wait_until("the row is used", async || {
        client.get("/v26.0/106?fields=id").await.status == 200
    })
    .await;
    service.set("acme", "phone_number_id = '109'");
    wait_until("no tenant has its id", async || {
        refusal(&client.get("/v26.0/106?fields=id").await) == (403, 990_026)
    })
    .await;
    wait_until_cached(&dir, "\"109\"").await;
    drop(sidecar);

    let sidecar = Sidecar::start(dir.path(), &settings).await;
    wait_until_started(&sidecar).await;
    let mut client = Client::connect(sidecar.proxy).await;
    let refused = client.get("/v26.0/106?fields=id").await;
    assert_eq!(refusal(&refused), (403, 990_026), "{}", refused.json());
    assert_eq!(service.graph.sim.violations(), []);
}
