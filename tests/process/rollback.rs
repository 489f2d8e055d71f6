//! `graphward token`, beside a running sidecar.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use graphward::source::decode::Format;
use graphward::source::{FileSource, RenewedTokenStore};
use graphward::token::{Source, StoreOutcome, Token};
use graphward::types::{Clock, Secret};

use crate::support::{Client, Graph, Sidecar, graphward_command, replace_file, settings, together};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_sidecar_uses_the_token_that_a_rollback_restores() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let (first, second) = (graph.sim.issue(None), graph.sim.issue(None));
    let path = dir.path().join("token");
    replace_file(&path, &first);
    let config = settings(&graph, "file = \"token\"", "[state]\ndir = \"state\"\n");
    let sidecar = Sidecar::start(dir.path(), &config).await;
    let refused = token_command(dir.path(), &["rollback"], "");
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("there is no previous token to roll back to"));

    let mut source = FileSource::new(path.clone(), Format::Raw).with_state_dir(dir.path().join("state"));
    store_token(&mut source, &second, &first).await;
    sidecar.wait_until_uses(&graph, &second).await;
    let back = token_command(dir.path(), &["rollback"], "");
    assert_eq!(back.status.code(), Some(0), "{}", text(&back.stderr));
    let stdout = text(&back.stdout);
    let fingerprints = [&first, &second].map(|token| fingerprint_of(token));
    assert!(
        stdout.contains(&format!(
            "rolled back to {}, by this command, as no sidecar answers at 127.0.0.1:0 (cannot connect to 127.0.0.1:0: ",
            fingerprints[0]
        )) && stdout.contains(&format!("); {} was there before", fingerprints[1])),
        "{stdout}"
    );
    sidecar.wait_until_uses(&graph, &first).await;
    let forth = token_command(dir.path(), &["rollback"], "");
    assert_eq!(forth.status.code(), Some(0));
    sidecar.wait_until_uses(&graph, &second).await;
    for output in [back, forth, refused] {
        let stdout = text(&output.stdout) + &text(&output.stderr);
        assert!(!stdout.contains(&first) && !stdout.contains(&second), "{stdout}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_sidecar_uses_the_token_that_a_rollback_restores_in_the_store() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let (first, second) = (graph.sim.issue(None), graph.sim.issue(None));
    replace_file(&dir.path().join("token"), &first);
    let config = settings(&graph, "file = \"token\"", "[token.store]\nfile = \"renewed\"\n");
    let sidecar = Sidecar::start(dir.path(), &config).await;
    let file = FileSource::new(dir.path().join("token"), Format::Raw);
    let path = dir.path().join("renewed");
    let mut stored = RenewedTokenStore::new(Box::new(file), path, Clock::system());
    store_token(&mut stored, &second, &first).await;
    sidecar.wait_until_uses(&graph, &second).await;
    let back = token_command(dir.path(), &["rollback"], "");
    assert_eq!(back.status.code(), Some(0), "{}", text(&back.stderr));
    sidecar.wait_until_uses(&graph, &first).await;
    assert_eq!(fs::read_to_string(dir.path().join("token")).unwrap(), first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_encrypted_with_a_generated_key_is_used_and_never_printed() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let token = graph.sim.issue(None);
    let key = token_command(dir.path(), &["keygen"], "");
    assert_eq!((key.status.code(), key.stdout.len()), (Some(0), 45));
    fs::write(dir.path().join("key"), &key.stdout).unwrap();
    let args = ["seal", "--key-file", "key"];
    let encrypted = token_command(dir.path(), &args, &format!("Bearer {token}\n"));
    assert_eq!(encrypted.status.code(), Some(0), "{}", text(&encrypted.stderr));
    let json = |args: &[&str], input: &str| {
        let output = token_command(dir.path(), args, input);
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let sealed = json(&["seal", "--key-file", "key", "--json"], &token);
    assert!(sealed["sealed"].as_str().unwrap().starts_with("gAAAA"), "{sealed}");
    assert_eq!(json(&["keygen", "--json"], "")["key"].as_str().unwrap().len(), 44);
    assert!(encrypted.stdout.starts_with(b"gAAAA"));
    replace_file(&dir.path().join("token"), &encrypted.stdout);
    let source = "file = \"token\", fernet_key = { file = \"key\" }";
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, source, "")).await;
    sidecar.wait_until_uses(&graph, &token).await;
    let key = text(&key.stdout);
    let printed = sidecar.stdout() + &sidecar.stderr() + &text(&encrypted.stdout);
    assert!(!printed.contains(&token) && !printed.contains(key.trim()), "{printed}");
}

#[test]
fn an_error_of_a_token_command_does_not_contain_the_token() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("key"), "hunter2").unwrap();
    fs::write(dir.path().join("empty"), "").unwrap();
    let env = "[token]\nsource = { env = \"NAME\" }\n";
    fs::write(dir.path().join("env.toml"), env).unwrap();
    fs::write(dir.path().join("bad.toml"), "[token]\nsurce = 1\n").unwrap();
    let good = token_command(dir.path(), &["keygen"], "");
    fs::write(dir.path().join("good"), &good.stdout).unwrap();
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
        (&["rollback", "--config", "env.toml"], "", 2, "NAME is read-only"),
        (&["rollback", "--config", "bad.toml"], "", 2, "did you mean `source`"),
        (
            &["rollback", "--token-file", "absent"],
            "",
            1,
            "no previous token to roll back to",
        ),
    ] {
        let output = token_command(dir.path(), args, input);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(words), "{args:?}: {stderr}");
        assert!(!stderr.contains("hunter2") && output.stdout.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_sidecar_changes_the_token_itself_and_the_command_says_so() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let [first, second, dead] = std::array::from_fn(|_| graph.sim.issue(None));
    graph.sim.expire(&dead);
    let path = dir.path().join("token");
    replace_file(&path, &first);
    let admin = dir.path().join("admin.sock");
    let config = settings(&graph, "file = \"token\"", "[state]\ndir = \"state\"\n");
    let config = config.replace(
        "admin = \"127.0.0.1:0\"",
        &format!("admin = \"unix:{}\"", admin.display()),
    );
    let sidecar = Sidecar::start(dir.path(), &config).await;
    sidecar.wait_until_uses(&graph, &first).await;

    let set = token_command(dir.path(), &["set"], &format!("{second}\n"));
    assert_eq!(set.status.code(), Some(0), "{}", text(&set.stderr));
    let stdout = text(&set.stdout);
    for words in [
        "stored",
        "by the sidecar at unix:",
        "uses it now",
        &fingerprint_of(&second),
        &fingerprint_of(&first),
    ] {
        assert!(stdout.contains(words), "{words}: {stdout}");
    }
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("hello").await.status, 200);
    graph.assert_last_token(&second);
    let refused = token_command(dir.path(), &["set"], &dead);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("Graph reports it as invalid"),
        "{}",
        text(&refused.stderr)
    );
    let back = token_command(dir.path(), &["rollback", "--json"], "");
    let change: serde_json::Value = serde_json::from_slice(&back.stdout).unwrap();
    let expected = serde_json::json!({
        "token": fingerprint_of(&first), "previous": fingerprint_of(&second), "inspected": true,
        "stored_in": change["stored_in"], "changed_by": "sidecar", "address": format!("unix:{}", admin.display()),
    });
    assert_eq!(change, expected, "{}", text(&back.stderr));
    assert_eq!(client.text("hello").await.status, 200);
    graph.assert_last_token(&first);

    // A configuration with another source is not that of the sidecar, which gets no token from the command.
    let other = config.replace("file = \"token\"", "file = \"other\"");
    fs::write(dir.path().join("other.toml"), other).unwrap();
    let args = ["set", "--config", "other.toml"];
    let set_other = token_command(dir.path(), &args, &second);
    let stdout = text(&set_other.stdout);
    assert!(
        stdout.contains("by this command, as what runs at unix:"),
        "{stdout} {}",
        text(&set_other.stderr)
    );
    assert_eq!(
        fs::read_to_string(dir.path().join("other")).unwrap(),
        format!("{second}\n")
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{first}\n"));
    for output in [set, refused, back, set_other] {
        let shown = text(&output.stdout) + &text(&output.stderr);
        assert!(
            [&first, &second, &dead].iter().all(|token| !shown.contains(*token)),
            "{shown}"
        );
    }
    let log = sidecar.stdout() + &sidecar.stderr();
    assert!(
        [&first, &second, &dead].iter().all(|token| !log.contains(*token)),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_sidecar_the_command_checks_and_stores_the_token() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let [first, second, dead] = std::array::from_fn(|_| graph.sim.issue(None));
    graph.sim.expire(&dead);
    let path = dir.path().join(".env");
    fs::write(&path, format!("A=1\nTOKEN={first}\n")).unwrap();
    let source = "file = \".env\", key = \"TOKEN\"";
    fs::write(
        dir.path().join("graphward.toml"),
        settings(&graph, source, "[state]\ndir = \"state\"\n"),
    )
    .unwrap();
    for (args, input, code, words) in [
        (
            &["set"][..],
            second.as_str(),
            0,
            "by this command, as no sidecar answers",
        ),
        (&["rollback"], "", 0, "rolled back to"),
        (&["set"], &dead, 1, "Graph reports it as invalid"),
        (&["set"], "${META_TOKEN}", 1, "variable"),
        (&["set"], "", 1, "it is empty"),
        (&["set", "EAAGhunter2"], "", 2, "unexpected argument"),
        (&["set", "--offline"], &dead, 0, "stored"),
    ] {
        let output = token_command(dir.path(), args, input);
        let shown = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {shown}");
        assert!(shown.contains(words), "{args:?}: {shown}");
        let secrets = [first.as_str(), &second, &dead, "hunter2"];
        assert!(secrets.iter().all(|token| !shown.contains(token)), "{shown}");
        let expected = match args {
            ["set"] if code == 0 => &second,
            ["set", "--offline"] => &dead,
            _ => &first,
        };
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("A=1\nTOKEN={expected}\n"),
            "{args:?}"
        );
    }
    // A process that is no sidecar gets nothing but the question.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("admin = \"{}\"", listener.local_addr().unwrap());
    let config = settings(&graph, source, "").replace("admin = \"127.0.0.1:0\"", &admin);
    fs::write(dir.path().join("graphward.toml"), config).unwrap();
    let stranger = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = vec![0; 64 * 1024];
        let length = std::io::Read::read(&mut stream, &mut request).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            .unwrap();
        drop(stream);
        drop(listener);
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let set = token_command(dir.path(), &["set"], &second);
    assert!(
        text(&set.stdout).contains("is not a sidecar with these token sources"),
        "{}",
        text(&set.stderr)
    );
    let request = stranger.join().unwrap();
    assert!(
        request.starts_with("GET /admin/token-status?limit=1 ") && !request.contains(&second),
        "{request}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_of_200_tenants_with_long_names_changes_a_token_and_refreshes_all() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let (first, second) = (graph.sim.issue(None), graph.sim.issue(None));
    replace_file(&dir.path().join("token"), &first);
    let tenant = |number: usize| format!("[tenants.{number:0128}]\nsource = {{ file = \"{number:0128}\" }}\n");
    let tenants: String = (0..200).map(tenant).collect();
    let admin = dir.path().join("admin.sock");
    let config = settings(&graph, "file = \"token\"", &tenants).replace(
        "admin = \"127.0.0.1:0\"",
        &format!("admin = \"unix:{}\"", admin.display()),
    );
    let _sidecar = Sidecar::start(dir.path(), &config).await;
    let set = token_command(dir.path(), &["set", "--tenant", "default"], &second);
    let (stdout, stderr) = (text(&set.stdout), text(&set.stderr));
    assert!(stdout.contains("by the sidecar at unix:"), "{stdout} {stderr}");
    let refresh = graphward_command(dir.path(), &["refresh"]).output().unwrap();
    let (stdout, stderr) = (text(&refresh.stdout), text(&refresh.stderr));
    assert!(stdout.contains("tokens: ") && stderr.is_empty(), "{stdout} {stderr}");
}

/// Runs `graphward token …` with this input.
fn token_command(dir: &Path, args: &[&str], input: &str) -> Output {
    let mut child = graphward_command(dir, &[&["token"], args].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // The command may exit without reading its input.
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

async fn store_token(source: &mut impl Source, token: &str, expected: &str) {
    let token = Token::without_expiry(Secret::new(token).unwrap());
    let expected = Secret::new(expected).unwrap().fingerprint();
    assert_eq!(
        source.store(&token, Some(expected)).await.unwrap(),
        StoreOutcome::Stored
    );
}
