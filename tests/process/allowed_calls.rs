//! `token.allow` in a real process, with curl before it and the fake Graph behind it.

use std::fs;
use std::process::Command;

use crate::support::{Graph, Sidecar, settings, together};

/// Runs curl; returns its output and the status.
async fn curl(args: Vec<String>) -> String {
    let mut command = Command::new("curl");
    command
        .args(["-sS", "--max-time", "20", "-w", " %{http_code}"])
        .args(args);
    // The fake Graph is served by this thread.
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    String::from_utf8(output.await.unwrap().stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_may_only_send_sends_and_does_nothing_else() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("token"), graph.sim.issue(None)).unwrap();
    let settings = settings(&graph, "file = \"token\"", "allow = \"send-only\"\n");
    let sidecar = Sidecar::start(dir.path(), &settings).await;
    let at = |path: &str| format!("http://{}{path}", sidecar.proxy);
    let form = |text: &str| ["-d".to_owned(), text.to_owned()];
    let message = "messaging_product=whatsapp&to=4915100000000&type=text&text={\"body\":\"hello\"}";

    let sent = curl([vec![at("/v25.0/106540352242922/messages")], form(message).to_vec()].concat()).await;
    assert!(sent.ends_with(" 200"), "{sent}");
    let accepted = graph.sim.accepted_messages().len();
    let calls = graph.sim.recorded_calls().len();
    for (path, body) in [
        ("/v25.0/me", None),
        ("/v25.0/106540352242922/messages", Some("method=delete")),
        ("/v25.0/106540352242922/register", Some("pin=123456")),
        (
            "/",
            Some("batch=[{\"method\":\"DELETE\",\"relative_url\":\"106540352242922\"}]"),
        ),
    ] {
        let body = body.map(|text| form(text).to_vec()).unwrap_or_default();
        let refused = curl([vec![at(path)], body].concat()).await;
        assert!(
            refused.ends_with(" 403") && refused.contains("990029"),
            "{path}: {refused}"
        );
    }
    assert_eq!(
        (graph.sim.accepted_messages().len(), graph.sim.recorded_calls().len()),
        (accepted, calls)
    );
}
