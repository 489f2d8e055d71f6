//! Every kind of stop at every stage of a request: it is completed, or a second signal closes it and says so.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use futures_util::future::join_all;
use graphward::net::ca::{CertAuthority, CertSpec};
use graphward::net::{HttpVersion, Tasks};
use graphward::types::Clock;
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::support::{Graph, Sidecar, get, graphward_command, replace_file, settings, terminal, together, wait_until};

/// What a request is doing when the stop comes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// Nothing: the connection is idle.
    Idle,
    /// graphward connects to Graph.
    Connecting,
    /// Half of the body has arrived.
    Uploading,
    /// Graph has rejected the token, and there is no newer one yet.
    WaitingForToken,
    /// Graph has the request.
    WaitingForHead,
    /// Half of the answer has been delivered.
    Streaming,
    /// The app talks to another host.
    InTunnel,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// The signal arrives twice at once, as from a terminal and a supervisor, and the request is completed.
    Completed,
    /// The second signal comes after graphward has said what it does.
    Closed,
}

const BODY: &str = "0123456789";
const HALF: &str = "01234";
/// SIGHUP stops a process with a terminal.
const STOPS: [Signal; 4] = [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_request_it_exits_with_0() {
    check(Stage::Idle, &[End::Completed]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_while_graphward_connects() {
    check(Stage::Connecting, &[End::Completed, End::Closed]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_while_the_app_sends_its_body() {
    check(Stage::Uploading, &[End::Completed, End::Closed]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_while_there_is_no_living_token() {
    check(Stage::WaitingForToken, &[End::Completed, End::Closed]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_while_graph_works() {
    check(Stage::WaitingForHead, &[End::Completed, End::Closed]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_within_an_answer() {
    check(Stage::Streaming, &[End::Completed, End::Closed]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_within_a_tunnel() {
    check(Stage::InTunnel, &[End::Completed, End::Closed]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_signals_for_users_change_nothing() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    replace_file(&dir.path().join("token"), graph.sim.issue(None));
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, "file = \"token\"", "")).await;
    for (signal, name) in [(Signal::USR1, "SIGUSR1"), (Signal::USR2, "SIGUSR2")] {
        sidecar.signal(signal);
        wait_until("it is logged", async || {
            let events = sidecar.log_events();
            events
                .iter()
                .any(|event| event["level"] == "INFO" && event["signal"] == name)
        })
        .await;
        assert_eq!(get(sidecar.proxy, "/v26.0/me").await.status, 200);
    }
}

async fn check(stage: Stage, ends: &[End]) {
    let _turn = together().await;
    let cases = STOPS.iter().flat_map(|stop| ends.iter().map(|end| (*stop, *end)));
    join_all(cases.map(|(stop, end)| stop_at(stage, stop, end))).await;
}

/// Returns the app's connection, with its request at this stage.
async fn bring_to(stage: Stage, origin: &Origin, sidecar: &Sidecar) -> TcpStream {
    let mut app = TcpStream::connect(sidecar.proxy).await.unwrap();
    if stage == Stage::InTunnel {
        let connect = "CONNECT echo.example:443 HTTP/1.1\r\nHost: echo.example:443\r\n\r\n";
        app.write_all(connect.as_bytes()).await.unwrap();
        read_until(&mut app, "\r\n\r\n").await;
        app.write_all(b"ping").await.unwrap();
        read_until(&mut app, "ping").await;
    } else {
        let sent = if stage == Stage::Uploading { HALF } else { BODY };
        let head = "POST /v26.0/1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n";
        app.write_all(format!("{head}{sent}").as_bytes()).await.unwrap();
        match stage {
            Stage::Idle => read_until(&mut app, BODY).await,
            Stage::Streaming => read_until(&mut app, HALF).await,
            Stage::Connecting | Stage::WaitingForToken | Stage::WaitingForHead => origin.reached.notified().await,
            Stage::Uploading | Stage::InTunnel => {}
        }
        let inflight = u64::from(stage != Stage::Idle);
        wait_until("the request is in flight", async || {
            sidecar.metric("graphward_inflight_requests ").await == inflight
        })
        .await;
    }
    app
}

async fn stop_at(stage: Stage, stop: Signal, end: End) {
    let case = format!("{stop:?} while {stage:?}, {end:?}");
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::start(stage, dir.path()).await;
    let token = dir.path().join("token");
    replace_file(&token, "EAAGm0PX4ZCpsBA");
    let mut command = graphward_command(dir.path(), &["serve"]);
    let (_terminal, stdin) = if stop == Signal::HUP {
        let (terminal, stdin) = terminal();
        (Some(terminal), Stdio::from(stdin))
    } else {
        (None, Stdio::null())
    };
    command.stdin(stdin);
    let mut sidecar = Sidecar::start_with(dir.path(), &origin.settings(), &mut command).await;
    let mut app = bring_to(stage, &origin, &sidecar).await;

    sidecar.signal(stop);
    if end == End::Completed {
        sidecar.signal(stop);
    }
    wait_until("it drains", async || sidecar.stdout().contains("draining: ")).await;
    let mut answer = Vec::new();
    if end == End::Closed {
        let again = match stop {
            Signal::INT => "press Ctrl-C again",
            Signal::QUIT => "send SIGQUIT again",
            // No keyboard sent the first, and a closed terminal sends no second one.
            _ => "send SIGTERM",
        };
        wait_until("it says what the second signal does", async || {
            sidecar.stdout().contains(again)
        })
        .await;
        sidecar.signal(stop);
        // The connection ends, perhaps with a reset.
        drop(app.read_to_end(&mut answer).await);
        assert!(!String::from_utf8_lossy(&answer).ends_with("56789"), "{case}");
        assert_eq!(
            sidecar.wait_exit().await.code(),
            Some(1),
            "{case}: {}",
            sidecar.stdout()
        );
        let outcomes: Vec<_> = sidecar
            .log_events()
            .iter()
            .filter(|event| event["method"].is_string())
            .filter_map(|event| event["outcome"].as_str().map(str::to_owned))
            .collect();
        let expected = if stage == Stage::InTunnel {
            &[][..]
        } else {
            &["closed_by_shutdown"]
        };
        assert_eq!(outcomes, expected, "{case}");
        return;
    }
    match stage {
        Stage::Idle => {}
        Stage::Uploading => app.write_all(&BODY.as_bytes()[5..]).await.unwrap(),
        Stage::WaitingForToken => {
            origin.release.notify_one();
            replace_file(&token, "EAAGm0PX4ZCpsBB");
        }
        Stage::Connecting | Stage::WaitingForHead | Stage::Streaming => origin.release.notify_one(),
        Stage::InTunnel => {
            app.write_all(BODY.as_bytes()).await.unwrap();
            app.shutdown().await.unwrap();
        }
    }
    app.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(stage == Stage::Idle || answer.ends_with("56789"), "{case}: {answer}");
    assert_eq!(
        sidecar.wait_exit().await.code(),
        Some(0),
        "{case}: {}",
        sidecar.stdout()
    );
    assert!(!sidecar.stdout().contains("closed_by_shutdown"), "{case}");
}

/// Graph for one connection, or the other end of a tunnel; it stops at a stage until it is released.
struct Origin {
    port: u16,
    /// The stage has been reached.
    reached: Arc<Notify>,
    release: Arc<Notify>,
}

impl Origin {
    async fn start(stage: Stage, dir: &Path) -> Self {
        let authority = CertAuthority::new(&Clock::system()).unwrap();
        let spec = CertSpec::for_graph(&Clock::system());
        let certified = authority.sign(&spec).unwrap();
        for (file, pem) in [
            ("ca.pem", authority.pem()),
            ("cert.pem", &certified.cert.pem()),
            ("key.pem", &certified.signing_key.serialize_pem()),
        ] {
            fs::write(dir.join(file), pem).unwrap();
        }
        let acceptor = authority.acceptor(&spec, HttpVersion::Http1.alpn()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (reached, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let pause = {
            let (reached, release) = (Arc::clone(&reached), Arc::clone(&release));
            async move |at: Stage| {
                if at == stage {
                    reached.notify_one();
                    release.notified().await;
                }
            }
        };
        drop(Tasks::default().spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            if stage == Stage::InTunnel {
                let (mut from, mut to) = stream.split();
                return drop(tokio::io::copy(&mut from, &mut to).await);
            }
            pause(Stage::Connecting).await;
            // graphward may have been stopped.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            read_until(&mut stream, BODY).await;
            if stage == Stage::WaitingForToken {
                let body = r#"{"error":{"message":"expired","type":"OAuthException","code":190,"error_subcode":463}}"#;
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
                );
                stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
                pause(stage).await;
                read_until(&mut stream, BODY).await;
            }
            pause(Stage::WaitingForHead).await;
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
            drop(stream.write_all(format!("{head}{}", HALF).as_bytes()).await);
            pause(Stage::Streaming).await;
            drop(stream.write_all(&BODY.as_bytes()[5..]).await);
            // The connection stays open, as Graph's do.
            drop(stream.read(&mut [0]).await);
        }));
        Self { port, reached, release }
    }

    fn settings(&self) -> String {
        let port = self.port;
        format!(
            r#"
[listen]
proxy = "127.0.0.1:0"
admin = "127.0.0.1:0"
tls = {{ cert = "cert.pem", key = "key.pem" }}
tunnel_hosts = ["echo.example"]
[upstream]
ca_file = "ca.pem"
http = "1.1"
connect_to = {{ "graph.facebook.com" = "127.0.0.1:{port}", "echo.example" = "127.0.0.1:{port}" }}
[token]
source = {{ file = "token" }}
verify = false
[heal]
token_wait = "60s"
hold_timeout = "60s"
"#
        )
    }
}

/// Reads until the text has arrived.
async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(end) {
        let length = stream.read_buf(&mut read).await.unwrap();
        assert_ne!(length, 0, "the connection ended: {}", String::from_utf8_lossy(&read));
    }
}
