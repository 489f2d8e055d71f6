//! One value understood: texts, numbers, switches, choices, durations, sizes.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::fault::quote;
use super::file::Value;
use super::units;

/// A text.
pub(super) fn text(value: &Value) -> Result<&str, String> {
    match value {
        Value::Text(text) => Ok(text),
        other @ (Value::Number(_)
        | Value::Switch(_)
        | Value::List(_)
        | Value::Table(_)
        | Value::Fraction
        | Value::Date) => Err(format!("must be a text in quotes, not {}", other.kind())),
    }
}

/// True or false.
pub(super) fn switch(value: &Value) -> Result<bool, String> {
    match value {
        Value::Switch(on) => Ok(*on),
        other @ (Value::Text(_)
        | Value::Number(_)
        | Value::List(_)
        | Value::Table(_)
        | Value::Fraction
        | Value::Date) => Err(format!("must be true or false, without quotes, not {}", other.kind())),
    }
}

/// A whole number within a range.
pub(super) fn number(value: &Value, range: &RangeInclusive<i64>) -> Result<i64, String> {
    let (least, most) = (range.start(), range.end());
    match value {
        Value::Number(Some(number)) if range.contains(number) => Ok(*number),
        Value::Number(Some(number)) => Err(format!("must be from {least} to {most}, not {number}")),
        Value::Number(None) => Err(format!("must be from {least} to {most}")),
        other @ (Value::Text(_)
        | Value::Switch(_)
        | Value::List(_)
        | Value::Table(_)
        | Value::Fraction
        | Value::Date) => Err(format!("must be a whole number, without quotes, not {}", other.kind())),
    }
}

/// One of a few words.
pub(super) fn choice<T: Copy>(value: &Value, choices: &[(&str, T)]) -> Result<T, String> {
    let said = text(value)?;
    if let Some((_, meant)) = choices.iter().find(|(word, _)| *word == said) {
        return Ok(*meant);
    }
    let words = || choices.iter().map(|(word, _)| *word);
    let list: Vec<_> = words().map(|word| format!("\"{word}\"")).collect();
    let hint = match nearest(said, words()) {
        Some(word) => format!("; did you mean \"{word}\"?"),
        None => String::new(),
    };
    Err(format!("must be one of {}, not {}{hint}", list.join(", "), quote(said)))
}

/// A duration within a range.
pub(super) fn duration(value: &Value, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    if let Value::Number(Some(number)) = value {
        return Err(format!("needs a unit and quotes, such as \"{number}s\""));
    }
    let said = text(value)?;
    let show = units::format_duration;
    let duration = units::parse_duration(said).map_err(|error| unit(&error, said))?;
    if range.contains(&duration) {
        return Ok(duration);
    }
    Err(format!(
        "must be from {} to {}, not {}",
        show(*range.start()),
        show(*range.end()),
        show(duration)
    ))
}

/// A size in bytes, up to a limit.
pub(super) fn size(value: &Value, most: u64) -> Result<u64, String> {
    match value {
        Value::Number(Some(0)) => return Ok(0),
        Value::Number(_) => {
            return Err("needs a unit and quotes, such as \"64KiB\" or \"1MiB\"".to_owned());
        }
        Value::Text(_) | Value::Switch(_) | Value::List(_) | Value::Table(_) | Value::Fraction | Value::Date => {}
    }
    let said = text(value)?;
    let size = units::parse_size(said).map_err(|error| unit(&error, said))?;
    if size <= most {
        return Ok(size);
    }
    Err(format!(
        "must be at most {}, not {}",
        units::format_size(most),
        units::format_size(size)
    ))
}

/// The candidate that was probably meant.
pub(super) fn nearest<'a>(said: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let said = said.to_lowercase();
    let close = |candidate: &'a str| {
        let score = strsim::normalized_damerau_levenshtein(&said, candidate);
        let begins = said.starts_with(candidate) || candidate.starts_with(&said);
        let begins = begins && said.len().min(candidate.len()) >= 3;
        (score >= 0.6 || begins).then_some((score, candidate))
    };
    candidates
        .filter_map(close)
        .max_by(|(one, _), (two, _)| one.total_cmp(two))
        .map(|(_, candidate)| candidate)
}

fn unit(error: &units::UnitError, said: &str) -> String {
    format!("{error}, not {}", quote(said))
}
