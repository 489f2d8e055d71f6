//! The program as a process: what it says, and how it ends.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

#[test]
fn a_bad_configuration_ends_with_2_and_every_fault_on_stderr() {
    let place = tempfile::tempdir().unwrap();
    let text =
        "[upstream]\nhead_timeot = \"5s\"\nlanes = 100\n[token]\naccess_token = \"EAAGhunter2\"\n";
    std::fs::write(place.path().join("graphward.toml"), text).unwrap();
    for args in [&["serve"][..], &[]] {
        let ended = graphward(place.path(), args).output().unwrap();
        assert_eq!(ended.status.code(), Some(2));
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(
            said.starts_with("graphward: the configuration has 3 faults:\n"),
            "{said}"
        );
        assert!(
            said.contains("graphward.toml:2: upstream.head_timeot: "),
            "{said}"
        );
        assert!(said.contains("did you mean `head_timeout`?"), "{said}");
        assert!(
            said.contains("graphward.toml:3: upstream.lanes: "),
            "{said}"
        );
        assert!(
            said.contains("graphward.toml:5: token.access_token: "),
            "{said}"
        );
        assert!(!said.contains("hunter2"), "{said}");
        assert!(ended.stdout.is_empty());
    }
}

#[test]
fn a_configuration_file_that_is_named_and_not_there_ends_with_2() {
    let place = tempfile::tempdir().unwrap();
    let ended = graphward(place.path(), &["serve", "--config", "absent.toml"])
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(2));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(
        said.contains("--config: cannot read the configuration file absent.toml"),
        "{said}"
    );
}

#[test]
fn a_bad_command_line_ends_with_2() {
    let place = tempfile::tempdir().unwrap();
    for args in [
        &["frobnicate"][..],
        &["serve", "--token", "x"],
        &["--lanes", "2"],
    ] {
        assert_eq!(
            graphward(place.path(), args)
                .output()
                .unwrap()
                .status
                .code(),
            Some(2),
            "{args:?}"
        );
    }
}

#[test]
fn help_shows_commands_files_variables_and_an_example() {
    let place = tempfile::tempdir().unwrap();
    let ended = graphward(place.path(), &["--help"]).output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    let said = String::from_utf8(ended.stdout).unwrap();
    for words in [
        "serve",
        "demo",
        "healthcheck",
        "--token-file",
        "--require-token",
        "/etc/graphward/graphward.toml",
        "GRAPHWARD_TOKEN_FILE",
        "Example:",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn the_version_is_said_in_both_ways() {
    let place = tempfile::tempdir().unwrap();
    for args in ["version", "--version"] {
        let ended = graphward(place.path(), &[args]).output().unwrap();
        assert_eq!(ended.status.code(), Some(0));
        let said = String::from_utf8(ended.stdout).unwrap();
        assert_eq!(said, format!("graphward {}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn a_health_check_where_nothing_listens_ends_with_1_and_one_line() {
    let place = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = listener.local_addr().unwrap().to_string();
    drop(listener);
    let file = place.path().join("graphward.toml");
    std::fs::write(file, format!("[listen]\nadmin = \"{admin}\"\n")).unwrap();
    for args in [&["healthcheck"][..], &["healthcheck", "--admin", &admin]] {
        let ended = graphward(place.path(), args).output().unwrap();
        assert_eq!(ended.status.code(), Some(1));
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(
            said.starts_with(&format!("graphward: not ready: cannot ask {admin}: ")),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_health_check_of_a_bad_configuration_ends_with_1() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("graphward.toml"), "[lisen]\n").unwrap();
    let ended = graphward(place.path(), &["healthcheck"]).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("did you mean [listen]?"), "{said}");
}

/// The program in a directory, with nothing in its environment.
fn graphward(place: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graphward"));
    command.args(args).current_dir(place).env_clear();
    command
}
