//! Processes that share a table: each token is renewed once, and none is lost.

use std::path::Path;

use fake_graph::{Effect, EndpointKind, Fault};
use tempfile::TempDir;

use super::support::{
    NOTIFY, Service, TABLE, assert_is, config, insertion, issue, me, table_settings, wait_until_started,
};
use crate::postgres::server::Server;
use crate::support::{Client, Graph, Sidecar, fingerprint, get, together, wait_until};

/// So many tenants, so that the processes share their renewals.
const TENANTS: usize = 8;
const PROCESSES: usize = 3;
const RENEW: &str = "[token]\nrenew = { exchange = {} }\n";

fn name(tenant: usize) -> String {
    format!("tenant-{tenant}")
}

/// Inserts tenants whose tokens are to be renewed in a few seconds. Graph accepts them longer, so that a busy machine changes
/// nothing.
fn insert_due(service: &Service) -> Vec<String> {
    let tokens = (0..TENANTS).map(|tenant| {
        let (name, phone) = (name(tenant), format!("50{tenant}"));
        let token = service.insert(&name, &phone, &format!("60{tenant}"));
        service.graph.set_nearly_expired(&token);
        token
    });
    let tokens = tokens.collect();
    service
        .database
        .psql("UPDATE tenant_whatsapp_config SET expires_at = now() + interval '6 seconds'");
    tokens
}

fn stored(service: &Service, tenant: usize) -> String {
    service.token_of(&name(tenant))
}

/// Waits until the row of each tenant has another token.
async fn wait_until_renewed(service: &Service, old: &[String]) {
    wait_until("each token is renewed and stored", async || {
        (0..TENANTS).all(|tenant| stored(service, tenant) != old[tenant])
    })
    .await;
}

/// Fails unless this process uses the token in the row of each tenant.
async fn assert_uses_rows(service: &Service, sidecar: &Sidecar) {
    let mut client = Client::connect(sidecar.proxy).await;
    for tenant in 0..TENANTS {
        let in_row = fingerprint(&stored(service, tenant));
        wait_until("the token in the row is used", async || {
            let status = get(sidecar.admin, &format!("/admin/token-status?tenant={}", name(tenant))).await;
            assert_is(&me(&mut client, &name(tenant)).await, &name(tenant));
            String::from_utf8_lossy(&status.body).contains(&in_row)
        })
        .await;
    }
}

/// Fails unless all processes go on with the tokens in the rows when the old ones have ended.
async fn assert_all_use_rows(service: &Service, sidecars: &[(TempDir, Sidecar)], old: &[String]) {
    for (_dir, sidecar) in sidecars {
        assert_uses_rows(service, sidecar).await;
    }
    for token in old {
        assert!(service.graph.sim.expire(token));
    }
    for (_dir, sidecar) in sidecars {
        assert_uses_rows(service, sidecar).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_renew_each_token_once_without_any_request() {
    let _turn = together().await;
    let service = Service::start().await;
    let old = insert_due(&service);
    let mut sidecars = Vec::new();
    for _ in 0..PROCESSES {
        sidecars.push(service.sidecar(RENEW).await);
    }
    wait_until_renewed(&service, &old).await;
    assert_eq!(service.graph.sim.attempts(), 0, "no app has sent a request");
    assert_all_use_rows(&service, &sidecars, &old).await;
    let counts = service.graph.sim.counts();
    assert_eq!(counts.exchanges, TENANTS as u64);
    assert_eq!((service.graph.sim.violations(), counts.rejected), (vec![], 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_in_the_middle_of_renewals_loses_no_token() {
    let _turn = together().await;
    let service = Service::start().await;
    let held = Fault::once(Effect::Hold).times(2);
    service.graph.sim.inject_fault_on(EndpointKind::Exchange, held);
    let old = insert_due(&service);
    let killed = service.sidecar(RENEW).await;
    wait_until("it renews two tokens", async || {
        service.graph.sim.counts().exchanges >= 2
    })
    .await;
    let mut sidecars = Vec::new();
    for _ in 1..PROCESSES {
        sidecars.push(service.sidecar(RENEW).await);
    }
    // SIGKILL, while Graph has not answered two of its calls.
    drop(killed);
    service.graph.sim.release_held(2);
    wait_until_renewed(&service, &old).await;
    assert_all_use_rows(&service, &sidecars, &old).await;
    let counts = service.graph.sim.counts();
    // It had at most four in the making, and at least the two.
    let again = counts.exchanges - TENANTS as u64;
    assert!((2..=4).contains(&again), "{again} are renewed again");
    assert_eq!((service.graph.sim.violations(), counts.rejected), (vec![], 0));
}

/// A process whose directory stays, so that it finds its cache again.
async fn start_again(graph: &Graph, dir: &Path, url: &str) -> Sidecar {
    let table = table_settings(dir, url);
    let cache = "cache = { file = \"tenants-cache\", fernet_key = { file = \"key\" } }\n";
    let sidecar = Sidecar::start(dir, &config(graph, dir, &format!("{table}{cache}"))).await;
    wait_until_started(&sidecar).await;
    sidecar
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_gone_processes_restart_and_refuse_no_request() {
    let _turn = together().await;
    let (graph, server) = (Graph::start().await, Server::new());
    let url = server.url_of("postgres", "postgres");
    server.psql("postgres", &format!("{TABLE}{NOTIFY}"));
    let mut tokens = Vec::new();
    for tenant in 0..TENANTS {
        let (name, phone, account) = (name(tenant), format!("50{tenant}"), format!("60{tenant}"));
        let token = issue(&graph, &name, &[&phone, &account]);
        server.psql("postgres", &insertion(&name, &phone, &account, &token));
        tokens.push(token);
    }
    let dirs: Vec<TempDir> = (0..PROCESSES).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut sidecars = Vec::new();
    for dir in &dirs {
        sidecars.push(start_again(&graph, dir.path(), &url).await);
        let cache = dir.path().join("tenants-cache");
        wait_until("the tenants are cached", async || cache.exists()).await;
    }
    server.stop();
    // SIGKILL: nothing is written at the end.
    drop(sidecars);
    let mut sidecars = Vec::new();
    for dir in &dirs {
        sidecars.push(start_again(&graph, dir.path(), &url).await);
    }
    for sidecar in &sidecars {
        let mut client = Client::connect(sidecar.proxy).await;
        for tenant in 0..TENANTS {
            assert_is(&me(&mut client, &name(tenant)).await, &name(tenant));
            let by_id = client.get(&format!("/v26.0/60{tenant}?fields=id")).await;
            assert_eq!(by_id.status, 200, "{}", by_id.json());
        }
    }
    assert_eq!((graph.sim.violations(), graph.sim.rejected()), (vec![], 0));

    server.start();
    let new = issue(&graph, "renamed", &["500", "600"]);
    let sealed = super::support::seal(&new);
    server.psql(
        "postgres",
        &format!("UPDATE tenant_whatsapp_config SET access_token = '{sealed}' WHERE tenant_id = 'tenant-0'"),
    );
    for sidecar in &sidecars {
        let mut client = Client::connect(sidecar.proxy).await;
        wait_until("the table is read again", async || {
            me(&mut client, &name(0)).await.json()["name"] == "renamed"
        })
        .await;
        let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
        sidecar.assert_reveals_none_of(&tokens).await;
    }
}
