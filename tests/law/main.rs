//! The rules of the architecture, checked on the source text: which module may import which, how long a file may be, where
//! a secret is exposed and a task is spawned, which parameters and words are banned, and that the documentation matches
//! the code.
//!
//! # Why
//!
//! One crate has no compiler between its layers. This test is that compiler, and the document of the architecture that
//! cannot go stale. Every rule is a function of a text, so that each can be shown to fail.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "this is a test, down to its helpers"
)]

mod alerts;
mod closed_lists;
mod credentials;
mod docs;
mod image;
mod label_values;
mod ladder;
mod locks;
mod page_diff;
mod parameters;
mod picture;
mod prefixes;
mod proven_blocks;
mod records;
mod refusals;
mod replay;
mod rust_version;
mod settings;
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Who may see a secret in the clear: what makes the header, what encrypts, what talks to those who know it.
const MAY_EXPOSE_SECRETS: [&str; 8] = [
    "src/token/credential.rs",
    "src/renew/request.rs",
    "src/renew/exec.rs",
    "src/source/fernet.rs",
    "src/source/postgres/endpoint.rs",
    "src/source/encoding.rs",
    "src/cli/fake_graph.rs",
    "src/alert/webhook.rs",
];
/// The most lines of a file that a person is to read.
const MAX_FILE_LINES: usize = 400;

#[test]
fn nothing_is_imported_from_above_or_from_the_side() {
    let ranks = layer_ranks(&read("src/lib.rs"));
    let files = source_files();
    let found: Vec<_> = files
        .iter()
        .flat_map(|(path, text)| forbidden_imports(path, text, &ranks, &|path| files.contains_key(path)))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn an_import_from_above_would_be_noticed() {
    let ranks = layer_ranks(&read("src/lib.rs"));
    let misplaced = |text| forbidden_imports("src/token/plan.rs", text, &ranks, &|path| path == "src/token/cell.rs");
    for bad in [
        "use crate::proxy::Proxy;",
        "    let x = crate::app::build();",
        "use crate::net::Tasks;",
        "use crate::{types, app};",
        "use crate::token::Tokens;",
        "use super::Tokens;",
        "use super::{cell, Tokens};",
        "use super::super::types::Secret;",
    ] {
        assert_eq!(misplaced(bad).len(), 1, "{bad}");
    }
    for good in [
        "use crate::types::Clock;",
        "use super::cell::Writer;",
        "use super::{cell, cell::{A, B}};",
        "pub(super) fn a() {} // crate::app",
        "//! [`crate::app`]",
        "mod tests {\n    use super::*;",
    ] {
        assert!(misplaced(good).is_empty(), "{good}");
    }
}

#[test]
fn a_part_of_a_module_uses_what_its_module_may() {
    let ranks = layer_ranks(&read("src/lib.rs"));
    let exists = |path: &str| matches!(path, "src/graph/scrub.rs" | "src/graph/presented.rs");
    let misplaced = |text| forbidden_imports("src/graph/scrub/form.rs", text, &ranks, &exists);
    assert!(misplaced("use super::super::presented::Presented;").is_empty());
    for bad in [
        "use super::super::scrub::Scrubber;",
        "use super::super::Target;",
        "use super::super::super::types::Secret;",
        "use super::super::{presented::Presented, scrub::scrub};",
    ] {
        assert!(!misplaced(bad).is_empty(), "{bad}");
    }
}

#[test]
fn no_file_is_longer_than_a_person_reads() {
    let long = |(path, text): &(String, String)| {
        let lines = text.lines().count();
        (lines > MAX_FILE_LINES).then(|| format!("{path} has {lines} lines"))
    };
    let found: Vec<_> = text_files().iter().filter_map(long).collect();
    assert!(found.is_empty(), "{found:#?}");
    assert!(long(&(String::new(), "\n".repeat(401))).is_some());
    assert!(text_files().len() > 80, "they are not all seen");
}

/// Production lines of the proxy crate. What needs more has to make room first, or say in its commit why the limit rises.
const MAX_PRODUCTION_LINES: usize = 42_942;

#[test]
fn the_proxy_crate_stays_within_its_lines() {
    let output = std::process::Command::new(root().join("tests/lines")).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    let total = table.lines().find_map(|line| line.strip_suffix(" graphward, in all"));
    let total: usize = total.and_then(|total| total.trim().parse().ok()).expect(&table);
    assert!((10_000..=MAX_PRODUCTION_LINES).contains(&total), "{total}:\n{table}");
}

#[test]
fn the_path_has_no_loop() {
    let found = loop_lines(&read("src/proxy.rs"));
    assert!(
        found.is_empty(),
        "the replay is a second call, not a second turn: {found:#?}"
    );
    for bad in ["loop {", "while let Some(x) = y {", "    for x in y {"] {
        assert_eq!(loop_lines(bad).len(), 1, "{bad}");
    }
    assert!(loop_lines("impl A for B {}\n// for x in y\nfn f() -> impl for<'a> Fn(&'a u8)").is_empty());
}

#[test]
fn secrets_are_exposed_and_tasks_spawned_where_the_list_says() {
    let callers = |word: &str| -> Vec<String> {
        let calls = |(path, text): (String, String)| {
            (!is_test(&path) && code_without_comments(&text).contains(word)).then_some(path)
        };
        source_files().into_iter().filter_map(calls).collect()
    };
    let exposers = callers(".expose()");
    assert!(
        exposers.iter().all(|path| MAY_EXPOSE_SECRETS.contains(&path.as_str())),
        "{exposers:?}"
    );
    assert!(!exposers.is_empty());
    for word in [
        "tokio::spawn(",
        "task::spawn(",
        "spawn_local(",
        "JoinSet",
        "thread::spawn(",
    ] {
        let spawners = callers(word);
        assert!(
            spawners.iter().all(|path| path == "src/net/tasks.rs"),
            "{word} in {spawners:?}"
        );
    }
    assert_eq!(callers("tokio::spawn(").len(), 1);
}

#[test]
fn every_dependency_is_used() {
    let all: String = source_files()
        .values()
        .map(|text| code_without_comments(text))
        .collect();
    let found = unused_dependencies(&read("Cargo.toml"), &all);
    assert!(found.is_empty(), "{found:?}");
    let manifest = "[dependencies]\nhttp-body = \"1\"\nhttp = \"1\"\n\n[dev-dependencies]\nproptest = \"1\"\n";
    assert_eq!(unused_dependencies(manifest, "use http_body::Body;"), ["http"]);
}

// === the rules ===

/// Each top-level module's layer, from the map in `src/lib.rs`.
fn layer_ranks(map: &str) -> BTreeMap<String, u32> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix("//! | ")?.split(" | ");
        let rank = cells.next()?.split(' ').next()?.parse().ok()?;
        let name = cells.next()?.strip_prefix("[`")?.strip_suffix("`]")?;
        Some((name.to_owned(), rank))
    };
    let ranks: BTreeMap<_, _> = map.lines().filter_map(row).collect();
    let modules = map
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    for module in modules {
        assert!(ranks.contains_key(module), "the map in src/lib.rs lacks {module}");
    }
    ranks
}

/// Imports that go up or sideways: of layers by `crate::`, of a module's files by `super::`.
fn forbidden_imports(
    path: &str,
    text: &str,
    ranks: &BTreeMap<String, u32>,
    exists: &dyn Fn(&str) -> bool,
) -> Vec<String> {
    let inside = path.strip_prefix("src/").and_then(|path| path.strip_suffix(".rs"));
    let top = inside.unwrap_or_default().split('/').next().unwrap_or_default();
    let Some(rank) = ranks.get(top) else {
        return Vec::new(); // main.rs, lib.rs
    };
    if is_test(path) {
        return Vec::new();
    }
    let code = code_without_comments(text);
    let mut found = Vec::new();
    for name in imported_names(&code, "crate::") {
        if ranks.get(&name).is_none_or(|its| its >= rank) {
            found.push(format!("{path}: crate::{name}"));
        }
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    // What stands beside a folder is below all that is in it.
    if let Some((parent, module)) = folder.rsplit_once('/') {
        for name in imported_names(&code, "super::super::") {
            if parent == "src" || name == module || !exists(&format!("{parent}/{name}.rs")) {
                found.push(format!("{path}: super::super::{name} is not beside {folder}"));
            }
        }
    }
    let siblings = imported_names(&code, "super::").into_iter();
    for name in siblings.filter(|name| name != "super") {
        if folder == "src" || !exists(&format!("{folder}/{name}.rs")) {
            found.push(format!("{path}: super::{name} is no sibling"));
        }
    }
    found
}

/// What follows each `crate::` or `super::`: one name, or those of a list in braces.
fn imported_names(code: &str, start: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = code;
    while let Some((_, after)) = rest.split_once(start) {
        rest = after;
        let Some(list) = after.strip_prefix('{') else {
            names.push(leading_identifier(after));
            // `super::super::` is one fault, not two.
            rest = rest.strip_prefix(start).unwrap_or(rest);
            continue;
        };
        let mut depth = 1;
        let mut items = vec![String::new()];
        for letter in list.chars() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => items.push(String::new()),
                _ => items.last_mut().unwrap().push(letter),
            }
            if depth == 0 {
                break;
            }
        }
        let items = items.iter().map(|item| leading_identifier(item.trim()));
        // A list of layers is never right; a list of siblings may be.
        match start {
            "crate::" => names.push("{".to_owned()),
            _ => names.extend(items.filter(|item| !item.is_empty())),
        }
    }
    names
}

fn leading_identifier(text: &str) -> String {
    let is_word = |letter: &char| letter.is_alphanumeric() || matches!(letter, '_' | '*');
    text.chars().take_while(is_word).collect()
}

fn loop_lines(text: &str) -> Vec<String> {
    let is_loop = |line: &&str| {
        let words: Vec<_> = line
            .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .collect();
        words.contains(&"loop") || words.contains(&"while") || (words.contains(&"for") && words.contains(&"in"))
    };
    code_without_comments(text)
        .lines()
        .filter(is_loop)
        .map(str::to_owned)
        .collect()
}

fn unused_dependencies(manifest: &str, code: &str) -> Vec<String> {
    let (_, rest) = manifest.split_once("[dependencies]\n").expect("there are dependencies");
    let lines = rest.lines().take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name);
    let used = |name: &str| {
        let path = format!("{}::", name.replace('-', "_"));
        let mut at = code.match_indices(&path);
        at.any(|(at, _)| !code[..at].ends_with(|before: char| before.is_alphanumeric() || matches!(before, '_' | ':')))
    };
    names.filter(|name| !used(name)).map(str::to_owned).collect()
}

// === the text ===

/// Without comments, and without the tests and the fuzzer's door, which stand last.
fn code_without_comments(text: &str) -> String {
    let ends = |line: &&str| !line.starts_with("mod tests {") && !line.starts_with("pub mod fuzzing {");
    let lines = text.lines().take_while(ends).map(|line| match line.trim_start() {
        comment if comment.starts_with("//") => "",
        _ => line.split_once(" // ").map_or(line, |(code, _)| code),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// `src/**/*.rs`, by path.
fn source_files() -> BTreeMap<String, String> {
    text_files()
        .into_iter()
        .filter(|(path, _)| path.starts_with("src/"))
        .collect()
}

/// Every file that a person wrote and another is to read.
fn text_files() -> Vec<(String, String)> {
    let mut folders = vec![PathBuf::new()];
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = folder.join(&name);
            if entry.file_type().unwrap().is_dir() {
                let generated = [
                    "target",
                    ".git",
                    "corpus",
                    "artifacts",
                    "node_modules",
                    "proptest-regressions",
                ];
                if !generated.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if is_text(&name) {
                let path = path.to_str().unwrap().to_owned();
                let text = read(&path);
                texts.push((path, text));
            }
        }
    }
    texts
}

fn is_text(name: &str) -> bool {
    let endings = [
        "rs", "md", "toml", "yaml", "yml", "sh", "py", "js", "mjs", "html", "css", "service", "conf",
    ];
    match name.rsplit_once('.') {
        Some((_, ending)) => endings.contains(&ending),
        None => matches!(name, "run" | "lines" | "curl" | "check" | "reproduce" | "Dockerfile"),
    }
}
