//! Hides secrets in texts that others wrote, before they are shown: what a command writes to stderr, what a database answers.
//!
//! # Why
//!
//! The text of a failure explains it; without it the operator has only a number. But `set -x`, `curl -v` and exception texts repeat
//! tokens, passwords and addresses with passwords. So what follows the name of a secret is hidden, however short it is, and what
//! looks like a secret, whatever stands before it. An incomplete sentence is better than half a token in a log.
//!
//! A password may have spaces, so that of `password: VALUE` ends with the line. A token has none: `token: VALUE` ends at a space.

use std::iter;
use std::ops::Range;

use memchr::memmem;

use super::token_family::TOKEN_PREFIXES;

/// The maximum length shown, in characters.
const MAX_SHOWN_CHARS: usize = 200;
/// The replacement of what is hidden.
const REDACTED: &str = "[redacted]";

/// The ends of names whose values may have spaces …
const PHRASES: &str = "password passwd pwd pass passphrase secret credential authorization cookie";
/// … and of those whose values have none.
const WORDS: &str = "token key";
/// The signs that may stand after a name, as in `"password": "…"`, `config['password'] = …`.
const CLOSING: [char; 7] = ['\\', '"', '\'', '`', ']', ')', '}'];
/// The signs between a name and its value.
const ASSIGNMENTS: [char; 3] = [':', '=', '>'];
const QUOTES: [char; 3] = ['"', '\'', '`'];
/// What stands before a secret without a sign between them.
const HERALDS: [&str; 4] = ["Bearer", "Basic", "-u", "--user"];
/// The beginnings of paths.
const PATHS: [&str; 4] = ["/", "./", "../", "~/"];

/// A word of this length may be a secret …
const MIN_SECRET_BYTES: usize = 16;
/// … if one of its parts, split like a path, has this length and a digit.
const MIN_SECRET_PART_BYTES: usize = 8;
/// A repetition of a known secret is hidden from this length on.
const MIN_ECHO_BYTES: usize = 6;
/// The prefix of a JWT, which is a JSON object in Base64.
const JWT_PREFIX: &str = "eyJ";

/// Returns a line as it may be shown: short, printable, and without these secrets and what may be another one.
#[must_use]
pub fn redact_line(line: &str, known_secrets: &[&[u8]]) -> String {
    let secret_word = |run: Range<usize>| {
        let word = line.get(run.clone())?.trim_end_matches(|c: char| !c.is_alphanumeric());
        is_secret(word, known_secrets).then_some(run.start..run.start + word.len())
    };
    let echoes = |secret: &&[u8]| {
        let length = secret.trim_ascii().len();
        let found = memmem::find_iter(line.as_bytes(), secret.trim_ascii()).map(move |at| at..at + length);
        found.filter(|echo| echo.len() >= MIN_ECHO_BYTES).collect::<Vec<_>>()
    };
    let mut hidden: Vec<_> = runs(line, |c| !is_separator(c)).filter_map(secret_word).collect();
    hidden.extend(runs(line, is_in_name).filter_map(|name| value_of(line, &name)));
    hidden.extend(runs(line, |c| !c.is_whitespace()).filter_map(|run| user_info(line, &run)));
    hidden.extend(known_secrets.iter().flat_map(echoes));
    hidden.sort_unstable_by_key(|range| range.start);
    let (mut shown, mut end) = (String::new(), 0);
    for range in hidden {
        if range.start > end || !shown.ends_with(REDACTED) {
            shown.push_str(line.get(end..range.start).unwrap_or_default());
            shown.push_str(REDACTED);
        }
        end = end.max(range.end);
    }
    shown.push_str(line.get(end..).unwrap_or_default());
    let mut shown = shown.replace(|sign: char| !sign.is_alphanumeric() && !sign.is_ascii_graphic(), " ");
    if let Some((end, _)) = shown.char_indices().nth(MAX_SHOWN_CHARS) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

/// The longest parts of a line that have only such characters.
fn runs(line: &str, is_part: impl Fn(char) -> bool) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    iter::from_fn(move || {
        let start = from + line.get(from..)?.find(&is_part)?;
        let rest = line.get(start..)?;
        from = start + rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        Some(start..from)
    })
}

fn is_in_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

/// Returns whether a token cannot contain this character.
fn is_separator(c: char) -> bool {
    !c.is_alphanumeric() && !"+/_-.~%|:@".contains(c)
}

/// Returns the value that this name says to be a secret: that of `password=…`, `"token": "…"`, `--api-key …`, `Bearer …`.
fn value_of(line: &str, name: &Range<usize>) -> Option<Range<usize>> {
    let (before, after) = (line.get(..name.start)?, line.get(name.end..)?);
    let name = line.get(name.clone())?;
    let lower = name.to_ascii_lowercase();
    let ends_with = |kinds: &str| {
        // Such as `TOKEN_2` and `credentials`.
        let singular = lower.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_' || c == '-');
        let names = [singular, singular.strip_suffix('s').unwrap_or_default()];
        kinds
            .split(' ')
            .any(|kind| names.iter().any(|name| name.ends_with(kind)))
    };
    let (is_herald, is_phrase) = (HERALDS.contains(&name), ends_with(PHRASES));
    if !is_herald && !is_phrase && !ends_with(WORDS) {
        return None;
    }
    let following = after.trim_start_matches(CLOSING).trim_start();
    let value = following.trim_start_matches(ASSIGNMENTS);
    let is_colon = following.starts_with(':');
    let is_assigned = value.len() < following.len();
    // `/run/token: no such file` is about a file, and `missing key: id` about no secret.
    let path = before.rsplit(char::is_whitespace).next()?.trim_start_matches(QUOTES);
    let is_file = !is_phrase && PATHS.iter().any(|start| path.starts_with(start));
    let is_prose = is_colon && (is_file || lower == "key" || following.starts_with("::"));
    let stands_before = (is_herald || name.starts_with('-')) && after.starts_with(char::is_whitespace);
    if is_prose || !(is_assigned || stands_before) {
        return None;
    }
    let value = value.trim_start();
    let start = line.len() - value.len();
    let is_nested = value.starts_with(['{', '[', '(', '<']);
    let is_rest = is_nested || (is_phrase && is_colon && !value.starts_with(QUOTES));
    let length = if is_rest { value.len() } else { value_len(value) };
    (length > 0).then_some(start..start + length)
}

/// Returns the length of a value in plain quotes, or of a word without any. Where a value with quotes or escapes of its own ends is
/// not known: it goes on to the end.
fn value_len(value: &str) -> usize {
    let word = value.find(char::is_whitespace).unwrap_or(value.len());
    if value.find(QUOTES).is_none_or(|quote| quote >= word) {
        return word;
    }
    let ends = |rest: &str| rest.is_empty() || rest.starts_with(|c: char| c.is_whitespace() || ",;)]}".contains(c));
    let quoted = QUOTES
        .iter()
        .find_map(|quote| value.strip_prefix(*quote)?.split_once(*quote));
    match quoted {
        Some((inner, rest)) if !inner.contains('\\') && ends(rest) => inner.len() + 2,
        _ => value.len(),
    }
}

/// Returns the user and the password in a URL, or in another address with both: `user:password@host`.
fn user_info(line: &str, run: &Range<usize>) -> Option<Range<usize>> {
    let (before, _host) = line.get(run.clone())?.rsplit_once('@')?;
    let scheme = before.split_once("://").filter(|(scheme, _)| !scheme.contains(':'));
    let start = scheme.map_or(0, |(scheme, _)| scheme.len() + 3);
    before
        .contains(':')
        .then_some(run.start + start..run.start + before.len())
}

fn is_secret(word: &str, known_secrets: &[&[u8]]) -> bool {
    let has_prefix = |prefix: &str| word.len() > 2 * prefix.len() && word.contains(prefix);
    let bare = word.trim_start_matches(|c: char| !c.is_alphanumeric());
    let is_echo = |text: &&[u8]| memmem::find(text, bare.as_bytes()).is_some();
    (word.len() >= MIN_SECRET_BYTES && looks_random(word))
        || has_prefix(JWT_PREFIX)
        || TOKEN_PREFIXES.iter().any(|(prefix, _)| has_prefix(prefix))
        || (bare.len() >= MIN_ECHO_BYTES && known_secrets.iter().any(is_echo))
}

/// Returns whether a word has digits like an encoded value, or more capitals than words and names have.
fn looks_random(word: &str) -> bool {
    let looks_encoded = |part: &str| part.len() >= MIN_SECRET_PART_BYTES && part.bytes().any(|b| b.is_ascii_digit());
    let count = |kind: fn(&u8) -> bool| word.bytes().filter(kind).count();
    let (upper, lower) = (count(u8::is_ascii_uppercase), count(u8::is_ascii_lowercase));
    word.split(['/', '.', ':']).any(looks_encoded) || (lower > 0 && 2 * upper > lower)
}

#[cfg(test)]
mod tests;
