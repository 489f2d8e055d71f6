//! Batches, as arrays and as strings with arrays: no item keeps a credential that may not stay, all else stays, and both
//! spellings come to the same.

#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use graphward::graph::{BodyFormat, ClientCredentialPolicy, ScrubError, ScrubRules, SignPolicy, scrub};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};

/// Items: what they hold themselves, what their URLs and bodies do, and a raw text beside them.
#[derive(Arbitrary, Debug)]
struct Input<'a> {
    policy: u8,
    items: Vec<(Vec<(u8, u8)>, Vec<(u8, u8)>, Vec<(u8, u8)>, u8, &'a str)>,
    raw: &'a str,
}

const NAMES: [&str; 6] = [
    "access_token",
    "%61ccess_token",
    "appsecret_proof",
    "input_token",
    "a",
    "",
];
const VALUES: [&str; 6] = ["EAAG", "1%7Cs", "1|s", "null", "", "\"\u{e9}\\"];

fuzz_target!(|input: Input<'_>| {
    let policy = match input.policy % 3 {
        0 => ClientCredentialPolicy::Replace,
        1 => ClientCredentialPolicy::Refuse,
        _ => ClientCredentialPolicy::Keep,
    };
    let items: Vec<Value> = input.items.iter().map(item).collect();
    let array = Value::Array(items);
    let plain = cleaned(policy, &json!({ "batch": array }).to_string());
    let string = cleaned(policy, &json!({ "batch": array.to_string() }).to_string());
    match (plain, string) {
        (Ok((plain, own)), Ok((string, also))) => {
            let plain: Value = serde_json::from_str(&plain).expect("still valid");
            let string: Value = serde_json::from_str(&string).expect("still valid");
            let inner = string["batch"].as_str().expect("still a string");
            let inner: Value = serde_json::from_str(inner).expect("still valid in it");
            assert_eq!(plain["batch"], inner);
            assert_eq!(own, also);
            let (left, before) = (inner.as_array(), array.as_array());
            for (left, before) in left.into_iter().flatten().zip(before.into_iter().flatten()) {
                check(left, before, policy);
            }
        }
        (Err(error), Err(other)) => {
            assert_eq!((error, policy), (other, ClientCredentialPolicy::Refuse));
            assert_eq!(error, ScrubError::ClientCredential);
        }
        (one, other) => panic!("{one:?} {other:?}"),
    }
    // Any text is cleaned or refused, and clean afterwards.
    for body in [
        format!("{{\"batch\":{}}}", input.raw),
        json!({ "batch": input.raw }).to_string(),
    ] {
        if let Ok((left, _)) = cleaned(policy, &body) {
            assert_eq!(cleaned(policy, &left).expect("clean").0, left);
        }
    }
});

fn item((members, query, body, shape, text): &(Vec<(u8, u8)>, Vec<(u8, u8)>, Vec<(u8, u8)>, u8, &str)) -> Value {
    let named = |list: &[(u8, u8)]| -> Vec<(&str, &str)> {
        let pick = |(name, value): &(u8, u8)| {
            (
                NAMES[usize::from(*name) % NAMES.len()],
                VALUES[usize::from(*value) % VALUES.len()],
            )
        };
        list.iter().map(pick).collect()
    };
    let form = |list: &[(u8, u8)]| -> String {
        let parameters: Vec<_> = named(list)
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        parameters.join("&")
    };
    let object = |list: &[(u8, u8)]| -> Map<String, Value> {
        let members = named(list).into_iter();
        members.map(|(name, value)| (name.to_owned(), value.into())).collect()
    };
    let mut item = object(members);
    item.insert("relative_url".to_owned(), format!("me?{}", form(query)).into());
    let body = match shape % 3 {
        0 => form(body).into(),
        1 => Value::Object(object(body)),
        _ => Value::Object(object(body)).to_string().into(),
    };
    item.insert("body".to_owned(), body);
    item.insert("name".to_owned(), (*text).into());
    Value::Object(item)
}

fn cleaned(policy: ClientCredentialPolicy, body: &str) -> Result<(String, bool), ScrubError> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let (clean, report) = scrub(&BodyFormat::Json, rules(policy), body)?;
    let clean = String::from_utf8(clean.to_vec()).expect("still text");
    Ok((clean, report.has_item_tokens))
}

/// Written without the code under test.
fn check(left: &Value, before: &Value, policy: ClientCredentialPolicy) {
    let (left, before) = (credentials(left), credentials(before));
    let tokens = before.1.iter().filter(|token| !is_nothing(token));
    let real = tokens.clone().any(|token| !token.starts_with("1|"));
    let stays = tokens.count() > 0 && (!real || policy == ClientCredentialPolicy::Keep);
    assert_eq!(left.0, before.0, "data is lost");
    if stays {
        let kept: Vec<_> = before.1.into_iter().filter(|token| !is_nothing(token)).collect();
        assert_eq!((left.1, left.2), (kept, before.2));
    } else {
        assert_eq!((left.1.len(), left.2), (0, 0));
    }
}

fn is_nothing(token: &str) -> bool {
    token.is_empty() || token == "null"
}

/// An item's data, its tokens, and how many proofs it has.
fn credentials(item: &Value) -> (Vec<String>, Vec<String>, usize) {
    let mut found = (Vec::new(), Vec::new(), 0);
    let mut note = |name: &str, value: &str| {
        let value = value.to_owned();
        match &*name.replace("%61", "a") {
            "access_token" => found.1.push(value),
            "appsecret_proof" => found.2 += 1,
            name => found.0.push(format!("{name}={value}")),
        }
    };
    let form = |text: &str, note: &mut dyn FnMut(&str, &str)| {
        for parameter in text.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            note(name, &value.replace("%7C", "|"));
        }
    };
    let object = |members: &Map<String, Value>, note: &mut dyn FnMut(&str, &str)| {
        for (name, value) in members {
            match name.as_str() {
                "%61ccess_token" => note("escaped", ""),
                "relative_url" | "body" => {}
                name => note(name, value.as_str().unwrap_or_default()),
            }
        }
    };
    let item = item.as_object().expect("an object");
    object(item, &mut note);
    let url = item["relative_url"].as_str().unwrap_or_default();
    form(url.split_once('?').map_or("", |(_, query)| query), &mut note);
    match &item["body"] {
        Value::Object(body) => object(body, &mut note),
        Value::String(body) => match serde_json::from_str::<Map<String, Value>>(body) {
            Ok(body) => object(&body, &mut note),
            Err(_) => form(body, &mut note),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {}
    }
    found
}

/// The policy, with the names of tenants read.
const fn rules(credentials: ClientCredentialPolicy) -> ScrubRules {
    ScrubRules::new(credentials, SignPolicy::Read)
}
