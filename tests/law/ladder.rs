//! The files of a folder form a ladder: there is no circle of imports among siblings.
//!
//! # Why
//!
//! A circle of files can only be understood as a whole. A file of a ladder can be read with those below it.

use std::collections::{BTreeMap, BTreeSet};

use super::{code_without_comments, imported_names, is_test, text_files};

/// The root of a crate whose files import each other by `crate::`. In graphward's own root, modules have layers.
const FLAT_CRATE: &str = "fake-graph/src";

#[test]
fn no_folder_has_a_circle_of_imports() {
    let files = text_files().into_iter().filter(|(path, _)| path.contains("src/"));
    let found = circles(&files.collect());
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_circle_would_be_noticed() {
    let circles_of = |files: &[(&str, &str)]| {
        let owned = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        circles(&owned.collect())
    };
    let c = ("src/a/c.rs", "use super::d::{D, E};");
    let pair = [c, ("src/a/d.rs", "fn f() -> super::c::C {}")];
    assert_eq!(circles_of(&pair)["src/a"], ["c", "d"]);
    let three = [
        c,
        ("src/a/d.rs", "use super::{b, e};"),
        ("src/a/e.rs", "use super::c::C;"),
        ("src/a/b.rs", ""),
    ];
    assert_eq!(circles_of(&three)["src/a"], ["c", "d", "e"]);
    let through_a_child = [c, ("src/a/d.rs", "mod x;"), ("src/a/d/x.rs", "use super::super::c::C;")];
    assert_eq!(circles_of(&through_a_child)["src/a"], ["c", "d"]);
    let by_crate = [
        ("fake-graph/src/c.rs", "use crate::d::D;"),
        ("fake-graph/src/d.rs", "mod x;"),
        ("fake-graph/src/d/x.rs", "fn f() -> crate::c::C {}"),
    ];
    assert_eq!(circles_of(&by_crate)[FLAT_CRATE], ["c", "d"]);
    for ladder in [
        ("src/a/d.rs", "// use super::c::C;"),
        ("src/a/d.rs", "mod tests {\n    use super::c::C;"),
        ("src/a/d/tests.rs", "use super::super::c::C;"),
        ("src/b/d.rs", "use super::c::C;"),
    ] {
        assert!(circles_of(&[c, ("src/a/d.rs", ""), ladder]).is_empty(), "{ladder:?}");
    }
}

/// The files on a circle, by folder. A folder `x/` counts as part of the file `x.rs` beside it.
fn circles(files: &BTreeMap<String, String>) -> BTreeMap<String, Vec<String>> {
    let mut imports: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (path, text) in files.iter().filter(|(path, _)| !is_test(path)) {
        let code = code_without_comments(text);
        let mut start = String::new();
        let mut rest = path.trim_end_matches(".rs");
        while let Some((folder, name)) = rest.rsplit_once('/') {
            start.push_str("super::");
            let mut names = imported_names(&code, &start);
            if folder == FLAT_CRATE {
                names.extend(imported_names(&code, "crate::"));
            }
            let names = names.into_iter();
            let siblings = names.filter(|other| other != name && files.contains_key(&format!("{folder}/{other}.rs")));
            let of_folder = imports.entry(folder.to_owned()).or_default();
            of_folder.entry(name.to_owned()).or_default().extend(siblings);
            rest = folder;
        }
    }
    let on_circle = |graph: &BTreeMap<String, BTreeSet<String>>| -> Vec<String> {
        let names = graph.keys().filter(|name| reachable(graph, name).contains(*name));
        names.cloned().collect()
    };
    let found = imports.iter().map(|(folder, graph)| (folder.clone(), on_circle(graph)));
    found.filter(|(_, names)| !names.is_empty()).collect()
}

/// Everything that is imported from here, directly or not.
fn reachable(graph: &BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![from.to_owned()];
    while let Some(name) = open.pop() {
        let new = graph.get(&name).into_iter().flatten();
        open.extend(new.filter(|name| found.insert((*name).clone())).cloned());
    }
    found
}
