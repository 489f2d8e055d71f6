//! A batch's answer: 200, whatever became of its items.

use std::ops::ControlFlow;

use http::header::{CONTENT_TYPE, HeaderMap};
use http::{HeaderValue, StatusCode};

use super::error::GraphError;
use super::nested::{Event, Raw, Step, Text, Unescaped, Word, walk};
use super::verdict::{Rejection, Verdict, read};

/// The most that is read of an item's body, in bytes: an envelope is far shorter.
const MOST: usize = 64 * 1024;

/// What is known of an item, which may name its parts in any order.
#[derive(Default)]
struct Item<'body> {
    code: Option<StatusCode>,
    body: Option<Unescaped<Raw<'body>>>,
}

/// Why Graph rejects the token of the first item of which it does, and what it says of it: an item that [`read`] would
/// call [`Verdict::TokenRejected`] were it an answer of its own.
///
/// Other items may have been executed, so the batch must not be sent again: it is delivered as it is, and the next
/// request profits.
///
/// Tolerant: items may be `null`, and lack parts. What stands behind the item that is found is not looked at.
#[must_use]
pub fn batch_rejection(body: &[u8]) -> Option<(Rejection, GraphError)> {
    let mut item = Item::default();
    let mut found = None;
    let _how = walk(Raw::new(body), &mut |path, event| {
        match (path, event) {
            ([Step::Array, Step::Object(Word::Code)], Event::Scalar(code)) => {
                item.code = status(code);
            }
            ([Step::Array, Step::Object(Word::Code)], Event::String(code)) => {
                item.code = status(code);
            }
            ([Step::Array, Step::Object(Word::Body)], Event::String(body)) => {
                item.body = Some(body);
            }
            ([Step::Array], Event::Close) => {
                found = std::mem::take(&mut item).rejection();
            }
            // No array: nothing of it can matter.
            ([Step::Object(_)], _) => return ControlFlow::Break(()),
            _ => {}
        }
        match found {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    });
    found
}

/// The status that a text begins with.
fn status(text: impl Text) -> Option<StatusCode> {
    let digits = text.map(|unit| unit.byte).take_while(u8::is_ascii_digit);
    let code = digits.fold(0_u16, |code, digit| {
        code.saturating_mul(10)
            .saturating_add(u16::from(digit - b'0'))
    });
    StatusCode::from_u16(code).ok()
}

impl Item<'_> {
    fn rejection(self) -> Option<(Rejection, GraphError)> {
        let code = self.code.filter(StatusCode::is_client_error)?;
        let body: Vec<u8> = self.body?.map(|unit| unit.byte).take(MOST + 1).collect();
        let json = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, json)]);
        let (verdict, error) = read(code, &headers, body.get(..MOST).unwrap_or(&body));
        match verdict {
            Verdict::TokenRejected(rejection) => Some((rejection, error?)),
            Verdict::Success
            | Verdict::ProofRejected
            | Verdict::Throttled
            | Verdict::Refused
            | Verdict::ServerError
            | Verdict::Opaque => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(body: &[u8]) -> Option<Rejection> {
        batch_rejection(body).map(|(why, _error)| why)
    }

    #[test]
    fn what_graph_says_of_it_is_told_too() {
        let body = format!("[{}]", item("400", EXPIRED));
        let (_why, error) = batch_rejection(body.as_bytes()).unwrap();
        assert_eq!((error.code, error.subcode), (Some(190), Some(463)));
    }

    /// An item as it is recorded, with this code and this body.
    fn item(code: &str, body: &str) -> String {
        let body = serde_json::to_string(body).unwrap().replace('/', "\\/");
        format!(
            r#"{{"code":{code},"headers":[{{"name":"Content-Type","value":"text\/javascript"}}],"body":{body}}}"#
        )
    }

    const EXPIRED: &str = r#"{"error":{"message":"Error validating access token: Session has expired on Saturday, 29-Jun-24 09:00:00 PDT.","type":"OAuthException","code":190,"error_subcode":463,"fbtrace_id":"AZ-HzGEkqc5Vf3E0gy-eAcV"}}"#;
    const DENIED: &str =
        r#"{"error":{"message":"(#10) No permission","type":"OAuthException","code":10}}"#;

    #[test]
    fn the_first_item_with_a_dead_token_tells_why() {
        let loggedout = EXPIRED.replace("463", "467");
        for (items, expected) in [
            (
                vec![item("200", "{}"), item("400", EXPIRED)],
                Some(Rejection::Expired),
            ),
            (
                vec!["null".into(), item("401", &loggedout), item("400", EXPIRED)],
                Some(Rejection::Invalidated),
            ),
            (vec![item("\"400\"", EXPIRED)], Some(Rejection::Expired)),
            (vec![item("400", DENIED), item("200", EXPIRED)], None),
            (vec![item("500", EXPIRED), item("429", EXPIRED)], None),
            (vec![item("400", "no JSON"), "7".into(), "[]".into()], None),
            (
                vec![r#"{"code":400,"body":null}"#.into(), "{}".into()],
                None,
            ),
            (vec![], None),
        ] {
            let body = format!("[{}]", items.join(","));
            assert_eq!(why(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn parts_may_come_in_any_order_and_belong_to_their_item() {
        let body = serde_json::to_string(EXPIRED).unwrap();
        let turned = format!(r#"[{{"body":{body},"code":400}}]"#);
        assert_eq!(why(turned.as_bytes()), Some(Rejection::Expired));
        let split = format!(r#"[{{"body":{body}}},{{"code":400}}]"#);
        assert_eq!(why(split.as_bytes()), None);
        let nested = format!(r#"[{{"x":{{"body":{body},"code":400}}}}]"#);
        assert_eq!(why(nested.as_bytes()), None);
        let alone = format!(r#"{{"body":{body},"code":400}}"#);
        assert_eq!(why(alone.as_bytes()), None);
    }

    #[test]
    fn a_localised_message_hides_nothing() {
        let german = EXPIRED.replace("Session has", "Sitzung für 🙂 ist");
        let escaped = item("400", &german)
            .replace('ü', "\\u00fc")
            .replace('🙂', "\\ud83d\\ude42");
        for item in [item("400", &german), escaped] {
            let body = format!("[{item}]");
            assert_eq!(why(body.as_bytes()), Some(Rejection::Expired));
        }
    }

    #[test]
    fn what_is_cut_off_is_read_as_far_as_it_goes() {
        let body = format!("[{},{}]", item("400", EXPIRED), item("200", "{}"));
        for end in 0..body.len() {
            let found = why(&body.as_bytes()[..end]);
            let known = end > item("400", EXPIRED).len();
            assert_eq!(found.is_some(), known, "{end}");
        }
    }
}
