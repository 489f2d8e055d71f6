//! WhatsApp phone numbers, as Graph describes them.
//!
//! Source: <https://developers.facebook.com/docs/graph-api/reference/whats-app-business-account-to-number-current-status/>

use serde::Serialize;
use serde_json::Value;

use super::error::strip_jsonp;
use crate::types::is_graph_id;

/// A phone number of a WhatsApp Business Account. Every field but the id may be missing.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct PhoneNumber {
    /// The id that messages are sent with, which is not the number.
    pub id: String,
    /// The number as people read it: `+1 555-010-0100`.
    pub display_phone_number: Option<String>,
    /// The name that recipients see.
    pub verified_name: Option<String>,
    /// Whether the number was confirmed by a code: `VERIFIED`, `NOT_VERIFIED` or `EXPIRED`.
    pub code_verification_status: Option<String>,
    /// How recipients rate its messages: `GREEN`, `YELLOW`, `RED` or `UNKNOWN`.
    pub quality_rating: Option<String>,
}

// === impl PhoneNumber ===

impl PhoneNumber {
    /// The fields to ask Graph for.
    pub const FIELDS: &str = "id,display_phone_number,verified_name,code_verification_status,quality_rating";

    /// Reads the answer to a request for one phone number; `None` if it is about another kind of object.
    #[must_use]
    pub fn from_response(body: &[u8]) -> Option<Self> {
        let document: Value = serde_json::from_slice(strip_jsonp(body)).ok()?;
        Self::from_json(&document).filter(|number| number.display_phone_number.is_some())
    }

    /// Reads the answer to a request for the phone numbers of an account; `None` if it is no list.
    #[must_use]
    pub fn list_from_response(body: &[u8]) -> Option<Vec<Self>> {
        let document: Value = serde_json::from_slice(strip_jsonp(body)).ok()?;
        let items = document.get("data")?.as_array()?;
        Some(items.iter().filter_map(Self::from_json).collect())
    }

    fn from_json(object: &Value) -> Option<Self> {
        let text = |key: &str| {
            let text = object.get(key)?.as_str()?;
            let is_shown = text.len() <= MAX_TEXT_BYTES && !text.chars().any(char::is_control);
            is_shown.then(|| text.to_owned())
        };
        Some(Self {
            id: text("id").filter(|id| is_graph_id(id))?,
            display_phone_number: text("display_phone_number"),
            verified_name: text("verified_name"),
            code_verification_status: text("code_verification_status"),
            quality_rating: text("quality_rating"),
        })
    }

    /// Returns whether a text is this number itself, in whatever form it is written.
    #[must_use]
    pub fn is_written_as(&self, text: &str) -> bool {
        let display = self.display_phone_number.as_deref().map(digits);
        display.is_some_and(|display| !display.is_empty() && display == digits(text))
    }
}

/// The longest text that is shown.
const MAX_TEXT_BYTES: usize = 256;

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_and_what_is_no_number_is_not() {
        let body = r#"{"id":"106540352242922","display_phone_number":"+1 555-010-0100","verified_name":"Acmé","quality_rating":1}"#;
        let number = PhoneNumber::from_response(body.as_bytes()).unwrap();
        assert_eq!(number.verified_name.as_deref(), Some("Acmé"));
        assert_eq!((number.quality_rating, number.code_verification_status), (None, None));
        for other in [
            r#"{"id":"102290129340398","name":"Acme"}"#,
            r#"{"id":"../x","display_phone_number":"+1"}"#,
            r#"{"display_phone_number":"+1 555-010-0100"}"#,
            "<html>",
            "[]",
        ] {
            assert_eq!(PhoneNumber::from_response(other.as_bytes()), None, "{other}");
        }
        let list = format!("{{\"data\":[{body},{{}},7]}}");
        assert_eq!(PhoneNumber::list_from_response(list.as_bytes()).unwrap().len(), 1);
        assert_eq!(PhoneNumber::list_from_response(b"{\"data\":{}}"), None);
    }

    #[test]
    fn a_text_with_a_control_character_is_not_shown() {
        let body = b"{\"id\":\"1\",\"display_phone_number\":\"+1\",\"verified_name\":\"a\\u001b[2J\"}";
        assert_eq!(PhoneNumber::from_response(body).unwrap().verified_name, None);
    }

    #[test]
    fn the_number_itself_is_recognized_in_every_form() {
        let number = PhoneNumber {
            display_phone_number: Some("+1 555-010-0100".to_owned()),
            ..PhoneNumber::default()
        };
        for text in ["15550100100", "+15550100100", "+1 (555) 010-0100", "1.555.010.0100"] {
            assert!(number.is_written_as(text), "{text}");
        }
        for text in ["106540352242922", "5550100100", ""] {
            assert!(!number.is_written_as(text), "{text}");
        }
        assert!(!PhoneNumber::default().is_written_as(""));
    }
}
