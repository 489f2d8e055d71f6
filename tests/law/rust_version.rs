//! The Rust that the workspace needs, and the one that builds and tests it, in all places that state them.
//!
//! # Why
//!
//! Whether the oldest version can build the code is for `tests/run` to show, which checks the workspace with it. Here it is
//! held that there is only one, and that workflows and image name one exact version: with the one that a machine has at the
//! time, a lint of a new Rust would fail a change that has nothing to do with it, and a release would be of a compiler that
//! no test has used.

use super::{read, root};

#[test]
fn every_crate_and_the_readme_state_the_same_oldest_rust() {
    let stated = rust_version(&read("Cargo.toml")).expect("Cargo.toml states one");
    assert_eq!(rust_version(&read("fake-graph/Cargo.toml")), Some(stated.clone()));
    assert!(
        read("README.md").contains(&format!("[Rust](https://rustup.rs) {stated}")),
        "README.md"
    );
    assert_eq!(
        rust_version("[package]\nrust-version = \"1.2\"\n"),
        Some("1.2".to_owned())
    );
    assert_eq!(rust_version("[package]\n"), None);
}

#[test]
fn the_workflows_and_the_image_build_with_the_same_exact_rust() {
    let image = version_of_image(&read("Dockerfile")).expect("the Dockerfile states an exact version");
    let oldest = rust_version(&read("Cargo.toml")).expect("Cargo.toml states one");
    assert!(image.starts_with(&format!("{oldest}.")), "{image}");
    let folder = std::fs::read_dir(root().join(".github/workflows")).unwrap();
    let names: Vec<_> = folder.map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.len() >= 3, "{names:?}");
    for name in names {
        let workflow = read(&format!(".github/workflows/{}", name.to_str().unwrap()));
        assert_eq!(toolchain(&workflow).as_ref(), Some(&image), "{name:?}");
        assert_eq!(jobs_of_any_rust(&workflow), [""; 0], "{name:?}");
    }
}

#[test]
fn an_inexact_rust_would_be_noticed() {
    let image = |tag: &str| version_of_image(&format!("# a\nFROM rust:{tag} AS build\nFROM scratch\n"));
    assert_eq!(image("1.95.0-alpine3.23").as_deref(), Some("1.95.0"));
    for tag in ["1.95-alpine", "1.95-alpine3.23", "1.95.0-alpine", "1.95.0", "alpine"] {
        assert_eq!(image(tag), None, "{tag}");
    }
    let env = "env:\n  RUSTUP_TOOLCHAIN: 1.95.0\njobs:\n";
    assert_eq!(toolchain(env).as_deref(), Some("1.95.0"));
    assert_eq!(toolchain("env:\n  RUSTUP_TOOLCHAIN: 1.95\n"), None);
    assert_eq!(toolchain("jobs:\n"), None);
    assert_eq!(
        toolchain(&format!("{env}    env:\n      RUSTUP_TOOLCHAIN: 1.96.0\n")),
        None
    );
    let jobs = |steps: &str| jobs_of_any_rust(&format!("{env}  a:\n    steps:\n{steps}  b:\n    steps: []\n")).len();
    for step in [
        "      - run: tests/run\n",
        "      - run: |\n          cd a\n          cargo build\n",
    ] {
        assert_eq!(jobs(step), 1, "{step}");
        assert_eq!(jobs(&format!("{INSTALL}\n{step}")), 0, "{step}");
        assert_eq!(jobs(&format!("{step}{INSTALL}\n")), 1, "{step}");
    }
    assert_eq!(jobs("      - run: docker build .\n"), 0);
}

/// The step before any that needs Rust. rustup would install the version alone, without the programs that the tests need.
const INSTALL: &str =
    "      - run: rustup toolchain install \"$RUSTUP_TOOLCHAIN\" --profile minimal --component clippy,rustfmt";

/// What needs Rust: cargo, and the scripts that run it.
const NEEDS_RUST: [&str; 4] = ["cargo ", "tests/run", "packaging/run", "packaging/reproduce"];

fn rust_version(manifest: &str) -> Option<String> {
    let mut lines = manifest.lines();
    let value = lines.find_map(|line| line.strip_prefix("rust-version = \""))?;
    Some(value.strip_suffix('"')?.to_owned())
}

/// The version of Rust of the image's first stage, if its tag says exactly which Rust and which Alpine.
fn version_of_image(dockerfile: &str) -> Option<String> {
    let tag = dockerfile.lines().find_map(|line| line.strip_prefix("FROM rust:"))?;
    let (rust, alpine) = tag.strip_suffix(" AS build")?.split_once("-alpine")?;
    (is_version(rust, 3) && is_version(alpine, 2)).then(|| rust.to_owned())
}

/// The exact version that a workflow states for all of its jobs, if it states no other.
fn toolchain(workflow: &str) -> Option<String> {
    let mut stated = workflow.lines().filter(|line| line.contains("RUSTUP_TOOLCHAIN:"));
    let version = stated.next()?.strip_prefix("  RUSTUP_TOOLCHAIN: ")?;
    (stated.next().is_none() && is_version(version, 3)).then(|| version.to_owned())
}

/// The jobs that need Rust before they have installed the stated one.
fn jobs_of_any_rust(workflow: &str) -> Vec<&str> {
    let (_, jobs) = workflow.split_once("\njobs:\n").expect("it has jobs");
    let mut found = Vec::new();
    let (mut job, mut installed) = ("", false);
    for line in jobs.lines() {
        if line.starts_with("  ") && !line.starts_with("   ") {
            (job, installed) = (line.trim(), false);
        }
        installed |= line == INSTALL;
        let is_comment = line.trim_start().starts_with('#');
        if !installed && !is_comment && NEEDS_RUST.iter().any(|word| line.contains(word)) {
            found.push(job);
        }
    }
    found
}

/// Whether a text is a version of so many numbers.
pub(super) fn is_version(text: &str, parts: usize) -> bool {
    let numbers: Vec<_> = text.split('.').collect();
    numbers.len() == parts && numbers.iter().all(|number| number.parse::<u16>().is_ok())
}
