//! Errors that Graph sends with status 200 because the app asked for that.

use fake_graph::Fault;

use crate::support::{Client, Graph, Unseen, get, together, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_token_is_noticed_and_healed_though_every_status_is_200() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let old = graph.sim.issue(None);
    let (mut file, sidecar) = Unseen::start(&graph, &old, "").await;
    let mut client = Client::connect(sidecar.proxy).await;
    let target = "/v26.0/me?fields=id&suppress_http_code=1";
    assert!(client.get(target).await.json().get("id").is_some());

    graph.sim.expire(&old);
    let rejected = client.get(target).await;
    assert_eq!((rejected.status, &rejected.json()["error"]["code"]), (200, &190.into()));
    assert_eq!(get(sidecar.admin, "/readyz").await.status, 503);

    file.drop(&graph.sim.issue(None));
    wait_until("the newer token is used", async || {
        client.get(target).await.json().get("id").is_some()
    })
    .await;
    assert_eq!(get(sidecar.admin, "/readyz").await.status, 200);

    // An error that says nothing of the token passes through, and has a verdict of its own.
    graph.sim.fault(Fault::error(10));
    let refused = client.get(target).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (200, &10.into()));
    let series = "graphward_upstream_responses_total{tenant=\"default\",verdict=\"permission\"}";
    assert_eq!(sidecar.metric(series).await, 1);
}
