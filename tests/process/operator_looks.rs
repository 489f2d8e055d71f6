//! What an operator's look at the sources does: through the admin listener, and by `graphward refresh`.

use std::fs;
use std::time::Duration;

use fake_graph::{EndpointKind, Fault};
use serde_json::Value;

use crate::admin_changes::{LOCAL, send};
use crate::support::{
    Client, Graph, Sidecar, exchange_config, fingerprint, get, graphward_command, settings, together, wait_until,
};
use crate::tenants_from::support::{assert_is, config, issue, me, wait_until_started};

/// The status of the first token that is listed.
fn first(answer: &Value) -> &Value {
    &answer["tenants"][0]
}

/// Asks for a look by a request.
fn ask(sidecar: &Sidecar) -> Value {
    let answer = send(sidecar.admin, "POST /admin/refresh-token", LOCAL, "");
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

/// Asks for a look by the command.
fn run_refresh(sidecar: &Sidecar) -> Value {
    let admin = sidecar.admin.to_string();
    let dir = tempfile::tempdir().unwrap();
    let mut command = graphward_command(dir.path(), &["refresh", "--json", "--admin", &admin]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_failed_is_tried_again_at_once_and_the_answer_has_the_renewed_token() {
    let _turn = together().await;
    for look in [ask as fn(&Sidecar) -> Value, run_refresh] {
        let graph = Graph::with_token_ttl(Duration::from_secs(600)).await;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let old = graph.issue_nearly_expired();
        fs::write(&file, &old).unwrap();
        // After a refusal, graphward's own next attempt is most of an hour away.
        graph.sim.inject_fault_on(EndpointKind::Exchange, Fault::error(100));
        let config = settings(&graph, "file = \"token\"", &exchange_config(dir.path()));
        let sidecar = Sidecar::start(dir.path(), &config).await;
        wait_until("the renewal is refused", async || {
            let status = get(sidecar.admin, "/admin/token-status").await.json();
            first(&status)["last_refresh"]["outcome"] == "action_required"
        })
        .await;
        assert_eq!(fs::read_to_string(&file).unwrap(), old);
        assert_eq!(graph.sim.counts().exchanges, 1);

        let answer = look(&sidecar);
        let shown = first(&answer);
        assert_eq!(shown["last_refresh"]["outcome"], "renewed", "{shown}");
        let stored = fs::read_to_string(&file).unwrap();
        assert_ne!(stored.trim(), old);
        assert_eq!(shown["fingerprint"], fingerprint(stored.trim()).as_str());
        assert_eq!(graph.sim.counts().exchanges, 2);
        // What is not due is not renewed.
        let again = look(&sidecar);
        assert_eq!(first(&again)["fingerprint"], shown["fingerprint"]);
        assert_eq!(graph.sim.counts().exchanges, 2);
        sidecar.assert_reveals_none_of(&[&old, stored.trim()]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_at_all_sources_runs_the_command_of_each_tenant_in_use() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    let place = "exec = [\"cat\", \"{tenant}\"]\npoll_interval = \"1d\"";
    let sidecar = Sidecar::start(dir.path(), &config(&graph, dir.path(), place)).await;
    wait_until_started(&sidecar).await;
    let mut client = Client::connect(sidecar.proxy).await;
    let names: Vec<_> = (0..20).map(|number| format!("t{number:02}")).collect();
    for name in &names {
        fs::write(dir.path().join(name), issue(&graph, name, &[])).unwrap();
        assert_is(&me(&mut client, name).await, name);
    }
    let newer = names.iter().map(|name| issue(&graph, &format!("{name}-2"), &[]));
    let newer: Vec<_> = newer.collect();
    for (name, token) in names.iter().zip(&newer) {
        fs::write(dir.path().join(name), token).unwrap();
    }
    let shown = ask(&sidecar);
    let shown = shown["tenants"].as_array().unwrap();
    assert_eq!(shown.len(), names.len());
    for (tenant, token) in shown.iter().zip(&newer) {
        assert_eq!(tenant["fingerprint"], fingerprint(token).as_str(), "{tenant}");
    }
    let name = me(&mut client, "t19").await.json()["name"].clone();
    assert_eq!(name, "t19-2");
}
