//! `graphward demo`.

use rustix::process::{Pid, Signal, kill_process};
use std::process::Stdio;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::support::{fact, graphward_command, together};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_of_nine_seconds_shows_a_healing_and_a_swap_and_fails_no_request() {
    let _turn = together().await;
    let place = tempfile::tempdir().unwrap();
    let mut command = graphward_command(place.path(), &["demo", "--for", "9s"]);
    command.env("TMPDIR", place.path());
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap());
    let ended = ended.await.unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{said}");
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
    fact(&said);
    for words in [
        "token 1 expires: Graph answers 401, code 190/463\n",
        "nothing newer yet",
        "graphward uses token 2 (",
        "healed: ",
        "token 2 expires (Graph: 401, code 190/463), but is not in use\n",
        "No request failed, and no message was lost or sent twice.\n",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains('\x1b'), "colours without a terminal");
    assert_eq!(parse_total(&said, "failures"), 0);
    assert_eq!(parse_total(&said, "expiries"), 2);
    assert_eq!(parse_total(&said, "refreshes"), 2);
    assert!(parse_total(&said, "replays") > 0);
    assert!(parse_total(&said, "requests") > 100);
    assert!(parse_total(&said, "slowest healed request") > 200);
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_ends_early_with_its_totals_when_interrupted() {
    let _turn = together().await;
    let place = tempfile::tempdir().unwrap();
    let mut command = graphward_command(place.path(), &["demo"]);
    let mut child = command
        .env("TMPDIR", place.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    sleep(Duration::from_millis(1500)).await;
    let asked = Instant::now();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    while child.try_wait().unwrap().is_none() {
        assert!(asked.elapsed() < Duration::from_secs(5));
        sleep(Duration::from_millis(5)).await;
    }
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{said}");
    assert_eq!(parse_total(&said, "failures"), 0);
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

fn parse_total(said: &str, name: &str) -> u64 {
    let line = said.lines().find_map(|line| line.trim().strip_prefix(name));
    let number = line.unwrap().split_whitespace().next().unwrap();
    number.parse().unwrap()
}
