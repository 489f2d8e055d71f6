//! What the container image says of itself, and what builds the one that is released.

use super::read;
use super::rust_version::is_version;

#[test]
fn the_image_names_its_source_and_its_license_as_cargo_does() {
    let (manifest, dockerfile) = (read("Cargo.toml"), read("Dockerfile"));
    let (_, stage) = dockerfile
        .rsplit_once("\nFROM scratch\n")
        .expect("the last stage is empty");
    for (label, key) in [("source", "repository"), ("licenses", "license")] {
        let mut lines = manifest.lines();
        let value = lines
            .find_map(|line| line.strip_prefix(&format!("{key} = ")))
            .expect(key);
        let label = format!("org.opencontainers.image.{label}={value}");
        assert!(stage.contains(&label), "the Dockerfile lacks the label {label}");
    }
}

#[test]
fn the_workflows_create_builders_of_an_exact_version() {
    let release = read(".github/workflows/release.yml");
    assert!(release.contains("docker buildx create"), "the release has no builder");
    for workflow in [release, read(".github/workflows/test.yml")] {
        assert_eq!(inexact_builders(&workflow), [""; 0]);
    }
    let exact = "docker buildx create --use --driver-opt image=moby/buildkit:v1.2.3";
    assert_eq!(inexact_builders(exact), [""; 0]);
    for bad in [
        "docker buildx create --use",
        &exact[..exact.len() - 2],
        &exact.replace("v1.2.3", "latest"),
    ] {
        assert_eq!(inexact_builders(bad), [bad]);
    }
}

/// The lines that create a builder of a version that may change.
fn inexact_builders(workflow: &str) -> Vec<&str> {
    let is_exact = |line: &str| {
        let version = line.split_once(" image=moby/buildkit:v").map(|(_, version)| version);
        version.is_some_and(|version| is_version(version, 3))
    };
    let builders = workflow.lines().filter(|line| line.contains("docker buildx create"));
    builders.filter(|line| !is_exact(line)).collect()
}
