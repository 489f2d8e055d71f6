//! The picture of the architecture.

use super::{layer_ranks, read};

#[test]
fn the_picture_shows_every_module_in_its_layer() {
    let drawn = drawn_modules(&read("ARCHITECTURE.md"));
    let ranks = layer_ranks(&read("src/lib.rs"));
    let mut expected: Vec<_> = ranks.into_iter().map(|(module, rank)| (rank, module)).collect();
    expected.sort();
    assert_eq!(drawn, expected);
    assert_eq!(
        drawn_modules(" 1  ├──\n    │ graph  words │ telemetry  logs │\n"),
        [(1, "graph".to_owned()), (1, "telemetry".to_owned())]
    );
}

/// The boxes of the picture with their layers, which stand at the line above them.
fn drawn_modules(picture: &str) -> Vec<(u32, String)> {
    let mut layer = None;
    let mut modules = Vec::new();
    for line in picture.lines() {
        layer = line.get(..3).and_then(|number| number.trim().parse().ok()).or(layer);
        let cells = line
            .strip_prefix("    │ ")
            .into_iter()
            .flat_map(|cells| cells.split("│ "));
        let names = cells.filter_map(|cell| cell.split_whitespace().next());
        modules.extend(names.filter_map(|name| Some((layer?, name.to_owned()))));
    }
    modules.sort();
    modules
}
