//! The database is gone for a while, and the processes are restarted meanwhile.

use std::env;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::block_in_place;
use tokio::time::Instant;

use super::support::{
    KEY, NOTIFY, TABLE, config, insertion, issue, me, refusal, seal, table_settings, wait_until_started,
};
use crate::admin_changes::{LOCAL, send};
use crate::postgres::server::Server;
use crate::support::{Client, Graph, Sidecar, fact, together, wait_until};

/// How long the database is gone at least, in seconds; `tests/run soak` sets a longer time.
const OUTAGE_VARIABLE: &str = "GRAPHWARD_OUTAGE_SECONDS";
const OUTAGE: u64 = 5;
const TENANTS: usize = 64;
const PROCESSES: usize = 3;
const CACHE: &str = "cache = { file = \"tenants-cache\", fernet_key = { file = \"key\" } }\n";

/// Requests for all tenants to one process, until they are stopped. Each has to be answered for its tenant.
struct Traffic {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// A process with its requests.
struct Process {
    sidecar: Sidecar,
    traffic: Traffic,
}

fn name(tenant: usize) -> String {
    format!("tenant-{tenant}")
}

fn account(tenant: usize) -> String {
    format!("{}", 6_000 + tenant)
}

// === impl Traffic ===

impl Traffic {
    fn start(sidecar: &Sidecar, answered: &Arc<AtomicU64>) -> Self {
        let stopping = Arc::<AtomicBool>::default();
        let (proxy, answered, is_stopping) = (sidecar.proxy, Arc::clone(answered), Arc::clone(&stopping));
        // A thread of its own goes on while a test waits for PostgreSQL.
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let mut client = Client::connect(proxy).await;
                for tenant in (0..TENANTS).cycle() {
                    if is_stopping.load(Ordering::Relaxed) {
                        return;
                    }
                    let response = me(&mut client, &name(tenant)).await;
                    let body = response.json();
                    // A token is named after its tenant, and may have a number.
                    let seen = body["name"].as_str().and_then(|name| name.split('.').next());
                    assert_eq!((response.status, seen), (200, Some(&*name(tenant))), "{body}");
                    let by_id = client.get(&format!("/v26.0/{}?fields=id", account(tenant))).await;
                    assert_eq!(by_id.status, 200, "{}", by_id.json());
                    answered.fetch_add(2, Ordering::Relaxed);
                }
            });
        });
        Self { stopping, thread }
    }

    /// Waits for the last answer.
    fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        block_in_place(|| self.thread.join().unwrap());
    }
}

/// Starts a process in a directory, where it finds its cache again. Its requests begin when it says that it has started.
async fn start(graph: &Graph, dir: &Path, url: &str, answered: &Arc<AtomicU64>) -> Process {
    let table = table_settings(dir, url);
    let sidecar = Sidecar::start(dir, &config(graph, dir, &format!("{table}{CACHE}"))).await;
    wait_until_started(&sidecar).await;
    let traffic = Traffic::start(&sidecar, answered);
    Process { sidecar, traffic }
}

/// Creates the table with the tenants; returns their tokens.
fn insert_tenants(graph: &Graph, server: &Server) -> Vec<String> {
    let (mut tokens, mut statements) = (Vec::new(), format!("{TABLE}{NOTIFY}"));
    for tenant in 0..TENANTS {
        let (name, phone, account) = (name(tenant), format!("{}", 5_000 + tenant), account(tenant));
        let token = issue(graph, &name, &[&phone, &account]);
        statements.push_str(&(insertion(&name, &phone, &account, &token) + ";"));
        tokens.push(token);
    }
    server.psql("postgres", &statements);
    tokens
}

/// Waits until each tenant was answered once more.
async fn wait_until_all_answered(answered: &AtomicU64) {
    let until = answered.load(Ordering::Relaxed) + 2 * (TENANTS as u64 + 1);
    wait_until("all tenants are answered", async || {
        answered.load(Ordering::Relaxed) >= until
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_gone_processes_restart_and_refuse_no_request() {
    let _turn = together().await;
    let outage = env::var_os(OUTAGE_VARIABLE).map_or(OUTAGE, |seconds| seconds.to_str().unwrap().parse().unwrap());
    let (graph, server) = (Graph::start().await, Server::new());
    let url = server.url_of("postgres", "postgres");
    let tokens = insert_tenants(&graph, &server);
    let dirs: Vec<TempDir> = (0..PROCESSES).map(|_| tempfile::tempdir().unwrap()).collect();
    let (answered, mut processes) = (Arc::default(), Vec::new());
    for dir in &dirs {
        processes.push(start(&graph, dir.path(), &url, &answered).await);
        let cache = dir.path().join("tenants-cache");
        wait_until("the tenants are cached", async || cache.exists()).await;
    }

    block_in_place(|| server.stop());
    let gone = Instant::now();
    for dir in &dirs {
        let Process { sidecar, traffic } = processes.remove(0);
        traffic.stop();
        // SIGKILL: nothing is written at the end.
        drop(sidecar);
        processes.push(start(&graph, dir.path(), &url, &answered).await);
    }
    let restarted = answered.load(Ordering::Relaxed);
    wait_until("the outage is long enough, and all tenants are asked for", async || {
        let since = answered.load(Ordering::Relaxed) - restarted;
        gone.elapsed() >= Duration::from_secs(outage) && since >= (2 * TENANTS * PROCESSES) as u64
    })
    .await;
    assert_eq!((graph.sim.violations(), graph.sim.rejected()), (vec![], 0));
    block_in_place(|| server.start());

    let new = issue(&graph, "tenant-0.2", &["5000", "6000"]);
    let set = format!("SET access_token = '{}' WHERE tenant_id = 'tenant-0'", seal(&new));
    server.psql("postgres", &format!("UPDATE tenant_whatsapp_config {set}"));
    for Process { sidecar, traffic } in processes {
        let mut client = Client::connect(sidecar.proxy).await;
        wait_until("the table is read again", async || {
            me(&mut client, &name(0)).await.json()["name"] == "tenant-0.2"
        })
        .await;
        traffic.stop();
        let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
        sidecar.assert_reveals_none_of(&tokens).await;
    }
    assert_eq!((graph.sim.violations(), graph.sim.rejected()), (vec![], 0));
    let (answered, gone) = (answered.load(Ordering::Relaxed), gone.elapsed());
    fact(&format!(
        "{answered} requests answered, the database gone for {outage} s, all well after {gone:?}"
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_that_was_emptied_refuses_no_request_and_empties_no_cache() {
    const LOSS: &str = "many tenants, tokens or ids are missing at once";
    let _turn = together().await;
    let (graph, server) = (Graph::start().await, Server::new());
    let url = server.url_of("postgres", "postgres");
    let tokens = insert_tenants(&graph, &server);
    let (dir, answered) = (tempfile::tempdir().unwrap(), Arc::default());
    let cache = dir.path().join("tenants-cache");
    let Process { sidecar, traffic } = start(&graph, dir.path(), &url, &answered).await;
    wait_until("the tenants are cached", async || cache.exists()).await;
    let cached_tokens = || fs::read_to_string(&cache).unwrap().matches("gAAAA").count();
    assert_eq!(cached_tokens(), TENANTS);

    server.psql("postgres", "UPDATE tenant_whatsapp_config SET access_token = NULL");
    wait_until("the loss is reported", async || sidecar.stdout().contains(LOSS)).await;
    wait_until_all_answered(&answered).await;
    assert_eq!(cached_tokens(), TENANTS);
    traffic.stop();
    drop(sidecar);

    // With the database gone, there is only the cache. The first read after that is compared with it.
    block_in_place(|| server.stop());
    let Process { sidecar, traffic } = start(&graph, dir.path(), &url, &answered).await;
    wait_until_all_answered(&answered).await;
    block_in_place(|| server.start());
    wait_until("the loss is reported", async || sidecar.stdout().contains(LOSS)).await;
    wait_until_all_answered(&answered).await;
    assert_eq!(cached_tokens(), TENANTS);
    traffic.stop();

    // The operator has looked. What the rows say of their tokens is kept over a restart as well.
    assert_eq!(send(sidecar.admin, "POST /admin/refresh-token", LOCAL, "").status, 200);
    wait_until("the rows without tokens are cached", async || cached_tokens() == 0).await;
    drop(sidecar);
    block_in_place(|| server.stop());
    let settings = format!("{}{CACHE}", table_settings(dir.path(), &url));
    let sidecar = Sidecar::start(dir.path(), &config(&graph, dir.path(), &settings)).await;
    wait_until_started(&sidecar).await;
    let mut client = Client::connect(sidecar.proxy).await;
    let refused = me(&mut client, &name(0)).await;
    assert_eq!(refusal(&refused), (403, 990_023), "{}", refused.json());
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    sidecar.assert_reveals_none_of(&tokens).await;
    assert_eq!((graph.sim.violations(), graph.sim.rejected()), (vec![], 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_that_no_key_decrypts_is_reported_and_kept_until_the_database_is_read() {
    const OTHER_KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let _turn = together().await;
    let (graph, server, dir) = (Graph::start().await, Server::new(), tempfile::tempdir().unwrap());
    let row = insertion("acme", "106", "206", &issue(&graph, "acme", &["106", "206"]));
    server.psql("postgres", &format!("{TABLE}{NOTIFY}{row}"));
    let (cache, key) = (dir.path().join("tenants-cache"), dir.path().join("cache-key"));
    let settings = table_settings(dir.path(), &server.url_of("postgres", "postgres"));
    let settings = format!("{settings}{}", CACHE.replace("\"key\"", "\"cache-key\""));
    let settings = config(&graph, dir.path(), &settings);
    fs::write(&key, KEY).unwrap();
    let sidecar = Sidecar::start(dir.path(), &settings).await;
    wait_until("the tenant is cached", async || cache.exists()).await;
    drop(sidecar);
    block_in_place(|| server.stop());
    let cached = fs::read(&cache).unwrap();
    fs::write(&key, OTHER_KEY).unwrap();
    let sidecar = Sidecar::start(dir.path(), &settings).await;
    let mut client = Client::connect(sidecar.proxy).await;
    wait_until("the database was asked", async || {
        sidecar.stdout().contains("cannot read the tenants")
    })
    .await;
    assert!(
        sidecar.stdout().contains("add the key that was used before"),
        "{}",
        sidecar.stdout()
    );
    assert_eq!(me(&mut client, "acme").await.status, 503);
    drop(sidecar);
    assert_eq!(fs::read(&cache).unwrap(), cached);
    // With the key, they are there again; with the database, they are cached with the new one.
    fs::write(&key, KEY).unwrap();
    let sidecar = Sidecar::start(dir.path(), &settings).await;
    wait_until_started(&sidecar).await;
    assert_eq!(me(&mut Client::connect(sidecar.proxy).await, "acme").await.status, 200);
    drop(sidecar);
    fs::write(&key, OTHER_KEY).unwrap();
    block_in_place(|| server.start());
    let sidecar = Sidecar::start(dir.path(), &settings).await;
    wait_until("it is cached anew", async || fs::read(&cache).unwrap() != cached).await;
    wait_until_started(&sidecar).await;
}
