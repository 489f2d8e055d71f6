//! No credential survives `Replace`, every other byte does, and cleaning twice changes nothing.

#![no_main]

use arbitrary::Arbitrary;
use graphward::graph::{ClientCredentialPolicy, ParameterCredential, ScrubRules, SignPolicy, Target, TargetError};
use http::Uri;
use libfuzzer_sys::fuzz_target;

/// Raw text, and parameters that are likely to matter after it.
#[derive(Arbitrary, Debug)]
struct Input<'a> {
    policy: u8,
    text: &'a str,
    parameters: Vec<(u8, u8, &'a str)>,
}

const NAMES: [&str; 9] = [
    "access_token",
    "%61ccess_token",
    "access%5Ftoken",
    "%20access.token[",
    "appsecret_proof",
    "appsecret_time",
    "input_token",
    "a",
    "",
];
const VALUES: [&str; 8] = ["", "=", "=null", "=EAAG", "=1|s", "=1%7c", "=+%20", "=%4eone"];

fuzz_target!(|input: Input<'_>| {
    let Input {
        policy,
        text,
        parameters,
    } = input;
    let mut text = text.to_owned();
    for (name, value, rest) in parameters {
        text.push(if text.contains('?') { '&' } else { '?' });
        text.push_str(NAMES[usize::from(name) % NAMES.len()]);
        text.push_str(VALUES[usize::from(value) % VALUES.len()]);
        text.push_str(rest);
    }
    let policy = match policy % 3 {
        0 => ClientCredentialPolicy::Replace,
        1 => ClientCredentialPolicy::Refuse,
        _ => ClientCredentialPolicy::Keep,
    };
    let Ok(uri) = text.parse::<Uri>() else { return };
    let cleaned = match Target::from_app(&uri, rules(policy)) {
        Ok(cleaned) => cleaned,
        Err(error) => {
            assert!(error == TargetError::NotAPath || policy == ClientCredentialPolicy::Refuse);
            return;
        }
    };
    let target = &cleaned.target;
    assert_eq!(target.path(), uri.path());
    assert!(target.path_template().to_string().len() <= 300);

    let sent: Vec<&str> = uri.query().map(|query| query.split('&').collect()).unwrap_or_default();
    let left: Vec<&str> = target
        .query()
        .map(|query| query.split('&').collect())
        .unwrap_or_default();
    if target.is_token_endpoint() {
        assert_eq!(sent, left);
    } else {
        // In order, nothing is lost but credentials.
        let mut rest = left.iter();
        let mut next = rest.next();
        for parameter in sent {
            if next == Some(&parameter) {
                next = rest.next();
            } else if left.is_empty() && parameter.is_empty() {
                // One empty parameter and none are the same query.
            } else {
                assert!(is_credential(parameter), "{parameter}");
            }
        }
        assert_eq!(next, None);
        match cleaned.report.credential {
            ParameterCredential::AppToken => {}
            ParameterCredential::Kept => assert_eq!(policy, ClientCredentialPolicy::Keep),
            ParameterCredential::None | ParameterCredential::Placeholder => {
                assert!(!left.iter().any(|parameter| is_credential(parameter)));
            }
            ParameterCredential::Removed => {
                assert_eq!(policy, ClientCredentialPolicy::Replace);
                assert!(!left.iter().any(|parameter| is_credential(parameter)));
            }
        }
    }

    let outgoing = target.to_uri();
    assert_eq!((outgoing.path(), outgoing.query()), (target.path(), target.query()));
    let again = Target::from_app(&outgoing, rules(policy)).expect("a cleaned target is clean");
    assert_eq!(again.target.to_uri(), outgoing);
});

/// Written without the code under test.
fn is_credential(parameter: &str) -> bool {
    let name = parameter.split('=').next().unwrap_or_default().replace('+', " ");
    let name: Vec<u8> = percent_encoding::percent_decode_str(&name).collect();
    let start = name.iter().position(|byte| *byte > b' ').unwrap_or(name.len());
    let name = name[start..].split(|byte| *byte == 0).next().unwrap_or_default();
    [&b"access_token"[..], b"appsecret_proof", b"appsecret_time"]
        .iter()
        .any(|known| {
            let (name, after) = name.split_at(known.len().min(name.len()));
            let name: Vec<u8> = name
                .iter()
                .map(|byte| if b". [".contains(byte) { b'_' } else { *byte })
                .collect();
            name == *known && matches!(after.trim_ascii().first(), None | Some(b'['))
        })
}

/// The policy, with the names of tenants read.
const fn rules(credentials: ClientCredentialPolicy) -> ScrubRules {
    ScrubRules::new(credentials, SignPolicy::Read)
}
