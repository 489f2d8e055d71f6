//! A rejection that proves nothing, with a real renewer and Graph's real answers to `/me` and `debug_token`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use fake_graph::{Effect, Fault, InvalidationReason};
use tokio::time::sleep;

use crate::support::{Client, Graph, Sidecar, get, settings, together, wait_until};

const FORMS: &str = "/v26.0/1065/leadgen_forms";
const WRONG_KIND: &str = r#"graphward_upstream_responses_total{tenant="default",verdict="wrong_token_kind"}"#;

/// A renewer that prints the token in `next`, and counts its calls in `calls`.
fn exec_renewer(dir: &Path, next: &str, more: &str) -> String {
    fs::write(dir.join("next"), next).unwrap();
    format!("renew = {{ exec = [\"/bin/sh\", \"-c\", \"echo >> calls; cat next\"] }}\n{more}")
}

fn renewals(dir: &Path) -> usize {
    fs::read_to_string(dir.join("calls")).map_or(0, |calls| calls.lines().count())
}

async fn ready_status(sidecar: &Sidecar) -> u16 {
    get(sidecar.admin, "/readyz").await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_for_pages_stops_no_message_and_costs_no_token() {
    let _turn = together().await;
    for verify in ["verify = true", "verify = false"] {
        let dir = tempfile::tempdir().unwrap();
        let graph = Graph::start().await;
        let (token, next) = (graph.sim.issue(None), graph.sim.issue(None));
        fs::write(dir.path().join("token"), &token).unwrap();
        fs::write(dir.path().join("secret"), crate::support::APP_SECRET).unwrap();
        let app = "[app]\nid = \"1234567890123456\"\nsecret = { file = \"secret\" }\nproof = \"auto\"\n";
        let renewer = exec_renewer(dir.path(), &next, &format!("{verify}\n{app}"));
        let sidecar = Sidecar::start(dir.path(), &settings(&graph, "file = \"token\"", &renewer)).await;
        let mut client = Client::connect(sidecar.proxy).await;
        for round in 0..3 {
            let wrong = client.get(FORMS).await;
            assert_eq!(
                (wrong.status, &wrong.json()["error"]["code"]),
                (400, &190.into()),
                "{verify}"
            );
            assert_eq!(client.text(&format!("{verify} {round}")).await.status, 200);
            assert_eq!(ready_status(&sidecar).await, 200);
        }
        assert_eq!(renewals(dir.path()), 0, "{verify}");
        assert_eq!(sidecar.metric(WRONG_KIND).await, 3, "{verify}");
        let calls = graph.sim.recorded_calls();
        let asked_me = calls.iter().filter(|call| call.target.starts_with("/me?fields=id"));
        assert_eq!(
            asked_me.count(),
            usize::from(verify == "verify = false"),
            "one question"
        );
        assert!(
            !sidecar.stdout().contains("Graph rejected the token"),
            "{}",
            sidecar.stdout()
        );
        assert!(!sidecar.stdout().contains(&token));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_dies_without_a_subcode_is_renewed_once_also_after_it_was_confirmed() {
    let _turn = together().await;
    for reason in [InvalidationReason::CannotDecrypt, InvalidationReason::Malformed] {
        let dir = tempfile::tempdir().unwrap();
        let graph = Graph::start().await;
        let (token, next) = (graph.sim.issue(None), graph.sim.issue(None));
        fs::write(dir.path().join("token"), &token).unwrap();
        let renewer = exec_renewer(dir.path(), &next, "");
        let sidecar = Sidecar::start(dir.path(), &settings(&graph, "file = \"token\"", &renewer)).await;
        let mut client = Client::connect(sidecar.proxy).await;
        assert_eq!(client.get(FORMS).await.status, 400);
        assert_eq!(client.text("before").await.status, 200);
        assert!(graph.sim.invalidate(&token, reason));
        let mut sent = vec!["before".to_owned()];
        for number in 0..5 {
            let text = format!("after {number}");
            assert_eq!(client.text(&text).await.status, 200, "{reason:?}");
            sent.push(text);
        }
        assert_eq!(renewals(dir.path()), 1, "{reason:?}");
        graph.assert_accepted_once(sent);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_recovers_without_a_request() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let token = graph.sim.issue(None);
    fs::write(dir.path().join("token"), &token).unwrap();
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, "file = \"token\"", "")).await;
    sidecar.wait_until_uses(&graph, &token).await;
    graph.sim.fault(Fault::once(Effect::Error {
        code: 190,
        subcode: Some(463),
        status: None,
    }));
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("rejected").await.status, 401);
    let sent = graph.sim.attempts();
    wait_until("Graph was asked, and accepts the token", async || {
        sleep(Duration::from_millis(100)).await;
        ready_status(&sidecar).await == 200
    })
    .await;
    assert_eq!(graph.sim.attempts(), sent, "no request was sent for that");
}
