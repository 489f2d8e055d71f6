//! Whatever the document, and however it is spelled.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::*;
use super::*;

/// Documents in which links and what looks like them stand in all sorts of places.
fn documents() -> impl Strategy<Value = Value> {
    let words = prop_oneof![
        Just("next"),
        Just("previous"),
        Just("paging"),
        Just("url"),
        Just("data"),
        Just("x/\"\\é")
    ];
    let page = (prop_oneof![Just("next"), Just("previous")], links())
        .prop_map(|(name, link)| json!({"paging": {"cursors": {}, name: link}, "a": 1}));
    let leaves = prop_oneof![
        page,
        Just(json!(null)),
        Just(json!(-1.5)),
        links().prop_map(Value::from),
        "[a-z/\"\\\\\u{e9}\u{1f642}\n]{0,4}".prop_map(Value::from),
    ];
    let nested = leaves.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(words.clone(), inner, 0..4).prop_map(|members| {
                let members = members.into_iter();
                Value::Object(members.map(|(key, value)| (key.to_owned(), value)).collect())
            }),
        ]
    });
    let item = nested
        .clone()
        .prop_map(|body| json!({"code": 200, "body": body.to_string()}));
    prop_oneof![
        3 => nested,
        1 => prop::collection::vec(item, 0..3).prop_map(Value::from),
    ]
}

fn links() -> impl Strategy<Value = String> {
    let origins = prop_oneof![
        4 => Just("https://graph.facebook.com"),
        1 => Just("https://lookaside.fbsbx.com"),
        1 => Just("HTTPS://GRAPH.facebook.com:443"),
        1 => Just("https://example.com"),
        1 => Just("http://graph.facebook.com"),
    ];
    let parameters = prop_oneof![
        Just(format!("access_token={ENCODED}")),
        Just("access_token=EAAGother".to_owned()),
        Just("limit=25".to_owned()),
        Just("a=%5B1%5D".to_owned()),
        Just(String::new()),
    ];
    let query = prop::option::of(prop::collection::vec(parameters, 1..4));
    (origins, "(/[a-z\u{e9}]{0,3}){0,2}", query).prop_map(|(origin, path, query)| {
        let query = query.map_or(String::new(), |query| format!("?{}", query.join("&")));
        format!("{origin}{path}{query}")
    })
}

/// The link that has to result; written without the code under test.
fn rewritten_link(link: &str) -> Option<String> {
    let folded = link.to_ascii_lowercase();
    let origins = ["https://graph.facebook.com:443", "https://graph.facebook.com"];
    let origin = origins.iter().find(|origin| folded.starts_with(**origin))?;
    let rest = link.split_at(origin.len()).1;
    if !(rest.is_empty() || rest.starts_with(['/', '?'])) {
        return None;
    }
    let token = format!("access_token={ENCODED}");
    let rest = match rest.split_once('?') {
        None => rest.to_owned(),
        Some((path, query)) => {
            let kept: Vec<_> = query.split('&').filter(|part| **part != token).collect();
            match kept.as_slice() {
                [] => path.to_owned(),
                kept => format!("{path}?{}", kept.join("&")),
            }
        }
    };
    Some(format!("{BASE}{rest}"))
}

fn expected_document(document: &Value, is_batch: bool) -> Value {
    match document {
        Value::Array(items) if is_batch => items
            .iter()
            .map(|item| {
                let mut item = item.clone();
                match item.get("body").and_then(Value::as_str).map(str::to_owned) {
                    Some(body) => {
                        let body: Value = serde_json::from_str(&body).unwrap();
                        item["body"] = expected_document(&body, false).to_string().into();
                        item
                    }
                    None => expected_document(&item, false),
                }
            })
            .collect(),
        Value::Array(items) => items.iter().map(|item| expected_document(item, false)).collect(),
        Value::Object(members) => {
            let rewrite_member = |(key, value): (&String, &Value)| {
                let mut value = expected_document(value, false);
                if let (true, Value::Object(page)) = (key == "paging", &mut value) {
                    for name in ["next", "previous"] {
                        if let Some(link) = page.get(name).and_then(Value::as_str).and_then(rewritten_link) {
                            page.insert(name.to_owned(), link.into());
                        }
                    }
                }
                (key.clone(), value)
            };
            Value::Object(members.iter().map(rewrite_member).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => document.clone(),
    }
}

/// The document as JSON, each character of its strings spelled as `choice` says.
fn escape_randomly(document: &Value, choice: &mut impl FnMut() -> u8) -> String {
    match document {
        Value::String(text) => {
            let mut out = String::from("\"");
            for letter in text.chars() {
                let is_special = letter < ' ' || matches!(letter, '"' | '\\');
                match (letter, choice() % 8) {
                    ('/', 0..5) => out.push_str("\\/"),
                    (_, 0 | 1) => {
                        for unit in letter.encode_utf16(&mut [0; 2]) {
                            out.push_str(&format!("\\u{unit:04x}"));
                        }
                    }
                    _ if is_special => {
                        let quoted = serde_json::to_string(&letter.to_string()).unwrap();
                        let bare = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
                        out.push_str(bare.unwrap());
                    }
                    _ => out.push(letter),
                }
            }
            out + "\""
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| escape_randomly(item, choice)).collect();
            format!("[ {}]", items.join(" ,\n"))
        }
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| {
                let key = escape_randomly(&key.clone().into(), choice);
                format!("{key}\t:{}", escape_randomly(value, choice))
            });
            format!("{{{} }}", members.collect::<Vec<_>>().join(","))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => document.to_string(),
    }
}

proptest! {
    #[test]
    fn a_document_is_rewritten_by_its_meaning(document in documents(), choices in prop::collection::vec(any::<u8>(), 1..60)) {
        let mut next_choice = choices.iter().copied().cycle();
        let text = escape_randomly(&document, &mut || next_choice.next().unwrap());
        let read: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&read, &document);
        let expected = expected_document(&document, true);
        match rewritten_paging(&text) {
            Some(rewritten) => {
                prop_assert_ne!(&rewritten, &text);
                prop_assert_eq!(serde_json::from_str::<Value>(&rewritten).unwrap(), expected);
                prop_assert_eq!(rewritten_paging(&rewritten), None, "once is enough");
            }
            None => prop_assert_eq!(expected, document),
        }
    }

    #[test]
    fn a_truncated_or_corrupted_body_stays_json_or_unchanged(document in documents(), cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = document.to_string().into_bytes();
        let at = cut.index(text.len());
        text[at] = byte;
        for body in [&text[..], &text[..at]] {
            let rewritten = rewrite_paging_links(body, BASE, &is_graph, &is_ours)
                .or_else(|| rewrite_media_link(body, BASE, &|authority| authority == MEDIA_HOST));
            if rewritten.is_some() {
                let lossy = String::from_utf8_lossy(body);
                prop_assert!(serde_json::from_str::<IgnoredAny>(&lossy).is_ok());
            }
        }
    }
}
