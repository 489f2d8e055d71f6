//! The exit codes of `ca` and `fake-graph`, as docs/commands.md says them.

use std::fs;
#[cfg(feature = "fake")]
use std::net::TcpListener;

use crate::support::graphward_command;
use crate::support::place::text;

/// Runs a command, and fails unless it ends with this code and one line that has these words.
#[track_caller]
fn assert_fails(dir: &std::path::Path, line: &str, code: i32, words: &str) {
    let args: Vec<_> = line.split(' ').collect();
    let output = graphward_command(dir, &args).output().unwrap();
    let shown = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{line}: {shown}");
    assert!(shown.contains(words), "{line}: {shown}");
    assert!(code == 2 || shown.lines().count() == 1, "{line}: {shown}");
    assert_eq!(text(&output.stdout), "", "{line}");
}

#[test]
fn ca_exits_with_1_if_it_cannot_write_and_with_2_if_it_was_called_wrongly() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "precious").unwrap();
    for (line, code, words) in [
        // Not even root can make a folder there.
        ("ca --out /proc/graphward", 1, "cannot write `/proc/graphward`"),
        ("ca --out file", 1, "cannot write `file`"),
        ("ca --out file/folder", 1, "cannot write `file/folder`"),
        ("ca --out pki --days 0", 2, "0 is not in 1..=3650"),
        ("ca --out pki --days 3651", 2, "3651 is not in 1..=3650"),
        ("ca --out pki --name http://a", 2, "not a host name or IP address"),
    ] {
        assert_fails(dir.path(), line, code, words);
    }
    assert!(!dir.path().join("pki").exists());
    for name in ["ca.pem", "cert.pem", "key.pem", "bundle.pem"] {
        let pki = dir.path().join(name.replace('.', "-"));
        fs::create_dir(&pki).unwrap();
        fs::write(pki.join(name), "precious").unwrap();
        let line = format!("ca --out {}", pki.display());
        assert_fails(dir.path(), &line, 2, &format!("{name}` already exists; use --force"));
        let files: Vec<_> = fs::read_dir(&pki).unwrap().collect();
        assert_eq!(files.len(), 1, "nothing is written beside {name}");
        assert_eq!(fs::read_to_string(pki.join(name)).unwrap(), "precious");
        let forced = graphward_command(&pki, &["ca", "--force"]).output().unwrap();
        assert_eq!(forced.status.code(), Some(0), "{}", text(&forced.stderr));
        assert_ne!(fs::read_to_string(pki.join("ca.pem")).unwrap(), "precious");
    }
}

#[cfg(feature = "fake")]
#[test]
fn fake_graph_exits_with_the_documented_codes() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("empty"), "").unwrap();
    fs::write(path("file"), "precious").unwrap();
    fs::create_dir(path("folder")).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let _held = TcpListener::bind(taken);
    let free = "fake-graph --listen 127.0.0.1:0 --control 127.0.0.1:0";
    for (line, code, words) in [
        (format!("{free} --accept-token-file absent"), 2, "cannot read `absent`"),
        (format!("{free} --accept-token-file folder"), 2, "cannot read `folder`"),
        (
            format!("{free} --accept-token-file empty"),
            2,
            "`empty` contains no usable secret",
        ),
        (format!("{free} --app-secret-file absent"), 2, "cannot read `absent`"),
        (
            format!("{free} --app-secret-file empty"),
            2,
            "`empty` contains no usable secret",
        ),
        (format!("{free} --token-out folder"), 1, "cannot write `folder`"),
        (
            format!("{free} --token-out no/such/token"),
            1,
            "cannot write `no/such/token`",
        ),
        (format!("{free} --token-out file/token"), 1, "cannot write `file/token`"),
        (
            format!("{free} --ca-out /proc/ca.pem"),
            1,
            "cannot write `/proc/ca.pem`",
        ),
        (format!("{free} --ca-out folder"), 1, "cannot write `folder`"),
        (
            format!("fake-graph --listen {taken} --control 127.0.0.1:0"),
            3,
            "--listen",
        ),
        (
            format!("fake-graph --control {taken} --listen 127.0.0.1:0"),
            3,
            "--control",
        ),
        ("fake-graph --listen 127.0.0.1:99999".to_owned(), 2, "invalid value"),
        ("fake-graph --listen localhost".to_owned(), 2, "invalid value"),
        (format!("{free} --token-ttl 0s"), 2, "must be longer than 0"),
        (format!("{free} --token-ttl 0ms"), 2, "must be longer than 0"),
        (format!("{free} --token-ttl 4"), 2, "invalid value"),
        (
            format!("{free} --token-out token --renew-every 0s"),
            2,
            "must be longer than 0",
        ),
        (format!("{free} --renew-every 4s"), 2, "--token-out"),
        (format!("{free} --plain --ca-out ca.pem"), 2, "cannot be used with"),
        (format!("{free} --proof maybe"), 2, "invalid value"),
        (format!("{free} --family other --token-out token"), 2, "invalid value"),
    ] {
        assert_fails(dir.path(), &line, code, words);
    }
    assert_eq!(fs::read_to_string(path("file")).unwrap(), "precious");
    assert!(!path("token").exists());
}
