//! Checks that README, `docs/`, alerts, image and manifests say what the code does.

use std::collections::{BTreeMap, BTreeSet};

use graphward::config::{Config, EnvVars, Overrides, common_env_vars, env_var_names};

use super::{read, root, text_files};

const METRICS: &str = "docs/metrics.md";
const REQUESTS: &str = "docs/requests.md";
const CONFIGURATION: &str = "docs/configuration.md";

#[test]
fn the_docs_have_every_metric_and_no_other() {
    let sources = text_files().into_iter();
    let sources = sources.filter(|(path, _)| path.starts_with("src/telemetry/metrics"));
    let families = registered_metrics(&sources.map(|(_, text)| text).collect::<String>());
    assert!(families.len() >= 15, "{families:?}");
    let documented = metrics_named_in(&read(METRICS));
    assert_eq!(
        documented, families,
        "{METRICS} on the left, src/telemetry/metrics on the right"
    );
    let named = docs()
        .values()
        .flat_map(|text| metrics_named_in(text))
        .collect::<BTreeSet<_>>();
    assert!(named.is_subset(&families), "{:?}", named.difference(&families));
    let alerts = read("config/prometheus/alerts.yaml");
    let alerted = metrics_named_in(&(alerts + &read("config/grafana/graphward.json")));
    assert!(alerted.is_subset(&families), "{:?}", alerted.difference(&families));
    assert!(!metrics_named_in("rate(graphward_surprises_total[5m])").is_subset(&families));
}

#[test]
fn the_docs_name_every_alert_about_a_metric_beside_it() {
    let table = read(METRICS);
    let rows = table.lines().filter(|line| line.starts_with("| `graphward_"));
    let beside = |row: &str| row.rsplit(" | ").next().unwrap_or_default().to_owned();
    let told: BTreeSet<_> = rows
        .flat_map(|row| words_starting_with(&beside(row), "Graph"))
        .collect();
    let alerts = read("config/prometheus/alerts.yaml");
    let names = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let names: BTreeSet<_> = names.map(str::to_owned).collect();
    assert!(names.len() >= 25, "{names:?}");
    assert_eq!(told, names, "{METRICS} on the left, alerts.yaml on the right");
}

#[test]
fn the_docs_have_every_outcome() {
    let record = read("src/proxy/record.rs");
    let table = read(REQUESTS);
    let arms = record
        .lines()
        .filter(|line| line.trim_start().starts_with('(') && line.contains("=> \""));
    let outcomes: Vec<_> = arms.filter_map(|line| line.split('"').nth(1)).collect();
    assert_eq!(outcomes.len(), 12, "{outcomes:?}");
    for outcome in outcomes {
        assert!(
            table.contains(&format!("| `{outcome}` |")),
            "{REQUESTS} lacks {outcome}"
        );
    }
}

#[test]
fn every_variable_that_is_named_exists_and_the_docs_name_all() {
    let common: BTreeSet<_> = common_env_vars().map(str::to_owned).collect();
    assert!(words_starting_with(&read(CONFIGURATION), "GRAPHWARD_").is_superset(&common));
    // The prefix itself is the name of the rule.
    let known: BTreeSet<_> = env_var_names().into_iter().chain(["GRAPHWARD_".to_owned()]).collect();
    assert!(known.is_superset(&common));
    for (path, text) in deployment_files().into_iter().chain(docs()) {
        let named = words_starting_with(&text, "GRAPHWARD_");
        assert!(named.is_subset(&known), "{path}: {named:?}");
    }
}

#[test]
fn every_configuration_that_is_shipped_is_valid() {
    let mut count = 0;
    for (path, text) in text_files() {
        if path.starts_with("config/") && path.ends_with(".toml") {
            assert_valid_config(&path, &text);
            count += 1;
        }
    }
    assert!(count >= 3);
    let shipped = count;
    for (path, text) in docs() {
        for block in text.split("```toml\n").skip(1) {
            assert_valid_config(&path, block.split("```").next().unwrap());
            count += 1;
        }
    }
    assert!(count > shipped, "the docs show no configuration");
    assert!(std::panic::catch_unwind(|| assert_valid_config("x", "[listen]\nprxy = 1")).is_err());
}

#[test]
fn the_readme_is_read_in_five_minutes() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 150, "README.md has {lines} lines: move details to docs/");
}

#[test]
fn no_command_in_the_docs_has_a_secret_among_its_arguments() {
    let is_exposed = |line: &str| {
        line.split_once("-d '")
            .is_some_and(|(_, body)| ["EAA", "AQB"].iter().any(|start| body.contains(start)))
    };
    assert!(is_exposed("curl http://a -d '{\"accessToken\": \"EAAG…\"}'"));
    // The tokens of the fake Graph are no secrets.
    for (path, text) in docs().into_iter().filter(|(path, _)| path != "docs/fake-graph.md") {
        for line in text.lines() {
            assert!(
                !is_exposed(line),
                "{path}: send it from standard input, by -d @-: {line}"
            );
        }
    }
}

#[test]
fn every_link_leads_to_a_file_and_to_a_heading_in_it() {
    let docs = docs();
    let mut links = 0;
    for (path, text) in &docs {
        for link in relative_links(text) {
            links += 1;
            assert!(broken_link(path, &link, &docs).is_none(), "{path} links to {link}");
        }
    }
    assert!(links >= 20, "only {links} links were found");
    for bad in ["docs/no-such-file.md", "docs/speed.md#no-such-heading", "../README.md"] {
        assert!(broken_link("README.md", bad, &docs).is_some(), "{bad}");
    }
}

#[test]
fn every_path_that_the_docs_name_exists() {
    let mut count = 0;
    for (page, text) in docs() {
        for path in named_paths(&text) {
            count += 1;
            assert!(root().join(&path).exists(), "{page} names {path}");
        }
    }
    assert!(count >= 15, "only {count} paths were found");
    assert_eq!(
        named_paths("see `src/lib.rs` and `tests/run fuzz`, `src`, not `/etc/x`"),
        ["src/lib.rs", "tests/run"]
    );
}

#[test]
fn the_image_runs_alone_unprivileged_and_can_be_asked_for_its_health() {
    let dockerfile = read("Dockerfile");
    let last = dockerfile.rsplit_once("\nFROM ").unwrap().1;
    for line in [
        "scratch",
        "USER 65532:65532",
        "STOPSIGNAL SIGTERM",
        "CMD [\"/graphward\", \"healthcheck\"]",
        "ENTRYPOINT [\"/graphward\"]",
        "VOLUME [\"/spool\", \"/var/lib/graphward\"]",
        "config/image.toml /etc/graphward/graphward.toml",
    ] {
        assert!(last.contains(line), "the last stage lacks {line}");
    }
    let build = "cargo build --profile dist --locked --package graphward --no-default-features";
    assert!(dockerfile.contains(build), "without the fake Graph");
    for line in ["spool_dir = \"/spool\"", "dir = \"/var/lib/graphward\""] {
        assert!(read("config/image.toml").contains(line), "{line}");
    }
    let ignored = read(".dockerignore");
    assert!(
        ["target", ".git", "**/.env", "token"]
            .iter()
            .all(|name| ignored.lines().any(|line| line == *name))
    );
    // A name under `**/` that is also a module's would leave that module out of the image.
    for name in ignored.lines().filter_map(|line| line.strip_prefix("**/")) {
        assert!(
            !text_files()
                .iter()
                .any(|(path, _)| { path.starts_with("src/") && path.split('/').any(|part| part == name) })
        );
    }
}

#[test]
fn the_package_has_the_manual_the_completions_and_files_that_exist() {
    let manifest = read("Cargo.toml");
    let (_, assets) = manifest.split_once("\nassets = [\n").unwrap();
    let assets = assets.split("\n]").next().unwrap();
    let built = read("packaging/common.sh");
    let mut places = BTreeSet::new();
    for asset in assets.lines() {
        let [_, source, _, place, ..] = asset.split('"').collect::<Vec<_>>()[..] else {
            panic!("{asset}");
        };
        let folder = source.rsplit_once("/*").map_or(source, |(folder, _)| folder);
        match source.strip_prefix("packaging/share/") {
            Some(_) => {
                let made = folder.replace("packaging/share/", "\"$share/") + "\"";
                assert!(built.contains(&made), "packaging/common.sh does not make {folder}");
                places.insert(place);
            }
            None if source.starts_with("target/release/") => {}
            None => assert!(root().join(folder).exists(), "there is no {source}"),
        }
    }
    let wanted = [
        "man/man1",
        "bash-completion/completions",
        "fish/vendor_completions.d",
        "zsh/vendor-completions",
    ];
    let wanted = wanted.map(|place| format!("usr/share/{place}/"));
    assert_eq!(places, wanted.iter().map(String::as_str).collect());
}

#[test]
fn the_manifests_keep_the_promises_of_a_sidecar() {
    let files = deployment_files();
    let has = |path: &str, lines: &[&str]| {
        let text = files.get(path).unwrap_or_else(|| panic!("there is no {path}"));
        for line in lines {
            assert!(text.contains(line), "{path} lacks {line}");
        }
    };
    has(
        "config/kubernetes/base/sidecar.yaml",
        &[
            "restartPolicy: Always",
            "enableServiceLinks: false",
            "path: /startupz",
            "path: /readyz",
            "readOnlyRootFilesystem: true",
            "runAsUser: 65532",
            "emptyDir",
            "terminationGracePeriodSeconds",
        ],
    );
    has(
        "config/compose/compose.yaml",
        &["healthcheck:", "/graphward, healthcheck", "read_only: true"],
    );
    has(
        "config/systemd/graphward.service",
        &[
            "Type=notify",
            "WatchdogSec=",
            "NoNewPrivileges=yes",
            "ProtectSystem=strict",
            "StateDirectory=graphward",
            "LogsDirectory=graphward",
        ],
    );
    for (path, text) in &files {
        // Tabs are what YAML dies of.
        assert!(!text.contains('\t'), "{path} has a tab");
    }
}

// === what the code says ===

/// The names under which families are registered.
fn registered_metrics(source: &str) -> BTreeSet<String> {
    let calls = [".register", " family"].map(|name| source.split(name).skip(1));
    let calls = calls.into_iter().flatten().filter_map(|call| call.split_once('('));
    let names = calls.filter_map(|(_, arguments)| arguments.trim_start().strip_prefix('"')?.split('"').next());
    names.map(str::to_owned).collect()
}

/// The families that a text names, whatever Prometheus appends to them.
fn metrics_named_in(text: &str) -> BTreeSet<String> {
    let names = words_starting_with(text, "graphward_").into_iter();
    let bare = names.filter_map(|name| {
        let name = name.strip_prefix("graphward_")?;
        let ends = ["_total", "_bucket", "_sum", "_count", "_info"];
        Some(
            ends.iter()
                .find_map(|end| name.strip_suffix(end))
                .unwrap_or(name)
                .to_owned(),
        )
    });
    bare.collect()
}

// === what the docs say ===

/// README, CONTRIBUTING and everything else that is written to be read, by path.
pub(super) fn docs() -> BTreeMap<String, String> {
    text_files()
        .into_iter()
        .filter(|(path, _)| path.ends_with(".md"))
        .collect()
}

/// The paths of the repository that a text names in backquotes.
fn named_paths(text: &str) -> Vec<String> {
    let folders = [
        "src/",
        "tests/",
        "config/",
        "docs/",
        "benches/",
        "fuzz/",
        "fake-graph/",
        "packaging/",
    ];
    let quoted = text.split('`').skip(1).step_by(2);
    let first_words = quoted.filter_map(|quoted| quoted.split_whitespace().next());
    let paths = first_words.filter(|word| folders.iter().any(|folder| word.starts_with(folder)));
    paths.map(str::to_owned).collect()
}

/// The targets of a text's relative links.
fn relative_links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .filter(|target| !target.contains("://"))
        .map(str::to_owned)
        .collect()
}

/// The reason why a link on a page leads nowhere.
fn broken_link(page: &str, link: &str, docs: &BTreeMap<String, String>) -> Option<String> {
    let (file, heading) = link.split_once('#').unwrap_or((link, ""));
    let mut parts: Vec<_> = page.split('/').collect();
    parts.pop();
    for part in file.split('/') {
        match part {
            ".." if parts.pop().is_none() => return Some("it leads out of the repository".to_owned()),
            ".." => {}
            part => parts.push(part),
        }
    }
    let target = if file.is_empty() {
        page.to_owned()
    } else {
        parts.join("/")
    };
    if !root().join(&target).exists() {
        return Some(format!("there is no {target}"));
    }
    if heading.is_empty() {
        return None;
    }
    let text = docs.get(&target).map_or("", String::as_str);
    let mut headings = text.lines().filter(|line| line.starts_with('#'));
    let found = headings.any(|line| anchor(line.trim_start_matches('#')) == heading);
    (!found).then(|| format!("{target} has no heading {heading}"))
}

/// The anchor that GitHub gives to a heading.
fn anchor(heading: &str) -> String {
    let letters = heading.trim().chars().flat_map(char::to_lowercase);
    let kept = letters.filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

/// Every word that begins like this.
pub(super) fn words_starting_with(text: &str, start: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let words = words.filter(|word| word.len() > start.len() && word.starts_with(start));
    words.map(str::to_owned).collect()
}

/// What a user copies to deploy.
fn deployment_files() -> BTreeMap<String, String> {
    let is_deployed = |path: &str| path.starts_with("config/") && !path.ends_with(".toml");
    text_files().into_iter().filter(|(path, _)| is_deployed(path)).collect()
}

#[track_caller]
fn assert_valid_config(path: &str, text: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("graphward.toml");
    std::fs::write(&file, text).unwrap();
    let flags = Overrides {
        config: Some(file),
        ..Overrides::default()
    };
    if let Err(error) = Config::load(flags, &EnvVars::new()) {
        panic!("{path}: {error}\n{text}");
    }
}
