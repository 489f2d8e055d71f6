//! `graphward demo`.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{block, fact, graphward_command, together};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_shows_a_late_and_an_early_token_and_fails_no_message() {
    let _turn = together().await;
    let stdout = run_demo("30m", Some("graphward does not use it any more"));
    fact(&stdout);
    for words in [
        "token 1 expires: Graph answers 401, code 190, subcode 463\n",
        "graphward holds messages until a newer token is there\n",
        "token 2 is in the file, ",
        "token 3 is in the file, 500 ms before token 2 expires\n",
        "token 2 expires: Graph would answer 401, code 190, subcode 463\n         graphward does not use it any more\n",
        "\nNo message failed, and none was lost or sent twice.\n",
        "\nWithout graphward, the same clients would have lost\n",
        " serve --token-file token\n",
    ] {
        assert!(stdout.contains(words), "{words}: {stdout}");
    }
    assert!(stdout.matches("graphward uses it ").count() >= 2, "{stdout}");
    assert!(!stdout.contains('\x1b'), "colors without a terminal");
    let wide = stdout.lines().find(|line| line.chars().count() > 78);
    assert_eq!(wide, None);
    let (held, replayed) = (
        parse_total(&stdout, "messages held"),
        parse_total(&stdout, "messages replayed"),
    );
    assert!(held > 0 && replayed > 0);
    let sent = parse_total(&stdout, "messages sent");
    assert!(sent > held + replayed, "some messages are sent while the token lives");
    assert_eq!(parse_total(&stdout, "accepted exactly once"), sent);
    assert_eq!(parse_total(&stdout, "messages failed"), 0);
    assert!(parse_total(&stdout, "tokens expired") >= 2);
    let lost: Vec<_> = stdout
        .lines()
        .filter(|line| line.starts_with("  messages   "))
        .collect();
    let [once, each] = lost.as_slice() else {
        panic!("{stdout}")
    };
    assert!(once.ends_with("if they read the token once, at start") && each.contains(&format!(" {held} ")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_ends_early_with_its_totals_when_interrupted() {
    let _turn = together().await;
    let stdout = run_demo("30m", Some("token 1 is in the file"));
    assert!(parse_total(&stdout, "messages sent") > 0);
    assert_eq!(parse_total(&stdout, "messages failed"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_ends_by_itself_when_its_time_is_over() {
    let _turn = together().await;
    let stdout = run_demo("1s", None);
    assert!(parse_total(&stdout, "messages sent") > 0);
    assert_eq!(parse_total(&stdout, "messages failed"), 0);
}

/// Runs a demo to its end, and interrupts it once it prints `last`. Returns its standard output.
fn run_demo(length: &str, last: Option<&str>) -> String {
    let dir = tempfile::tempdir().unwrap();
    let command = block("README.md#See it sh");
    let demo = command.strip_prefix("cargo run -- ").unwrap();
    let mut child = graphward_command(dir.path(), &[demo, "--for", length])
        .env("TMPDIR", dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if last.is_some_and(|last| line.contains(last)) {
            kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        }
        stdout.push_str(&line);
        stdout.push('\n');
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    stdout
}

fn parse_total(stdout: &str, name: &str) -> u64 {
    let line = stdout.lines().find_map(|line| line.trim().strip_prefix(name));
    let number = line.unwrap().split_whitespace().next().unwrap();
    number.parse().unwrap()
}
