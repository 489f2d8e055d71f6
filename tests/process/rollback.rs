//! `graphward token`, beside a sidecar that runs.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use graphward::source::decode::Format;
use graphward::source::{FileSource, RenewedTokenStore};
use graphward::token::{Source, StoreOutcome, Token};
use graphward::types::{Clock, Secret};

use crate::support::{
    Client, Graph, Sidecar, fingerprint, graphward_command, replace_file, settings, together, wait_until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_that_runs_takes_the_token_that_a_rollback_puts_back() {
    let _turn = together().await;
    let place = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let (first, second) = (graph.sim.issue(None), graph.sim.issue(None));
    let path = place.path().join("token");
    replace_file(&path, &first);
    let config = settings(&graph, "file = \"token\"", "");
    let sidecar = Sidecar::start(place.path(), &config).await;
    let nothing = token_command(place.path(), &["rollback"], "");
    assert_eq!(nothing.status.code(), Some(1));
    assert!(text(&nothing.stderr).contains("there is no previous token to roll back to"));

    let mut source = FileSource::new(path.clone(), Format::Raw);
    store_token(&mut source, &second, &first).await;
    wait_until_used(&sidecar, &graph, &second).await;
    let back = token_command(place.path(), &["rollback"], "");
    assert_eq!(back.status.code(), Some(0), "{}", text(&back.stderr));
    let said = text(&back.stdout);
    let prints = [&first, &second].map(|token| fingerprint_of(token));
    assert!(
        said.contains(&format!("rolled back to {}; {} is kept", prints[0], prints[1])),
        "{said}"
    );
    wait_until_used(&sidecar, &graph, &first).await;
    let forth = token_command(place.path(), &["rollback"], "");
    assert_eq!(forth.status.code(), Some(0));
    wait_until_used(&sidecar, &graph, &second).await;
    for output in [back, forth, nothing] {
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(!said.contains(&first) && !said.contains(&second), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_that_runs_takes_the_token_that_a_rollback_finds_in_the_store() {
    let _turn = together().await;
    let place = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let (first, second) = (graph.sim.issue(None), graph.sim.issue(None));
    replace_file(&place.path().join("token"), &first);
    let config = settings(&graph, "file = \"token\"", "[token.store]\nfile = \"renewed\"\n");
    let sidecar = Sidecar::start(place.path(), &config).await;
    let file = FileSource::new(place.path().join("token"), Format::Raw);
    let path = place.path().join("renewed");
    let mut stored = RenewedTokenStore::new(Box::new(file), path, Clock::system());
    store_token(&mut stored, &second, &first).await;
    wait_until_used(&sidecar, &graph, &second).await;
    let back = token_command(place.path(), &["rollback"], "");
    assert_eq!(back.status.code(), Some(0), "{}", text(&back.stderr));
    wait_until_used(&sidecar, &graph, &first).await;
    assert_eq!(fs::read_to_string(place.path().join("token")).unwrap(), first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sealed_with_a_key_that_was_made_is_used_and_shown_nowhere() {
    let _turn = together().await;
    let place = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let token = graph.sim.issue(None);
    let key = token_command(place.path(), &["keygen"], "");
    assert_eq!((key.status.code(), key.stdout.len()), (Some(0), 45));
    fs::write(place.path().join("key"), &key.stdout).unwrap();
    let seal = ["seal", "--key-file", "key"];
    let sealed = token_command(place.path(), &seal, &format!("Bearer {token}\n"));
    assert_eq!(sealed.status.code(), Some(0), "{}", text(&sealed.stderr));
    assert!(sealed.stdout.starts_with(b"gAAAA"));
    replace_file(&place.path().join("token"), &sealed.stdout);
    let source = "file = \"token\", fernet_key = { file = \"key\" }";
    let sidecar = Sidecar::start(place.path(), &settings(&graph, source, "")).await;
    wait_until_used(&sidecar, &graph, &token).await;
    let key = text(&key.stdout);
    let said = sidecar.stdout() + &sidecar.stderr() + &text(&sealed.stdout);
    assert!(!said.contains(&token) && !said.contains(key.trim()), "{said}");
}

#[test]
fn what_cannot_be_done_with_a_token_is_said_without_it() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("key"), "hunter2").unwrap();
    fs::write(place.path().join("empty"), "").unwrap();
    let env = "[token]\nsource = { env = \"NAME\" }\n";
    fs::write(place.path().join("env.toml"), env).unwrap();
    fs::write(place.path().join("bad.toml"), "[token]\nsurce = 1\n").unwrap();
    let good = token_command(place.path(), &["keygen"], "");
    fs::write(place.path().join("good"), &good.stdout).unwrap();
    for (args, input, code, words) in [
        (&["seal", "--key-file", "key"][..], "EAAGhunter2", 2, "44 characters"),
        (&["seal", "--key-file", "absent"], "EAAGhunter2", 2, "absent"),
        (
            &["seal", "--key-file", "empty"],
            "EAAGhunter2",
            2,
            "does not contain a valid key",
        ),
        (&["seal", "--key-file", "good"], "EAAG hunter2", 1, "not a valid token"),
        (&["seal", "--key-file", "good"], "", 1, "not a valid token"),
        (&["seal"], "", 2, "--key-file"),
        (&["rollback", "--config", "env.toml"], "", 2, "nothing to roll back"),
        (&["rollback", "--config", "bad.toml"], "", 2, "did you mean `source`"),
        (
            &["rollback", "--token-file", "absent"],
            "",
            1,
            "no previous token to roll back to",
        ),
    ] {
        let ended = token_command(place.path(), args, input);
        let said = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
        assert!(!said.contains("hunter2") && ended.stdout.is_empty());
    }
}

/// `graphward token …`, fed with this, to its end.
fn token_command(place: &Path, args: &[&str], input: &str) -> Output {
    let mut child = graphward_command(place, &[&["token"], args].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Who does not read has ended.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn fingerprint_of(token: &str) -> String {
    Secret::new(token).unwrap().fingerprint().to_string()
}

async fn store_token(source: &mut impl Source, token: &str, over: &str) {
    let token = Token::without_expiry(Secret::new(token).unwrap());
    let over = Secret::new(over).unwrap().fingerprint();
    assert_eq!(source.store(&token, over).await.unwrap(), StoreOutcome::Stored);
}

/// Waits until the sidecar sends this token.
async fn wait_until_used(sidecar: &Sidecar, graph: &Graph, token: &str) {
    let mut client = Client::connect(sidecar.proxy).await;
    wait_until("the token is in use", async || {
        client.text("hello").await.status == 200 && graph.last_fingerprint() == Some(fingerprint(token))
    })
    .await;
}
