//! Memory under load.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::support::{Graph, Sidecar, exclusive, fact, replace_file, settings};

const KIB: usize = 1024;

/// A sidecar with a valid token, and open files enough on both sides.
async fn start(graph: &Graph, dir: &Path) -> Sidecar {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limits.maximum,
        ..limits
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let token = dir.join("token");
    replace_file(&token, graph.sim.issue(None));
    let mut command = Command::new("/bin/sh");
    command.args([
        "-c",
        "ulimit -S -n 256; exec \"$0\" serve",
        env!("CARGO_BIN_EXE_graphward"),
    ]);
    command.current_dir(dir).env_clear().stdin(Stdio::null());
    // Beside other work, the clients need more than the default minute to send what they send.
    let settings =
        settings(graph, &format!("file = {token:?}"), "").replace("[upstream]", "[upstream]\nidle_timeout = '10m'");
    let sidecar = Sidecar::start_with(dir, &settings, &mut command).await;
    let limits = sidecar.proc("limits");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let files: Vec<_> = files.split_whitespace().skip(3).take(2).collect();
    assert_eq!(files.first(), files.get(1), "the soft limit is raised to the hard one");
    sidecar
}

/// The memory limit of the Kubernetes manifest, in KiB.
fn manifest_limit() -> u64 {
    let manifest = include_str!("../../config/kubernetes/base/sidecar.yaml");
    let (_, limit) = manifest.split_once("limits: {memory: ").unwrap();
    let (mebibytes, _) = limit.split_once("Mi}").unwrap();
    mebibytes.parse::<u64>().unwrap() * 1024
}

/// The memory that the program as it is shipped may take at rest, in KiB.
fn shipped_at_rest() -> u64 {
    let budgets = include_str!("../../benches/budgets").lines();
    let mut fields = budgets
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| name.trim() == "shipped_idle_rss");
    let value = fields.next().unwrap().1.trim_start().split(' ').next().unwrap();
    value.parse().unwrap()
}

/// Opens connections and sends this on each of them, or as much of it as is taken.
async fn open_all(address: SocketAddr, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    join_all((0..count).map(|_| async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        drop(stream.write_all(bytes).await);
        stream
    }))
    .await
}

/// benches/memory runs the program as it is shipped under the limit itself. The one under test takes three times as much at rest, because
/// its code is not optimized; what the load adds is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_heads_and_large_posts_stay_within_the_memory_limit_of_the_manifests() {
    let _turn = exclusive().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    let sidecar = start(&graph, dir.path()).await;
    let idle = sidecar.memory_kib("VmHWM");

    let head = format!(
        "GET /me HTTP/1.1\r\nHost: localhost\r\nX-Long: {}",
        "a".repeat(407 * KIB)
    );
    for length in [70 * KIB, 407 * KIB] {
        let head = &head.as_bytes()[..length];
        let heads = tokio::join!(open_all(sidecar.proxy, 500, head), open_all(sidecar.admin, 500, head));
        sleep(Duration::from_millis(500)).await;
        drop(heads);
    }
    let heads = sidecar.memory_kib("VmHWM");

    let body = vec![b'b'; 900_000];
    let (last, most) = body.split_last().unwrap();
    let head = "POST /v26.0/1/photos HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n\
                Content-Length: 900000\r\nConnection: close\r\n\r\n";
    let posts = open_all(sidecar.proxy, 400, &[head.as_bytes(), most].concat()).await;
    let answers = join_all(posts.into_iter().map(|mut post| async move {
        // One that was answered early is closed.
        let sent = post.write_all(&[*last]).await;
        let mut answer = String::new();
        let read = post.read_to_string(&mut answer).await;
        assert!(sent.is_ok() && read.is_ok(), "{answer}");
        answer
    }))
    .await;
    for answer in answers {
        assert!(
            answer.starts_with("HTTP/1.1 ") && !answer.contains("Graphward"),
            "{answer}"
        );
    }
    let posts = sidecar.memory_kib("VmHWM");
    fact(&format!(
        "memory: {idle} KiB before, at most {heads} KiB with 1,000 unfinished heads, then {posts} KiB with 400 POSTs of 0.9 MB"
    ));
    let shipped = posts - idle + shipped_at_rest();
    assert!(shipped < manifest_limit(), "{shipped} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_take_little_memory_each_and_serve_on() {
    const CONNECTIONS: u64 = 2_000;
    let _turn = exclusive().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    let sidecar = start(&graph, dir.path()).await;
    let idle = sidecar.memory_kib("VmRSS");
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(TcpStream::connect(sidecar.proxy).await.unwrap());
    }
    for round in ["first", "second"] {
        for client in &mut clients {
            client
                .write_all(b"GET /v26.0/me HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .await
                .unwrap();
            let mut answer = vec![0; 16 * KIB];
            let read = client.read(&mut answer).await.unwrap();
            assert!(answer[..read].starts_with(b"HTTP/1.1 200 OK"), "{round}");
        }
        sleep(Duration::from_secs(3)).await;
    }
    let growth = sidecar.memory_kib("VmRSS") - idle;
    fact(&format!("memory: {growth} KiB for {CONNECTIONS} idle connections"));
    // 10,000 in 64 MiB, of which the process takes 8 by itself.
    assert!(growth * 10_000 / CONNECTIONS < 56 * 1024, "{growth} KiB");
}
