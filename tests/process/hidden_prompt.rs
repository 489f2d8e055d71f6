//! The prompt for a token: a terminal, and an operator who types.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::process::Command;

use rustix::termios::{LocalModes, tcgetattr};

use crate::support::place::{Place, text};
use crate::support::{fingerprint, terminal, together, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_typed_is_stored_and_not_shown() {
    let _turn = together().await;
    let place = Place::new().await;
    let next = place.graph.sim.issue(None);
    let (controller, terminal) = terminal();
    // The prompt is for the terminal that controls the process: its output may go elsewhere.
    let mut command = Command::new("setsid");
    command
        .args(["--ctty", "--wait", env!("CARGO_BIN_EXE_graphward")])
        .args(["token", "set", "--offline"])
        .current_dir(place.dir.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .stdin(terminal.try_clone().unwrap())
        .stdout(terminal.try_clone().unwrap())
        .stderr(terminal.try_clone().unwrap());
    let shows_keys = || tcgetattr(&terminal).unwrap().local_modes.contains(LocalModes::ECHO);
    assert!(shows_keys());
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut controller = File::from(controller);
    let mut keys = controller.try_clone().unwrap();
    wait_until("the terminal hides what is typed", async || !shows_keys()).await;
    keys.write_all(format!("{next}\n").as_bytes()).unwrap();
    wait_until("the command ends", async || child.try_wait().unwrap().is_some()).await;
    assert!(shows_keys(), "it is as it was before");
    drop(terminal);
    let mut output = Vec::new();
    // The end of a terminal is an error.
    drop(controller.read_to_end(&mut output));
    let shown = text(&output);
    assert_eq!(child.wait().unwrap().code(), Some(0), "{shown}");
    assert!(shown.starts_with("Token (hidden): "), "{shown}");
    assert!(
        shown.contains(&format!("stored {}", fingerprint(&next))) && !shown.contains(&next),
        "{shown}"
    );
    let stored = fs::read_to_string(place.dir.path().join("token")).unwrap();
    assert_eq!(stored.trim_end(), next);
}
