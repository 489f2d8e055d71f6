//! Checks that `docs/metrics.md` has every field of the record of a request, and no other.

use std::collections::BTreeSet;

use super::read;

const PAGE: &str = "docs/metrics.md";

#[test]
fn the_docs_have_every_field_of_the_record_of_a_request() {
    let fields = fields(&read("src/proxy/record.rs"));
    assert!(fields.len() >= 18, "{fields:?}");
    let page = read(PAGE);
    let (_, section) = page.split_once("\n## Records of requests\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split(" |").next());
    let documented: BTreeSet<_> = cells
        .flat_map(|cell| cell.split("`, `"))
        .map(|name| name.trim_end_matches('`'))
        .collect();
    let written: BTreeSet<_> = fields.iter().map(String::as_str).collect();
    assert_eq!(documented, written, "{PAGE} on the left");
    let source = "tracing::event!(\n$level,\na = 1.or(\nb,\n),\n// c\nd,\n\"request\"\n)";
    assert_eq!(self::fields(source), ["a", "d"]);
}

/// The names of the fields of the event `request`: what begins a line of the macro at its depth, before `=` or `,`.
fn fields(source: &str) -> Vec<String> {
    let (_, event) = source.split_once("tracing::event!(").unwrap();
    let (event, _) = event.split_once("\"request\"").unwrap();
    let mut depth = 0;
    let mut names = Vec::new();
    for line in event.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        let name: String = line
            .chars()
            .take_while(|it| it.is_ascii_lowercase() || *it == '_')
            .collect();
        let rest = line[name.len()..].trim_start();
        if depth == 0 && !name.is_empty() && (rest.starts_with('=') || rest.starts_with(',')) {
            names.push(name);
        }
        for sign in line.chars() {
            depth += i32::from(sign == '(') - i32::from(sign == ')');
        }
    }
    names
}
