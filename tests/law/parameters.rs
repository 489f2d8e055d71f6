//! Parameters have types that say what they mean: no function takes a `bool` or a tuple.
//!
//! # Why
//!
//! `connect(true, (a, b))` says nothing where it is called, and two flags are swapped without an error. Two functions, an
//! enum or a named argument say it. `From<bool>` stays: its signature is the trait's.

use super::{code_without_comments, is_test, text_files};

#[test]
fn no_function_takes_a_flag_or_a_tuple() {
    let files = text_files().into_iter();
    let files = files.filter(|(path, _)| path.ends_with(".rs") && path.contains("src/") && !is_test(path));
    let files: Vec<_> = files.collect();
    let found: Vec<_> = files
        .iter()
        .flat_map(|(path, text)| {
            let found = nameless_parameters(text).into_iter();
            found.map(move |parameter| format!("{path}: {parameter}"))
        })
        .collect();
    assert!(found.is_empty(), "{found:#?}");
    let functions = files.iter().map(|(_, text)| signatures(text).len());
    assert!(functions.sum::<usize>() > 1_500, "they are not all seen");
}

#[test]
fn a_flag_or_a_tuple_would_be_noticed() {
    for bad in [
        "fn f(a: bool) {}",
        "pub const fn f(&self, a: u8, is_b: bool) -> u8 {",
        "fn f<T: Fn(u8) -> u8>(t: T, a: Option<bool>);",
        "fn f(\n    a: &mut bool,\n) {",
        "fn f((a, b): (&str, u8)) {}",
        "fn f(a: &'static (u8, u8)) {}",
        "fn f(a: Option<(&str, &str)>) {}",
        "fn f(a: fn(u8) -> u8, b: impl Into<bool>) {}",
    ] {
        assert_eq!(nameless_parameters(bad).len(), 1, "{bad}");
    }
    for good in [
        "fn f(&self) -> bool {}",
        "fn f(a: impl Fn(u8, bool) -> bool, b: Vec<u8>) -> (u8, bool) {",
        "fn f(a: &[(&str, &str)], b: [bool; 2], c: ()) {",
        "fn f(Point { x, y }: Point) { let a: bool = true; }",
        "// fn f(a: bool) {}",
        "struct A { is_a: bool, f: fn(bool) }",
        "impl From<bool> for A {\n    fn from(is_set: bool) -> Self {",
        "mod tests {\n    fn f(a: bool) {}",
    ] {
        assert_eq!(nameless_parameters(good), Vec::<String>::new(), "{good}");
    }
}

/// The parameters of a text's functions that are flags or tuples, each with the name of its function.
fn nameless_parameters(text: &str) -> Vec<String> {
    let signatures = signatures(text).into_iter();
    let parameters = signatures.filter(|(name, _)| name != "from").flat_map(|(name, list)| {
        let parameters = split_outside_brackets(&list, ',').into_iter();
        parameters.map(move |parameter| (name.clone(), parameter))
    });
    let found = parameters.filter_map(|(name, parameter)| {
        let kind = split_outside_brackets(&parameter, ':').into_iter().nth(1)?;
        is_nameless(&kind).then(|| format!("{name}({parameter})"))
    });
    found.collect()
}

/// Whether values of the type are a flag or a tuple, by reference or optional as well.
fn is_nameless(kind: &str) -> bool {
    let mut kind = kind.trim();
    loop {
        let outer = ["&", "mut ", "'static ", "'_ ", "'a ", "Option<", "impl Into<"];
        match outer.iter().find_map(|outer| kind.strip_prefix(outer)) {
            Some(inner) => kind = inner.trim_start(),
            None => break,
        }
    }
    let is_flag = kind
        .strip_prefix("bool")
        .is_some_and(|rest| rest.chars().all(|letter| letter == '>'));
    is_flag || (kind.starts_with('(') && !kind.starts_with("()"))
}

/// The name and the parameters of each function of a text.
pub(super) fn signatures(text: &str) -> Vec<(String, String)> {
    // An arrow is no bracket.
    let code = code_without_comments(text).replace("->", "  ");
    let starts = code.match_indices("fn ");
    let starts =
        starts.filter(|(at, _)| !code[..*at].ends_with(|before: char| before.is_alphanumeric() || before == '_'));
    let signature = |(at, word): (usize, &str)| {
        let rest = &code[at + word.len()..];
        let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_')?;
        let (name, rest) = rest.split_at(end);
        let generics = if rest.starts_with('<') { bracketed(rest) } else { "" };
        let list = bracketed(&rest[generics.len()..])
            .strip_prefix('(')?
            .strip_suffix(')')?;
        Some((name.to_owned(), list.split_whitespace().collect::<Vec<_>>().join(" ")))
    };
    starts.filter_map(signature).collect()
}

/// The start of a text up to the bracket that closes its first one.
fn bracketed(text: &str) -> &str {
    let mut depth = 0;
    let end = text.char_indices().find(|(_, letter)| {
        depth += depth_change(*letter);
        depth == 0
    });
    end.map_or(text, |(at, letter)| &text[..at + letter.len_utf8()])
}

/// The parts of a text between separators that are not in brackets. `::` separates nothing.
fn split_outside_brackets(text: &str, separator: char) -> Vec<String> {
    let mut depth = 0;
    let mut parts = vec![String::new()];
    for letter in text.replace("::", "·").chars() {
        depth += depth_change(letter);
        match parts.last_mut() {
            Some(part) if depth > 0 || letter != separator => part.push(letter),
            _ => parts.push(String::new()),
        }
    }
    parts
}

fn depth_change(letter: char) -> i32 {
    match letter {
        '(' | '[' | '{' | '<' => 1,
        ')' | ']' | '}' | '>' => -1,
        _ => 0,
    }
}
