//! Many concurrent requests, and tokens that expire or are revoked under them.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use fake_graph::{Effect, Fault};
use futures_util::future::{join, join_all};
use tokio::time::{Instant, sleep};

use crate::support::{
    Client, Graph, Sidecar, Unseen, exclusive, fact, replace_file, sample, settings, together, wait_until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_posts_with_a_dead_token_succeed_with_one_check_and_one_replay_each() {
    const POSTS: u32 = 200;
    let _turn = together().await;
    let graph = Graph::start().await;
    let old = graph.sim.issue(None);
    let (mut file, sidecar) = Unseen::start(&graph, &old, "").await;
    let mut clients = Vec::new();
    for _ in 0..POSTS {
        clients.push(Client::connect(sidecar.proxy).await);
    }
    assert_eq!(clients[0].get("/v26.0/me").await.status, 200);
    let before = graph.sim.attempts();

    // Only Graph's rejection makes graphward check the file before its next poll; and no response and no new token comes
    // before all requests have been sent, so each of them has the dead token.
    graph.sim.fault(Fault::once(Effect::Hold).times(POSTS));
    graph.sim.expire(&old);
    let started = Instant::now();
    let sending = clients.iter_mut().enumerate().map(async |(number, client)| {
        let response = client.text(&format!("burst {number}")).await;
        (response.status, started.elapsed())
    });
    let swapping = async {
        let all = before + u64::from(POSTS);
        wait_until("all are in flight", async || graph.sim.attempts() == all).await;
        file.drop(&graph.sim.issue(None));
        graph.sim.release_held(POSTS as usize);
    };
    let (responses, ()) = join(join_all(sending), swapping).await;

    assert!(responses.iter().all(|(status, _)| *status == 200), "{responses:?}");
    graph.assert_accepted_once((0..POSTS).map(|number| format!("burst {number}")));
    let attempts = graph.sim.attempts() - before;
    let metrics = sidecar.metrics().await;
    let checks = sample(&metrics, "graphward_token_attempts_total{") - 1;
    let healed = sample(
        &metrics,
        "graphward_requests_total{tenant=\"default\",outcome=\"healed\"}",
    );
    let slowest = responses.iter().map(|(_, took)| *took).max().unwrap();
    fact(&format!(
        "burst: {healed} of {POSTS} healed, {attempts} attempts upstream, {checks} check, slowest {slowest:?}"
    ));
    assert_eq!(checks, 1, "{metrics}");
    assert_eq!(healed, u64::from(POSTS));
    assert_eq!(attempts, 2 * u64::from(POSTS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_swaps_under_load_fail_no_request_though_each_old_token_is_revoked() {
    const CLIENTS: usize = 8;
    let _turn = exclusive().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let mut current = graph.sim.issue(None);
    replace_file(&path, &current);
    let source = format!("file = {path:?}");
    let sidecar = Sidecar::start(
        dir.path(),
        &settings(&graph, &source, "[heal]\nhold_timeout = \"30s\"\n"),
    )
    .await;
    let response = Client::connect(sidecar.proxy).await.text("swap 0").await;
    assert_eq!(response.status, 200);

    let (over, sent) = (AtomicBool::new(false), AtomicU32::new(1));
    let answered: [AtomicU32; CLIENTS] = Default::default();
    let load = join_all(answered.iter().map(async |answered| {
        let mut client = Client::connect(sidecar.proxy).await;
        let mut failed = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let number = sent.fetch_add(1, Ordering::Relaxed);
            let response = client.text(&format!("swap {number}")).await;
            if response.status != 200 {
                failed.push(String::from_utf8_lossy(&response.body).into_owned());
            }
            answered.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(4)).await;
        }
        failed
    }));
    let swaps = async {
        for swap in 1..=20 {
            let next = graph.sim.issue(None);
            replace_file(&path, &next);
            sleep(Duration::from_millis(50)).await;
            assert!(graph.sim.revoke(&current));
            current = next;
            wait_until("the token is in use", async || {
                sidecar.metric("graphward_token_generation").await == swap + 1
            })
            .await;
            // A request is replayed once, so each that began with the old token ends before the next swap.
            let before = answered.each_ref().map(|count| count.load(Ordering::Relaxed));
            wait_until("each client has sent a new request", async || {
                let now = answered.iter().map(|count| count.load(Ordering::Relaxed));
                now.zip(before).all(|(now, before)| now >= before + 2)
            })
            .await;
        }
        over.store(true, Ordering::Relaxed);
    };
    let (failed, ()) = join(load, swaps).await;

    let failed: Vec<_> = failed.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{failed:?}");
    let sent = sent.into_inner();
    graph.assert_accepted_once((0..sent).map(|number| format!("swap {number}")));
    let metrics = sidecar.metrics().await;
    let generation = sample(&metrics, "graphward_token_generation");
    let healed = sample(
        &metrics,
        "graphward_requests_total{tenant=\"default\",outcome=\"healed\"}",
    );
    fact(&format!(
        "swaps: {sent} requests, 0 failed, generation {generation}, {healed} healed"
    ));
    assert_eq!(generation, 21);
}
