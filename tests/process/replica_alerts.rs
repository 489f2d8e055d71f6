//! Alerts of several processes that read the same row: one of them tells.

use tempfile::TempDir;

use crate::replicas::SharedRow;
use crate::support::{Client, Graph, Sidecar, settings, together, wait_until};
use crate::token_sources::StubService;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_the_replicas_delivers_an_alert_and_when_it_dies_another_delivers_the_next_one() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let token = graph.sim.issue(None);
    let row = SharedRow::with(&token);
    let webhook = StubService::start("ok");
    let count = |cause: &str| {
        let requests = webhook.requests();
        let named = requests
            .iter()
            .filter(|request| request.contains(&format!("\"cause\":\"{cause}\"")));
        named.count()
    };
    let mut replicas = vec![
        Replica::start(&graph, &row, &webhook).await,
        Replica::start(&graph, &row, &webhook).await,
    ];
    for replica in &replicas {
        replica.sidecar.wait_until_uses(&graph, &token).await;
    }
    assert!(graph.sim.expire(&token));
    for replica in &replicas {
        replica.send_rejected().await;
    }
    wait_until("both replicas are done with the alert", async || {
        let mut results = [0, 0];
        for replica in &replicas {
            results[0] += replica.alerts("delivered").await;
            results[1] += replica.alerts("suppressed").await;
        }
        results[0] >= 1 && results[0] + results[1] >= 2
    })
    .await;
    assert_eq!(count("rejected"), 1, "{:?}", webhook.requests());

    // The one that delivered it dies. The other one remembers, and a new one learns it from the other one.
    let delivered_by_first = replicas[0].alerts("delivered").await > 0;
    drop(replicas.remove(usize::from(!delivered_by_first)));
    let second = graph.sim.issue(None);
    row.replace_token(&second);
    replicas.push(Replica::start(&graph, &row, &webhook).await);
    for replica in &replicas {
        replica.sidecar.wait_until_uses(&graph, &second).await;
    }
    assert!(graph.sim.expire(&second));
    replicas[1].send_rejected().await;
    wait_until("the new replica is done with the alert", async || {
        replicas[1].alerts("suppressed").await > 0
    })
    .await;
    assert_eq!(count("rejected"), 1, "{:?}", webhook.requests());

    // The next alert is delivered, once.
    let third = graph.sim.issue(None);
    row.replace_token(&third);
    for replica in &replicas {
        replica.sidecar.wait_until_uses(&graph, &third).await;
    }
    row.withdraw();
    wait_until("the next alert is delivered", async || count("withdrawn") > 0).await;
    wait_until("both replicas are done with the next alert", async || {
        let mut done = 0;
        for replica in &replicas {
            done += replica.withdrawals_done().await;
        }
        done >= 2
    })
    .await;
    assert_eq!(count("withdrawn"), 1, "{:?}", webhook.requests());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_is_delivered_where_the_database_cannot_be_asked() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let token = graph.sim.issue(None);
    let row = SharedRow::with(&token);
    let webhook = StubService::start("ok");
    let replica = Replica::start(&graph, &row, &webhook).await;
    replica.sidecar.wait_until_uses(&graph, &token).await;
    row.forbid_connections();
    assert!(graph.sim.expire(&token));
    replica.send_rejected().await;
    wait_until("the alert is delivered", async || replica.alerts("delivered").await > 0).await;
    assert!(webhook.requests().concat().contains("\"cause\":\"rejected\""));
}

struct Replica {
    sidecar: Sidecar,
    _dir: TempDir,
}

impl Replica {
    async fn start(graph: &Graph, row: &SharedRow, webhook: &StubService) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let more = format!(
            "[alerts]\nurl = \"http://127.0.0.1:{}/hook\"\n[heal]\nhold_timeout = \"0s\"\n",
            webhook.port
        );
        let sidecar = Sidecar::start(dir.path(), &settings(graph, &row.source(), &more)).await;
        Self { sidecar, _dir: dir }
    }

    /// Sends a request whose token Graph rejects.
    async fn send_rejected(&self) {
        let mut client = Client::connect(self.sidecar.proxy).await;
        assert_eq!(client.text("rejected").await.status, 401);
    }

    async fn alerts(&self, result: &str) -> u64 {
        let series = format!("graphward_alerts_total{{result=\"{result}\"}}");
        self.sidecar.metric(&series).await
    }

    /// The number of alerts about a withdrawal that need no attempt any more.
    async fn withdrawals_done(&self) -> u64 {
        let raised = self.sidecar.metric("graphward_token_alerts_total").await;
        let done = self.alerts("delivered").await + self.alerts("suppressed").await;
        let withdrawn = r#"graphward_token_alerts_total{tenant="default",cause="withdrawn"}"#;
        if done == raised {
            self.sidecar.metric(withdrawn).await
        } else {
            0
        }
    }
}
