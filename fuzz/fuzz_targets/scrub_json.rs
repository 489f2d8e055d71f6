//! JSON bodies: no credential survives `Refresh`, the pieces do not matter, what is masked keeps its length, and what is
//! valid stays valid and loses nothing else.

#![no_main]

use arbitrary::Arbitrary;
use bytes::BytesMut;
use graphward::graph::{Mode, Presented, QueryCredential, ScrubError, Scrubbed, Scrubber, scrub};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

/// Raw text, and members that are likely to matter in it.
#[derive(Arbitrary, Debug)]
struct Input<'a> {
    policy: u8,
    object: bool,
    members: Vec<(u8, u8, &'a str)>,
    text: &'a str,
    cuts: [u16; 3],
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
        0 => Presented::Replace,
        1 => Presented::Refuse,
        _ => Presented::Keep,
    };
    let headers =
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let parsed = serde_json::from_str::<Value>(&body).ok();

    for mode in [Mode::Cut, Mode::Mask] {
        let together = in_pieces(&headers, policy, mode, body.as_bytes(), &[]);
        let apart = in_pieces(&headers, policy, mode, body.as_bytes(), &input.cuts);
        assert_eq!(together, apart);
        let Ok((out, scrubbed)) = together else {
            continue;
        };
        assert!(scrubbed.changed || out == body.as_bytes());
        if mode == Mode::Mask {
            assert_eq!(out.len(), body.len());
        }
        check(parsed.as_ref(), &out, scrubbed.credential);
    }

    match scrub(&headers, policy, body.as_bytes()) {
        Ok((clean, scrubbed)) => {
            assert_eq!(clean.is_some(), scrubbed.changed);
            let clean = clean.map_or(body.as_bytes().to_vec(), |clean| clean.to_vec());
            check(parsed.as_ref(), &clean, scrubbed.credential);
            let (again, _) = scrub(&headers, policy, &clean).expect("what is clean is clean");
            assert_eq!(again, None);
        }
        Err(ScrubError::Presented) => assert_eq!(policy, Presented::Refuse),
        Err(ScrubError::Unclean(_)) => {}
    }
});

fn in_pieces(
    headers: &HeaderMap,
    policy: Presented,
    mode: Mode,
    body: &[u8],
    cuts: &[u16],
) -> Result<(Vec<u8>, Scrubbed), ScrubError> {
    let mut scrubber = Scrubber::of(headers, policy, mode).expect("it is JSON");
    let mut out = BytesMut::new();
    let mut cuts: Vec<_> = cuts
        .iter()
        .map(|cut| usize::from(*cut) % (body.len() + 1))
        .collect();
    cuts.extend([0, body.len()]);
    cuts.sort_unstable();
    for piece in cuts.windows(2) {
        scrubber.push(&body[piece[0]..piece[1]], &mut out)?;
    }
    let scrubbed = scrubber.finish(&mut out)?;
    Ok((out.to_vec(), scrubbed))
}

/// What was valid still is, and has lost its credentials and nothing else.
fn check(parsed: Option<&Value>, out: &[u8], credential: QueryCredential) {
    let Some(parsed) = parsed else { return };
    let left = serde_json::from_slice::<Value>(out).expect("still valid");
    let Value::Object(members) = parsed else {
        assert_eq!(*parsed, left);
        return;
    };
    let left = left.as_object().expect("still an object");
    if !matches!(
        credential,
        QueryCredential::AppToken | QueryCredential::Kept
    ) {
        assert!(!left.keys().any(|name| is_credential(name)));
    }
    assert_eq!(data(members), data(left));
}

fn data(members: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let others = members.iter().filter(|(name, _)| {
        !is_credential(name) && *name != "batch" && !name.bytes().all(|byte| byte == b'x')
    });
    others.collect()
}

fn is_credential(name: &str) -> bool {
    ["access_token", "appsecret_proof", "appsecret_time"].contains(&name)
}
