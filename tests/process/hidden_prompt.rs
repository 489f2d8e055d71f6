//! The prompt for a token: a terminal, and an operator who types.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, tcgetattr};

use crate::support::place::{Place, text};
use crate::support::{fingerprint, terminal, together, wait_until};

/// `token set` at a terminal of its own, with the prompt on it. It is killed when this is dropped.
struct Prompt {
    child: Child,
    /// What the operator types goes in here, and what the terminal shows comes out.
    operator: File,
    terminal: File,
}

impl Prompt {
    async fn open(place: &Place) -> Self {
        Self::open_for(place, &["token", "set", "--offline"]).await
    }

    async fn open_for(place: &Place, args: &[&str]) -> Self {
        let (controller, terminal) = terminal();
        // The prompt is for the terminal that controls the process: its output may go elsewhere.
        // A test that runs in the background of a shell ignores interrupts, and so would this.
        let mut command = Command::new("env");
        command
            .args([
                "--default-signal=INT",
                "setsid",
                "--ctty",
                "--wait",
                env!("CARGO_BIN_EXE_graphward"),
            ])
            .args(args)
            .current_dir(place.dir.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(terminal.try_clone().unwrap());
        let mut prompt = Self {
            child: command.spawn().unwrap(),
            operator: File::from(controller),
            terminal,
        };
        wait_until("the terminal hides what is typed", async || !prompt.shows_keys()).await;
        assert!(prompt.child.try_wait().unwrap().is_none());
        prompt
    }

    fn shows_keys(&self) -> bool {
        tcgetattr(&self.terminal)
            .unwrap()
            .local_modes
            .contains(LocalModes::ECHO)
    }

    /// Types this, and waits for the end of the command.
    async fn type_keys(&mut self, keys: &str) -> ExitStatus {
        self.operator.write_all(keys.as_bytes()).unwrap();
        self.wait_exit().await
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill_process(pid.unwrap(), signal).unwrap();
    }

    async fn wait_exit(&mut self) -> ExitStatus {
        wait_until("the command ends", async || self.child.try_wait().unwrap().is_some()).await;
        assert!(self.shows_keys(), "the terminal is as it was before");
        self.child.wait().unwrap()
    }

    /// Reads what the terminal has shown to its end.
    fn shown(mut self) -> String {
        // The end of a terminal is an error, and comes when the last one closes it.
        self.terminal = File::open("/dev/null").unwrap();
        let mut output = Vec::new();
        drop(self.operator.read_to_end(&mut output));
        text(&output)
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_typed_is_stored_and_not_shown() {
    let _turn = together().await;
    let place = Place::new().await;
    let next = place.graph.sim.issue(None);
    let mut prompt = Prompt::open(&place).await;
    let ended = prompt.type_keys(&format!("{next}\n")).await;
    let shown = prompt.shown();
    assert_eq!(ended.code(), Some(0), "{shown}");
    assert!(shown.starts_with("Token (hidden): \r\n"), "{shown}");
    assert!(
        shown.contains(&format!("stored {}", fingerprint(&next))) && !shown.contains(&next),
        "{shown}"
    );
    let stored = fs::read_to_string(place.dir.path().join("token")).unwrap();
    assert_eq!(stored.trim_end(), next);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_at_the_prompt_ends_the_command_and_leaves_the_terminal_as_it_was() {
    let _turn = together().await;
    let place = Place::new().await;
    let mut prompt = Prompt::open(&place).await;
    let ended = prompt.type_keys("EAAtyped\x03").await;
    assert_eq!(ended.signal(), Some(Signal::INT.as_raw()));
    let shown = prompt.shown();
    assert!(!shown.contains("EAAtyped"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_at_the_prompt_ends_the_command_and_leaves_the_terminal_as_it_was() {
    let _turn = together().await;
    let place = Place::new().await;
    for signal in [Signal::TERM, Signal::HUP, Signal::QUIT, Signal::INT] {
        let mut prompt = Prompt::open(&place).await;
        prompt.operator.write_all(b"EAAtyped").unwrap();
        prompt.signal(signal);
        let ended = prompt.wait_exit().await;
        assert_eq!(ended.signal(), Some(signal.as_raw()), "{signal:?}");
        assert!(!ended.core_dumped(), "{signal:?}: what was typed is on the disk");
        let shown = prompt.shown();
        assert!(!shown.contains("EAAtyped"), "{signal:?}: {shown}");
    }
    assert_eq!(fs::read_to_string(place.dir.path().join("token")).unwrap(), place.token);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_after_the_prompt_ends_the_command_as_it_did_before() {
    let _turn = together().await;
    let place = Place::new().await;
    // A Graph that never answers: the command waits for it.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = fs::read_to_string(place.dir.path().join("graphward.toml")).unwrap();
    let (graph, address) = (place.graph.running.address, silent.local_addr().unwrap());
    place.write(
        "graphward.toml",
        &config.replace(&graph.to_string(), &address.to_string()),
    );
    let mut prompt = Prompt::open_for(&place, &["token", "set"]).await;
    let next = place.graph.sim.issue(None);
    prompt.operator.write_all(format!("{next}\n").as_bytes()).unwrap();
    wait_until("the token is read", async || prompt.shows_keys()).await;
    let _asked = silent.accept().unwrap();
    prompt.signal(Signal::TERM);
    assert_eq!(prompt.wait_exit().await.signal(), Some(Signal::TERM.as_raw()));
}
