//! Every command and every configuration that README and `docs/` show is run by a test.
//!
//! # Why
//!
//! A test takes a block by its name, so it runs what people copy, and fails when the block is gone. Here the names that tests
//! take are compared with the blocks that there are: a new block without a test fails, whichever page it is on. A list of
//! tests beside the blocks was rejected: it would say that a test exists, not that it reads the block.

#[path = "../support/blocks.rs"]
mod blocks;

use std::collections::BTreeSet;

use blocks::{Block, blocks};

use super::closed_lists::words_between;
use super::docs::docs;
use super::{read, root};

/// Blocks that no test here can run, and why.
const NOT_RUN: [(&str, &str); 6] = [
    ("README.md#See it sh 2", "it is what runs the tests"),
    (
        "README.md#Install sh",
        "GitHub and Docker are needed; a workflow runs them, and `packaging/check` tries the image's files and the package",
    ),
    ("docs/deploy.md#Verifying a release sh", "a release is needed"),
    (
        "docs/speed.md#Speed sh",
        "it measures for half an hour on idle cores, with nginx and HAProxy",
    ),
    ("docs/speed.md#Ten thousand tenants sh", "it needs a release build"),
    (
        "docs/speed.md#A tenant beside a storm sh",
        "it needs a release build, and idle cores",
    ),
];

/// Languages of blocks that show something and are no command or configuration: pictures, output, changes of a program.
const SHOWN: [&str; 2] = ["text", "diff"];

/// Languages of an app's code. The blocks are excerpts, which cannot be run: `tests/deployment/excerpts.py` checks the syntax of
/// each, and `tests/clients` runs whole programs of some libraries of Python, Node.js and PHP.
const CODE: [&str; 7] = ["js", "python", "php", "java", "go", "ruby", "csharp"];

#[test]
fn every_command_and_every_configuration_in_the_docs_is_run_by_a_test() {
    let blocks = blocks_for_users();
    let taken = names_that_tests_take();
    let excused: BTreeSet<_> = NOT_RUN.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(excused.len(), NOT_RUN.len());
    let without_test: Vec<_> = blocks
        .iter()
        .filter(|block| !is_shown(block))
        .filter(|block| !taken.contains(&block.name) && !excused.contains(&block.name))
        .map(|block| format!("{}\n{}", block.name, block.text))
        .collect();
    assert!(
        without_test.is_empty(),
        "run each in a test that takes it by its name, `block(\"NAME\")`:\n{}",
        without_test.join("\n")
    );
    let there: BTreeSet<_> = blocks.into_iter().map(|block| block.name).collect();
    let stale: Vec<_> = excused.difference(&there).chain(taken.difference(&there)).collect();
    assert!(stale.is_empty(), "the docs have no such block: {stale:?}");
    let needless: Vec<_> = excused.intersection(&taken).collect();
    assert!(needless.is_empty(), "a test runs it: {needless:?}");
}

#[test]
fn the_syntax_of_each_language_of_apps_is_checked() {
    let program = read("tests/deployment/excerpts.py");
    let (_, parsers) = program.split_once("PARSERS = {").unwrap();
    let (parsers, _) = parsers.split_once(".items()").unwrap();
    assert_eq!(words_between(parsers, '"'), CODE.map(str::to_owned).into());
}

/// A minute of CPU time for each change, on each architecture: the only build of a clone of the repository without its target folder.
#[test]
fn a_workflow_installs_from_a_repository_as_the_readme_says() {
    let (readme, workflow) = (read("README.md"), read(".github/workflows/test.yml"));
    let line = |text: &str| {
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with("cargo install "));
        line.unwrap().split(" # ").next().unwrap().trim().to_owned()
    };
    let url = "https://github.com/graphward/graphward";
    let shown = line(&readme).replace(url, "\"file://$PWD\"");
    let run = line(&workflow)
        .replace(" --debug", "")
        .replace(" --root \"$RUNNER_TEMP/installed\"", "");
    assert_eq!(run, shown, "test.yml on the left, README.md on the right");
}

#[test]
fn a_block_has_the_name_of_its_page_and_section() {
    let page =
        "# A\n\n```sh\na\n```\n\n## B\n\n```sh\nb\n# c\n```\n\n```toml\nd = 1\n```\n- e\n\n  ```sh\n  f\n  ```\n";
    let blocks = blocks("p.md", page);
    let names: Vec<_> = blocks.iter().map(|block| block.name.as_str()).collect();
    let names: [&str; 4] = names.try_into().unwrap();
    assert_eq!(names, ["p.md#A sh", "p.md#B sh", "p.md#B toml", "p.md#B sh 2"]);
    assert_eq!(blocks[1].text, "b\n# c");
    assert_eq!(names.map(language_of), ["sh", "sh", "toml", "sh"]);
    assert_eq!(
        names_in("block(\"a.md#B sh 2\") + \"b.md#C\" \"c.md#`D` toml\""),
        ["a.md#B sh 2", "c.md#`D` toml"]
    );
}

/// The blocks of the pages that users read.
fn blocks_for_users() -> Vec<Block> {
    let is_for_users = |path: &str| path == "README.md" || path.starts_with("docs/") || path.starts_with("config/");
    let pages = docs().into_iter().filter(|(path, _)| is_for_users(path));
    pages.flat_map(|(path, text)| blocks(&path, &text)).collect()
}

/// Whether it is no command and no configuration.
fn is_shown(block: &Block) -> bool {
    let language = language_of(&block.name);
    SHOWN.iter().chain(&CODE).any(|shown| *shown == language)
}

fn language_of(name: &str) -> &str {
    let mut words = name.rsplit(' ');
    words.find(|word| !word.starts_with(char::is_numeric)).unwrap()
}

/// The names of blocks in the tests, but not in this file.
fn names_that_tests_take() -> BTreeSet<String> {
    let mut folders = vec!["tests".into(), "packaging".into()];
    let mut names = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).unwrap() {
            let path = std::path::Path::new(&folder).join(entry.unwrap().file_name());
            let path: String = path.to_str().unwrap().to_owned();
            let is_program = path.ends_with(".rs") || path.ends_with(".py") || path == "packaging/check";
            if root().join(&path).is_dir() {
                folders.push(path);
            } else if is_program && path != "tests/law/proven_blocks.rs" {
                names.extend(names_in(&read(&path)));
            }
        }
    }
    names
}

/// The names of blocks among the quoted texts of a program.
fn names_in(program: &str) -> Vec<String> {
    let is_name = |text: &&str| {
        text.split_once(".md#")
            .is_some_and(|(page, rest)| rest.contains(' ') && !page.contains(char::is_whitespace))
    };
    let quoted = program.split('"').filter(is_name);
    quoted.map(str::to_owned).collect()
}
