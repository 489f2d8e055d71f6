//! A batch's answer: 200, whatever became of its items.

use std::ops::ControlFlow;

use http::header::{CONTENT_TYPE, HeaderMap};
use http::{HeaderValue, StatusCode};

use super::error::GraphError;
use super::strict_json::{ByteSource, KnownKey, PathStep, RawBytes, UnescapedString, VisitEvent, walk};
use super::verdict::{RejectionReason, Verdict, classify_with_error};

/// The most that is read of an item's body, in bytes: an envelope is far shorter.
const MAX_ITEM_BODY_BYTES: usize = 64 * 1024;

/// What is known of an item, which may name its parts in any order.
#[derive(Default)]
struct BatchItem<'body> {
    status: Option<StatusCode>,
    body: Option<UnescapedString<RawBytes<'body>>>,
}

/// Why Graph rejects the token of the first item of which it does, and what it says of it: an item that [`classify`](super::verdict::classify) would
/// call [`Verdict::TokenRejected`] were it an answer of its own.
///
/// Other items may have been executed, so the batch must not be sent again: it is delivered as it is, and the next
/// request profits.
///
/// Tolerant: items may be `null`, and lack parts. What stands behind the item that is found is not looked at.
#[must_use]
pub fn find_batch_rejection(body: &[u8]) -> Option<(RejectionReason, GraphError)> {
    let mut item = BatchItem::default();
    let mut found = None;
    let _outcome = walk(RawBytes::new(body), &mut |path, event| {
        match (path, event) {
            ([PathStep::Array, PathStep::Object(KnownKey::Code)], VisitEvent::Scalar(code)) => {
                item.status = parse_status(code);
            }
            ([PathStep::Array, PathStep::Object(KnownKey::Code)], VisitEvent::String(code)) => {
                item.status = parse_status(code);
            }
            ([PathStep::Array, PathStep::Object(KnownKey::Body)], VisitEvent::String(body)) => {
                item.body = Some(body);
            }
            ([PathStep::Array], VisitEvent::ContainerEnd) => {
                found = std::mem::take(&mut item).rejection();
            }
            // No array: nothing of it can matter.
            ([PathStep::Object(_)], _) => return ControlFlow::Break(()),
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
fn parse_status(text: impl ByteSource) -> Option<StatusCode> {
    let digits = text.map(|unit| unit.byte).take_while(u8::is_ascii_digit);
    let code = digits.fold(0_u16, |code, digit| {
        code.saturating_mul(10).saturating_add(u16::from(digit - b'0'))
    });
    StatusCode::from_u16(code).ok()
}

impl BatchItem<'_> {
    fn rejection(self) -> Option<(RejectionReason, GraphError)> {
        let code = self.status.filter(StatusCode::is_client_error)?;
        let body: Vec<u8> = self.body?.map(|unit| unit.byte).take(MAX_ITEM_BODY_BYTES + 1).collect();
        let json = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, json)]);
        let (verdict, error) = classify_with_error(code, &headers, body.get(..MAX_ITEM_BODY_BYTES).unwrap_or(&body));
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

    fn rejection_reason(body: &[u8]) -> Option<RejectionReason> {
        find_batch_rejection(body).map(|(why, _error)| why)
    }

    #[test]
    fn the_graph_error_is_returned_with_the_reason() {
        let body = format!("[{}]", item("400", EXPIRED));
        let (_why, error) = find_batch_rejection(body.as_bytes()).unwrap();
        assert_eq!((error.code, error.subcode), (Some(190), Some(463)));
    }

    /// An item as it is recorded, with this code and this body.
    fn item(code: &str, body: &str) -> String {
        let body = serde_json::to_string(body).unwrap().replace('/', "\\/");
        format!(r#"{{"code":{code},"headers":[{{"name":"Content-Type","value":"text\/javascript"}}],"body":{body}}}"#)
    }

    const EXPIRED: &str = r#"{"error":{"message":"Error validating access token: Session has expired on Saturday, 29-Jun-24 09:00:00 PDT.","type":"OAuthException","code":190,"error_subcode":463,"fbtrace_id":"AZ-HzGEkqc5Vf3E0gy-eAcV"}}"#;
    const DENIED: &str = r#"{"error":{"message":"(#10) No permission","type":"OAuthException","code":10}}"#;

    #[test]
    fn the_first_item_with_a_rejected_token_gives_the_reason() {
        let loggedout = EXPIRED.replace("463", "467");
        for (items, expected) in [
            (
                vec![item("200", "{}"), item("400", EXPIRED)],
                Some(RejectionReason::Expired),
            ),
            (
                vec!["null".into(), item("401", &loggedout), item("400", EXPIRED)],
                Some(RejectionReason::Invalidated),
            ),
            (vec![item("\"400\"", EXPIRED)], Some(RejectionReason::Expired)),
            (vec![item("400", DENIED), item("200", EXPIRED)], None),
            (vec![item("500", EXPIRED), item("429", EXPIRED)], None),
            (vec![item("400", "no JSON"), "7".into(), "[]".into()], None),
            (vec![r#"{"code":400,"body":null}"#.into(), "{}".into()], None),
            (vec![], None),
        ] {
            let body = format!("[{}]", items.join(","));
            assert_eq!(rejection_reason(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn parts_may_come_in_any_order_and_belong_to_their_item() {
        let body = serde_json::to_string(EXPIRED).unwrap();
        let reordered = format!(r#"[{{"body":{body},"code":400}}]"#);
        assert_eq!(rejection_reason(reordered.as_bytes()), Some(RejectionReason::Expired));
        let split = format!(r#"[{{"body":{body}}},{{"code":400}}]"#);
        assert_eq!(rejection_reason(split.as_bytes()), None);
        let nested = format!(r#"[{{"x":{{"body":{body},"code":400}}}}]"#);
        assert_eq!(rejection_reason(nested.as_bytes()), None);
        let not_a_batch = format!(r#"{{"body":{body},"code":400}}"#);
        assert_eq!(rejection_reason(not_a_batch.as_bytes()), None);
    }

    #[test]
    fn a_localised_message_hides_nothing() {
        let german = EXPIRED.replace("Session has", "Sitzung für 🙂 ist");
        let escaped = item("400", &german)
            .replace('ü', "\\u00fc")
            .replace('🙂', "\\ud83d\\ude42");
        for item in [item("400", &german), escaped] {
            let body = format!("[{item}]");
            assert_eq!(rejection_reason(body.as_bytes()), Some(RejectionReason::Expired));
        }
    }

    #[test]
    fn what_is_cut_off_is_read_as_far_as_it_goes() {
        let body = format!("[{},{}]", item("400", EXPIRED), item("200", "{}"));
        for end in 0..body.len() {
            let found = rejection_reason(&body.as_bytes()[..end]);
            let known = end > item("400", EXPIRED).len();
            assert_eq!(found.is_some(), known, "{end}");
        }
    }
}
