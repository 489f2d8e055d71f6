//! Requests and reloads before the table has been read, a section whose tenant moves to the table, and reloads after it.

use std::fs;
use std::path::Path;

use graphward::net::Tasks;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::block_in_place;

use super::support::{
    NOTIFY, Service, TABLE, assert_is, config, insertion, issue, me, refusal, table_settings, wait_until_started,
};
use crate::postgres::server::Server;
use crate::support::{Client, Graph, Sidecar, get, together, wait_until};

/// A section with a token for the requests without a sign, which may act on no object of these tests.
pub(super) fn default_section(graph: &Graph, dir: &Path) -> String {
    fs::write(dir.join("default"), issue(graph, "default", &["999"])).unwrap();
    "[token]\nsource = { file = \"default\" }\n".to_owned()
}

/// Waits until a line of the log has been written this often.
async fn wait_until_logged(sidecar: &Sidecar, line: &str, count: usize) {
    wait_until(line, async || sidecar.stdout().matches(line).count() >= count).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_the_database_is_there_a_request_by_an_id_is_not_that_of_the_default_tenant_and_no_dead_letter() {
    let _turn = together().await;
    let (graph, server, dir) = (Graph::start().await, Server::new(), tempfile::tempdir().unwrap());
    let acme = issue(&graph, "acme", &["106", "206"]);
    let row = insertion("acme", "106", "206", &acme);
    server.psql("postgres", &format!("{TABLE}{NOTIFY}{row};"));
    block_in_place(|| server.stop());
    let table = table_settings(dir.path(), &server.url_of("postgres", "postgres"));
    let default = default_section(&graph, dir.path());
    let table = format!("{table}{default}[heal]\ntoken_wait = \"300ms\"\n");
    let sidecar = Sidecar::start(dir.path(), &config(&graph, dir.path(), &table)).await;
    let mut client = Client::connect(sidecar.proxy).await;
    wait_until("the default tenant has its token", async || {
        client.get("/v26.0/me?fields=id,name").await.json()["name"] == "default"
    })
    .await;
    let by_id = async |client: &mut Client| client.get("/v26.0/106?fields=id").await;
    for _ in 0..3 {
        let refused = by_id(&mut client).await;
        assert_eq!(refusal(&refused), (503, 990_003), "{}", refused.json());
        assert_eq!(refused.json()["error"]["is_transient"], true);
    }
    block_in_place(|| server.start());
    wait_until("the table is read", async || {
        let response = by_id(&mut client).await;
        assert!(
            response.status == 200 || refusal(&response) == (503, 990_003),
            "{}",
            response.json()
        );
        response.status == 200
    })
    .await;
    wait_until_started(&sidecar).await;
    assert_eq!((graph.sim.violations(), graph.sim.rejected()), (vec![], 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_waits_for_no_read_of_the_table_and_loses_no_rows_of_it() {
    let _turn = together().await;
    let (service, dir) = (Service::start().await, tempfile::tempdir().unwrap());
    service.insert("acme", "106", "206");
    let (holder, connection) = tokio_postgres::connect(&service.database.url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    let driver = Tasks::default().spawn(connection);
    let lock = "BEGIN; LOCK TABLE tenant_whatsapp_config IN ACCESS EXCLUSIVE MODE";
    holder.batch_execute(lock).await.unwrap();
    let table = table_settings(dir.path(), &service.database.url());
    let table = format!("{table}{}", default_section(&service.graph, dir.path()));
    let config = config(&service.graph, dir.path(), &table);
    let sidecar = Sidecar::start(dir.path(), &config).await;
    wait_until("the table is being read", async || {
        service.database.psql("SELECT count(*) FROM pg_locks WHERE NOT granted") != "0"
    })
    .await;
    sidecar.signal(Signal::HUP);
    wait_until_logged(&sidecar, "reloaded the configuration", 1).await;
    // The table of the second one is handed over after that of the first one, which is after the read. Its rules hold before.
    let rules = config.replace("[token]\n", "[token]\nallow = [\"GET /me\", \"GET /{id}\"]\n");
    fs::write(dir.path().join("graphward.toml"), rules).unwrap();
    sidecar.signal(Signal::HUP);
    let mut client = Client::connect(sidecar.proxy).await;
    wait_until("the rules hold", async || {
        refusal(&client.get("/v26.0/me/accounts").await) == (403, 990_029)
    })
    .await;
    assert!(
        !sidecar.stdout().contains("cannot read the tenants"),
        "it waited for the read"
    );
    holder.batch_execute("COMMIT").await.unwrap();
    wait_until_logged(&sidecar, "reloaded the configuration", 2).await;
    wait_until_started(&sidecar).await;
    assert_is(&me(&mut client, "acme").await, "acme");
    assert_is(&client.get("/-/acme/v26.0/me?fields=id,name").await, "acme");
    assert_eq!(client.get("/v26.0/106?fields=id").await.status, 200);
    assert_eq!(service.graph.sim.violations(), []);
    driver.abort();
}

/// A sidecar with the tenants of a table, and `acme` as a section with other ids. Returns the configuration without that section.
async fn with_section(service: &Service) -> (TempDir, Sidecar, String) {
    let dir = tempfile::tempdir().unwrap();
    let section = issue(&service.graph, "acme-of-section", &["107"]);
    fs::write(dir.path().join("acme"), section).unwrap();
    let table = table_settings(dir.path(), &service.database.url());
    let default = default_section(&service.graph, dir.path());
    let without = config(&service.graph, dir.path(), &format!("{table}{default}"));
    let section = "[tenants.acme]\nids = [\"107\"]\nsource = { file = \"acme\" }\n";
    let sidecar = Sidecar::start(dir.path(), &format!("{without}{section}")).await;
    wait_until_started(&sidecar).await;
    (dir, sidecar, without)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_takes_the_place_of_a_section_that_a_reload_removes_whose_ids_stay_refused() {
    let _turn = together().await;
    let service = Service::start().await;
    service.insert("acme", "106", "206");
    let (dir, sidecar, without) = with_section(&service).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_is(&me(&mut client, "acme").await, "acme-of-section");
    fs::write(dir.path().join("graphward.toml"), &without).unwrap();
    sidecar.signal(Signal::HUP);
    wait_until_logged(&sidecar, "reloaded the configuration", 1).await;
    // Nothing has changed in the table.
    assert_is(&me(&mut client, "acme").await, "acme");
    assert_eq!(client.get("/v26.0/106?fields=id").await.status, 200);
    let of_section = client.get("/v26.0/107?fields=id").await;
    assert_eq!(refusal(&of_section), (403, 990_026), "{}", of_section.json());
    assert_eq!(client.get("/v26.0/me?fields=id,name").await.json()["name"], "default");
    assert_eq!(service.graph.sim.violations(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_section_that_a_reload_removes_is_looked_up_in_the_table() {
    let _turn = together().await;
    let service = Service::start().await;
    let (dir, sidecar, without) = with_section(&service).await;
    fs::write(dir.path().join("graphward.toml"), &without).unwrap();
    sidecar.signal(Signal::HUP);
    wait_until_logged(&sidecar, "reloaded the configuration", 1).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(refusal(&me(&mut client, "acme").await), (403, 990_026));
    // Its trigger announces the row, too, but the look-up may come first.
    service.insert("acme", "106", "206");
    wait_until("the row is found", async || {
        me(&mut client, "acme").await.json()["name"] == "acme"
    })
    .await;
    assert_eq!(get(sidecar.proxy, "/v26.0/107?fields=id").await.status, 403);
    assert_eq!(service.graph.sim.violations(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_applies_other_rules_to_the_next_request_of_a_tenant_of_a_table() {
    let _turn = together().await;
    let (service, dir) = (Service::start().await, tempfile::tempdir().unwrap());
    service.insert("acme", "106", "206");
    let table = table_settings(dir.path(), &service.database.url());
    let default = default_section(&service.graph, dir.path());
    let before = config(&service.graph, dir.path(), &format!("{table}{default}"));
    let sidecar = Sidecar::start(dir.path(), &before).await;
    wait_until_started(&sidecar).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_is(&me(&mut client, "acme").await, "acme");
    let config = before.replace("[token]\n", "[token]\nallow = [\"send-only\"]\n");
    fs::write(dir.path().join("graphward.toml"), config).unwrap();
    sidecar.signal(Signal::HUP);
    wait_until_logged(&sidecar, "reloaded the configuration", 1).await;
    assert_eq!(refusal(&me(&mut client, "acme").await), (403, 990_029));
    fs::write(dir.path().join("graphward.toml"), &before).unwrap();
    sidecar.signal(Signal::HUP);
    wait_until_logged(&sidecar, "reloaded the configuration", 2).await;
    assert_is(&me(&mut client, "acme").await, "acme");
    assert_eq!(service.graph.sim.violations(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_takes_new_tokens_after_a_request_that_began_before_a_reload_has_named_it_in_its_body() {
    let _turn = together().await;
    let (service, dir) = (Service::start().await, tempfile::tempdir().unwrap());
    let token = service.insert("acme", "106", "206");
    let table = table_settings(dir.path(), &service.database.url());
    let config = config(&service.graph, dir.path(), &table);
    let sidecar = Sidecar::start(dir.path(), &config).await;
    wait_until_started(&sidecar).await;
    let body = r#"{"access_token":"tenant:acme","name":"only the body says whose it is"}"#;
    let head = format!(
        "POST /v26.0/me HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut late = TcpStream::connect(sidecar.proxy).await.unwrap();
    late.write_all(head.as_bytes()).await.unwrap();
    late.write_all(&body.as_bytes()[..10]).await.unwrap();
    wait_until("the late request has begun", async || {
        let metrics = get(sidecar.admin, "/metrics").await.body;
        String::from_utf8_lossy(&metrics).contains("graphward_inflight_requests 1")
    })
    .await;
    sidecar.signal(Signal::HUP);
    wait_until_logged(&sidecar, "reloaded the configuration", 1).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_is(&me(&mut client, "acme").await, "acme");
    late.write_all(&body.as_bytes()[10..]).await.unwrap();
    let mut answer = [0; 1_024];
    let length = late.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.contains("e_fb_configversion"), "not that of Graph: {answer}");
    assert!(service.graph.sim.expire(&token));
    let sealed = super::support::seal(&issue(&service.graph, "acme", &["106", "206"]));
    service.set("acme", &format!("access_token = '{sealed}'"));
    assert_is(&me(&mut client, "acme").await, "acme");
    assert_eq!(service.graph.sim.violations(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_table_cannot_be_read_a_tenant_of_an_app_that_a_reload_removes_is_refused_until_it_is_there_again() {
    let _turn = together().await;
    let (graph, server, dir) = (Graph::start().await, Server::new(), tempfile::tempdir().unwrap());
    let rows = ["acme", "shop"].map(|name| insertion(name, "106", "206", &issue(&graph, name, &["106", "206"])));
    server.psql("postgres", &format!("{TABLE}{NOTIFY}{};", rows.join(";")));
    let app = "UPDATE tenant_whatsapp_config SET business_id = '2222' WHERE tenant_id = 'acme'";
    server.psql("postgres", app);
    let table = table_settings(dir.path(), &server.url_of("postgres", "postgres"));
    let table = table.replace(", expires_at\n", ", expires_at, business_id AS app\n");
    let without = config(&graph, dir.path(), &table);
    let other = default_section(&graph, dir.path()).replace("[token]", "[tenants.other]");
    let with = format!("{without}{other}app = {{ id = \"2222\", secret = {{ file = \"secret\" }} }}\n");
    let sidecar = Sidecar::start(dir.path(), &with).await;
    wait_until_started(&sidecar).await;
    block_in_place(|| server.stop());
    let reload = async |config: &str, count| {
        fs::write(dir.path().join("graphward.toml"), config).unwrap();
        sidecar.signal(Signal::HUP);
        wait_until_logged(&sidecar, "reloaded the configuration", count).await;
    };
    reload(&without, 1).await;
    let mut client = Client::connect(sidecar.proxy).await;
    let refused = me(&mut client, "acme").await;
    assert_eq!(refusal(&refused), (503, 990_003), "{}", refused.json());
    let message = refused.json()["error"]["message"].to_string();
    assert!(message.contains("names the app 2222"), "{message}");
    assert_is(&me(&mut client, "shop").await, "shop");
    reload(&with, 2).await;
    assert_is(&me(&mut client, "acme").await, "acme");
    assert_eq!((graph.sim.violations(), graph.sim.rejected()), (vec![], 0));
}
