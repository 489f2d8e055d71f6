//! Only links to Graph's hosts change, and of them only the origin and the tenant's token; the rejection of a batch is that
//! of an item. Compared with a reader that builds values.

#![no_main]

use arbitrary::Arbitrary;
use graphward::graph::host::MEDIA_HOST;
use graphward::graph::links::{rewrite_media_link, rewrite_paging_links};
use graphward::graph::{Rejection, Verdict, classify, find_batch_rejection};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const BASE: &str = "http://[::1]:8080";
const TOKEN: &str = "EAAG|m0";

/// Text, in which these pieces stand for what is hard to guess.
#[derive(Arbitrary, Debug)]
enum Piece<'a> {
    Text(&'a [u8]),
    Known(u8),
}

const KNOWN: [&str; 16] = [
    r#"{"paging":{"next":""#,
    r#"{"url":"https:\/\/lookaside.fbsbx.com\/"}"#,
    r#"https:\/\/graph.facebook.com"#,
    r#"https://graph.facebook.com:443/"#,
    r#"?access_token=EAAG%7Cm0"#,
    r#"\u0026access_token=EAAG|m0"#,
    r#"&access_token=EAAG\u00257Cm0&"#,
    r#""}}"#,
    r#","previous":""#,
    r#"[{"code":400,"body":""#,
    r#"{\"paging\":{\"next\":\"https:\\\/\\\/graph.facebook.com\/?access_token=EAAG\\u00257cm0\"}}"#,
    r#"{\"error\":{\"code\":190,\"error_subcode\":463}}"#,
    r#""},"#,
    r#""}]"#,
    "null",
    ",",
];

fuzz_target!(|pieces: Vec<Piece<'_>>| {
    let mut body = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => body.extend_from_slice(text),
            Piece::Known(index) => {
                body.extend_from_slice(KNOWN[usize::from(index) % KNOWN.len()].as_bytes());
            }
        }
    }
    let document: Option<Value> = serde_json::from_slice(&body).ok();
    if let Some(rewritten) = rewrite_media_link(&body, BASE, &|host| host == MEDIA_HOST)
        && let Some(document) = &document
    {
        let mut rewritten: Value = serde_json::from_slice(&rewritten).expect("JSON stays JSON");
        let mut document = document.clone();
        let (new, old) = (rewritten["url"].take(), document["url"].take());
        assert_eq!(rewritten, document);
        // With two of a name either may be the one that changed.
        assert!(new == old || is_rewritten(&new, &old));
    }
    let is_graph = |host: &str| host == "graph.facebook.com";
    let is_token = |value: &mut dyn Iterator<Item = u8>| value.eq(TOKEN.bytes());
    if let Some(rewritten) = rewrite_paging_links(&body, BASE, &is_graph, &is_token) {
        assert_ne!(rewritten, body);
        assert_eq!(rewrite_paging_links(&rewritten, BASE, &is_graph, &is_token), None);
        if let Some(document) = &document {
            let rewritten: Value = serde_json::from_slice(&rewritten).expect("JSON stays JSON");
            compare(&rewritten, document, true);
        }
    }
    // A value keeps one of two equal names, so the document is written anew first.
    let _any = find_batch_rejection(&body);
    if let Some(document) = document {
        let items = document.as_array().map_or(&[][..], Vec::as_slice);
        let expected = items.iter().find_map(rejection);
        let found = find_batch_rejection(document.to_string().as_bytes());
        assert_eq!(found.map(|(why, _error)| why), expected);
    }
});

fn compare(new: &Value, old: &Value, is_top: bool) {
    match (new, old) {
        (Value::Array(new), Value::Array(old)) => {
            assert_eq!(new.len(), old.len());
            for (new, old) in new.iter().zip(old) {
                if let (true, Some(a), Some(b)) = (is_top, text(new, "body"), text(old, "body"))
                    && let (Ok(a), Ok(b)) = (serde_json::from_str(a), serde_json::from_str(b))
                {
                    compare(&a, &b, false);
                    let (mut new, mut old) = (new.clone(), old.clone());
                    (new["body"], old["body"]) = (Value::Null, Value::Null);
                    compare(&new, &old, false);
                } else {
                    compare(new, old, false);
                }
            }
        }
        (Value::Object(new), Value::Object(old)) => {
            assert!(new.keys().eq(old.keys()));
            for (key, new) in new {
                let (mut new, mut old) = (new.clone(), old[key].clone());
                if key == "paging" && new.is_object() && old.is_object() {
                    for name in ["next", "previous"] {
                        if new.get(name) != old.get(name) {
                            assert!(is_rewritten(&new[name], &old[name]), "{new} {old}");
                            (new[name], old[name]) = (Value::Null, Value::Null);
                        }
                    }
                }
                compare(&new, &old, false);
            }
        }
        _ => assert_eq!(new, old),
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

/// Whether the new link is the old one with another origin, and perhaps fewer parameters.
fn is_rewritten(new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_str(), old.as_str()) else {
        return false;
    };
    let rest = |link: &str| {
        let rest = link.split_once("://").expect("a URL").1;
        let path = &rest[rest.find(['/', '?', '#']).unwrap_or(rest.len())..];
        let path = path.split(['?', '#']).next().map(str::to_owned);
        let kept: Vec<_> = query(link).split('&').filter(|part| !is_token(part)).collect();
        let fragment = link.split_once('#').map(|(_, fragment)| fragment.to_owned());
        (path, kept.join("&"), fragment)
    };
    old.to_ascii_lowercase().starts_with("https://")
        && new.starts_with(BASE)
        && !query(new).split('&').any(is_token)
        && rest(new) == rest(old)
}

fn query(link: &str) -> &str {
    let link = link.split('#').next().unwrap_or_default();
    link.split_once('?').map_or("", |(_, query)| query)
}

fn is_token(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, value)| {
        let decoded = |text| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
        decoded(name) == b"access_token" && decoded(value) == TOKEN.as_bytes()
    })
}

fn rejection(item: &Value) -> Option<Rejection> {
    let code = match item.get("code")? {
        Value::String(code) => code.parse().ok(),
        code => code.as_u64().and_then(|code| u16::try_from(code).ok()),
    };
    let status = StatusCode::from_u16(code?).ok()?;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    match classify(status, &headers, text(item, "body")?.as_bytes()) {
        Verdict::TokenRejected(rejection) => Some(rejection),
        _ => None,
    }
}
