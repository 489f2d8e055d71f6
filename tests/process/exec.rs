//! `graphward exec`: a command with a sidecar beside it. The commands are shells and curl.

mod beside;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{Graph, graphward_command, settings, terminal, together, wait_until};

/// What the log says at the end if the command has sent no request.
const UNUSED: &str = "no request came through graphward while the command ran";
/// What the log says of the first request that is sent to Graph.
const FIRST: &str = "the first request has arrived";

/// A directory with a token and a configuration without addresses.
fn directory(graph: &Graph) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("token"), graph.sim.issue(None)).unwrap();
    let settings = settings(graph, "file = \"token\"", "");
    let settings = settings
        .lines()
        .filter(|line| !line.starts_with("proxy = ") && !line.starts_with("admin = "));
    let settings: Vec<_> = settings.collect();
    fs::write(dir.path().join("graphward.toml"), settings.join("\n")).unwrap();
    dir
}

/// `graphward exec` with these arguments.
fn exec(dir: &Path, args: &[&str]) -> Command {
    let mut command = graphward_command(dir, &[&["exec"], args].concat());
    command
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("TMPDIR", dir);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a shell script beside a sidecar.
fn run_script(dir: &Path, script: &str) -> Output {
    exec(dir, &["--", "sh", "-c", script]).output().unwrap()
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_reaches_graph_by_the_base_url_and_by_the_proxy_without_a_token() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = directory(&graph);
    // The last one is a tunnel to another host, which the sidecar does not read: Graph gets no token.
    let script = format!(
        "set -e
         curl -sS -w ' %{{http_code}}\\n' $GRAPHWARD_URL/v26.0/me
         curl -sS -w ' %{{http_code}}\\n' https://graph.facebook.com/v26.0/me
         curl -sS -w ' %{{http_code}}\\n' --noproxy '' --cacert {} https://{}/v26.0/me",
        graph.ca().display(),
        graph.running.address
    );
    let output = run_script(dir.path(), &script);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let answers: Vec<_> = stdout.lines().collect();
    assert_eq!(output.status.code(), Some(0), "{stdout} {stderr}");
    assert_eq!(answers.len(), 3, "{stdout} {stderr}");
    for answer in &answers[..2] {
        assert!(
            answer.contains("\"id\"") && answer.ends_with(" 200"),
            "{stdout} {stderr}"
        );
    }
    assert!(answers[2].ends_with(" 400") || answers[2].ends_with(" 401"), "{stdout}");
    assert!(
        stderr.contains("the command started") && stderr.contains("the command ended"),
        "{stderr}"
    );
    assert!(!stderr.contains(UNUSED) && stderr.contains(FIRST), "{stderr}");
    // The certificate of this run is gone.
    let left = fs::read_dir(dir.path())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let left: Vec<_> = left.filter(|name| name.starts_with("graphward-exec-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_cannot_be_read_is_a_fault_of_the_configuration() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = directory(&graph);
    let file = dir.path().join("graphward.toml");
    let tls = "[listen]\ntls = { cert = \"absent.pem\", key = \"absent.pem\" }\n";
    let text = fs::read_to_string(&file).unwrap().replace("[listen]\n", tls);
    fs::write(&file, text).unwrap();
    let output = run_script(dir.path(), "true");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("absent.pem` of listen.tls: ") && !stderr.contains("TMPDIR"),
        "{stderr}"
    );
    assert_eq!(output.status.code(), Some(2), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_gets_no_secret_of_graphward() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = directory(&graph);
    let token = graph.sim.issue(None);
    let file = dir.path().join("graphward.toml");
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replace(
        "{ file = \"token\" }",
        "[{ env = \"WHATSAPP_TOKEN\" }, { file = \"token\", fernet_key = { env = \"KEY\" } }]",
    );
    fs::write(&file, text).unwrap();
    fs::write(dir.path().join("roots.pem"), "operator's roots\n").unwrap();
    let key = "a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2U=";
    let mut command = exec(
        dir.path(),
        &[
            "--keep-env",
            "KEY",
            "--url-env",
            "FACEBOOK_GRAPH_URL=/",
            "--url-env",
            "API",
            "--",
            "sh",
            "-c",
            "env; cat $SSL_CERT_FILE",
        ],
    );
    command
        .env("WHATSAPP_TOKEN", &token)
        .env("GRAPHWARD_APP_SECRET", "hunter2")
        .env("KEY", key);
    command
        .env("no_proxy", "db.internal")
        .env("SSL_CERT_FILE", "roots.pem")
        .env("OTHER", "kept");
    let output = command.output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    for secret in [token.as_str(), "hunter2"] {
        assert!(
            !stdout.contains(secret) && !stderr.contains(secret),
            "{stdout} {stderr}"
        );
    }
    let variable = |name: &str| {
        let line = stdout.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap_or_else(|| panic!("{name}: {stdout} {stderr}"))
    };
    assert!(stderr.contains(UNUSED), "{stderr}");
    let url = variable("GRAPHWARD_URL");
    assert!(url.starts_with("http://127.0.0.1:") && !url.ends_with(":8080"), "{url}");
    let admin = variable("GRAPHWARD_ADMIN_URL");
    let started = stderr
        .lines()
        .find(|line| line.contains("the command started"))
        .unwrap();
    assert!(
        started.contains(&format!("\"url\":\"{url}\",\"admin\":\"{admin}\"")),
        "{started}"
    );
    assert_eq!(
        [variable("HTTPS_PROXY"), variable("https_proxy"), variable("API")],
        [url; 3]
    );
    assert_eq!(variable("FACEBOOK_GRAPH_URL"), format!("{url}/"));
    for name in ["NO_PROXY", "no_proxy"] {
        assert_eq!(variable(name), "db.internal,localhost,127.0.0.1,::1");
    }
    assert_eq!(
        [variable("OTHER"), variable("KEY"), variable("NODE_USE_ENV_PROXY")],
        ["kept", key, "1"]
    );
    assert!(
        stdout.contains("operator's roots\n-----BEGIN CERTIFICATE-----"),
        "{stdout}"
    );
    assert!(
        fs::read(variable("NODE_EXTRA_CA_CERTS")).is_err(),
        "it is gone with the command"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exit_code_is_that_of_the_command() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = directory(&graph);
    let script = dir.path().join("script");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o600)).unwrap();
    for (command, code, words) in [
        (&["sh", "-c", "exit 0"][..], 0, "exit status: 0"),
        (&["sh", "-c", "exit 42"], 42, "exit status: 42"),
        (&["sh", "-c", "kill -KILL $$"], 137, "signal: 9 (SIGKILL)"),
        (&["absent-program"], 127, "No such file or directory"),
        (&["./script"], 126, "Permission denied"),
    ] {
        let output = exec(dir.path(), &[&["--"], command].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{command:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        let end = said.lines().find(|line| line.contains("the command ended"));
        assert_eq!(end.is_some(), !matches!(code, 126 | 127), "{said}");
        // The end of a command is in the log, and that there was no command is the last line.
        let line = end.or_else(|| said.lines().last()).unwrap();
        assert!(line.contains(words), "{command:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_that_cannot_serve_starts_no_command() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = directory(&graph);
    let taken = graph.running.address.to_string();
    for (args, code) in [
        (&["--listen", taken.as_str()][..], 3),
        (&["--require-token", "--token-file", "absent"], 4),
        (&["--config", "absent.toml"], 2),
        (&["--url-env", "A=no-path"], 2),
        (&["--url-env", "A B=/x"], 2),
        (&["--url-env", "1A"], 2),
    ] {
        let output = exec(dir.path(), &[args, &["--", "touch", "started"]].concat())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        assert!(!dir.path().join("started").exists(), "{args:?}");
    }
    let output = exec(dir.path(), &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "without a command: {output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_gets_the_signals_and_decides_when_it_ends() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = directory(&graph);
    let script = "for signal in USR1 USR2 INT QUIT HUP; do trap \"echo $signal\" $signal; done; \
                  trap 'echo TERM; exit 7' TERM; touch ready; while :; do sleep 0.01; done";
    let mut command = exec(dir.path(), &["--", "sh", "-c", script]);
    command.stdout(File::create(dir.path().join("stdout")).unwrap());
    command.stderr(File::create(dir.path().join("stderr")).unwrap());
    let mut child = command.spawn().unwrap();
    let read = |name| fs::read_to_string(dir.path().join(name)).unwrap();
    wait_until("the command has started", async || dir.path().join("ready").exists()).await;
    for (signal, words) in [
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
        (Signal::INT, "INT"),
        (Signal::QUIT, "QUIT"),
        (Signal::HUP, "HUP"),
    ] {
        send(&child, signal);
        wait_until(words, async || read("stdout").contains(words)).await;
    }
    wait_until("the configuration was read again", async || {
        read("stderr").contains("its secrets again")
    })
    .await;
    send(&child, Signal::TERM);
    wait_until("the command ends", async || child.try_wait().unwrap().is_some()).await;
    assert_eq!(child.wait().unwrap().code(), Some(7), "{}", read("stderr"));
    assert_eq!(read("stdout"), "USR1\nUSR2\nINT\nQUIT\nHUP\nTERM\n");
    assert!(read("stderr").contains("the command has ended"), "{}", read("stderr"));
}

/// `graphward exec` with a script, as the first process of a terminal. The end of the terminal that has to stay open.
fn exec_in_terminal(dir: &Path, script: &str) -> (Child, File) {
    let (controller, terminal) = terminal();
    let mut command = Command::new("setsid");
    let graphward = env!("CARGO_BIN_EXE_graphward");
    command.args(["--ctty", "--wait", graphward, "exec", "--", "sh", "-c", script]);
    command
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("TMPDIR", dir);
    command
        .stdin(terminal.try_clone().unwrap())
        .stdout(terminal.try_clone().unwrap())
        .stderr(terminal);
    (command.spawn().unwrap(), File::from(controller))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_of_a_terminal_and_one_of_a_process_reach_the_command_once() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = directory(&graph);
    let script = "trap 'echo INT >> signals' INT; trap 'echo QUIT >> signals' QUIT; trap 'exit 3' TERM; touch ready
        while :; do sleep 0.01; done";
    let (mut child, mut controller) = exec_in_terminal(dir.path(), script);
    let mut keys = controller.try_clone().unwrap();
    // The output has to be read, or the terminal is full.
    let reader = std::thread::spawn(move || {
        let mut output = Vec::new();
        drop(controller.read_to_end(&mut output));
        String::from_utf8_lossy(&output).into_owned()
    });
    wait_until("the command has started", async || dir.path().join("ready").exists()).await;
    let signals = || fs::read_to_string(dir.path().join("signals")).unwrap_or_default();
    let mut expected = String::new();
    for (key, signal, name) in [(b"\x03", Signal::INT, "INT\n"), (b"\x1c", Signal::QUIT, "QUIT\n")] {
        for sender in ["the terminal", "a process"] {
            match sender {
                "the terminal" => keys.write_all(key).unwrap(),
                // `setsid` has become graphward: it leads no group before.
                _ => send(&child, signal),
            }
            expected += name;
            wait_until(sender, async || signals().len() >= expected.len()).await;
            assert_eq!(signals(), expected, "{sender}");
        }
    }
    // A signal that was forwarded besides would come before this one.
    send(&child, Signal::TERM);
    wait_until("the command ends", async || child.try_wait().unwrap().is_some()).await;
    drop(keys);
    let output = reader.join().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3), "{output}");
    assert_eq!(signals(), expected);
}
