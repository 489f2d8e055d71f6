//! The proofs of an app secret that is not that of the token's app.

use std::fs;

use fake_graph::ProofPolicy;
use rustix::process::Signal;

use crate::support::{APP_SECRET, Client, Graph, Sidecar, settings, together, wait_until};

const OTHER_SECRET: &str = "ffffffffffffffffffffffffffffffff";
const ALERT: &str = "graphward_token_alerts_total{tenant=\"default\",cause=\"proof_rejected\"}";
const APP: &str = "[app]\nsecret = { file = \"secret\" }\n";

/// Whether the proof of the last message was absent, right or wrong.
fn last_proof(graph: &Graph) -> &'static str {
    let calls = graph.sim.recorded_calls();
    let messages = calls.iter().rev().find(|call| call.target.contains("/messages"));
    messages.unwrap().proof
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proofs_that_only_make_requests_fail_are_not_sent_until_the_secret_changes() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    let token = graph.sim.issue(None);
    fs::write(dir.path().join("token"), &token).unwrap();
    fs::write(dir.path().join("secret"), OTHER_SECRET).unwrap();
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, "file = \"token\"", APP)).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(
        client.text("first").await.status,
        400,
        "it is delivered, not sent again"
    );
    assert_eq!((last_proof(&graph), graph.sim.accepted_messages().len()), ("wrong", 0));
    wait_until("proofs are suspended", async || sidecar.metric(ALERT).await == 1).await;
    assert_eq!(client.text("second").await.status, 200);
    assert_eq!(last_proof(&graph), "absent");

    // Another token of the same app, and a reload with the same secret.
    let next = graph.sim.issue(None);
    fs::write(dir.path().join("token"), &next).unwrap();
    sidecar.wait_until_uses(&graph, &next).await;
    let reloads = "graphward_config_reloads_total{result=\"applied\"}";
    sidecar.signal(Signal::HUP);
    wait_until("it has reloaded", async || sidecar.metric(reloads).await > 0).await;
    assert_eq!(client.text("third").await.status, 200);
    assert_eq!((last_proof(&graph), sidecar.metric(ALERT).await), ("absent", 1));

    fs::write(dir.path().join("secret"), APP_SECRET).unwrap();
    sidecar.signal(Signal::HUP);
    wait_until("the secret is right", async || {
        client.text("fourth").await.status == 200 && last_proof(&graph) == "right"
    })
    .await;
    sidecar
        .assert_reveals_none_of(&[OTHER_SECRET, APP_SECRET, &token, &next])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_demands_proofs_gets_them_even_if_they_are_wrong() {
    let _turn = together().await;
    let graph = Graph::with(|config| config.proof = ProofPolicy::Required).await;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("token"), graph.sim.issue(None)).unwrap();
    fs::write(dir.path().join("secret"), OTHER_SECRET).unwrap();
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, "file = \"token\"", APP)).await;
    let mut client = Client::connect(sidecar.proxy).await;
    for _ in 0..3 {
        assert_eq!(client.text("hello").await.status, 400);
        wait_until("it is explained", async || {
            sidecar.stdout().contains("app.secret does not belong to the app")
        })
        .await;
        assert_eq!(last_proof(&graph), "wrong");
    }
    let questions = graph.sim.recorded_calls();
    let questions = questions.iter().filter(|call| call.target.starts_with("/me?"));
    // Two of the inspection at the start, and one with and one without the proof.
    assert_eq!(questions.count(), 4);
    assert_eq!(sidecar.metric(ALERT).await, 0);
}
