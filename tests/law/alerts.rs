//! Checks that each alert has a section in the runbook, a link to it, and a unit test.

use std::collections::BTreeSet;

use super::{read, text_files};

const RUNBOOK: &str = "docs/runbook.md";
const LINK: &str = "https://github.com/graphward/graphward/blob/main/docs/runbook.md#";

#[test]
fn every_alert_has_a_link_to_its_section_of_the_runbook_and_a_unit_test() {
    let alerts = read("config/prometheus/alerts.yaml");
    let names = after(&alerts, "- alert: ");
    assert!(names.len() >= 35, "{names:?}");
    assert_eq!(after(&read(RUNBOOK), "## "), names, "{RUNBOOK} on the left");
    for rule in alerts.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap();
        let link = format!("runbook_url: {LINK}{}\n", name.to_lowercase());
        assert!(rule.contains(&link), "{name} lacks {link}");
    }
    let tests = text_files().into_iter();
    let tests = tests.filter(|(path, _)| path.starts_with("tests/deployment/alerts/"));
    let tests: String = tests.map(|(_, text)| text).collect();
    assert_eq!(after(&tests, "- alertname: "), names, "the unit tests on the left");
}

/// What follows this beginning in the lines that have it.
fn after(text: &str, start: &str) -> BTreeSet<String> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix(start));
    lines.map(str::to_owned).collect()
}
