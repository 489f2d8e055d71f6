//! A directory with a configuration, for commands that ask Graph about its token.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use fake_graph::TokenChange;
use serde_json::Value;

use super::graph::Graph;
use super::sidecar::{APP_SECRET, graphward_command, settings};

pub(crate) const NUMBER: &str = "106540352242922";
pub(crate) const APP: &str = "[app]\nid = \"1234567890123456\"\nsecret = { file = \"secret\" }\n";

/// A configuration whose token may use one number of one account, and a second account of another token.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) graph: Graph,
    pub(crate) token: String,
}

impl Place {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let graph = Graph::start().await;
        graph.sim.set_phone_numbers("500", &[NUMBER]);
        graph.sim.set_phone_numbers("600", &["601"]);
        let token = graph.sim.issue(None);
        graph.sim.update_token(&token, targets("500"));
        let other = graph.sim.issue(None);
        graph.sim.update_token(&other, targets("600"));
        let place = Self { dir, graph, token };
        place.write("token", &place.token);
        place.write("secret", APP_SECRET);
        place.configure("file = \"token\"", APP);
        place
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn configure(&self, source: &str, extra: &str) {
        self.write("graphward.toml", &settings(&self.graph, source, extra));
    }

    /// Runs a command, and fails if it prints a secret or a color.
    pub(crate) fn run(&self, args: &[&str], input: &str) -> Output {
        let output = run(self.dir.path(), args, input);
        let shown = text(&output.stdout) + &text(&output.stderr);
        for secret in [&self.token, APP_SECRET, input] {
            assert!(secret.is_empty() || !shown.contains(secret), "{args:?}: {shown}");
        }
        assert!(!shown.contains('\u{1b}'), "{shown}");
        output
    }

    /// Checks, and returns the codes of what is not good, with the exit code.
    pub(crate) fn check(&self, args: &[&str]) -> (Vec<String>, Option<i32>) {
        let output = self.run(&[&["check", "--json"], args].concat(), "");
        let report: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
        (codes(&report), output.status.code())
    }
}

pub(crate) fn targets(account: &str) -> TokenChange {
    TokenChange {
        target_ids: Some(vec![account.to_owned()]),
        ..TokenChange::default()
    }
}

fn run(dir: &Path, args: &[&str], input: &str) -> Output {
    use std::io::Write as _;
    use std::process::Stdio;
    let mut command = graphward_command(dir, args);
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    // A command that does not read it has ended by then.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn codes(report: &Value) -> Vec<String> {
    let sections = report["sections"].as_array().unwrap().iter();
    let findings = sections.flat_map(|section| section["findings"].as_array().unwrap());
    let found = findings.filter(|finding| finding["level"] != "good");
    found
        .map(|finding| finding["code"].as_str().unwrap().to_owned())
        .collect()
}
