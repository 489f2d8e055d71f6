//! JSON bodies: no credential survives `Replace`, and valid JSON stays valid and loses nothing else.

#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use graphward::graph::{
    BodyFormat, ClientCredentialPolicy, ParameterCredential, ScrubError, ScrubRules, SignPolicy, scrub,
};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

/// Raw text, and members that are likely to matter in it.
#[derive(Arbitrary, Debug)]
struct Input<'a> {
    policy: u8,
    object: bool,
    members: Vec<(u8, u8, &'a str)>,
    text: &'a str,
}

const NAMES: [&str; 8] = [
    "\"access_token\":",
    "\"\\u0061ccess_token\" : ",
    "\"appsecret_proof\":",
    "access_token:",
    "'appsecret_time'=",
    "\"input_token\":",
    "\"a\":",
    "\"batch\":",
];
const VALUES: [&str; 8] = [
    "\"EAAG\"",
    "\"1|s\"",
    "null",
    "{\"access_token\":[1]}",
    "\"\"",
    "[{\"relative_url\":\"me?access_token=EAAG\"}]",
    "12",
    "",
];

fuzz_target!(|input: Input<'_>| {
    let mut body = String::new();
    if input.object {
        body.push('{');
    }
    for (index, (name, value, rest)) in input.members.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        body.push_str(NAMES[usize::from(*name) % NAMES.len()]);
        body.push_str(VALUES[usize::from(*value) % VALUES.len()]);
        body.push_str(rest);
    }
    body.push_str(input.text);
    if input.object {
        body.push('}');
    }
    let policy = match input.policy % 3 {
        0 => ClientCredentialPolicy::Replace,
        1 => ClientCredentialPolicy::Refuse,
        _ => ClientCredentialPolicy::Keep,
    };
    let parsed = serde_json::from_str::<Value>(&body).ok();

    match scrub(
        &BodyFormat::Json,
        rules(policy),
        Bytes::copy_from_slice(body.as_bytes()),
    ) {
        Ok((clean, report)) => {
            assert_eq!(report.is_changed, clean != body.as_bytes());
            check(parsed.as_ref(), &clean, report.credential);
            let (again, report) =
                scrub(&BodyFormat::Json, rules(policy), clean.clone()).expect("what is clean is clean");
            assert_eq!((again, report.is_changed), (clean, false));
        }
        Err(ScrubError::ClientCredential) => assert_eq!(policy, ClientCredentialPolicy::Refuse),
        Err(ScrubError::CannotScrub(_)) => {}
    }
});

/// What was valid still is, and has lost its credentials and nothing else.
fn check(parsed: Option<&Value>, out: &[u8], credential: ParameterCredential) {
    let Some(parsed) = parsed else { return };
    let left = serde_json::from_slice::<Value>(out).expect("still valid");
    let Value::Object(members) = parsed else {
        assert_eq!(*parsed, left);
        return;
    };
    let left = left.as_object().expect("still an object");
    if !matches!(credential, ParameterCredential::AppToken | ParameterCredential::Kept) {
        assert!(!left.keys().any(|name| is_credential(name)));
    }
    assert_eq!(data(members), data(left));
}

fn data(members: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let others = members
        .iter()
        .filter(|(name, _)| !is_credential(name) && *name != "batch");
    others.collect()
}

fn is_credential(name: &str) -> bool {
    ["access_token", "appsecret_proof", "appsecret_time"].contains(&name)
}

/// The policy, with the names of tenants read.
const fn rules(credentials: ClientCredentialPolicy) -> ScrubRules {
    ScrubRules::new(credentials, SignPolicy::Read)
}
