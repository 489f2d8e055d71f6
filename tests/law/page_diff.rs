//! Checks that the difference of two programs that a page shows is the difference of the files.

use super::read;

const PAGE: &str = "docs/tenants.md";
const PROGRAMS: &str = "tests/clients/node/consumer";

#[test]
fn the_page_shows_what_changes_in_the_consumer_and_nothing_else() {
    let page = read(PAGE);
    let diff = page.split("```diff\n").nth(1).unwrap().split("```").next().unwrap();
    let [before, after] = ["before", "after"].map(|name| read(&format!("{PROGRAMS}/{name}.mjs")));
    assert_eq!(patched(&before, diff).as_deref(), Some(&*after));
    let added = diff.lines().filter(|line| line.starts_with('+')).count();
    assert_eq!(added, 2, "the base URL and one header line");
    let changed = diff.replace("X-Tenant-Id", "X-Tenant");
    assert_ne!(patched(&before, &changed).as_deref(), Some(&*after));
    assert_eq!(patched(&before, &diff.replace("Bearer", "bearer")), None);
}

/// The text after a diff; `None` if a hunk's old lines do not stand in it exactly once.
fn patched(before: &str, diff: &str) -> Option<String> {
    let mut text = before.to_owned();
    for hunk in diff.split("@@\n").skip(1) {
        let lines_without = |sign: char| -> String {
            let kept = hunk.lines().filter(|line| !line.starts_with(sign));
            // A blank line has lost the blank before it.
            kept.map(|line| format!("{}\n", line.get(1..).unwrap_or_default()))
                .collect()
        };
        let (old, new) = (lines_without('+'), lines_without('-'));
        if text.matches(&old).count() != 1 {
            return None;
        }
        text = text.replace(&old, &new);
    }
    Some(text)
}
