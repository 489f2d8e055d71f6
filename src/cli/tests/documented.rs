//! Each command line that the documentation, the help and the messages show is one that graphward takes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use clap::error::ErrorKind;
use serde_json::Value;

use super::*;

/// Commands that are not graphward's: of these, the shell's syntax is checked alone.
const OTHERS: [&str; 13] = [
    "cargo",
    "cd",
    "cosign",
    "docker",
    "export",
    "gh",
    "install",
    "kubectl",
    "man",
    "mv",
    "ruby",
    "sha256sum",
    "sleep",
];
/// Blocks that no test runs or reads, by their language: output and pictures, and parts of apps, of which tests/clients has the whole.
const UNREAD: [&str; 9] = ["text", "csharp", "diff", "go", "java", "js", "php", "python", "ruby"];
/// Blocks that other tests read: tests/law, tests/process/documented_settings, and tests/deployment/documents.py.
const READ_ELSEWHERE: [&str; 4] = ["hcl", "sql", "toml", "yaml"];
/// Commands in a sentence that stand for all commands.
const PLACEHOLDERS: [&str; 1] = ["graphward COMMAND --help"];

/// A word of a command line; or an operator, which ends a command.
#[derive(Debug, Eq, PartialEq)]
enum Word {
    Text(String),
    /// `>` and the like: the next word is a file.
    Redirection,
    Operator,
}

#[test]
fn every_command_of_the_documentation_is_one() {
    let (mut commands, mut calls) = (0, 0);
    for (path, text) in texts(&["md"]) {
        for (language, block) in blocks(&text) {
            match language {
                "sh" => {
                    assert!(is_valid_shell(block), "{path}: sh does not take\n{block}");
                    for command in commands_of(block) {
                        assert!(fault(&command).is_none(), "{path}: {command:?}: {:?}", fault(&command));
                        commands += usize::from(command.iter().any(|word| word == "graphward"));
                        calls += usize::from(admin_call(&command).is_some());
                    }
                }
                "json" => drop(serde_json::from_str::<Value>(block).unwrap_or_else(|error| panic!("{path}: {error}"))),
                other => assert!(
                    UNREAD.contains(&other) || READ_ELSEWHERE.contains(&other),
                    "{path}: no test reads a block of the language {other:?}"
                ),
            }
        }
    }
    assert!(commands >= 15 && calls >= 7, "{commands} commands, {calls} calls");
}

#[test]
fn every_command_in_a_sentence_and_in_a_message_is_one() {
    let mut commands = 0;
    let texts = texts(&["md", "rs", "toml", "yaml"]).into_iter();
    for (path, text) in texts.filter(|(path, _)| !path.starts_with("tests/")) {
        let quoted = text.split('`').filter(|quoted| quoted.starts_with("graphward "));
        for quoted in quoted.filter(|quoted| !quoted.contains('\n') && !PLACEHOLDERS.contains(quoted)) {
            let is_named = |fault: &Fault| matches!(fault, Fault::Incomplete);
            let [command] = &commands_of(quoted)[..] else {
                panic!("{path}: {quoted}");
            };
            let fault = fault(command).filter(|fault| !is_named(fault));
            assert!(fault.is_none(), "{path}: {quoted}: {fault:?}");
            commands += 1;
        }
    }
    assert!(commands >= 50, "{commands}");
}

#[test]
fn every_example_of_the_help_is_one() {
    fn collect(command: &clap::Command, examples: &mut Vec<String>) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let lines = help.lines().filter(|line| line.starts_with("  graphward "));
        examples.extend(lines.map(str::to_owned));
        for subcommand in command.get_subcommands() {
            collect(subcommand, examples);
        }
    }
    let mut examples = Vec::new();
    collect(&Cli::command(), &mut examples);
    assert!(examples.len() >= 20, "{examples:#?}");
    for example in examples {
        for command in commands_of(&example) {
            assert!(fault(&command).is_none(), "{example}: {:?}", fault(&command));
        }
    }
}

#[test]
fn a_command_that_is_not_one_would_be_noticed() {
    for bad in [
        "graphward srve",
        "graphward status --tenants a",
        "cd x && graphward exec npm --flag",
        "A=b graphward token sett",
        "cargo run -- dmo",
        "cargo install --locked --git https://github.com/graphward/graphward",
        "tests/no-such-script",
        "graphwrd status",
        "curl -X PUT http://127.0.0.1:9080/admin/rollback",
        "curl http://127.0.0.1:9080/admin/tokens",
    ] {
        assert!(
            commands_of(bad).iter().any(|command| fault(command).is_some()),
            "{bad}: {:?}",
            commands_of(bad)
        );
    }
    assert!(!is_valid_shell("echo 'a"));
    assert_eq!(
        commands_of("A=1 graphward token set < \"a b\" > c | cat -- 'd '\"e\" \\\n  f # g\ng&"),
        [
            vec!["graphward", "token", "set"],
            vec!["cat", "--", "d e", "f"],
            vec!["g"]
        ]
    );
}

/// The reason why a command line cannot be right.
#[derive(Debug)]
enum Fault {
    /// graphward needs more: enough for a sentence that names the command.
    Incomplete,
    /// graphward does not take it.
    Refused,
    NoSuchFile,
    NoSuchCall,
    UnknownCommand,
}

fn fault(command: &[String]) -> Option<Fault> {
    let (program, args) = command.split_first()?;
    match program.as_str() {
        "graphward" => match Cli::try_parse_from(command).map_err(|error| error.kind()) {
            Ok(_) | Err(ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => None,
            Err(
                ErrorKind::MissingRequiredArgument
                | ErrorKind::MissingSubcommand
                | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
            ) => Some(Fault::Incomplete),
            Err(_) => Some(Fault::Refused),
        },
        "cargo" if args.first().is_some_and(|arg| arg == "run") => {
            let own = args.iter().skip_while(|arg| *arg != "--").skip(1).cloned();
            fault(&["graphward".to_owned()].into_iter().chain(own).collect::<Vec<_>>())
        }
        // It looks for programs in the whole repository, and the fuzz targets are some.
        "cargo" if args.iter().any(|arg| arg == "--git") => {
            (args.last().is_none_or(|arg| arg != "graphward")).then_some(Fault::Incomplete)
        }
        "curl" => admin_call(command).and_then(|call| (!is_described(&call)).then_some(Fault::NoSuchCall)),
        script if script.contains('/') => (!root().join(script).is_file()).then_some(Fault::NoSuchFile),
        other => (!OTHERS.contains(&other)).then_some(Fault::UnknownCommand),
    }
}

/// A request of the admin listener.
#[derive(Debug)]
struct AdminCall {
    method: String,
    path: String,
}

/// The request that a command line of curl sends to the admin listener.
fn admin_call(command: &[String]) -> Option<AdminCall> {
    let is_curl = command.first().is_some_and(|program| program == "curl");
    let mut urls = command.iter().filter_map(|word| word.split_once("127.0.0.1:9080"));
    let (_, target) = urls.next().filter(|_| is_curl)?;
    let after = |flag: &str| command.iter().skip_while(|word| *word != flag).nth(1);
    let default = if after("-d").is_some() { "POST" } else { "GET" };
    Some(AdminCall {
        method: after("-X").map_or(default, String::as_str).to_lowercase(),
        path: target.split('?').next().unwrap_or_default().to_owned(),
    })
}

/// Returns whether the description of the admin listener has the request.
fn is_described(call: &AdminCall) -> bool {
    let description: Value = serde_json::from_str(include_str!("../../admin/openapi.json")).unwrap();
    let paths = description["paths"].as_object().unwrap();
    paths.iter().any(|(path, methods)| {
        let start = path.strip_suffix("{tenant}");
        let has_path = start.map_or(*path == call.path, |start| call.path.starts_with(start));
        has_path && methods.get(&call.method).is_some()
    })
}

// === the shell's language ===

/// The commands of a script, without variables that are set for them, redirections and comments.
fn commands_of(script: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut is_file = false;
    for word in words(script) {
        let command: &mut Vec<String> = commands.last_mut().unwrap();
        match word {
            Word::Text(_) if is_file => is_file = false,
            Word::Text(text) if command.is_empty() && is_assignment(&text) => {}
            Word::Text(text) => command.push(text),
            Word::Redirection => is_file = true,
            Word::Operator => commands.push(Vec::new()),
        }
    }
    commands.retain(|command| !command.is_empty());
    commands
}

fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
}

fn words(script: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = script.chars().peekable();
    while let Some(letter) = letters.next() {
        let ended = match letter {
            '\'' => {
                let quoted = letters.by_ref().take_while(|letter| *letter != '\'');
                word.get_or_insert_default().extend(quoted);
                continue;
            }
            '"' => {
                let word = word.get_or_insert_default();
                while let Some(quoted) = letters.next().filter(|letter| *letter != '"') {
                    word.extend(if quoted == '\\' { letters.next() } else { Some(quoted) });
                }
                continue;
            }
            '\\' => {
                word = match letters.next() {
                    Some('\n') | None => word,
                    Some(escaped) => Some(word.unwrap_or_default() + &escaped.to_string()),
                };
                continue;
            }
            '#' if word.is_none() => {
                while letters.next_if(|letter| *letter != '\n').is_some() {}
                continue;
            }
            ' ' => None,
            '\n' | ';' | '|' | '&' => Some(Word::Operator),
            '<' | '>' => Some(Word::Redirection),
            _ => {
                word.get_or_insert_default().push(letter);
                continue;
            }
        };
        words.extend(word.take().map(Word::Text));
        words.extend(ended);
    }
    words.extend(word.map(Word::Text));
    words
}

fn is_valid_shell(script: &str) -> bool {
    let output = Process::new("sh").args(["-n", "-c", script]).output();
    output.unwrap().status.success()
}

// === the repository ===

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The blocks of a page in its fences: their language and their text.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let fences = page.split("\n```").skip(1).step_by(2);
    fences
        .map(|block| block.split_once('\n').unwrap_or((block, "")))
        .collect()
}

/// The files with one of these endings, by their path.
fn texts(endings: &[&str]) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with('.') || ["target", "node_modules"].contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if endings
                .iter()
                .any(|ending| path.extension().is_some_and(|its| its == *ending))
            {
                let text = std::fs::read_to_string(&path).unwrap();
                texts.insert(path.strip_prefix(root()).unwrap().to_string_lossy().into_owned(), text);
            }
        }
    }
    texts
}
