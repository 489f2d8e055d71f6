//! The oldest Rust that the workspace states, in all places that state it.
//!
//! # Why
//!
//! Whether the stated version can build the code is for `tests/run` to show, which checks the workspace with it. Here it is
//! held that there is only one.

use super::read;

#[test]
fn every_crate_the_image_and_the_release_state_the_same_rust_version() {
    let stated = rust_version(&read("Cargo.toml")).expect("Cargo.toml states one");
    assert_eq!(rust_version(&read("fake-graph/Cargo.toml")), Some(stated.clone()));
    assert!(
        read("Dockerfile").contains(&format!("FROM rust:{stated}-")),
        "Dockerfile"
    );
    let release = ".github/workflows/release.yml";
    assert!(
        read(release).contains(&format!("RUSTUP_TOOLCHAIN: {stated}.")),
        "{release}"
    );
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

fn rust_version(manifest: &str) -> Option<String> {
    let mut lines = manifest.lines();
    let value = lines.find_map(|line| line.strip_prefix("rust-version = \""))?;
    Some(value.strip_suffix('"')?.to_owned())
}
