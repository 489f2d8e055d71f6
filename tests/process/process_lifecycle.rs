//! Start, health and shutdown of the process.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use fake_graph::{Effect, Fault};
use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::support::free_ports;
use crate::support::{
    Client, Graph, Sidecar, TIMEOUT, exclusive, fact, get, graphward_command, replace_file, sample, settings,
    text_message, together, wait_until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_in_the_environment_is_used() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    let token = graph.sim.issue(None);
    let mut command = graphward_command(dir.path(), &["serve", "--require-token"]);
    command.env("META_TOKEN", format!("Bearer {token}"));
    let settings = settings(&graph, "env = \"META_TOKEN\"", "");
    let sidecar = Sidecar::start_with(dir.path(), &settings, &mut command).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("from the environment").await.status, 200);
    graph.assert_last_token(&token);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_token_that_is_required_it_exits_with_4() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    for (source, content) in [
        ("file = \"absent\"", None),
        ("file = \"token\"", Some("  \n")),
        ("env = \"NOT_SET\"", None),
    ] {
        if let Some(content) = content {
            fs::write(dir.path().join("token"), content).unwrap();
        }
        let file = dir.path().join("graphward.toml");
        fs::write(file, settings(&graph, source, "")).unwrap();
        let output = graphward_command(dir.path(), &["serve", "--require-token"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(4), "{source}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("there is no valid token (--require-token)"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_the_first_token_requests_are_refused_in_the_format_of_graph_and_then_they_work() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let source = format!("file = {path:?}");
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, &source, "")).await;
    let mut client = Client::connect(sidecar.proxy).await;
    let response = client.text("too early").await;
    assert_eq!(response.status, 503);
    assert_eq!(response.header("proxy-status"), "graphward; error=proxy_internal_error");
    assert_eq!(response.header("retry-after"), "1");
    let error = &response.json()["error"];
    assert_eq!(error["type"], "GraphwardException");
    assert_eq!(error["code"], 990_003);
    assert_eq!(error["is_transient"], true);
    assert!(error["message"].as_str().unwrap().contains("no token"), "{error}");
    assert_eq!(get(sidecar.admin, "/readyz").await.status, 503);
    assert_eq!(get(sidecar.admin, "/livez").await.status, 200);
    assert_eq!(graph.sim.attempts(), 0);

    replace_file(&path, graph.sim.issue(None));
    wait_until("it is ready", async || {
        get(sidecar.admin, "/readyz").await.status == 200
    })
    .await;
    assert_eq!(client.text("in time").await.status, 200);
    graph.assert_accepted_once(["in time".to_owned()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_health_check_works_over_tcp_and_over_a_unix_socket() {
    let _turn = together().await;
    let graph = Graph::start().await;
    for admin in ["tcp", "unix"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let socket = format!("unix:{}", dir.path().join("admin.sock").display());
        let mut settings = settings(&graph, &format!("file = {path:?}"), "");
        if admin == "unix" {
            let tcp = "admin = \"127.0.0.1:0\"";
            settings = settings.replace(tcp, &format!("admin = {socket:?}"));
        }
        let sidecar = Sidecar::start(dir.path(), &settings).await;
        let flags = match admin {
            "tcp" => vec!["--admin".to_owned(), sidecar.admin.to_string()],
            // The configuration has the path.
            _ => Vec::new(),
        };
        let healthy = || {
            let mut command = graphward_command(dir.path(), &["healthcheck"]);
            let output = command.args(&flags).output().unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        let (code, stderr) = healthy();
        assert_eq!(code, Some(1), "{admin}: {stderr}");
        assert!(stderr.starts_with("graphward: not ready: "), "{stderr}");
        replace_file(&path, graph.sim.issue(None));
        wait_until("it is healthy", async || healthy().0 == Some(0)).await;
        drop(sidecar);
        assert_eq!(healthy().0, Some(1), "{admin}, after it has stopped");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_lets_requests_finish_and_the_process_exits_with_0() {
    let _turn = together().await;
    for signal in [Signal::TERM, Signal::INT] {
        let dir = tempfile::tempdir().unwrap();
        let (graph, mut sidecar) = graph_and_sidecar(dir.path()).await;
        let (mut busy, mut idle) = (
            Client::connect(sidecar.proxy).await,
            Client::connect(sidecar.proxy).await,
        );
        assert_eq!(idle.text("first").await.status, 200);
        graph.sim.fault(Fault::once(Effect::Hold));
        let stopping = async {
            wait_until("the request is in flight", async || graph.sim.attempts() == 2).await;
            sidecar.signal(signal);
            wait_until("it is not ready any more", async || {
                get(sidecar.admin, "/readyz").await.status == 503
            })
            .await;
            wait_until("the idle connection is closed", async || idle.is_closed()).await;
            assert!(idle.try_send(text_message("too late")).await.is_err());
            let told = Client::connect(sidecar.proxy).await.text("a new one").await;
            assert_eq!(
                (told.status, told.json()["error"]["code"].as_i64()),
                (503, Some(990_001))
            );
            graph.sim.release_held(1);
        };
        let (response, ()) = futures_util::future::join(busy.text("in flight"), stopping).await;
        assert_eq!(response.status, 200);
        assert_eq!(sidecar.wait_exit().await.code(), Some(0), "{signal:?}");
        graph.assert_accepted_once(["first", "in flight"].map(str::to_owned));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_do_not_hold_up_a_stop() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let (_graph, mut sidecar) = graph_and_sidecar(dir.path()).await;
    // The connections to the app and to Graph stay open, and are idle.
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("first").await.status, 200);
    let signaled_at = Instant::now();
    sidecar.signal(Signal::TERM);
    // After the limit for requests in flight, it would force-close them and exit with 1.
    assert_eq!(sidecar.wait_exit().await.code(), Some(0));
    fact(&format!("stop: {:?} with idle connections", signaled_at.elapsed()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_a_second_later_ends_it_at_once() {
    let _turn = together().await;
    for (signal, again) in [
        (Signal::TERM, "still draining: send SIGTERM again to cut what is left"),
        (Signal::INT, "still draining: press Ctrl-C again, or send SIGINT to"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (graph, mut sidecar) = graph_and_sidecar(dir.path()).await;
        let mut client = Client::connect(sidecar.proxy).await;
        graph.sim.fault(Fault::once(Effect::Hang));
        let stopping = async {
            wait_until("the request is in flight", async || graph.sim.attempts() == 1).await;
            sidecar.signal(signal);
            wait_until("it says what a second signal does", async || {
                sidecar.stdout().contains(again)
            })
            .await;
            assert_eq!(get(sidecar.admin, "/livez").await.status, 200);
            let signaled_at = Instant::now();
            sidecar.signal(signal);
            let status = sidecar.wait_exit().await;
            (status.code(), signaled_at.elapsed())
        };
        let (response, (code, took)) =
            futures_util::future::join(client.try_send(text_message("hangs")), stopping).await;
        assert!(response.is_err());
        fact(&format!("second signal: ended after {took:?}"));
        assert_eq!(code, Some(1), "{signal:?}");
        assert!(
            took < Duration::from_secs(25),
            "{took:?}: the limit for requests in flight ended it"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_exits_with_3_and_an_invalid_configuration_with_2() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let file = dir.path().join("graphward.toml");
    let good = settings(&graph, "file = \"token\"", "");
    for (settings, code, words) in [
        (
            good.replacen("127.0.0.1:0", &taken, 1),
            3,
            ", where another process listens; stop it",
        ),
        (good.replace("ca_file", "ca_flie"), 2, "did you mean `ca_file`?"),
        (good.replace("ca.pem", "absent.pem"), 2, "absent.pem"),
    ] {
        let _held = TcpListener::bind(&taken);
        fs::write(&file, settings).unwrap();
        let output = graphward_command(dir.path(), &["serve"]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_quickly_and_is_small() {
    let _turn = exclusive().await;
    let graph = Graph::start().await;
    let (mut starts, mut shortest_runs) = (Vec::new(), Vec::new());
    let mut sizes = Vec::new();
    for _ in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let started = Instant::now();
        graphward_command(dir.path(), &["--version"]).output().unwrap();
        shortest_runs.push(started.elapsed());
        replace_file(&dir.path().join("token"), graph.sim.issue(None));
        let [port] = free_ports();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let settings = settings(&graph, "file = \"token\"", "");
        let settings = settings.replacen("127.0.0.1:0", &address.to_string(), 1);
        let started = Instant::now();
        let starting = Sidecar::start(dir.path(), &settings);
        let accepting = async {
            while TcpStream::connect(address).await.is_err() {
                assert!(started.elapsed() < TIMEOUT);
                sleep(Duration::from_millis(1)).await;
            }
            started.elapsed()
        };
        let (sidecar, took) = futures_util::future::join(starting, accepting).await;
        wait_until("it is ready", async || {
            get(sidecar.admin, "/readyz").await.status == 200
        })
        .await;
        starts.push(took);
        sizes.push(sidecar.memory_kib("VmRSS"));
    }
    starts.sort();
    shortest_runs.sort();
    sizes.sort();
    fact(&format!("start: accepting after {starts:?}; idle RSS {sizes:?} KiB"));
    if !cfg!(debug_assertions) {
        // A run that prints the version takes some 10 ms on an idle machine.
        assert!(starts[2] < 20 * shortest_runs[2], "{starts:?}, {shortest_runs:?}");
        assert!(sizes[2] < 16 * 1024, "{sizes:?}");
    }
}

async fn graph_and_sidecar(dir: &Path) -> (Graph, Sidecar) {
    let graph = Graph::start().await;
    replace_file(&dir.join("token"), graph.sim.issue(None));
    let sidecar = Sidecar::start(dir, &settings(&graph, "file = \"token\"", "")).await;
    (graph, sidecar)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_soft_limit_of_open_files_is_raised() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    replace_file(&dir.path().join("token"), graph.sim.issue(None));
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -S -n 64; exec \"$0\" serve"])
        .arg(env!("CARGO_BIN_EXE_graphward"))
        .current_dir(dir.path())
        .env_clear();
    let settings = settings(&graph, "file = \"token\"", "");
    let sidecar = Sidecar::start_with(dir.path(), &settings, &mut command).await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(Client::connect(sidecar.proxy).await);
    }
    for client in &mut clients {
        assert_eq!(client.text("one of many").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_reader_is_stuck_loses_lines_and_they_are_counted() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("token"), graph.sim.issue(None)).unwrap();
    let settings = settings(&graph, "file = \"token\"", "[log]\nrequests = \"all\"");
    fs::write(dir.path().join("graphward.toml"), settings).unwrap();
    let mut command = graphward_command(dir.path(), &["serve"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    // The reader reads the first lines and then stops; the pipe stays open.
    let mut log = BufReader::new(child.stdout.take().unwrap());
    let mut address_of = |message: &str| -> SocketAddr {
        loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "no line says {message}");
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            if event["message"] == message {
                let address = event["address"].as_str().unwrap();
                return address.trim_start_matches("http://").parse().unwrap();
            }
        }
    };
    let admin = address_of("admin listener started");
    let mut client = Client::connect(address_of("proxy listener started")).await;
    wait_until("a line is dropped", async || {
        assert_eq!(client.get("/v25.0/me").await.status, 200);
        let metrics = get(admin, "/metrics").await.body;
        sample(&String::from_utf8_lossy(&metrics), "graphward_log_lines_dropped_total ") > 0
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
}
