//! `graphward explain`: explains a Graph API error and how to fix it.
//!
//! # Why
//!
//! People paste what they were shown: an error body, a batch item, a log line with JSON in its middle, JSON in a JSON
//! string. So the error is searched for in all of it. The output depends on codes alone: Graph's message may contain the
//! whole token, and without quotes the shell may split it into several arguments. So the input is never printed, not even
//! in messages about the command line.

use std::ffi::OsString;
use std::io::{IsTerminal as _, Read as _};

use clap::Args;
use serde_json::{Map, Value};

use super::exit::{Exit, print_lines, print_message};
use crate::graph::{Explanation, GraphError, Inspection, explain};

/// The argument of `graphward explain`.
#[derive(Args, Clone, Debug, Default, Eq, PartialEq)]
pub struct ExplainArgs {
    /// Graph's response, in single quotes: an error body, a batch item, a debug_token response, or text containing one of
    /// them [default: standard input]
    #[arg(value_name = "JSON", allow_hyphen_values = true, trailing_var_arg = true)]
    pub json: Vec<OsString>,
}

/// The maximum read from standard input, in bytes.
const MAX_INPUT_BYTES: u64 = 1024 * 1024;
/// The maximum number of positions at which JSON is searched for, nested strings included.
const MAX_JSON_STARTS: usize = 1000;
/// The maximum depth of JSON strings within JSON.
const MAX_NESTING: u8 = 4;

/// Prints the cause in one line and the fix in another.
pub(super) fn run(args: &ExplainArgs) -> Exit {
    let text = match &*args.json {
        [] => match read_stdin() {
            Ok(text) => text,
            Err(exit) => return exit,
        },
        [json] => json.as_encoded_bytes().to_vec(),
        [_, _, ..] => {
            print_message("explain takes one argument: put the JSON in single quotes");
            return Exit::Usage;
        }
    };
    let Some(Explanation { summary, remediation }) = explain_text(&text) else {
        print_message(
            "no Graph error found: expected JSON, or text containing JSON, with `error`, `code` and `message`, or the `data` \
             of debug_token",
        );
        return Exit::Failed;
    };
    print_lines(&format!("{summary}\n{remediation}"))
}

fn read_stdin() -> Result<Vec<u8>, Exit> {
    let input = std::io::stdin();
    if input.is_terminal() {
        print_message("pass Graph's response as an argument or on standard input");
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
    if let Some(Value::Object(data)) = object.get("data")
        && let Some(found) = find_in_debug_token(data)
    {
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
    let has_error_field = names.iter().any(|name| object.contains_key(*name));
    if !has_error_field {
        return None;
    }
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
mod tests {
    use super::*;

    const ERROR_OBJECT: &str = r#"{"message":"Error validating access token: EAABsbCS1","type":"OAuthException","code":190,"error_subcode":463,"fbtrace_id":"AZ"}"#;

    fn summary_of(text: &str) -> Option<String> {
        explain_text(text.as_bytes()).map(|said| said.summary)
    }

    #[test]
    fn an_error_is_found_however_it_was_shown() {
        let envelope = format!(r#"{{"error":{ERROR_OBJECT}}}"#);
        let quoted = serde_json::to_string(&envelope).unwrap();
        let twice = serde_json::to_string(&quoted).unwrap();
        for text in [
            ERROR_OBJECT.to_owned(),
            envelope.clone(),
            format!("\u{feff}\n {envelope} \n"),
            format!("/**/ cb({envelope});"),
            format!(r#"{{"code":401,"headers":[{{"name":"a","value":"b"}}],"body":{quoted}}}"#),
            format!(r#"[null,{{"code":200,"body":"{{}}"}},{{"code":400,"body":{quoted}}}]"#),
            r#"{"data":{"is_valid":false,"error":{"code":190,"message":"m","subcode":463}}}"#.to_owned(),
            r#"{"is_valid":false,"error":{"code":190,"message":"m","subcode":463}}"#.to_owned(),
            format!("2025-10-05 [worker-3] ERROR {{oops send failed (401): {envelope} retrying"),
            format!(r#"{{"level":"error","msg":"send failed","response":{quoted}}}"#),
            format!(r#"{{"level":"error","code":"E1","response":{{"data":{envelope}}}}}"#),
            format!(r#"{{"log":{twice}}}"#),
            format!("12:00 send failed: {quoted}"),
            format!(r#"{{"message":"send failed","code":17,"cause":{envelope}}}"#),
            format!("{{\"level\":\"info\"}}\n{{\"level\":\"error\",\"error\":{ERROR_OBJECT}}}\n"),
        ] {
            let said = summary_of(&text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(said, "The token has expired (code 190, subcode 463).");
        }
    }

    #[test]
    fn what_is_no_error_of_graphs_is_not_taken_for_one() {
        for text in [
            "",
            "190",
            "no JSON",
            "{",
            "{}",
            "[[[]]]",
            r#"{"code":200,"body":"{\"id\":\"1\"}"}"#,
            r#"{"error":"invalid_token"}"#,
            r#"{"error":{"message":"no code"}}"#,
            r#"{"data":{"id":"1"}}"#,
            r#"{"messages":[{"id":"wamid.1"}]}"#,
        ] {
            assert_eq!(summary_of(text), None, "{text}");
        }
    }

    #[test]
    fn a_webhooks_error_and_a_refusal_are_explained_too() {
        let webhook =
            r#"{"statuses":[{"status":"failed","errors":[{"code":131047,"title":"Re-engagement message"}]}]}"#;
        assert!(summary_of(webhook).unwrap().contains("24 hours"));
        let refusal = r#"{"error":{"message":"m","type":"GraphwardException","code":990003}}"#;
        assert!(
            summary_of(refusal)
                .unwrap()
                .contains("graphward generated this response")
        );
    }

    #[test]
    fn a_living_token_is_called_that_and_what_it_lacks_is_named() {
        let valid = r#"{"data":{"is_valid":true,"expires_at":0}}"#;
        assert_eq!(summary_of(valid).unwrap(), "The token is valid.");
        let lacks = r#"{"data":{"is_valid":true,"scopes":["whatsapp_business_management"]}}"#;
        assert_eq!(
            summary_of(lacks).unwrap(),
            "The token is valid, but lacks whatsapp_business_messaging."
        );
    }

    #[test]
    fn what_is_long_and_deep_ends_soon() {
        for text in ["{".repeat(1 << 20), "[".repeat(1 << 20), "{\"a\":".repeat(1 << 18)] {
            assert_eq!(summary_of(&text), None);
        }
        let nested = (0..40).fold(ERROR_OBJECT.to_owned(), |inside, _| format!(r#"{{"a":[{inside}]}}"#));
        assert!(summary_of(&nested).is_some());
    }
}
