//! Words that code and docs must not use: coined ones, and ones that hide the actor of a sentence.

use super::text_files;

/// The banned words and phrases, in lower case.
const BANNED: [&str; 18] = [
    "nobody",
    "somebody",
    "everybody",
    "whoever",
    "mend",
    "mends",
    "mended",
    "mending",
    "manyeth",
    "crier",
    "errand",
    "as far as",
    "but for",
    "house",
    "licence",
    "in hand",
    "who must",
    "is no origin",
];
/// This file, which has to name the words.
const THIS_FILE: &str = "tests/law/words.rs";

#[test]
fn no_file_uses_a_banned_word() {
    let found: Vec<_> = text_files()
        .iter()
        .filter(|(path, _)| path != THIS_FILE)
        .flat_map(|(path, text)| [banned_lines(path, text), banned_lines(path, path)].concat())
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_file_has_the_marks_of_an_unfinished_merge() {
    let is_mark = |line: &str| ["<<<<<<< ", ">>>>>>> "].iter().any(|mark| line.starts_with(mark));
    let files = text_files();
    let found: Vec<_> = files.iter().filter(|(_, text)| text.lines().any(is_mark)).collect();
    assert!(found.is_empty(), "{found:#?}");
    assert!(is_mark("<<<<<<< HEAD"));
}

#[test]
fn a_banned_word_would_be_noticed() {
    for bad in [
        "// Nobody reads it.",
        "fn ask_somebody() {",
        "struct Crier;",
        "the how-manyeth token",
        "# reads as\n# far as it can",
        "tests/support/house.rs",
        "fn a_body_without_licence() {",
        "fn it_is_read_as_far_as_it_goes() {",
        "the token in hand",
        "an admin who must act",
    ] {
        assert_eq!(banned_lines("a.rs", bad).len(), 1, "{bad}");
    }
    for good in [
        "amendment",
        "a recommended value",
        "the warehouse",
        "the MIT license",
        "in handlers",
        "if token.is_none() {",
    ] {
        assert!(banned_lines("a.rs", good).is_empty(), "{good}");
    }
}

/// The lines of a text with a banned word. A word may be a part of an identifier; a phrase may cross the end of a line.
fn banned_lines(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut last = String::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.to_ascii_lowercase();
        let is_separator = |letter: char| !letter.is_ascii_alphanumeric() && letter != '_';
        let words: Vec<_> = line.split(is_separator).filter(|word| !word.is_empty()).collect();
        let phrases = format!(" {last} {} ", words.join(" ")).replace('_', " ");
        let is_in = |banned: &&&str| match banned.contains(' ') {
            true => phrases.contains(&format!(" {banned} ")),
            false => words.iter().any(|word| word.split('_').any(|part| part == **banned)),
        };
        if let Some(banned) = BANNED.iter().find(is_in) {
            found.push(format!("{path}:{number}: {banned}"));
        }
        last = words.last().map_or_else(|| last.clone(), |word| (*word).to_owned());
    }
    found
}
