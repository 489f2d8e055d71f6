//! Sources that have no token any more, or cannot be reached at a start.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::process::Signal;

use crate::postgres::server::{Database, Server};
use crate::support::{Client, Graph, Sidecar, TestResponse, get, replace_file, settings, together, wait_until};

const TABLE: &str = "CREATE TABLE tokens (tenant text, token text, is_active boolean)";
const QUERY: &str = "SELECT token FROM tokens WHERE tenant = 'acme' AND is_active";

/// The source of a row. It announces nothing, and is polled once a day.
fn row_source(url: &str) -> String {
    format!("postgres = \"{url}\", query = \"{QUERY}\", poll_interval = \"1d\"")
}

/// The lines of a cache beside the configuration.
fn cache_config(dir: &Path) -> String {
    fs::write(dir.join("key"), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
    "cache = { file = \"last-good\", fernet_key = { file = \"key\" } }\n".to_owned()
}

fn refusal_code(response: &TestResponse) -> Option<u64> {
    response.json()["error"]["code"].as_u64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deactivated_row_refuses_requests_until_it_is_active_again() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let token = graph.sim.issue(None);
    let database = Database::with(&format!("{TABLE}; INSERT INTO tokens VALUES ('acme', '{token}', true)"));
    let source = row_source(&database.url()).replace("1d", "100ms");
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, &source, &cache_config(dir.path()))).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("before").await.status, 200);
    wait_until("the accepted token is cached", async || {
        dir.path().join("last-good").exists()
    })
    .await;
    for (withdrawal, back) in [
        (
            "UPDATE tokens SET is_active = false",
            "UPDATE tokens SET is_active = true",
        ),
        ("UPDATE tokens SET token = NULL", "UPDATE tokens SET token = 'TOKEN'"),
        (
            "DELETE FROM tokens",
            "INSERT INTO tokens VALUES ('acme', 'TOKEN', true)",
        ),
    ] {
        database.psql(withdrawal);
        wait_until("requests are refused", async || {
            client.text("after").await.status == 403
        })
        .await;
        let attempts = graph.sim.counts();
        let refused = client.text("after").await;
        assert_eq!(refusal_code(&refused), Some(990_023));
        assert_eq!(refused.json()["error"]["is_transient"], false);
        assert!(!refused.headers.contains_key("retry-after"));
        assert_eq!(format!("{:?}", graph.sim.counts()), format!("{attempts:?}"), "not sent");
        assert_eq!(sidecar.metric("graphward_token_usable{").await, 0);
        let readiness = get(sidecar.admin, "/readyz").await;
        assert_eq!(readiness.status, 503);
        assert!(
            readiness.json().to_string().contains("withdrawn"),
            "{:?}",
            readiness.json()
        );
        wait_until("the cache is erased", async || !dir.path().join("last-good").exists()).await;
        database.psql(&back.replace("TOKEN", &token));
        wait_until("it serves again", async || client.text("again").await.status == 200).await;
    }
    let alerts = "graphward_token_alerts_total{tenant=\"default\",cause=\"withdrawn\"}";
    assert_eq!(sidecar.metric(alerts).await, 3);
    sidecar.assert_reveals_none_of(&[&token]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_token_in_the_row_is_found_without_a_notification() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let (first, second) = (graph.sim.issue(None), graph.sim.issue(None));
    let database = Database::with(&format!("{TABLE}; INSERT INTO tokens VALUES ('acme', '{first}', true)"));
    let more = "[heal]\nhold_timeout = \"0s\"\n";
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, &row_source(&database.url()), more)).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("before").await.status, 200);
    assert!(graph.sim.expire(&first));
    assert_eq!(client.text("during").await.status, 401);
    let checks = "graphward_token_attempts_total{tenant=\"default\",operation=\"check\"";
    let before = sidecar.metric(checks).await;
    wait_until("the row is looked at again and again", async || {
        sidecar.metric(checks).await >= before + 3
    })
    .await;
    database.psql(&format!("UPDATE tokens SET token = '{second}'"));
    // No request is needed for that.
    wait_until("the new token is found", async || {
        sidecar.metric("graphward_token_generation{").await == 2
    })
    .await;
    assert_eq!(client.text("after").await.status, 200);
    graph.assert_last_token(&second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_while_the_database_is_down_serves_with_the_last_token_that_graph_accepted() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let (first, second) = (graph.sim.issue(None), graph.sim.issue(None));
    let server = Server::new();
    server.psql(
        "postgres",
        &format!("{TABLE}; INSERT INTO tokens VALUES ('acme', '{first}', true)"),
    );
    let url = server.url_of("postgres", "postgres");
    let settings = settings(&graph, &row_source(&url), &cache_config(dir.path()));
    let cache = dir.path().join("last-good");
    {
        let sidecar = Sidecar::start(dir.path(), &settings).await;
        let mut client = Client::connect(sidecar.proxy).await;
        assert_eq!(client.text("first").await.status, 200);
        wait_until("the accepted token is cached", async || cache.exists()).await;
        assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!fs::read_to_string(&cache).unwrap().contains(&first));
    }
    // No look of graphward may come between the start of the database and the new token.
    server.psql("postgres", &format!("UPDATE tokens SET token = '{second}'"));
    server.stop();
    let sidecar = Sidecar::start(dir.path(), &settings).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("second").await.status, 200);
    graph.assert_last_token(&first);
    assert_eq!(get(sidecar.admin, "/readyz").await.status, 200);
    // The database comes back with another token.
    server.start();
    sidecar.wait_until_uses(&graph, &second).await;
    drop(sidecar);
    // At a start at which the database says that it has no token, the cache does not count.
    server.psql("postgres", "DELETE FROM tokens");
    let sidecar = Sidecar::start(dir.path(), &settings).await;
    let mut client = Client::connect(sidecar.proxy).await;
    let refused = client.text("third").await;
    assert_eq!((refused.status, refusal_code(&refused)), (403, Some(990_023)));
    wait_until("the cache is erased", async || !cache.exists()).await;
    sidecar.assert_reveals_none_of(&[&first, &second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_waits_for_the_token_of_a_tenant_is_refused_as_withdrawn_when_a_reload_removes_it() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    fs::write(dir.path().join("token"), graph.sim.issue(None)).unwrap();
    let both = settings(&graph, "file = \"token\"", "[heal]\ntoken_wait = \"60s\"\n");
    let acme = "[tenants.acme]\nsource = { exec = [\"sleep\", \"60\"], timeout = \"15s\" }\n";
    let sidecar = Sidecar::start(dir.path(), &format!("{both}{acme}")).await;
    let removal = async {
        wait_until("the request waits for a token", async || {
            sidecar.metric("graphward_inflight_requests ").await == 1
        })
        .await;
        replace_file(&dir.path().join("graphward.toml"), &both);
        sidecar.signal(Signal::HUP);
    };
    let (refused, ()) = tokio::join!(get(sidecar.proxy, "/-/acme/v26.0/me"), removal);
    let text = String::from_utf8_lossy(&refused.body);
    assert_eq!((refused.status, refusal_code(&refused)), (403, Some(990_026)), "{text}");
}
