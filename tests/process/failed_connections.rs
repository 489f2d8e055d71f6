//! Connections to Graph that fail, and the cause that is named.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tokio::time::sleep;

use crate::support::{Client, Graph, Sidecar, settings, together, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lack_of_file_descriptors_is_not_called_a_fault_of_the_network() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    fs::write(&path, graph.sim.issue(None)).unwrap();
    let settings = settings(&graph, &format!("file = {path:?}"), "verify = false");
    let sidecar = Sidecar::start(dir.path(), &settings).await;
    wait_until("the token is in use", async || {
        sidecar.stdout().contains("using a new token")
    })
    .await;
    let open_files = || -> BTreeSet<u64> {
        let files = fs::read_dir(format!("/proc/{}/fd", sidecar.id())).unwrap();
        files
            .map(|file| file.unwrap().file_name().to_str().unwrap().parse().unwrap())
            .collect()
    };
    let mut last = open_files();
    wait_until("no more files are opened", async || {
        sleep(Duration::from_millis(50)).await;
        let before = std::mem::replace(&mut last, open_files());
        before == last
    })
    .await;
    // One is left for the connection of the app, none for one to Graph.
    let second_free = (0..).filter(|number| !last.contains(number)).nth(1).unwrap();
    let pid = Pid::from_raw(i32::try_from(sidecar.id()).unwrap());
    let limits = getrlimit(Resource::Nofile);
    let low = Rlimit {
        current: Some(second_free),
        ..limits
    };
    prlimit(pid, Resource::Nofile, low).unwrap();
    let mut client = Client::connect(sidecar.proxy).await;
    let response = client.text("too many").await;
    assert_eq!(response.status, 503);
    let proxy_status = response.header("proxy-status");
    assert!(
        proxy_status.starts_with("graphward; error=proxy_internal_error; details="),
        "{proxy_status}"
    );
    let error = &response.json()["error"];
    assert_eq!(
        (error["code"].as_i64(), error["is_transient"].as_bool()),
        (Some(990_022), Some(true))
    );
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("Too many open files") && message.contains("LimitNOFILE"),
        "{message}"
    );
    assert!(sidecar.stdout().contains("refused_exhausted"), "{}", sidecar.stdout());
    prlimit(pid, Resource::Nofile, limits).unwrap();
    assert_eq!(client.text("enough").await.status, 200);
    graph.assert_accepted_once(["enough".to_owned()]);
}
