//! Connections to Graph that fail, and the cause that is named.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tokio::net::TcpSocket;
use tokio::time::sleep;

use crate::support::{Client, Graph, Sidecar, replace_file, settings, together, wait_until};

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
    // One is left for the connection of the app, none for one to Graph.
    leave_descriptors(&sidecar, 1).await;
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
    set_limit(&sidecar, getrlimit(Resource::Nofile));
    assert_eq!(client.text("enough").await.status, 200);
    graph.assert_accepted_once(["enough".to_owned()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lack_of_file_descriptors_is_logged_with_the_remedy_wherever_it_is_met() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    replace_file(&path, graph.sim.issue(None));
    let heal = "verify = false\n[heal]\nbody_memory = \"1KiB\"\n";
    let settings = settings(&graph, &format!("file = {path:?}"), heal);
    let sidecar = Sidecar::start(dir.path(), &settings).await;
    // Its connections, to the app and to Graph, stay open.
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("first").await.status, 200);
    leave_descriptors(&sidecar, 0).await;
    let told = async |what: &str| {
        wait_until(what, async || {
            let log = sidecar.stdout();
            log.lines().any(|line| {
                line.contains(what) && line.contains("Too many open files") && line.contains("raise LimitNOFILE")
            })
        })
        .await;
    };
    assert_eq!(client.text(&"x".repeat(4096)).await.status, 200);
    told("cannot spool a request body").await;
    replace_file(&path, graph.sim.issue(None));
    told("no newer token").await;
    let (mut late, ()) = join(Client::connect(sidecar.proxy), told("cannot accept connections")).await;
    set_limit(&sidecar, getrlimit(Resource::Nofile));
    assert_eq!(late.text("late").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inspection_that_does_not_reach_graph_names_the_cause() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let unused = TcpSocket::new_v4().unwrap();
    unused.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let unused = unused.local_addr().unwrap().to_string();
    let graph_address = graph.running.address.to_string();
    for (address, authority, cause) in [
        (unused.as_str(), graph.ca(), "Connection refused"),
        ("no-such-host.invalid:443", graph.ca(), "dns error"),
        // Another CA than that of the certificate: the system's.
        (&graph_address, PathBuf::new(), "certificate"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        replace_file(&path, "EAAGm0PX4ZCpsBA");
        let settings = settings(&graph, &format!("file = {path:?}"), "")
            .replace(&graph_address, address)
            .replace(&format!("{:?}", graph.ca()), &format!("{authority:?}"))
            .replace("ca_file = \"\"\n", "");
        let sidecar = Sidecar::start(dir.path(), &settings).await;
        let told = "using the token without inspection";
        wait_until(told, async || sidecar.stdout().contains(told)).await;
        let log = sidecar.stdout();
        let line = log.lines().find(|line| line.contains(told)).unwrap();
        assert!(line.contains(cause), "{cause}: {line}");
    }
}

/// Lowers the limit of the sidecar so that it can open this many files more.
async fn leave_descriptors(sidecar: &Sidecar, count: usize) {
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
    let low = Rlimit {
        current: (0..).filter(|number| !last.contains(number)).nth(count),
        ..getrlimit(Resource::Nofile)
    };
    set_limit(sidecar, low);
}

fn set_limit(sidecar: &Sidecar, limit: Rlimit) {
    let pid = Pid::from_raw(i32::try_from(sidecar.id()).unwrap());
    prlimit(pid, Resource::Nofile, limit).unwrap();
}
