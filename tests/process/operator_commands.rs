//! `status`, `refresh` and `send-test` before a running sidecar, and the banner of `serve`.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Graph, Sidecar, fingerprint, get, graphward_command, network_settings, replace_file, settings, terminal,
};
use crate::support::{together, wait_until};

/// A sidecar whose token is in a file beside its configuration.
async fn start(graph: &Graph, token: &str) -> (TempDir, Sidecar) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("token"), token).unwrap();
    let sidecar = Sidecar::start(dir.path(), &settings(graph, "file = \"token\"", "")).await;
    wait_until("it has looked", async || sidecar.stdout().contains("using a new token")).await;
    (dir, sidecar)
}

fn run(dir: &Path, args: &[&str]) -> Output {
    graphward_command(dir, args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_shows_the_token_as_a_table_and_as_json() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let token = graph.sim.issue(None);
    let (dir, sidecar) = start(&graph, &token).await;
    let admin = sidecar.admin.to_string();
    let output = run(dir.path(), &["status", "--admin", &admin]);
    let table = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines: Vec<_> = table.lines().collect();
    assert!(
        lines[0].starts_with(&format!("sidecar at {admin}: serving, ready; tokens: 1 ")),
        "{table}"
    );
    assert!(lines[1].starts_with("TENANT   STATE "), "{table}");
    assert!(
        lines[2].starts_with("default  ") && lines[2].contains(&fingerprint(&token)),
        "{table}"
    );
    assert!(!table.contains('\u{1b}') && !table.contains(&token), "{table}");
    let output = run(
        dir.path(),
        &["status", "--admin", &admin, "--json", "--tenant", "default"],
    );
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(json["tenants"][0]["fingerprint"], fingerprint(&token));
    let output = run(dir.path(), &["status", "--admin", &admin, "--tenant", "absent"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).ends_with("has no tenant absent\n"), "{output:?}");
    for name in ["EAAGm0PX4ZCpsBAKZAhunter2", "\u{1b}[31mhunter2"] {
        let output = run(dir.path(), &["status", "--admin", &admin, "--tenant", name]);
        assert!(!output.status.success(), "{output:?}");
        assert!(
            !stderr(&output).contains("EAAG") && !stderr(&output).contains('\u{1b}'),
            "{output:?}"
        );
    }
    // On a terminal, it has colors.
    let shown = on_terminal(graphward_command(dir.path(), &["status", "--admin", &admin]));
    assert!(shown.contains("\u{1b}[1mTENANT"), "{shown}");
    let mut plain = graphward_command(dir.path(), &["status", "--admin", &admin]);
    plain.env("NO_COLOR", "1");
    assert!(!on_terminal(plain).contains('\u{1b}'));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refresh_looks_at_the_source_and_shows_the_new_token() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let (dir, sidecar) = start(&graph, &graph.sim.issue(None)).await;
    let admin = sidecar.admin.to_string();
    let next = graph.sim.issue(None);
    replace_file(&dir.path().join("token"), &next);
    let output = run(dir.path(), &["refresh", "--admin", &admin]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stdout(&output).contains(&fingerprint(&next)), "{output:?}");
    let output = run(dir.path(), &["refresh", "--admin", &admin, "--tenant", "absent"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        stderr(&output).contains(&format!("the sidecar at {admin} answered 404: ")),
        "{output:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refresh_says_why_a_look_failed_and_what_is_no_token_is_an_event_and_advice() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let token = graph.sim.issue(None);
    let (dir, sidecar) = start(&graph, &token).await;
    let (admin, path) = (sidecar.admin.to_string(), dir.path().join("token"));
    let refresh = || {
        let output = run(dir.path(), &["refresh", "--admin", &admin, "--json"]);
        let answer: Value = serde_json::from_str(&stdout(&output)).unwrap();
        (output.status.code(), answer["tenants"][0].clone())
    };
    let refusals = async || {
        let events = get(sidecar.admin, "/admin/events").await.json();
        let events = events["events"].as_array().unwrap().clone();
        let is_refusal = |event: &&Value| event["kind"] == "source_token_rejected";
        events.iter().filter(is_refusal).count()
    };
    let (code, status) = refresh();
    assert_eq!(
        (code, &status["last_refresh"]["outcome"]),
        (Some(0), &"unchanged".into())
    );
    assert_eq!(status["last_refresh"]["error"], Value::Null, "{status}");

    replace_file(&path, "hunter2 is no token");
    for _ in 0..2 {
        let (code, status) = refresh();
        assert_eq!((code, &status["usable"]), (Some(1), &true.into()), "{status}");
        assert_eq!(status["last_refresh"]["outcome"], "action_required");
        let error = status["last_refresh"]["error"].as_str().unwrap();
        assert!(error.contains("was rejected: "), "{error}");
        let advice = status["advice"].as_str().unwrap();
        assert!(advice.starts_with("Store a new token in file"), "{advice}");
        assert_eq!(refusals().await, 1);
    }
    let output = run(dir.path(), &["refresh", "--admin", &admin]);
    assert!(stdout(&output).contains("default: the file `"), "{output:?}");
    let output = run(dir.path(), &["status", "--admin", &admin]);
    assert!(stdout(&output).contains("default: Store a new token"), "{output:?}");

    fs::remove_file(&path).unwrap();
    let (code, status) = refresh();
    assert_eq!((code, &status["last_refresh"]["outcome"]), (Some(1), &"failed".into()));
    assert!(status["advice"].is_string(), "{status}");
    replace_file(&path, &token);
    let (code, status) = refresh();
    assert_eq!((code, &status["advice"]), (Some(0), &Value::Null), "{status}");
    assert_eq!(refusals().await, 1);
    sidecar.assert_reveals_none_of(&["hunter2"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_and_refresh_use_the_key_of_the_configuration() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let token = graph.sim.issue(None);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("token"), &token).unwrap();
    let key = "hunter2hunter2hunter2";
    fs::write(dir.path().join("key"), key).unwrap();
    let extra = "[admin]\nkey = { file = \"key\" }\n";
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, "file = \"token\"", extra)).await;
    wait_until("it has looked", async || sidecar.stdout().contains("using a new token")).await;
    let admin = sidecar.admin.to_string();
    for command in ["status", "refresh"] {
        let output = run(dir.path(), &[command, "--admin", &admin]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(stdout(&output).contains(&fingerprint(&token)), "{output:?}");
        // Without the configuration, there is no key.
        let elsewhere = tempfile::tempdir().unwrap();
        let output = run(elsewhere.path(), &[command, "--admin", &admin]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(stderr(&output).contains(" answered 40"), "{output:?}");
        assert!(!stderr(&output).contains(key), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_without_a_token_or_none_at_all_is_exit_code_1() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, "file = \"absent\"", "")).await;
    let admin = sidecar.admin.to_string();
    wait_until("it has looked", async || sidecar.stdout().contains("absent")).await;
    let output = run(dir.path(), &["status", "--admin", &admin]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stdout(&output).contains("\ndefault: "), "the reason: {output:?}");
    drop(sidecar);
    for command in ["status", "refresh"] {
        let output = run(dir.path(), &[command, "--admin", &admin]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(
            stderr(&output).starts_with(&format!(
                "graphward: cannot query the sidecar at {admin}; is it running"
            )),
            "{output:?}"
        );
    }
    let output = run(dir.path(), &["status", "--admin", "nowhere"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    // What listens there is something else.
    let output = run(dir.path(), &["status", "--admin", &other_server()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

/// The address of a server that answers with JSON of its own, once.
fn other_server() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _length = stream.read(&mut [0; 1024]).unwrap();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        stream.write_all(answer).unwrap();
    });
    address
}

const SEND: [&str; 5] = [
    "send-test",
    "--to",
    "+1 (555) 010-0199",
    "--phone-number-id",
    "106540352242922",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_message_is_a_template_and_its_id_is_printed() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let (dir, sidecar) = start(&graph, &graph.sim.issue(None)).await;
    let proxy = sidecar.proxy.to_string();
    let send = |args: &[&str]| run(dir.path(), &[&SEND[..], &["--proxy", &proxy], args].concat());
    let output = send(&[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let messages = graph.sim.accepted_messages();
    let [message] = &messages[..] else {
        panic!("{}", messages.len())
    };
    assert_eq!(
        (message.kind.as_str(), message.to.as_str()),
        ("template", "15550100199")
    );
    assert_eq!(message.params["template"]["name"], "hello_world");
    let expected = format!("Graph accepted the message to 15550100199 (accepted): {}\n", message.id);
    assert_eq!((stdout(&output), stderr(&output)), (expected, String::new()));

    // The id of the phone number may be in the configuration.
    let file = dir.path().join("graphward.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(dir.path().join(".env"), "PHONE_NUMBER_ID=106540352242922\n").unwrap();
    let check = "[check]\nphone_number_id = { file = \".env\", key = \"PHONE_NUMBER_ID\" }\n";
    fs::write(&file, text + check).unwrap();
    let args = [
        "send-test",
        "--to",
        "15550100199",
        "--text",
        "Hello",
        "--json",
        "--proxy",
        &proxy,
    ];
    let output = run(dir.path(), &args);
    assert_eq!(graph.sim.accepted_messages()[1].phone_id, "106540352242922");
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let messages = graph.sim.accepted_messages();
    assert_eq!(json["message_id"], messages[1].id.as_str());
    assert_eq!(messages[1].params["text"]["body"], "Hello");
    assert!(stderr(&output).contains("never delivers it"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_message_that_is_refused_is_explained() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let (dir, sidecar) = start(&graph, &graph.sim.issue(None)).await;
    let proxy = sidecar.proxy.to_string();
    let send = |args: &[&str]| run(dir.path(), &[&SEND[..], &["--proxy", &proxy], args].concat());
    // Graph refuses an empty text.
    let output = send(&["--text", ""]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("Graph refused the message. "), "{output:?}");
    assert!(stderr(&output).contains("(code 131009)"), "{output:?}");
    let output = send(&["--text", "", "--json"]);
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert!(json["error"].as_str().unwrap().contains("(code 131009)"), "{json}");
    drop(sidecar);
    let output = send(&[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("is it running?"), "{output:?}");
    for args in [
        &["--to", "EAAGhunter2", "--phone-number-id", "1"][..],
        &["--to", "+15550100199"],
    ] {
        let output = run(dir.path(), &[&["send-test"], args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!stderr(&output).contains("hunter2"), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_message_of_a_tenant_has_its_token() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let (acme, shop) = (graph.sim.issue(None), graph.sim.issue(None));
    let dir = tempfile::tempdir().unwrap();
    for (name, token) in [("acme", &acme), ("shop", &shop)] {
        fs::write(dir.path().join(name), token).unwrap();
    }
    let tenants = "[tenants.acme]\nsource = { file = \"acme\" }\n[tenants.shop]\nsource = { file = \"shop\" }\n";
    let sidecar = Sidecar::start(dir.path(), &format!("{}{tenants}", network_settings(&graph))).await;
    let proxy = sidecar.proxy.to_string();
    let output = run(
        dir.path(),
        &[&SEND[..], &["--proxy", &proxy, "--tenant", "shop"]].concat(),
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    graph.assert_last_token(&shop);
    let output = run(
        dir.path(),
        &[&SEND[..], &["--proxy", &proxy, "--tenant", "absent"]].concat(),
    );
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        stderr(&output).contains("no tenant has this name; the tenants are: acme, shop"),
        "{output:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serve_prints_a_banner_and_short_lines_on_a_terminal() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let token = graph.sim.issue(None);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("token"), &token).unwrap();
    fs::write(
        dir.path().join("graphward.toml"),
        settings(&graph, "file = \"token\"", ""),
    )
    .unwrap();
    let mut command = graphward_command(dir.path(), &["serve", "--token-file", "token"]);
    command.env("NO_COLOR", "1");
    let mut output = String::new();
    let (controller, mut child) = spawn_on_terminal(command);
    let mut reader = File::from(controller);
    let mut buffer = [0; 4096];
    while !output.contains("replace it:") {
        let length = reader.read(&mut buffer).expect("it serves");
        output += &String::from_utf8_lossy(&buffer[..length]);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let shown: Vec<_> = output.lines().map(str::trim_end).collect();
    let at = shown
        .iter()
        .position(|line| line.starts_with("address:    http://127.0.0.1:"))
        .expect(&output);
    let url = shown[at].split(' ').find(|word| word.starts_with("http://")).unwrap();
    assert!(
        shown[at].ends_with(" instead of https://graph.facebook.com"),
        "{output}"
    );
    assert!(
        shown[at + 1].starts_with(&format!("token:      {} from ", fingerprint(&token))),
        "{output}"
    );
    assert_eq!(shown[at + 2], format!("try:        curl {url}/v25.0/me"));
    let path = dir.path().join("token").display().to_string();
    let replace = format!("replace it: graphward token set --token-file {path}");
    assert!(shown[at + 3].starts_with(&replace), "{output}");
    let line = shown
        .iter()
        .find(|line| line.contains("proxy listener started"))
        .unwrap();
    assert!(line.as_bytes()[8] == b'Z' && !line.contains("graphward::app"), "{line}");
    assert!(!output.contains(&token), "{output}");
}

/// Runs a command with a terminal and returns what it prints.
fn on_terminal(command: Command) -> String {
    let (controller, mut child) = spawn_on_terminal(command);
    let mut output = Vec::new();
    // The end of a terminal is an error.
    drop(File::from(controller).read_to_end(&mut output));
    child.wait().unwrap();
    String::from_utf8(output).unwrap()
}

fn spawn_on_terminal(mut command: Command) -> (OwnedFd, std::process::Child) {
    let (controller, terminal) = terminal();
    command.stdout(terminal.try_clone().unwrap()).stderr(terminal);
    (controller, command.env("TERM", "xterm").spawn().unwrap())
}
