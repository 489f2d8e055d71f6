//! Checks that the words for machines are listed where their readers look them up: the codes of `check`, the kinds of events.

use std::collections::BTreeSet;

use serde_json::Value;

use super::read;

const CHECK: &str = "docs/check.md";

#[test]
fn the_docs_have_every_code_of_a_check_and_no_other() {
    let files = ["", "/compare", "/diagnose", "/number", "/settings"];
    let sources = files.map(|file| read(&format!("src/cli/check{file}.rs"))).concat();
    let mut codes = words_in_quotes(&sources);
    // A title, and keys of the facts.
    for other in ["tenants_from", "expires_at", "phone_numbers"] {
        assert!(codes.remove(other), "{other} is no exception any more");
    }
    assert!(codes.len() >= 40, "{codes:?}");
    let page = read(CHECK);
    let table = page.split("\n## ").find(|section| section.starts_with("All codes\n"));
    let mut listed = BTreeSet::new();
    for row in table.unwrap().lines().filter(|line| line.starts_with("| `")) {
        listed.extend(words_between(row.split(" | ").nth(1).unwrap(), '`'));
    }
    // The only one of a single word.
    assert!(sources.contains("\"unreachable\"") && listed.remove("unreachable"));
    assert_eq!(listed, codes, "{CHECK} on the left, src/cli/check on the right");
}

#[test]
fn the_description_and_the_docs_have_every_kind_of_event_and_no_other() {
    let audit = read("src/telemetry/audit.rs");
    let labels = audit
        .split("fn label(")
        .nth(1)
        .unwrap()
        .split("\n    }")
        .next()
        .unwrap();
    let mut kinds = words_between(labels, '"');
    let alert = read("src/token/alert.rs");
    let properties = alert.split("fn properties(").nth(1).unwrap();
    let causes = properties.lines().filter(|line| line.contains("=> (\""));
    kinds.extend(causes.filter_map(|line| line.split('"').nth(1)).map(str::to_owned));
    let adding = ["src/admin.rs", "src/admin/changes.rs", "src/app/token_reports.rs"].map(read);
    for call in adding.iter().flat_map(|text| text.split("events.add(").skip(1)) {
        kinds.extend(words_between(call.split(");").next().unwrap(), '"'));
    }
    let is_kind = |word: &String| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    kinds.retain(is_kind);
    assert!(kinds.len() >= 25, "{kinds:?}");
    let description: Value = serde_json::from_str(&read("src/admin/openapi.json")).unwrap();
    let event = "/components/schemas/Events/properties/events/items/properties/kind/enum";
    let described = description.pointer(event).unwrap().as_array().unwrap().iter();
    let described: BTreeSet<_> = described.map(|kind| kind.as_str().unwrap().to_owned()).collect();
    assert_eq!(described, kinds, "openapi.json on the left, the code on the right");
    let named = words_between(&(read("docs/admin.md") + &read("docs/metrics.md")), '`');
    assert!(named.is_superset(&kinds), "{:?}", kinds.difference(&named));
}

/// The texts in quotes that are words with underscores.
fn words_in_quotes(text: &str) -> BTreeSet<String> {
    let is_word = |word: &String| {
        let mut parts = word.split('_');
        word.contains('_') && parts.all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase()))
    };
    let words = text.lines().flat_map(|line| words_between(line, '"'));
    words.filter(is_word).collect()
}

/// The texts between two of these marks, line by line.
pub(super) fn words_between(text: &str, mark: char) -> BTreeSet<String> {
    let inside = |line: &str| {
        let texts = line.split(mark).skip(1).step_by(2);
        texts.map(str::to_owned).collect::<Vec<_>>()
    };
    text.lines().flat_map(inside).collect()
}
