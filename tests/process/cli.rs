//! The program as a process: what it says, and how it ends.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

#[test]
fn a_bad_configuration_ends_with_2_and_every_fault_on_stderr() {
    let place = tempfile::tempdir().unwrap();
    let text = "[upstream]\nhead_timeot = \"5s\"\nconnections = 100\n[token]\naccess_token = \"EAAGhunter2\"\n";
    std::fs::write(place.path().join("graphward.toml"), text).unwrap();
    for args in [&["serve"][..], &[]] {
        let ended = graphward_command(place.path(), args).output().unwrap();
        assert_eq!(ended.status.code(), Some(2));
        let said = String::from_utf8(ended.stderr).unwrap();
        let path = place.path().join("graphward.toml");
        let path = path.display();
        assert!(
            said.starts_with("graphward: invalid configuration (3 errors):\n"),
            "{said}"
        );
        assert!(said.contains(&format!("`{path}:2`: upstream.head_timeot: ")), "{said}");
        assert!(said.contains("did you mean `head_timeout`?"), "{said}");
        assert!(said.contains(&format!("`{path}:3`: upstream.connections: ")), "{said}");
        assert!(said.contains(&format!("`{path}:5`: token.access_token: ")), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
        assert!(ended.stdout.is_empty());
    }
}

#[test]
fn a_configuration_file_that_is_named_and_not_there_ends_with_2() {
    let place = tempfile::tempdir().unwrap();
    let ended = graphward_command(place.path(), &["serve", "--config", "absent.toml"])
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(2));
    let said = String::from_utf8(ended.stderr).unwrap();
    let path = place.path().join("absent.toml");
    let expected = format!("--config: cannot read the configuration file `{}`", path.display());
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn a_secret_that_cannot_be_had_ends_with_2_and_its_key_and_place() {
    let place = tempfile::tempdir().unwrap();
    let listen = "[listen]\nproxy = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n";
    std::fs::write(place.path().join("bad"), "hunter2").unwrap();
    for (text, words) in [
        (
            "[token]\nsource = { file = \"t\", fernet_key = { env = \"NO_KEY\" } }",
            "cannot use fernet_key from the variable NO_KEY: it is not set",
        ),
        (
            "[token]\nsource = { file = \"t\", fernet_key = { file = \"bad\" } }",
            "/bad`: invalid Fernet key: ",
        ),
        (
            "[token]\nsource = { http = \"http://a\", headers = { Authorization = { file = \"none\" } } }",
            "cannot use headers from the file `",
        ),
        (
            "[token]\nsource = { postgres = { file = \"bad\" }, query = \"SELECT 1\" }",
            "cannot use token.source.postgres: ",
        ),
        ("[alerts]\nurl = { file = \"bad\" }", "cannot use alerts.url: "),
        (
            "[app]\nsecret = { env = \"NO_SECRET\" }",
            "cannot use app.secret from the variable NO_SECRET: it is not set",
        ),
    ] {
        std::fs::write(place.path().join("graphward.toml"), format!("{listen}{text}\n")).unwrap();
        let ended = graphward_command(place.path(), &["serve"]).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{text}: {said}");
        assert!(said.contains(words), "{text}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_bad_command_line_ends_with_2() {
    let place = tempfile::tempdir().unwrap();
    for args in [&["frobnicate"][..], &["serve", "--token", "x"], &["--lanes", "2"]] {
        assert_eq!(
            graphward_command(place.path(), args).output().unwrap().status.code(),
            Some(2),
            "{args:?}"
        );
    }
}

#[test]
fn help_shows_commands_files_variables_and_an_example() {
    let place = tempfile::tempdir().unwrap();
    let ended = graphward_command(place.path(), &["--help"]).output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    let said = String::from_utf8(ended.stdout).unwrap();
    for words in [
        "serve",
        "healthcheck",
        "--token-file",
        "--require-token",
        "/etc/graphward/graphward.toml",
        "GRAPHWARD_TOKEN_FILE",
        "Example:",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    for command in ["  demo", "  fake-graph"] {
        assert_eq!(said.contains(command), cfg!(feature = "fake"), "{command}: {said}");
    }
}

#[test]
fn the_version_is_said_in_both_ways() {
    let place = tempfile::tempdir().unwrap();
    for args in ["version", "--version"] {
        let ended = graphward_command(place.path(), &[args]).output().unwrap();
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
        let ended = graphward_command(place.path(), args).output().unwrap();
        assert_eq!(ended.status.code(), Some(1));
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(
            said.starts_with(&format!("graphward: not ready: cannot query {admin}: ")),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_health_check_of_a_bad_configuration_ends_with_1() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("graphward.toml"), "[lisen]\n").unwrap();
    let ended = graphward_command(place.path(), &["healthcheck"]).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("did you mean [listen]?"), "{said}");
}

#[test]
fn an_error_is_explained_in_two_lines_without_the_token_in_it() {
    let place = tempfile::tempdir().unwrap();
    let error = r#"{"error":{"message":"Malformed access token EAAGhunter2","type":"OAuthException","code":190,"error_subcode":459}}"#;
    let explained = graphward_command(place.path(), &["explain", error]).output().unwrap();
    let piped = run_with_input(graphward_command(place.path(), &["explain"]), error);
    let logged = run_with_input(
        graphward_command(place.path(), &["explain"]),
        &format!("12:00:01 WARN Bearer EAAGhunter2 said {error}\n"),
    );
    for ended in [explained, piped, logged] {
        assert_eq!(ended.status.code(), Some(0));
        let said = String::from_utf8(ended.stdout).unwrap();
        let [happened, action] = said.lines().collect::<Vec<_>>()[..] else {
            panic!("{said}");
        };
        assert!(happened.ends_with("(code 190, subcode 459)."), "{said}");
        assert!(action.contains("log in at facebook.com"), "{said}");
        assert!(!said.contains("hunter2") && ended.stderr.is_empty());
    }
}

#[test]
fn what_cannot_be_explained_ends_with_1_and_what_a_shell_tore_apart_with_2() {
    let place = tempfile::tempdir().unwrap();
    for (args, code) in [
        (&["explain", "EAAGhunter2"][..], 1),
        (&["explain", r#"{"error":"EAAGhunter2"}"#], 1),
        (&["explain", "--EAAGhunter2"], 1),
        (&["explain", "error:message:Malformed", "EAAGhunter2"], 2),
        (&["explain", "{code:190", "--token", "EAAGhunter2}"], 2),
    ] {
        let ended = graphward_command(place.path(), args).output().unwrap();
        assert_eq!(ended.status.code(), Some(code), "{args:?}");
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.starts_with("graphward: "), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(!said.contains("hunter2"), "{said}");
        assert!(ended.stdout.is_empty());
    }
    let nothing = run_with_input(graphward_command(place.path(), &["explain"]), "");
    assert_eq!(nothing.status.code(), Some(1));
}

#[test]
fn the_help_of_explain_has_an_example() {
    let place = tempfile::tempdir().unwrap();
    let ended = graphward_command(place.path(), &["explain", "--help"])
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(0));
    let said = String::from_utf8(ended.stdout).unwrap();
    for words in ["graphward explain '{\"error\":", "[JSON]...", "Exit codes: 0 explained"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

/// Runs it with this as its standard input.
fn run_with_input(mut command: Command, input: &str) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// The program in a directory, with nothing in its environment.
fn graphward_command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graphward"));
    command.args(args).current_dir(dir).env_clear();
    command
}
