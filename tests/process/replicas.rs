//! Files and rows that several processes share: one renewal for all of them, and failover when the renewing process dies. An
//! expired token in one source does not hide a valid one in another.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use fake_graph::{Effect, EndpointKind, Fault};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::postgres::server::Database;
use crate::support::{
    Client, Graph, Sidecar, TIMEOUT, exchange_config, exclusive, fact, settings, together, wait_until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_that_share_a_file_renew_once_per_expiry() {
    let _turn = exclusive().await;
    let graph = Graph::with_token_ttl(TOKEN_TTL).await;
    let shared = SharedFile::with(&graph.issue_nearly_expired());
    assert_one_renewal_per_expiry("a file", &graph, &shared.source()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_that_share_a_row_renew_once_per_expiry() {
    let _turn = exclusive().await;
    let graph = Graph::with_token_ttl(TOKEN_TTL).await;
    let shared = SharedRow::with(&graph.issue_nearly_expired());
    assert_one_renewal_per_expiry("a row", &graph, &shared.source()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_process_that_renews_a_file_dies_another_one_does() {
    let _turn = exclusive().await;
    let graph = Graph::with_token_ttl(Duration::from_secs(600)).await;
    let shared = SharedFile::with(&graph.issue_nearly_expired());
    assert_failover("a file", &graph, &shared.source()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_process_that_renews_a_row_dies_another_one_does() {
    let _turn = exclusive().await;
    let graph = Graph::with_token_ttl(Duration::from_secs(600)).await;
    let shared = SharedRow::with(&graph.issue_nearly_expired());
    assert_failover("a row", &graph, &shared.source()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_file_does_not_hide_a_valid_row_with_and_without_inspection() {
    let _turn = together().await;
    for verify in [true, false] {
        let graph = Graph::start().await;
        let (expired, valid) = (graph.sim.issue(None), graph.sim.issue(None));
        assert!(graph.sim.expire(&expired));
        let (file, row) = (SharedFile::with(&expired), SharedRow::with(&valid));
        let list = format!("source = [{{ {} }}, {{ {} }}]", file.source(), row.source());
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(&graph, "", &format!("verify = {verify}\n"));
        let settings = settings.replace("source = {  }", &list);
        let sidecar = Sidecar::start(dir.path(), &settings).await;
        let mut client = Client::connect(sidecar.proxy).await;
        assert_eq!(client.text("hello").await.status, 200);
        graph.assert_last_token(&valid);
        // With inspection, Graph reports the expired token beforehand; without, one request is rejected and replayed.
        assert_eq!(graph.sim.rejected(), u64::from(!verify));
        sleep(Duration::from_secs(2)).await;
        assert_eq!(client.text("and again").await.status, 200);
        assert_eq!(graph.sim.rejected(), u64::from(!verify), "it is not used again");
        assert!(graph.sim.counts().inspections <= 4, "no loop");
    }
}

const TOKEN_TTL: Duration = Duration::from_secs(6);
const RENEWED: &str = "graphward_token_refreshes_total{tenant=\"default\",outcome=\"renewed\"}";

/// Starts three processes that share this source, each in a directory of its own.
async fn start_three(graph: &Graph, dirs: &[TempDir; 3], source: &str) -> Vec<Sidecar> {
    let mut sidecars = Vec::new();
    for dir in dirs.each_ref().map(TempDir::path) {
        let settings = settings(graph, source, &exchange_config(dir));
        sidecars.push(Sidecar::start(dir, &settings).await);
    }
    sidecars
}

fn temp_dirs() -> [TempDir; 3] {
    std::array::from_fn(|_| tempfile::tempdir().unwrap())
}

/// Asserts during four renewals that every message is accepted and that there is one exchange for each new token.
async fn assert_one_renewal_per_expiry(what: &str, graph: &Graph, source: &str) {
    let dirs = temp_dirs();
    let sidecars = start_three(graph, &dirs, source).await;
    let mut clients = Vec::new();
    for sidecar in &sidecars {
        clients.push(Client::connect(sidecar.proxy).await);
    }
    let (started, before, mut sent) = (Instant::now(), graph.sim.counts().exchanges, 0);
    while graph.sim.counts().exchanges < 4 {
        assert!(started.elapsed() < TIMEOUT, "{:?}", graph.sim.counts());
        for client in &mut clients {
            sent += 1;
            assert_eq!(client.text(&format!("message {sent}")).await.status, 200);
        }
        sleep(Duration::from_millis(50)).await;
    }
    let (counts, took) = (graph.sim.counts(), started.elapsed());
    assert_eq!((counts.accepted, counts.rejected), (sent, 0));
    fact(&format!(
        "three processes share {what}: {} renewals in {took:?}, {sent} messages",
        counts.exchanges
    ));
    // Tokens of six seconds are due after three, less jitter and two roundings of Graph to whole seconds.
    let most = 1 + took.as_millis() / 1_250;
    assert!(
        u128::from(counts.exchanges - before) <= most,
        "{counts:?}, {before} before"
    );
    wait_until("each exchange is the renewal of one process", async || {
        let exchanges = graph.sim.counts().exchanges;
        let (mut renewed, mut generations) = (0, Vec::new());
        for sidecar in &sidecars {
            renewed += sidecar.metric(RENEWED).await;
            generations.push(sidecar.metric("graphward_token_generation{").await);
        }
        let most = graph.sim.counts().exchanges + 1;
        assert!(
            generations.iter().all(|generation| *generation <= most),
            "{generations:?}"
        );
        renewed == exchanges
    })
    .await;
    wait_until("all of them use the last token", async || {
        for client in &mut clients {
            assert_eq!(client.text("the last").await.status, 200);
        }
        let accepted = graph.sim.accepted_messages();
        let last = &accepted[accepted.len() - clients.len()..];
        last.iter().all(|message| message.token == last[0].token)
    })
    .await;
}

/// Kills the process whose exchange hangs, and asserts that another one renews.
async fn assert_failover(what: &str, graph: &Graph, source: &str) {
    let dirs = temp_dirs();
    graph
        .sim
        .inject_fault_on(EndpointKind::Exchange, Fault::once(Effect::Hold).times(1_000));
    let mut sidecars = start_three(graph, &dirs, source).await;
    wait_until("one of them renews", async || graph.sim.counts().exchanges > 0).await;
    let renewing = find_renewing(&sidecars, graph.running.address).await;
    let (killed, before) = (Instant::now(), graph.sim.counts().exchanges);
    drop(sidecars.remove(renewing));
    graph.sim.release_held(1_000);
    wait_until("another one has renewed", async || {
        graph.sim.counts().exchanges == before + 1
    })
    .await;
    fact(&format!(
        "{what}: another process renewed {:?} after the kill",
        killed.elapsed()
    ));
    wait_until("the remaining two use the new token", async || {
        let mut generations = Vec::new();
        for sidecar in &sidecars {
            generations.push(sidecar.metric("graphward_token_generation{").await);
        }
        generations == [2, 2]
    })
    .await;
    assert_eq!(graph.sim.counts().exchanges, before + 1, "one renewal for both");
}

/// Returns the index of the process that keeps a connection to Graph open.
async fn find_renewing(sidecars: &[Sidecar], graph: SocketAddr) -> usize {
    let mut known = None;
    wait_until("one of them keeps its connection to Graph", async || {
        sleep(Duration::from_millis(100)).await;
        let is_connected = |index: &usize| sidecars[*index].connections_to(graph) > 0;
        let busy: Vec<_> = (0..sidecars.len()).filter(is_connected).collect();
        known = <[usize; 1]>::try_from(busy).ok().map(|[one]| one);
        known.is_some()
    })
    .await;
    known.unwrap()
}

/// A file that processes share.
struct SharedFile(TempDir);

impl SharedFile {
    fn with(token: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("token"), token).unwrap();
        Self(dir)
    }

    fn source(&self) -> String {
        format!("file = \"{}\"", self.0.path().join("token").display())
    }
}

/// A row that processes share.
pub(crate) struct SharedRow(pub(crate) Database);

impl SharedRow {
    pub(crate) fn with(token: &str) -> Self {
        Self(Database::with(&format!(
            "CREATE TABLE tenant_whatsapp_config (tenant_id text, access_token text, is_active boolean); \
             INSERT INTO tenant_whatsapp_config VALUES ('acme', '{token}', true)"
        )))
    }

    pub(crate) fn replace_token(&self, token: &str) {
        self.0.psql(&format!(
            "UPDATE tenant_whatsapp_config SET access_token = '{token}'; NOTIFY tokens"
        ));
    }

    pub(crate) fn withdraw(&self) {
        self.0
            .psql("UPDATE tenant_whatsapp_config SET is_active = false; NOTIFY tokens");
    }

    /// Refuses new connections, and keeps those that are open.
    pub(crate) fn forbid_connections(&self) {
        self.0
            .psql("UPDATE pg_database SET datallowconn = false WHERE datname = current_database()");
    }

    pub(crate) fn source(&self) -> String {
        let url = self.0.url();
        format!(
            "postgres = \"{url}\", params = [\"acme\"], listen = \"tokens\", \
             query = \"SELECT access_token FROM tenant_whatsapp_config WHERE tenant_id = $1 AND is_active\", \
             update = \"UPDATE tenant_whatsapp_config SET access_token = $1 WHERE tenant_id = $2 AND is_active\""
        )
    }
}
