//! The first hour of a new user: what the README says, word for word, on free ports and against a fake Graph.

use std::fs;
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{Graph, Sidecar, fingerprint, get, together, wait_until};

const README: &str = include_str!("../../README.md");

/// The first block of a section in this language.
fn block(section: &str, language: &str) -> &'static str {
    let (_, text) = README.split_once(&format!("\n## {section}\n")).unwrap();
    let text = text.split("\n## ").next().unwrap();
    let (_, block) = text.split_once(&format!("\n```{language}\n")).unwrap();
    block.split("\n```").next().unwrap()
}

/// A directory of the user, with graphward and a program `npm` that calls Graph where its variable says.
fn directory() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let programs = dir.path().join("bin");
    fs::create_dir(&programs).unwrap();
    symlink(env!("CARGO_BIN_EXE_graphward"), programs.join("graphward")).unwrap();
    let npm = "#!/bin/sh\n[ \"$*\" = 'run dev' ] && curl -sS \"$GRAPHWARD_URL/v25.0/me\"\n";
    fs::write(programs.join("npm"), npm).unwrap();
    fs::set_permissions(programs.join("npm"), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// A shell in this directory, whose graphward is in front of this Graph and takes free ports.
fn shell(script: &str, dir: &Path, graph: &Graph) -> Command {
    let mut command = Command::new("/bin/sh");
    let mut path = dir.join("bin").into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    command
        .args(["-c", script])
        .current_dir(dir)
        .env_clear()
        .env("PATH", path)
        .env("GRAPHWARD_ORIGIN", format!("https://{}", graph.running.address))
        .env("GRAPHWARD_CA_FILE", graph.ca())
        .env("GRAPHWARD_LISTEN", "127.0.0.1:0")
        .env("GRAPHWARD_ADMIN", "127.0.0.1:0")
        .stdin(Stdio::null());
    command
}

/// Runs a line, with a text for its standard input.
fn run(line: &str, dir: &Path, graph: &Graph, input: &str) -> Output {
    let mut pasted = tempfile::tempfile().unwrap();
    pasted.write_all(input.as_bytes()).unwrap();
    pasted.rewind().unwrap();
    let output = shell(line, dir, graph).stdin(pasted).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    output
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_first_token_to_a_replaced_one() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, directory());
    let dir = dir.path();
    let [paste, serve, call] = block("Your own token", "sh").lines().collect::<Vec<_>>()[..] else {
        panic!("the block has other lines");
    };
    let first = graph.sim.issue(None);
    run(paste, dir, &graph, &format!("{first}\n"));
    let mode = fs::metadata(dir.join("token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut sidecar = Sidecar::start_with(dir, "", &mut shell(&format!("exec {serve}"), dir, &graph)).await;

    let call = call.replace("127.0.0.1:8080", &sidecar.proxy.to_string());
    assert!(call.starts_with("curl http://127.0.0.1:"), "{call}");
    let answer = String::from_utf8(run(&call, dir, &graph, "").stdout).unwrap();
    assert!(answer.contains("\"id\""), "{answer}");
    assert_eq!(graph.last_data_fingerprint(), Some(fingerprint(&first)));
    let page = get(sidecar.admin, "/").await;
    assert_eq!(page.status, 200);

    graph.sim.expire(&first);
    let second = graph.sim.issue(None);
    run(paste, dir, &graph, &format!("{second}\n"));
    wait_until("the second token is in use", async || {
        run(&call, dir, &graph, "");
        graph.last_data_fingerprint() == Some(fingerprint(&second))
    })
    .await;
    sidecar.signal(Signal::INT);
    assert!(sidecar.wait_exit().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_an_env_file_serves_an_app_that_graphward_starts() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, directory());
    let token = graph.sim.issue(None);
    let env = format!("NODE_ENV=development\nWHATSAPP_ACCESS_TOKEN=\"{token}\"\n");
    fs::write(dir.path().join(".env"), env).unwrap();
    let section = "Your `.env` as it is";
    fs::write(dir.path().join("graphward.toml"), block(section, "toml")).unwrap();
    let output = shell(block(section, "sh"), dir.path(), &graph).output().unwrap();
    let answer = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && answer.contains("\"id\""), "{output:?}");
    assert_eq!(graph.last_data_fingerprint(), Some(fingerprint(&token)));
}
