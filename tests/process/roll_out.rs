//! The steps of a roll-out, `heal.mode`, in a running sidecar.

use std::fs;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use rustix::process::Signal;

use crate::support::{Client, Graph, Sidecar, fingerprint, replace_file, settings, together, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_goes_from_observe_to_inject_to_heal_on_one_connection() {
    let _turn = together().await;
    let (dir, graph) = (tempfile::tempdir().unwrap(), Graph::start().await);
    let [of_app, first, second, third] = std::array::from_fn(|_| graph.sim.issue(None));
    // A command is run when a token is needed, and at no other time.
    let token = dir.path().join("token");
    let in_mode = |mode: &str| {
        let more = format!("[heal]\nmode = \"{mode}\"\n");
        settings(&graph, "exec = [\"cat\", \"token\"]", &more)
    };
    replace_file(&token, &first);
    let sidecar = Sidecar::start(dir.path(), &in_mode("observe")).await;
    let reload = async |mode: &str| {
        let applied = "graphward_config_reloads_total{result=\"applied\"} ";
        let before = sidecar.metric(applied).await;
        fs::write(dir.path().join("graphward.toml"), in_mode(mode)).unwrap();
        sidecar.signal(Signal::HUP);
        wait_until("it has reloaded", async || sidecar.metric(applied).await > before).await;
    };
    let outcomes = async |outcome: &str| {
        let series = format!("graphward_requests_total{{tenant=\"default\",outcome=\"{outcome}\"}} ");
        sidecar.metric(&series).await
    };
    let mut client = Client::connect(sidecar.proxy).await;
    let mut status_and_token = async || {
        let request = Request::get("/v26.0/me").header("Authorization", format!("Bearer {of_app}"));
        let answer = client
            .send(request.body(Full::new(Bytes::new()).boxed()).unwrap())
            .await;
        (answer.status, graph.last_data_fingerprint().unwrap())
    };
    assert_eq!(status_and_token().await, (200, fingerprint(&of_app)));
    graph.sim.expire(&of_app);
    assert_eq!(
        status_and_token().await.1,
        fingerprint(&of_app),
        "nothing is altered or sent twice"
    );

    reload("inject").await;
    assert_eq!(status_and_token().await, (200, fingerprint(&first)));
    graph.sim.expire(&first);
    replace_file(&token, &second);
    assert_eq!(status_and_token().await, (401, fingerprint(&first)));
    assert_eq!(outcomes("unhealed_by_mode").await, 1);
    wait_until("the next token is in use", async || {
        status_and_token().await == (200, fingerprint(&second))
    })
    .await;

    reload("heal").await;
    graph.sim.expire(&second);
    replace_file(&token, &third);
    assert_eq!(status_and_token().await, (200, fingerprint(&third)));
    assert_eq!(outcomes("healed").await, 1);
}
