//! Checks that `docs/refusals.md` has every refusal, and says what an app does with it.

use std::collections::{BTreeMap, BTreeSet};

use super::docs::{docs, words_starting_with};
use super::read;

const REFUSALS: &str = "docs/refusals.md";

/// A row that the table must have.
#[derive(Debug)]
struct Row {
    /// Its first cells: status, code, RFC 9209's word, label.
    cells: String,
    is_transient: bool,
}

#[test]
fn the_docs_have_every_refusal_and_no_other() {
    let rows = refusals(&read("src/proxy/refusal.rs"));
    assert!(rows.len() >= 15, "{rows:?}");
    let table = read(REFUSALS);
    for row in &rows {
        let found = table.lines().find(|line| line.starts_with(&row.cells));
        let line = found.unwrap_or_else(|| panic!("{REFUSALS} lacks the row\n{}", row.cells));
        let next = line.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        assert!(
            ["retry", "dead letter", "fall back"].contains(&next),
            "what to do next, at the end of\n{line}"
        );
        assert_eq!(next == "retry", row.is_transient, "{line}");
    }
    let documented = table.lines().filter(|line| line.contains(" | 990"));
    assert_eq!(
        documented.count(),
        rows.len(),
        "{REFUSALS} has a refusal that does not exist"
    );
    let labels: BTreeSet<_> = rows.iter().filter_map(|row| row.cells.split('`').nth(3)).collect();
    let alerts = read("config/prometheus/alerts.yaml");
    for text in docs().values().chain([&alerts]) {
        for start in ["refused_", "request_body_", "upstream_connect", "upstream_tls_"] {
            for label in words_starting_with(text, start) {
                assert!(labels.contains(label.as_str()), "{label} does not exist");
            }
        }
    }
}

/// The rows that the table of refusals must have: status, code, RFC 9209's word, label.
fn refusals(source: &str) -> Vec<Row> {
    let words: BTreeMap<_, _> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("const ")?.split_once(": &str = \""))
        .map(|(name, value)| (name, value.trim_end_matches("\";")))
        .collect();
    let row = |line: &str| {
        let facts = line.trim().strip_prefix("Self::")?.split_once("=> (S::")?.1;
        let cells: Vec<_> = facts.split(", ").collect();
        let [status, error, label, code, transient] = cells.as_slice() else {
            return None;
        };
        let error = match words.get(error) {
            Some(word) => word,
            None => error.trim_matches('"'),
        };
        let label = label.trim_matches('"');
        let (status, code) = (number(status), code.replace('_', ""));
        Some(Row {
            cells: format!("| {status} | {code} | `{error}` | `{label}` |"),
            is_transient: transient.starts_with("true"),
        })
    };
    source.lines().filter_map(row).collect()
}

fn number(status: &str) -> u16 {
    let shown = |code: &u16| {
        let status = http::StatusCode::from_u16(*code).unwrap();
        status
            .canonical_reason()
            .map(|reason| reason.to_uppercase().replace([' ', '-'], "_"))
    };
    let found = (400..600).find(|code| shown(code).as_deref() == Some(status));
    found.unwrap_or_else(|| panic!("no status is called {status}"))
}
