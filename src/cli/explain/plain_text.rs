//! Reads an error from text that is not JSON: numbers that a person types, a log line, what a language prints of an
//! exception.
//!
//! # Why
//!
//! The libraries print the same two numbers in a hundred ways (`code: 190`, `'code': 190`, `errorCode=190`, `(#190)`), and
//! some print Graph's message alone. A parser for each would never be complete, so only three things are looked for: a number
//! after a name, a number alone, and the English sentences of errors whose number libraries do not print.

use crate::graph::GraphError;

/// A name or a number in a text.
#[derive(Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    /// The characters between it and the word before it.
    gap: &'a str,
}

/// Sentences of Graph's, in lower case, with the code and the subcode that they come with. The first that matches counts.
const KNOWN_SENTENCES: [(&str, i64, i64); 25] = [
    ("error validating client secret", 1, 0),
    ("error validating application", 101, 0),
    ("error validating verification code", 100, 36_009),
    ("authorization code has been used", 100, 36_009),
    ("appsecret_proof", 100, 0),
    ("session has expired", 190, 463),
    ("has not authorized application", 190, 458),
    ("changed their password", 190, 460),
    ("changed the password", 190, 460),
    ("user logged out", 190, 467),
    ("engaged the app in longer than 90 days", 190, 493),
    ("log in to www.facebook.com and follow", 190, 459),
    ("not a confirmed user", 190, 464),
    ("malformed access token", 190, 0),
    ("invalid oauth", 190, 0),
    ("cannot parse access token", 190, 0),
    ("could not be decrypted", 190, 0),
    ("error validating access token", 190, 0),
    ("active access token must be used", 2500, 0),
    ("access token is required", 104, 0),
    ("does not exist, cannot be loaded due to missing permissions", 100, 33),
    ("application request limit reached", 4, 0),
    ("not in allowed list", 131_030, 0),
    ("account has been locked", 131_031, 0),
    ("business account locked", 131_031, 0),
];
const CODE_NAMES: [&str; 3] = ["code", "error_code", "errorcode"];
const SUBCODE_NAMES: [&str; 3] = ["error_subcode", "subcode", "errorsubcode"];
/// The words that a person may type beside the numbers.
const TYPED_WORDS: [&str; 6] = ["code", "error", "error_code", "error_subcode", "graph", "subcode"];
/// One of these is in a text about an error of Graph's.
const GRAPH_NAMES: [&str; 4] = ["exception", "facebook", "graph", "whatsapp"];

/// Finds an error in a text; only its numbers and the facts of its message are used.
pub(super) fn find_error(text: &str) -> Option<GraphError> {
    let lower = text.to_ascii_lowercase();
    let words = words(&lower);
    let known_sentence = || KNOWN_SENTENCES.iter().find(|(sentence, ..)| lower.contains(sentence));
    let (code, typical_subcode) = find_code(&words, &lower)
        .map(|code| (code, None))
        .or_else(|| typed_codes(&words))
        .or_else(|| known_sentence().map(|(_, code, subcode)| (*code, Some(*subcode))))?;
    let subcode = words.windows(2).find_map(|pair| labeled(pair, &SUBCODE_NAMES));
    // Libraries print `(#190) …` without the subcode, which the sentence tells.
    let of_sentence = known_sentence()
        .filter(|(_, known, _)| *known == code)
        .map(|(_, _, subcode)| *subcode);
    let typical_subcode = typical_subcode.or(of_sentence);
    Some(GraphError {
        code: Some(code),
        subcode: subcode.or(typical_subcode).filter(|subcode| *subcode > 0),
        ..GraphError::from_message(text)
    })
}

/// The code in `(#190)`, else the one after a name such as `code` or `errorCode`.
fn find_code(words: &[Word<'_>], text: &str) -> Option<i64> {
    let in_message = words.iter().find(|word| word.gap.ends_with("(#"));
    let is_about_graph = || GRAPH_NAMES.iter().any(|name| text.contains(name));
    let after_name = |at: usize| {
        let code = labeled(words.get(at.checked_sub(1)?..=at)?, &CODE_NAMES)?;
        let before = at.checked_sub(2).and_then(|before| words.get(before));
        let is_foreign = before.is_some_and(|word| ["status", "http", "response", "exit"].contains(&word.text));
        // A batch item has a status of this name, and a process has an exit code.
        let is_ambiguous = is_http_status(code) || matches!(code, 1 | 2);
        (!is_foreign && (!is_ambiguous || is_about_graph())).then_some(code)
    };
    let code = in_message.and_then(|word| word.text.parse().ok());
    code.or_else(|| (0..words.len()).find_map(after_name))
}

/// The code and the subcode of a text that holds nothing else: `190`, `190 463`, `error 190/463`.
fn typed_codes(words: &[Word<'_>]) -> Option<(i64, Option<i64>)> {
    let number = |word: &Word<'_>| word.text.parse::<i64>().ok();
    let is_typed = |word: &Word<'_>| number(word).is_some() || TYPED_WORDS.contains(&word.text);
    let mut numbers = words.iter().filter_map(number);
    let (code, subcode, more) = match (numbers.next()?, numbers.next(), numbers.next()) {
        // People know the subcode of an expired token better than its code.
        (458..=493, None, None) => (190, words.iter().find_map(number), None),
        numbers => numbers,
    };
    let is_status = is_http_status(code) && code != 200;
    (words.iter().all(is_typed) && more.is_none() && !is_status).then_some((code, subcode))
}

/// The number after one of these names, with nothing but punctuation between: `'code': 190`, `[code] => 190`.
fn labeled(pair: &[Word<'_>], names: &[&str]) -> Option<i64> {
    let [name, number] = pair else {
        return None;
    };
    // Not a sign: `errorSubcode=-1` means that there was no subcode.
    let is_separator = |gap: &str| gap.chars().all(|c| " \t\\'\"`:=->()[]#".contains(c)) && !gap.ends_with('-');
    (names.contains(&name.text) && is_separator(number.gap)).then(|| number.text.parse().ok())?
}

/// Whether a number is a status of HTTP that a client library prints.
const fn is_http_status(number: i64) -> bool {
    matches!(number, 200 | 400..=404 | 408 | 410 | 413 | 429 | 500..=504)
}

/// The names and numbers of a text, in order. A word that is neither, such as `190a` or a token, is one that no label matches.
fn words(text: &str) -> Vec<Word<'_>> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let (gap, from_start) = rest.split_at(start);
        let end = from_start.find(|c| !is_part(c)).unwrap_or(from_start.len());
        let (text, after) = from_start.split_at(end);
        words.push(Word { text, gap });
        rest = after;
    }
    words
}
