//! The oldest versions of dependencies without known vulnerabilities; `Cargo.lock` must not go below them.

const MIN_VERSIONS: &[(&str, [u64; 3])] = &[
    ("bytes", [1, 11, 1]),
    ("h2", [0, 4, 18]),
    ("hyper", [1, 11, 0]),
    ("ring", [0, 17, 12]),
    ("rustls", [0, 23, 45]),
    ("rustls-webpki", [0, 103, 13]),
    ("tokio", [1, 44, 2]),
];

/// Crates that are unmaintained, or a second TLS implementation.
const FORBIDDEN_PACKAGES: &[&str] = &["openssl-sys", "native-tls", "rustls-pemfile", "aws-lc-sys"];

#[test]
fn nothing_older_than_its_floor_is_locked() {
    let lock = include_str!("../../Cargo.lock");
    let packages: Vec<(&str, [u64; 3])> = lock.split("[[package]]").skip(1).map(parse_package).collect();
    for (name, floor) in MIN_VERSIONS {
        let mut found = packages.iter().filter(|(package, _)| package == name).peekable();
        assert!(found.peek().is_some(), "{name} is not locked");
        for (_, version) in found {
            assert!(version >= floor, "{name} {version:?} is older than {floor:?}");
        }
    }
    for name in FORBIDDEN_PACKAGES {
        assert!(packages.iter().all(|(package, _)| package != name), "{name} came in");
    }
}

fn parse_package(text: &str) -> (&str, [u64; 3]) {
    let line = |key: &str| {
        let (_before, rest) = text.split_once(&format!("\n{key} = \"")).unwrap();
        rest.split('"').next().unwrap()
    };
    let numbers = line("version").split(['.', '-', '+']);
    let mut version = [0; 3];
    for (part, number) in version.iter_mut().zip(numbers) {
        *part = number.parse().unwrap();
    }
    (line("name"), version)
}
