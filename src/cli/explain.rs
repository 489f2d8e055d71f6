//! `graphward explain`: explains a Graph API error and how to fix it.
//!
//! # Why
//!
//! People paste what they were shown: an error body, a batch item, a log line with JSON in its middle, JSON in a JSON
//! string, an exception of a client library, two numbers. So the error is searched for in all of it, and several arguments
//! are one text that the shell has split. The output depends on codes alone, and the input is never printed, since Graph's
//! message may contain the whole token.

mod plain_text;

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal as _, Read as _};

use clap::Args;
use serde_json::{Map, Value, json};

use super::exit::{Exit, print_message};
use super::output::OutputArgs;
use crate::graph::{Explanation, GraphError, Inspection, explain};

/// The argument of `graphward explain`.
#[derive(Args, Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct ExplainArgs {
    /// A code, a code and a subcode, or text containing Graph's error: its response in single quotes, a debug_token
    /// response, a log line, an exception of a client library [default: standard input]
    #[arg(value_name = "ERROR", allow_hyphen_values = true, trailing_var_arg = true)]
    error: Vec<OsString>,
    #[command(flatten)]
    output: OutputArgs,
}

/// The maximum read from standard input, in bytes.
const MAX_INPUT_BYTES: u64 = 1024 * 1024;
/// The maximum number of positions at which JSON is searched for, nested strings included.
const MAX_JSON_STARTS: usize = 1000;
/// The maximum depth of JSON strings within JSON.
const MAX_NESTING: u8 = 4;

/// Prints the cause in one line, the fix in another, and where a token is created in a third if one is needed.
pub(super) fn run(args: &ExplainArgs) -> Exit {
    // What follows the first word of the text is the text, so the flag is there, too.
    let (flags, words): (Vec<_>, Vec<_>) = args.error.iter().cloned().partition(|word| word == "--json");
    let json = args.output.json || !flags.is_empty();
    let output = OutputArgs { json };
    let text = match &*words {
        [] => match read_stdin() {
            Ok(text) => text,
            Err(exit) => return exit,
        },
        words => words.join(OsStr::new(" ")).as_encoded_bytes().to_vec(),
    };
    let Some(explanation) = explain_text(&text) else {
        print_message(
            "no Graph error found: expected a code such as 190, Graph's response, or text containing its error; a status of \
             HTTP alone says nothing",
        );
        return Exit::Failed;
    };
    let Explanation { summary, remediation } = &explanation;
    let token_creation = explanation.token_creation();
    let json = json!({ "summary": summary, "remediation": remediation, "token_creation": token_creation });
    let lines = [summary.as_str(), *remediation].into_iter().chain(token_creation);
    output.print(&json, &lines.collect::<Vec<_>>().join("\n"))
}

fn read_stdin() -> Result<Vec<u8>, Exit> {
    let input = std::io::stdin();
    if input.is_terminal() {
        print_message("pass a code, or Graph's response, as an argument or on standard input");
        return Err(Exit::Usage);
    }
    let mut text = Vec::new();
    match input.lock().take(MAX_INPUT_BYTES).read_to_end(&mut text) {
        Ok(_length) => Ok(text),
        Err(error) => {
            print_message(&format!("cannot read standard input: {error}"));
            Err(Exit::Failed)
        }
    }
}

/// Explains the first error in a text.
fn explain_text(text: &[u8]) -> Option<Explanation> {
    let mut budget = MAX_JSON_STARTS;
    find_in_text(text, MAX_NESTING, &mut budget)
        .or_else(|| plain_text::find_error(&String::from_utf8_lossy(text)).map(|error| explain(&error)))
}

/// Searches a text for JSON, and then the text without one level of escaping.
fn find_in_text(text: &[u8], depth: u8, budget: &mut usize) -> Option<Explanation> {
    find_in_json(text, depth, budget).or_else(|| {
        memchr::memmem::find(text, b"\\\"")?;
        find_in_text(&unescape_once(text), depth.checked_sub(1)?, budget)
    })
}

/// Removes one backslash before each quote and backslash.
fn unescape_once(text: &[u8]) -> Vec<u8> {
    let mut bytes = text.iter().copied().peekable();
    std::iter::from_fn(|| match bytes.next()? {
        b'\\' => bytes.next_if(|next| b"\"\\".contains(next)).or(Some(b'\\')),
        byte => Some(byte),
    })
    .collect()
}

fn find_in_json(text: &[u8], depth: u8, budget: &mut usize) -> Option<Explanation> {
    let mut rest = text;
    while let Some(start) = memchr::memchr2(b'{', b'[', rest) {
        rest = rest.get(start..)?;
        *budget = budget.checked_sub(1)?;
        let mut documents = serde_json::Deserializer::from_slice(rest).into_iter::<Value>();
        let step = match documents.next() {
            Some(Ok(document)) => {
                if let Some(found) = find_in_value(&document, depth, budget) {
                    return Some(found);
                }
                documents.byte_offset().max(1)
            }
            Some(Err(_)) | None => 1,
        };
        rest = rest.get(step..)?;
    }
    None
}

fn find_in_value(value: &Value, depth: u8, budget: &mut usize) -> Option<Explanation> {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
        Value::String(text) => find_in_text(text.as_bytes(), depth.checked_sub(1)?, budget),
        Value::Array(items) => items.iter().find_map(|item| find_in_value(item, depth, budget)),
        // A log record may have a `code` and a `message` of its own around the error.
        Value::Object(object) => find_envelope(object)
            .or_else(|| object.values().find_map(|value| find_in_value(value, depth, budget)))
            .or_else(|| find_bare_error(object)),
    }
}

/// Explains an error body, or a `debug_token` response.
fn find_envelope(object: &Map<String, Value>) -> Option<Explanation> {
    let data = object.get("data").and_then(Value::as_object);
    if let Some(found) = data.and_then(find_in_debug_token) {
        return Some(found);
    }
    if object.contains_key("is_valid") {
        return find_in_debug_token(object);
    }
    explain_with_code(&GraphError::from_object(object.get("error")?.as_object()?))
}

/// Explains the error object of an error body, or of a webhook. The `code` of a batch item is an HTTP status instead.
fn find_bare_error(object: &Map<String, Value>) -> Option<Explanation> {
    let names = ["message", "title", "type", "error_subcode", "fbtrace_id"];
    names.iter().find(|name| object.contains_key(**name))?;
    explain_with_code(&GraphError::from_object(object))
}

/// Explains an error, unless it has no code.
fn explain_with_code(error: &GraphError) -> Option<Explanation> {
    error.code.is_some().then(|| explain(error))
}

fn find_in_debug_token(data: &Map<String, Value>) -> Option<Explanation> {
    let inspection = Inspection::from_data(data)?;
    Some(match &inspection.error {
        Some(error) => explain(error),
        None => explain_valid_token(&inspection),
    })
}

/// Explains a valid token.
fn explain_valid_token(inspection: &Inspection) -> Explanation {
    let missing = inspection.missing_scopes();
    if missing.is_empty() {
        return Explanation {
            summary: "The token is valid.".to_owned(),
            remediation: "No action needed. `expires_at` is the expiry; 0 means never.",
        };
    }
    Explanation {
        summary: format!("The token is valid, but lacks {}.", missing.join(" and ")),
        remediation: "If the app sends WhatsApp messages, a business admin has to grant the missing permissions and create a \
                      new token.",
    }
}

#[cfg(test)]
mod tests;
