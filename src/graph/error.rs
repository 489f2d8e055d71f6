//! Graph's error envelope, read with tolerance.

use serde_json::{Map, Value};

use crate::types::has_token;

/// An error envelope: `{"error":{"message":…,"type":…,"code":…,"error_subcode":…,"fbtrace_id":…}}`.
///
/// Every field may be missing; [documented] shapes and recorded ones differ. A field of an unexpected JSON type counts
/// as missing, so that a change in one field cannot hide the code.
///
/// # Why
///
/// The message is not kept: "Malformed access token EAAB…" repeats the whole token, and the text is localized and
/// reworded, so only three facts of it are kept. The document is read as a generic value, not into a strict struct:
/// `error_data` alone has been seen as object, string and array.
///
/// [documented]: https://developers.facebook.com/docs/graph-api/guides/error-handling
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct GraphError {
    /// `code`, the stable key; a number, or a string that is one.
    pub code: Option<i64>,
    /// `error_subcode`; three digits for tokens, seven for products. Often absent.
    pub subcode: Option<i64>,
    /// `type`, such as `OAuthException`; used for most errors, so it says nothing about tokens.
    pub kind: Option<String>,
    /// `is_transient`: whether Graph expects a retry to succeed.
    pub is_transient: Option<bool>,
    /// `fbtrace_id`: Meta's support asks for it.
    pub fbtrace_id: Option<String>,
    /// Whether the message mentions `appsecret_proof`: the name of a parameter, which is never translated.
    pub mentions_appsecret_proof: bool,
    /// Whether the message says that the app cannot be validated: its id or its state is wrong. A hint for people only,
    /// since the message may be translated.
    pub app_validation_failed: bool,
    /// Whether the message mentions the app's secret, which it does if that is wrong. A hint for people only, too.
    pub app_secret_refused: bool,
}

impl GraphError {
    /// Reads an envelope: JSON with or without a byte order mark, or JSON-P (`callback({…});`).
    ///
    /// `None` if the body is not a JSON object whose `error` is an object: HTML, a truncated reply, a batch's
    /// array, the reply of an endpoint with another shape, anything nested deeper than 127 levels.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let json = strip_jsonp(body);
        // Most other bodies end here, before anything is built.
        if json.first() != Some(&b'{') {
            return None;
        }
        let document: Value = serde_json::from_slice(json).ok()?;
        Some(Self::from_object(document.get("error")?.as_object()?))
    }

    /// Reads the `error` of an envelope. `debug_token` calls the subcode `subcode`.
    #[must_use]
    pub fn from_object(error: &Map<String, Value>) -> Self {
        let message = error.get("message").and_then(Value::as_str);
        let integer = |key: &str| error.get(key).and_then(as_integer);
        Self {
            code: integer("code"),
            subcode: integer("error_subcode").or_else(|| integer("subcode")),
            kind: log_safe_string(error, "type"),
            is_transient: error.get("is_transient").and_then(Value::as_bool),
            fbtrace_id: log_safe_string(error, "fbtrace_id"),
            ..Self::from_message(message.unwrap_or_default())
        }
    }

    /// Returns the known ones of code and subcode: `190/460`.
    #[must_use]
    pub fn codes(&self) -> String {
        let numbers = [self.code, self.subcode].into_iter().flatten();
        numbers.map(|number| number.to_string()).collect::<Vec<_>>().join("/")
    }

    /// Returns an error without numbers, with the facts that are kept of a message.
    #[must_use]
    pub fn from_message(message: &str) -> Self {
        let mentions = |word: &str| message.contains(word);
        Self {
            mentions_appsecret_proof: mentions("appsecret_proof"),
            app_validation_failed: mentions("rror validating application") && !mentions("system error"),
            app_secret_refused: mentions("client secret") || mentions("client_secret"),
            ..Self::default()
        }
    }

    /// The error for a token that Graph reports as invalid without a reason.
    #[must_use]
    pub fn invalid_token() -> Self {
        Self {
            code: Some(190),
            ..Self::default()
        }
    }
}

/// Strips a byte order mark, white space, and a JSON-P call.
pub(super) fn strip_jsonp(body: &[u8]) -> &[u8] {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let body = body.trim_ascii();
    jsonp_argument(body).unwrap_or(body)
}

/// The argument of `/**/ some.callback({…});`, Graph's response to `callback=some.callback`.
fn jsonp_argument(body: &[u8]) -> Option<&[u8]> {
    let call = body.strip_prefix(b"/**/").unwrap_or(body).trim_ascii();
    let open = call.iter().position(|byte| *byte == b'(')?;
    let (name, argument) = call.split_at_checked(open)?;
    let is_callback = !name.is_empty()
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_$.[]".contains(byte));
    if !is_callback {
        return None;
    }
    let argument = argument.strip_prefix(b"(")?;
    let argument = argument.strip_suffix(b";").unwrap_or(argument);
    let argument = argument.trim_ascii_end().strip_suffix(b")")?;
    Some(argument.trim_ascii())
}

/// A number, or a string that is one.
pub(crate) fn as_integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn log_safe_string(error: &Map<String, Value>, key: &str) -> Option<String> {
    let text = error.get(key)?.as_str()?;
    is_log_safe(text).then(|| text.to_owned())
}

/// Returns whether a text may be logged: printable, without spaces, at most [`MAX_LOG_SAFE_BYTES`] bytes, and no token.
pub(super) fn is_log_safe(text: &str) -> bool {
    let is_short = (1..=MAX_LOG_SAFE_BYTES).contains(&text.len());
    is_short && text.bytes().all(|byte| byte.is_ascii_graphic()) && !has_token(text)
}

const MAX_LOG_SAFE_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(body: &str) -> Option<(Option<i64>, Option<i64>)> {
        GraphError::parse(body.as_bytes()).map(|error| (error.code, error.subcode))
    }

    #[test]
    fn every_field_of_the_documented_envelope_is_read() {
        let body = br#"{"error":{"message":"m","type":"OAuthException","code":190,"error_subcode":463,
            "error_user_title":"t","error_user_msg":"u","is_transient":false,"fbtrace_id":"AZ-HzGEkq"}}"#;
        let expected = GraphError {
            code: Some(190),
            subcode: Some(463),
            kind: Some("OAuthException".to_owned()),
            is_transient: Some(false),
            fbtrace_id: Some("AZ-HzGEkq".to_owned()),
            mentions_appsecret_proof: false,
            app_validation_failed: false,
            app_secret_refused: false,
        };
        assert_eq!(GraphError::parse(body), Some(expected));
    }

    #[test]
    fn what_counts_of_a_message_is_kept_without_it() {
        for (message, proof, app) in [
            ("Invalid appsecret_proof provided in the API argument", true, false),
            ("Error validating application. Invalid application ID.", false, true),
            ("Error validating access token: Session has expired", false, false),
        ] {
            let body = format!(r#"{{"error":{{"message":"{message}","code":190}}}}"#);
            let error = GraphError::parse(body.as_bytes()).unwrap();
            assert_eq!(
                (error.mentions_appsecret_proof, error.app_validation_failed),
                (proof, app)
            );
        }
    }

    #[test]
    fn the_message_is_not_kept_because_it_may_repeat_the_token() {
        let body = br#"{"error":{"message":"Malformed access token EAABsbCS1","code":190}}"#;
        assert!(!format!("{:?}", GraphError::parse(body)).contains("EAAB"));
    }

    #[test]
    fn odd_fields_do_not_hide_the_code() {
        for body in [
            r#"{"error":{"code":"190"}}"#,
            r#"{"error":{"code":190,"error_data":[]}}"#,
            r#"{"error":{"code":190,"error_data":"{\"blame\":[]}"}}"#,
            r#"{"error":{"code":190,"error_data":{"details":"…"},"novelty":[[{}]]}}"#,
            r#"{"error":{"code":190,"error_subcode":null,"type":7,"fbtrace_id":{}}}"#,
            r#"{"error":{"code":190,"error_subcode":true,"is_transient":"no"}}"#,
            r#"{"__debug__":{},"error":{"code":190}}"#,
            "\u{feff}{\"error\":{\"code\":190}}",
            "\r\n  {\"error\":{\"code\":190}}\n",
            r#"/**/ jQuery1.cb({"error":{"code":190}});"#,
            r#"cb( {"error":{"code":190}} )"#,
        ] {
            assert_eq!(code_of(body), Some((Some(190), None)), "{body}");
        }
    }

    #[test]
    fn a_body_that_is_not_an_envelope_is_not_parsed_as_one() {
        let deep = format!("{{\"error\":{}{}}}", "[".repeat(60_000), "]".repeat(60_000));
        for body in [
            "",
            "null",
            "{}",
            "<html>Sorry, something went wrong.</html>",
            r#"{"error":{"code":190"#,
            r#"{"error":{"code":190}} trailing"#,
            r#"{"error":"invalid_token"}"#,
            r#"{"error":null}"#,
            r#"[{"code":400,"body":"{\"error\":{\"code\":190}}"}]"#,
            r#"{"data":{"error":{"code":190,"subcode":463}}}"#,
            r#"{"error_type":"OAuthException","code":400,"error_message":"…"}"#,
            r#"{"debug_info":{"retriable":false,"type":"NotAuthorizedError"}}"#,
            r#"alert("x"); cb({"error":{"code":190}}"#,
            "cb(",
            "({})",
            deep.as_str(),
        ] {
            assert_eq!(code_of(body), None, "{}", body.get(..40).unwrap_or(body));
        }
    }

    #[test]
    fn a_code_that_is_not_an_integer_counts_as_missing() {
        for code in ["18446744073709551615", "1e400", "190.5", "\"OAuth\"", "{}", "\"\""] {
            let body = format!("{{\"error\":{{\"code\":{code}}}}}");
            assert!(!matches!(code_of(&body), Some((Some(_), _))), "{code}");
        }
    }

    #[test]
    fn a_word_that_could_break_a_log_line_or_is_a_token_is_dropped() {
        for body in [
            br#"{"error":{"code":1,"type":"a\nb","fbtrace_id":"a b"}}"#.as_slice(),
            br#"{"error":{"code":1,"type":"EAAGm0PX4ZCpsBAKZAtoken0123","fbtrace_id":"1234|secret"}}"#,
        ] {
            let error = GraphError::parse(body).unwrap();
            assert_eq!((error.kind, error.fbtrace_id), (None, None));
        }
    }
}
