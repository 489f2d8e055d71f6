//! What the log says once: what others may reach or read, the first request, and a token that the app sends itself.

use std::fs::{Permissions, set_permissions};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::Value;

use crate::support::{Graph, Sidecar, get, graphward_command, replace_file, settings, together, wait_until};

/// The number of lines of the log with these words.
fn lines(sidecar: &Sidecar, words: &str) -> usize {
    sidecar.stdout().lines().filter(|line| line.contains(words)).count()
}

const EXPOSED: [&str; 3] = [
    "the proxy listens on more than this machine",
    "the admin endpoint listens on more than this machine",
    "a file with a secret is readable by every user",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exposed_listeners_and_files_are_warned_about_at_the_start() {
    let _turn = together().await;
    let (dir, graph) = (tempfile::tempdir().unwrap(), Graph::start().await);
    let secret = "[app]\nsecret = { file = \"app.json\", pointer = \"/s\" }";
    let text = settings(&graph, "file = \"token\"", secret);
    let (token, app) = (dir.path().join("token"), dir.path().join("app.json"));
    replace_file(&token, graph.sim.issue(None));
    replace_file(&app, "{\"s\":\"hunter2hunter2\"}");
    // The usual setup is not warned about.
    let sidecar = Sidecar::start(dir.path(), &text).await;
    assert!(
        EXPOSED.iter().all(|words| lines(&sidecar, words) == 0),
        "{}",
        sidecar.stdout()
    );
    drop(sidecar);
    for path in [dir.path(), &token, &app] {
        set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    let sidecar = Sidecar::start(dir.path(), &text.replace("127.0.0.1:0", "0.0.0.0:0")).await;
    let counts = EXPOSED.map(|words| lines(&sidecar, words));
    assert_eq!(counts, [1, 1, 2], "{}", sidecar.stdout());
    assert!(!sidecar.stdout().contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_has_its_configured_permissions_whatever_the_umask() {
    let _turn = together().await;
    let graph = Graph::start().await;
    for (line, mode) in [
        ("", 0o660),
        ("socket_mode = \"0600\"\n", 0o600),
        ("socket_mode = \"666\"\n", 0o666),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("proxy.sock");
        let text = settings(&graph, "file = \"token\"", "");
        let text = text.replacen("\"127.0.0.1:0\"", &format!("\"unix:{}\"\n{line}", socket.display()), 1);
        let mut command = Command::new("sh");
        command.args(["-c", "umask 0; exec \"$0\" serve", env!("CARGO_BIN_EXE_graphward")]);
        let command = command.current_dir(dir.path()).env_clear().env("PATH", "/usr/bin:/bin");
        let _sidecar = Sidecar::start_with(dir.path(), &text, command).await;
        assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, mode, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_request_and_a_token_of_the_app_are_told_once() {
    let _turn = together().await;
    let (dir, graph) = (tempfile::tempdir().unwrap(), Graph::start().await);
    replace_file(&dir.path().join("token"), graph.sim.issue(None));
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, "file = \"token\"", "")).await;
    let (first, own) = (
        "the first request has arrived",
        "the app still sends a token of its own",
    );
    assert_eq!(lines(&sidecar, first), 0);
    for _ in 0..3 {
        get(sidecar.proxy, "/v26.0/me").await;
    }
    wait_until("the first request is told", async || lines(&sidecar, first) == 1).await;
    assert_eq!(lines(&sidecar, own), 0);
    for _ in 0..3 {
        get(sidecar.proxy, "/v26.0/me?access_token=EAAGhunter2hunter2hunter2").await;
    }
    wait_until("the app's token is told", async || lines(&sidecar, own) == 1).await;
    assert_eq!((lines(&sidecar, first), lines(&sidecar, own)), (1, 1));
    sidecar.assert_reveals_none_of(&["hunter2"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_directory_is_created_at_the_start_and_one_that_cannot_be_written_is_warned_of() {
    let _turn = together().await;
    let (dir, graph) = (tempfile::tempdir().unwrap(), Graph::start().await);
    replace_file(&dir.path().join("token"), graph.sim.issue(None));
    let start = async |state: &str, systemd: &str| {
        let text = settings(&graph, "file = \"token\"", &format!("[state]\ndir = \"{state}\"\n"));
        let mut command = graphward_command(dir.path(), &["serve"]);
        Sidecar::start_with(dir.path(), &text, command.env("STATE_DIRECTORY", systemd)).await
    };
    let warning = "the state directory cannot be written";
    for (state, cause) in [
        ("token/state", "Not a directory"),
        ("token", "File exists"),
        ("/proc/nonexistent", "No such file or directory"),
        (&"x".repeat(300), "File name too long"),
    ] {
        let sidecar = start(state, "").await;
        let log = sidecar.stdout();
        let line = log.lines().find(|line| line.contains(warning)).expect(state);
        for word in [
            "WARN",
            cause,
            state,
            "graphward token rollback",
            "alerts are repeated",
            "set state.dir",
        ] {
            assert!(line.contains(word), "{state}: {word}: {line}");
        }
        assert_eq!(lines(&sidecar, "\"state directory\""), 0, "{log}");
    }
    let absolute = dir.path().join("of-systemd");
    for (state, systemd, created) in [
        ("new/state", "", dir.path().join("new/state")),
        ("", absolute.to_str().unwrap(), absolute.clone()),
    ] {
        let sidecar = start(state, systemd).await;
        let told = format!("\"directory\":\"{}\"", created.display());
        assert_eq!(
            (lines(&sidecar, &told), lines(&sidecar, warning)),
            (1, 0),
            "{}",
            sidecar.stdout()
        );
        assert_eq!(created.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(created.read_dir().unwrap().count(), 0, "the trial leaves nothing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_there_is_no_state_directory_is_said_where_something_is_lost_without_one() {
    let _turn = together().await;
    let (dir, graph) = (tempfile::tempdir().unwrap(), Graph::start().await);
    replace_file(&dir.path().join("token"), graph.sim.issue(None));
    for (extra, expected) in [
        ("", 0),
        ("[alerts]\nurl = \"http://127.0.0.1:9/\"", 1),
        ("[tenants_from]\nfile = \"tenants/{tenant}\"", 1),
    ] {
        let mut command = graphward_command(dir.path(), &["serve"]);
        let command = command.env("STATE_DIRECTORY", "relative");
        let sidecar = Sidecar::start_with(dir.path(), &settings(&graph, "file = \"token\"", extra), command).await;
        let log = sidecar.stdout();
        assert_eq!(lines(&sidecar, "no state directory"), expected, "{extra}: {log}");
        assert_eq!(log.matches("set state.dir").count(), expected, "{extra}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_listener_says_where_requests_for_graph_go() {
    let _turn = together().await;
    let (dir, graph) = (tempfile::tempdir().unwrap(), Graph::start().await);
    replace_file(&dir.path().join("token"), graph.sim.issue(None));
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, "file = \"token\"", "")).await;
    let expected = format!(
        "this is graphward's admin listener, whose paths GET /openapi.json lists; requests for Graph go to http://{}",
        sidecar.proxy
    );
    for (request, status) in [
        ("GET /v26.0/me", 404),
        ("POST /v26.0/1/messages", 404),
        ("GET http://graph.facebook.com/v26.0/me", 404),
        ("CONNECT graph.facebook.com:443", 404),
        // A batch.
        ("POST /", 405),
    ] {
        let mut stream = TcpStream::connect(sidecar.admin).unwrap();
        write!(
            stream,
            "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {head}");
        let body: Value = serde_json::from_str(body).unwrap();
        let message = body["error"]["message"].as_str().unwrap();
        assert!(
            message.ends_with(&expected) && !message.contains('\n'),
            "{request}: {message}"
        );
    }
    // TLS, as with https:// in the base URL.
    let mut stream = TcpStream::connect(sidecar.admin).unwrap();
    stream.write_all(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00").unwrap();
    let advice = "use http:// in the base URL of the app, with the address of the proxy listener";
    wait_until("the log says what to use", async || lines(&sidecar, advice) == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_request_is_not_the_first_that_has_arrived() {
    let _turn = together().await;
    let (dir, graph) = (tempfile::tempdir().unwrap(), Graph::start().await);
    replace_file(&dir.path().join("token"), graph.sim.issue(None));
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, "file = \"token\"", "")).await;
    let first = "the first request has arrived";
    let mut stream = TcpStream::connect(sidecar.proxy).unwrap();
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    wait_until("the refusal is told", async || {
        lines(&sidecar, "refused_host_not_allowed") == 1
    })
    .await;
    assert_eq!(lines(&sidecar, first), 0);
    get(sidecar.proxy, "/v26.0/me").await;
    wait_until("the first request is told", async || lines(&sidecar, first) == 1).await;
}
