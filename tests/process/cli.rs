//! The command line: output and exit codes.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Map, Value, json};
use socket2::{Domain, Socket, Type};

#[test]
fn an_invalid_configuration_exits_with_2_and_prints_every_error() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[upstream]\nhead_timeot = \"5s\"\nvia = 100\n[token]\naccess_token = \"EAAGhunter2\"\n";
    std::fs::write(dir.path().join("graphward.toml"), text).unwrap();
    for args in [&["serve"][..], &[]] {
        let output = graphward_command(dir.path(), args).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let stderr = String::from_utf8(output.stderr).unwrap();
        let path = dir.path().join("graphward.toml");
        let path = path.display();
        assert!(
            stderr.starts_with("graphward: invalid configuration (3 errors):\n"),
            "{stderr}"
        );
        assert!(
            stderr.contains(&format!("`{path}:2`: upstream.head_timeot: ")),
            "{stderr}"
        );
        assert!(stderr.contains("did you mean `head_timeout`?"), "{stderr}");
        assert!(stderr.contains(&format!("`{path}:3`: upstream.via: ")), "{stderr}");
        assert!(
            stderr.contains(&format!("`{path}:5`: token.access_token: ")),
            "{stderr}"
        );
        assert!(!stderr.contains("hunter2"), "{stderr}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_missing_configuration_file_exits_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let output = graphward_command(dir.path(), &["serve", "--config", "absent.toml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let path = dir.path().join("absent.toml");
    let expected = format!("--config: cannot read the configuration file `{}`", path.display());
    assert!(stderr.contains(&expected), "{stderr}");
}

#[test]
fn a_file_without_an_end_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (endless, pipe) = ("/dev/zero", pipe.to_str().unwrap());
    let too_large = "it has more than 16 MiB";
    let listen_on = |second| ["--listen", "127.0.0.1:0", second, "127.0.0.1:0"];
    for (args, reason) in [
        (&["serve", "--config", endless][..], too_large),
        (&["serve", "--ca-file", endless], "it is not a regular file"),
        (&["serve", "--ca-file", pipe], "it is not a regular file"),
        (&["fake-graph", "--app-secret-file", endless], too_large),
        (&["fake-graph", "--accept-token-file", endless], too_large),
    ] {
        let listen = listen_on(if args[0] == "serve" { "--admin" } else { "--control" });
        let output = graphward_command(dir.path(), &[args, &listen].concat())
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(
            stderr.contains(args[2]) && stderr.contains(reason),
            "{args:?}: {stderr}"
        );
    }
}

#[test]
fn a_secret_that_cannot_be_loaded_exits_with_2_and_names_its_key_and_source() {
    let dir = tempfile::tempdir().unwrap();
    let listen = "[listen]\nproxy = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n";
    std::fs::write(dir.path().join("bad"), "hunter2").unwrap();
    for (text, words) in [
        (
            "[token]\nsource = { file = \"t\", fernet_key = { env = \"NO_KEY\" } }",
            "cannot use token.source.fernet_key from the variable NO_KEY: it is not set",
        ),
        (
            "[token]\nsource = { file = \"t\", fernet_key = { file = \"bad\" } }",
            "/bad`: invalid Fernet key: ",
        ),
        (
            "[token]\nsource = { http = \"http://a\", headers = { Authorization = { file = \"none\" } } }",
            "cannot use token.source.headers.authorization from the file `",
        ),
        (
            "[token]\nsource = { postgres = { file = \"bad\" }, query = \"SELECT 1\" }",
            "cannot use token.source.postgres: ",
        ),
        (
            "[tenants.acme]\nsource = { file = \"t\", fernet_key = { env = \"NO_KEY\" } }",
            "the tenant acme: cannot use token.source.fernet_key from the variable NO_KEY: it is not set",
        ),
        ("[alerts]\nurl = { file = \"bad\" }", "cannot use alerts.url: "),
        (
            "[app]\nsecret = { env = \"NO_SECRET\" }",
            "cannot use app.secret from the variable NO_SECRET: it is not set",
        ),
    ] {
        std::fs::write(dir.path().join("graphward.toml"), format!("{listen}{text}\n")).unwrap();
        let output = graphward_command(dir.path(), &["serve"]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}: {stderr}");
        assert!(stderr.contains(words), "{text}: {stderr}");
        assert!(!stderr.contains("hunter2"), "{stderr}");
    }
}

#[test]
fn an_invalid_command_line_exits_with_2() {
    let dir = tempfile::tempdir().unwrap();
    for args in [&["frobnicate"][..], &["serve", "--token", "x"], &["--lanes", "2"]] {
        assert_eq!(
            graphward_command(dir.path(), args).output().unwrap().status.code(),
            Some(2),
            "{args:?}"
        );
    }
}

#[test]
fn a_word_that_is_a_token_is_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let token = "EAAGm0PX4ZCpsBAKZAhunter2hunter2";
    let short = "EAAGhunter2";
    for line in [
        "serve TOKEN",
        "TOKEN",
        "serve --token TOKEN",
        "--token=TOKEN",
        "--TOKEN",
        "serve --config TOKEN",
        "--config=TOKEN",
        "--config dir/TOKEN",
        "--token-file TOKEN --require-token",
        "--app-secret-file TOKEN",
        "--ca-file TOKEN",
        "--listen TOKEN",
        "--admin TOKEN",
        "--origin TOKEN",
        "--app-id TOKEN",
        "--log TOKEN",
        "--log-requests TOKEN",
        "healthcheck TOKEN",
        "healthcheck --admin TOKEN",
        "token TOKEN",
        "token rollback TOKEN",
        "token set --tenant TOKEN",
        "token show --tenant=TOKEN",
        "check TOKEN",
        "check --tenant TOKEN",
        "check --phone-number-id TOKEN",
        "ca --unknown=TOKEN",
        "version TOKEN",
        "explain --TOKEN",
    ] {
        for token in [token, short] {
            // The name of a file that has no digits and letters of a token is not taken for one.
            if token == short && line.contains("file") | line.contains("--config") {
                continue;
            }
            let line = line.replace("TOKEN", token);
            let args: Vec<_> = line.split(' ').collect();
            let output = graphward_command(dir.path(), &args).output().unwrap();
            let shown = [output.stdout, output.stderr].concat();
            let shown = String::from_utf8_lossy(&shown);
            assert!(
                !output.status.success() && !shown.contains("hunter2"),
                "{line}: {shown}"
            );
            assert!(
                !shown.contains('\u{1b}'),
                "colors, although it is no terminal: {line}: {shown}"
            );
        }
    }
    let mut command = graphward_command(dir.path(), &["serve"]);
    let output = command.env("GRAPHWARD_CONFIG", token).output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("hunter2"));
}

#[test]
fn help_shows_commands_files_variables_and_an_example() {
    let dir = tempfile::tempdir().unwrap();
    let output = graphward_command(dir.path(), &["--help"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let stdout = String::from_utf8(output.stdout).unwrap();
    for words in [
        "serve",
        "healthcheck",
        "--token-file",
        "--require-token",
        "/etc/graphward/graphward.toml",
        "GRAPHWARD_TOKEN_FILE",
        "Example:",
    ] {
        assert!(stdout.contains(words), "{words}: {stdout}");
    }
    for command in ["  demo", "  fake-graph"] {
        assert_eq!(stdout.contains(command), cfg!(feature = "fake"), "{command}: {stdout}");
    }
}

#[test]
fn both_forms_print_the_version() {
    let dir = tempfile::tempdir().unwrap();
    for args in ["version", "--version"] {
        let output = graphward_command(dir.path(), &[args]).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!(stdout, format!("graphward {}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn answers_are_json_for_programs() {
    let dir = tempfile::tempdir().unwrap();
    for (args, code, expected) in [
        (
            &["version", "--json"][..],
            0,
            json!({ "name": "graphward", "version": env!("CARGO_PKG_VERSION") }),
        ),
        (
            &["healthcheck", "--admin", "127.0.0.1:1", "--json"],
            1,
            json!({ "ready": false, "reason": "not ready: cannot query 127.0.0.1:1: " }),
        ),
        (
            &["explain", "--json", "4"],
            0,
            json!({ "summary": "(code 4).", "remediation": "", "token_creation": null }),
        ),
        (
            &["explain", "--json", "190", "463"],
            0,
            json!({ "summary": "(code 190, subcode 463).", "remediation": "", "token_creation": "Where a token is" }),
        ),
        (
            &["ca", "--out", "ca", "--json"],
            0,
            json!({ "days": 825, "ca": "/ca/ca.pem", "cert": "/ca/cert.pem", "key": "/ca/key.pem", "bundle": null }),
        ),
    ] {
        let output = graphward_command(dir.path(), args).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
        let shown: Map<String, Value> = serde_json::from_slice(&output.stdout).unwrap();
        let expected = expected.as_object().unwrap();
        let names = |object: &Map<String, Value>| object.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(names(&shown), names(expected), "{args:?}");
        for (name, expected) in expected {
            // The bundle is there if the machine has roots.
            match (expected.as_str(), &shown[name]) {
                (Some(part), Value::String(text)) => assert!(text.contains(part), "{args:?}: {text}"),
                (_, value) => assert!(value == expected || name == "bundle", "{args:?}: {value}"),
            }
        }
    }
}

#[test]
fn a_health_check_without_a_listener_exits_with_1_and_one_line() {
    let dir = tempfile::tempdir().unwrap();
    // Bound but not listening, so that no other process gets the port.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let admin = socket.local_addr().unwrap().as_socket().unwrap().to_string();
    let file = dir.path().join("graphward.toml");
    std::fs::write(file, format!("[listen]\nadmin = \"{admin}\"\n")).unwrap();
    for args in [&["healthcheck"][..], &["healthcheck", "--admin", &admin]] {
        let output = graphward_command(dir.path(), args).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            stderr.starts_with(&format!("graphward: not ready: cannot query {admin}: ")),
            "{stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn a_health_check_with_an_invalid_configuration_exits_with_1() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("graphward.toml"), "[lisen]\n").unwrap();
    let output = graphward_command(dir.path(), &["healthcheck"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("did you mean [listen]?"), "{stderr}");
}

#[test]
fn an_error_is_explained_in_two_lines_without_the_token_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let error = r#"{"error":{"message":"Malformed access token EAAGhunter2","type":"OAuthException","code":190,"error_subcode":459}}"#;
    let explained = graphward_command(dir.path(), &["explain", error]).output().unwrap();
    let piped = run_with_input(graphward_command(dir.path(), &["explain"]), error);
    let logged = run_with_input(
        graphward_command(dir.path(), &["explain"]),
        &format!("12:00:01 WARN Bearer EAAGhunter2 returned {error}\n"),
    );
    for output in [explained, piped, logged] {
        assert_eq!(output.status.code(), Some(0));
        let stdout = String::from_utf8(output.stdout).unwrap();
        let [summary, remediation] = stdout.lines().collect::<Vec<_>>()[..] else {
            panic!("{stdout}");
        };
        assert!(summary.ends_with("(code 190, subcode 459)."), "{stdout}");
        assert!(remediation.contains("log in at facebook.com"), "{stdout}");
        assert!(!stdout.contains("hunter2") && output.stderr.is_empty());
    }
}

#[test]
fn an_unknown_error_exits_with_1_and_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for (args, code) in [
        (&["explain", "EAAGhunter2"][..], 1),
        (&["explain", r#"{"error":"EAAGhunter2"}"#], 1),
        (&["explain", "--EAAGhunter2"], 1),
        (&["explain", "error:message:nothing", "EAAGhunter2"], 1),
        (&["explain", "{code:401", "--token", "EAAGhunter2}"], 1),
    ] {
        let output = graphward_command(dir.path(), args).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with("graphward: "), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(!stderr.contains("hunter2"), "{stderr}");
        assert!(output.stdout.is_empty());
    }
    // The shell has taken the quotes, and split it.
    let args = [
        "explain",
        "{error:{message:Malformed access",
        "token",
        "EAAGhunter2,code:190}}",
    ];
    let split = graphward_command(dir.path(), &args).output().unwrap();
    let stdout = String::from_utf8(split.stdout).unwrap();
    assert!(stdout.contains("(code 190)") && !stdout.contains("hunter2"), "{stdout}");
    let nothing = run_with_input(graphward_command(dir.path(), &["explain"]), "");
    assert_eq!(nothing.status.code(), Some(1));
}

#[test]
fn the_help_of_explain_has_an_example() {
    let dir = tempfile::tempdir().unwrap();
    let output = graphward_command(dir.path(), &["explain", "--help"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let stdout = String::from_utf8(output.stdout).unwrap();
    for words in [
        "graphward explain '{\"error\":",
        "[ERROR]...",
        "Exit codes: 0 explained",
    ] {
        assert!(stdout.contains(words), "{words}: {stdout}");
    }
}

/// Runs a command with this standard input.
fn run_with_input(mut command: Command, input: &str) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// graphward in a directory, with an empty environment.
fn graphward_command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graphward"));
    command.args(args).current_dir(dir).env_clear();
    command
}
