//! `print-config`, `completions` and `man`.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::graphward_command;

const FILE: &str = "\
[listen]
proxy = \"127.0.0.1:8081\"
[token]
source = { file = \"token\", key = \"WHATSAPP_ACCESS_TOKEN\" }
[heal]
hold_timeout = \"3s\"
[tenants.acme]
source = { env = \"ACME_TOKEN\" }
";

#[test]
fn each_value_has_the_origin_that_won() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("graphward.toml");
    fs::write(&file, FILE).unwrap();
    let args = ["print-config", "--json", "--log", "debug"];
    let mut command = graphward_command(dir.path(), &args);
    command
        .env("GRAPHWARD_LISTEN", "127.0.0.1:1,unix:/a")
        .env("GRAPHWARD_APP_SECRET", "hunter2hunter2");
    command
        .env("GRAPHWARD_UPSTREAM_VIA", "true")
        .env("GRAPHWARD_LISTEN_MAX_CONNECTIONS", "7");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(!stdout.contains("hunter2"), "{stdout}");
    let printed: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(printed["file"], json!(file));
    let setting = |key: &str| {
        let settings = printed["settings"].as_array().unwrap();
        let found: Vec<_> = settings.iter().filter(|setting| setting["key"] == key).collect();
        assert_eq!(found.len(), 1, "{key}: {stdout}");
        found[0].clone()
    };
    for (key, value, origin, place) in [
        ("listen.admin", json!("127.0.0.1:9080"), "default", json!({})),
        (
            "listen.proxy",
            json!(["127.0.0.1:1", "unix:/a"]),
            "environment",
            json!({ "variable": "GRAPHWARD_LISTEN" }),
        ),
        (
            "listen.max_connections",
            json!(7),
            "environment",
            json!({ "variable": "GRAPHWARD_LISTEN_MAX_CONNECTIONS" }),
        ),
        (
            "upstream.via",
            json!(true),
            "environment",
            json!({ "variable": "GRAPHWARD_UPSTREAM_VIA" }),
        ),
        (
            "app.secret",
            json!({ "env": "GRAPHWARD_APP_SECRET" }),
            "environment",
            json!({ "variable": "GRAPHWARD_APP_SECRET" }),
        ),
        ("log.level", json!("debug"), "flag", json!({ "flag": "--log" })),
        (
            "heal.hold_timeout",
            json!("3s"),
            "file",
            json!({ "file": file, "line": 6 }),
        ),
        (
            "token.source",
            json!({ "file": "token", "key": "WHATSAPP_ACCESS_TOKEN" }),
            "file",
            json!({ "file": file, "line": 4 }),
        ),
        (
            "tenants.acme",
            json!({ "source": { "env": "ACME_TOKEN" } }),
            "file",
            json!({ "file": file, "line": 7 }),
        ),
    ] {
        let mut expected = json!({ "key": key, "value": value, "origin": origin });
        expected
            .as_object_mut()
            .unwrap()
            .extend(place.as_object().unwrap().clone());
        assert_eq!(setting(key), expected);
    }
}

#[test]
fn the_text_is_a_configuration_file_that_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("graphward.toml"), FILE).unwrap();
    let print = |args: &[&str]| {
        let output = graphward_command(dir.path(), &[&["print-config"], args].concat())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = print(&[]);
    let path = dir.path().join("graphward.toml");
    assert!(
        text.starts_with(&format!(
            "# {}\n\n[listen]\nproxy = \"127.0.0.1:8081\" ",
            path.display()
        )),
        "{text}"
    );
    assert!(text.contains(&format!("# `{}:2`\n", path.display())), "{text}");
    assert!(
        text.contains("\nadmin = \"127.0.0.1:9080\"                  # default\n"),
        "{text}"
    );
    fs::write(dir.path().join("printed.toml"), &text).unwrap();
    let values = |args: &[&str]| {
        let printed: Value = serde_json::from_str(&print(args)).unwrap();
        let settings = printed["settings"].as_array().unwrap().clone();
        settings
            .into_iter()
            .map(|setting| (setting["key"].clone(), setting["value"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(values(&["--json", "--config", "printed.toml"]), values(&["--json"]));
}

#[test]
fn what_may_be_a_secret_is_not_printed_in_any_form() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"
[alerts]
url = "https://hooks.slack.com/services/T00000000/B00000000/hunter2"
[check]
phone_number_id = "hunter2"
[token]
source = [
    { http = "https://tenants.example/token?code=hunter2", headers = { x-caller = "hunter2" } },
    { exec = ["vault", "-p", "hunter2", "get"] },
    { postgres = "postgres://app@db/shop", query = "SELECT pgp_sym_decrypt(t, 'hunter2') FROM t WHERE n = $1", params = ["hunter2"] },
]
renew = { exec = ["new-token", "hunter2"] }
[tenants_from]
exec = ["tenant-token", "hunter2", "{tenant}"]
"#;
    fs::write(dir.path().join("graphward.toml"), text).unwrap();
    for form in [&[][..], &["--json"]] {
        let mut command = graphward_command(dir.path(), &[&["print-config"], form].concat());
        command.env("GRAPHWARD_UPSTREAM_PROXY", "http://hunter2@proxy.example:3128");
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!printed.contains("hunter2"), "{printed}");
        for shown in [
            "vault",
            "new-token",
            "tenant-token",
            "postgres://app@db/shop",
            "not shown: may be a secret",
        ] {
            assert!(printed.contains(shown), "{shown}: {printed}");
        }
    }
}

#[test]
fn an_invalid_configuration_is_not_printed() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("graphward.toml"),
        "[app]\nsecret = \"hunter2hunter2\"\n",
    )
    .unwrap();
    let output = graphward_command(dir.path(), &["print-config"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("app.secret: ") && !stderr.contains("hunter2"),
        "{stderr}"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn every_shell_gets_completions_and_every_command_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = graphward_command(dir.path(), &["completions", shell]).output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0));
        for word in ["print-config", "token-file", "exec"] {
            assert!(stdout.contains(word), "{shell}: {word}");
        }
    }
    let page = graphward_command(dir.path(), &["man"]).output().unwrap();
    let page = String::from_utf8(page.stdout).unwrap();
    assert!(page.contains(".TH graphward 1") && page.contains("print"), "{page}");
    let output = graphward_command(dir.path(), &["man", "--out", "pages"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for page in ["graphward.1", "graphward-exec.1", "graphward-token-set.1"] {
        let text = fs::read_to_string(dir.path().join("pages").join(page)).unwrap();
        assert!(text.contains(".SH NAME"), "{page}");
    }
    let text = fs::read_to_string(dir.path().join("pages/graphward-exec.1")).unwrap();
    assert!(text.contains("npm run dev"), "{text}");
}

/// What bash offers for the last word of a command line, after it has sourced the completions as people do.
fn completed_by_bash(dir: &Path, words: &[&str]) -> Vec<String> {
    let script = r#"source <("$0" completions bash) || exit
        complete -p graphward | grep -q -- "-F _graphward" || exit
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
        _graphward graphward "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script, env!("CARGO_BIN_EXE_graphward")]);
    let output = bash.args(words).current_dir(dir).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let offered = String::from_utf8(output.stdout).unwrap();
    offered.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_a_command_a_flag_and_a_value_by_the_completions() {
    let dir = tempfile::tempdir().unwrap();
    for (words, offered) in [
        (&["graphward", "print-"][..], &["print-config"][..]),
        (&["graphward", "token", "ro"], &["rollback"]),
        (&["graphward", "serve", "--token-f"], &["--token-file"]),
        (&["graphward", "print-config", "--js"], &["--json"]),
        (&["graphward", "status", "--state", "ends_"], &["ends_7d", "ends_1d"]),
        (&["graphward", "no-such"], &[]),
    ] {
        let found = completed_by_bash(dir.path(), words);
        let found: Vec<_> = found
            .iter()
            .map(String::as_str)
            .filter(|word| !word.is_empty())
            .collect();
        assert_eq!(found, offered, "{words:?}");
    }
}
