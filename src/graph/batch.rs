//! The response to a batch: 200, even if items of it failed.

use http::header::{CONTENT_TYPE, HeaderMap};
use http::{HeaderValue, StatusCode};

use super::error::GraphError;
use super::json::{Container, Member, Token, tokens};
use super::text::is_named;
use super::verdict::{Rejection, Verdict, classify_with_error};

/// Finds the first item whose token Graph rejects: an item that [`classify`](super::verdict::classify) would call
/// [`Verdict::TokenRejected`] if it were a response of its own. Returns the rejection and Graph's error.
///
/// Other items may have been executed, so the batch must not be sent again: the response is delivered as it is, and the
/// next request gets a newer token.
///
/// Items may be `null`, and lack parts. What follows the item that is found is not read, and a truncated response is read
/// up to its last complete item.
#[must_use]
pub fn find_batch_rejection(body: &[u8]) -> Option<(Rejection, GraphError)> {
    items(body).find_map(|item| match classify_item(item) {
        Some((Verdict::TokenRejected(rejection), Some(error))) => Some((rejection, error)),
        Some(_) | None => None,
    })
}

/// Returns whether an item succeeded, so that Graph accepts its token.
#[must_use]
pub fn has_accepted_item(body: &[u8]) -> bool {
    items(body).any(|item| matches!(classify_item(item), Some((Verdict::Success, _))))
}

fn items(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut elements = tokens(body, 0..body.len());
    let is_array = matches!(elements.next(), Some(Token::Open(Container::Array, _)));
    let elements = elements.take_while(move |token| is_array && *token != Token::Close);
    let items = elements.filter_map(|token| token.member().and_then(|item| body.get(item.value)));
    items.filter(|item| item.ends_with(b"}"))
}

fn classify_item(item: &[u8]) -> Option<(Verdict, Option<GraphError>)> {
    let (mut code, mut body) = (None, None);
    for Member { name, value } in tokens(item, 0..item.len()).filter_map(Token::member) {
        let (name, value) = (item.get(name)?, item.get(value)?);
        if is_named(name, b"code") {
            code = Some(value);
        } else if is_named(name, b"body") {
            body = Some(value);
        }
    }
    let code = str::from_utf8(code?).ok()?.trim_matches('"').parse().ok()?;
    let status = StatusCode::from_u16(code).ok()?;
    let body: String = serde_json::from_slice(body?).ok()?;
    let json = HeaderValue::from_static("application/json");
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, json)]);
    Some(classify_with_error(status, &headers, body.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::super::verdict::RejectionReason;
    use super::*;

    fn rejection_reason(body: &[u8]) -> Option<RejectionReason> {
        find_batch_rejection(body).map(|(rejection, _error)| rejection.reason)
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
            (vec![item("400", DENIED), item("200", DENIED)], None),
            // The item asked for that status: `me?suppress_http_code=1`.
            (
                vec![item("400", DENIED), item("200", EXPIRED)],
                Some(RejectionReason::Expired),
            ),
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
    fn an_item_that_succeeded_shows_that_the_token_is_accepted() {
        for (items, expected) in [
            (vec![item("400", EXPIRED), item("200", "{}")], true),
            (vec![item("400", EXPIRED), item("200", EXPIRED)], false),
            (vec![item("400", DENIED), "null".into()], false),
            (vec![], false),
        ] {
            let body = format!("[{}]", items.join(","));
            assert_eq!(has_accepted_item(body.as_bytes()), expected, "{body}");
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
    fn a_localized_message_does_not_hide_the_code() {
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
    fn a_truncated_response_is_read_up_to_its_last_complete_item() {
        let body = format!("[{},{}]", item("400", EXPIRED), item("200", "{}"));
        for end in 0..body.len() {
            let found = rejection_reason(&body.as_bytes()[..end]);
            let known = end > item("400", EXPIRED).len();
            assert_eq!(found.is_some(), known, "{end}");
        }
    }
}
