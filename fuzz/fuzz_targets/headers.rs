//! No stripped header is forwarded, whatever `Connection` lists on any number of lines; every other one is.

#![no_main]

use arbitrary::Arbitrary;
use graphward::proxy::fuzzing::{strip_request_headers, strip_response_headers};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

/// Headers that are stripped in both directions.
const BOTH: [&str; 11] = [
    "connection",
    "content-length",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Headers that do not reach Graph.
const THERE: [&str; 8] = [
    "host",
    "expect",
    "cookie",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-anything",
    "x-real-ip",
    "x_real_ip",
];
/// Headers that do not reach the app.
const BACK: [&str; 2] = ["alt-svc", "strict-transport-security"];
/// Headers that are forwarded.
const KEPT: [&str; 4] = ["accept", "user-agent", "x-fb-trace-id", "set-cookie"];

#[derive(Arbitrary, Debug)]
struct Line<'a> {
    name: u8,
    own: Option<&'a str>,
    /// The value names another field, as a `Connection` line does.
    lists: Option<(u8, bool)>,
    value: &'a [u8],
}

fuzz_target!(|lines: Vec<Line<'_>>| {
    let mut headers = HeaderMap::new();
    for line in lines.iter().take(64) {
        let own = line.own.and_then(|own| own.parse::<HeaderName>().ok());
        let name = own.unwrap_or_else(|| HeaderName::from_static(known(line.name)));
        let value = match line.lists {
            None => line.value.to_vec(),
            Some((other, true)) => format!("close, {} ,", known(other).to_uppercase()).into_bytes(),
            Some((other, false)) => known(other).as_bytes().to_vec(),
        };
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.append(name, value);
        }
    }
    holds(&headers, strip_request_headers, &THERE);
    holds(&headers, strip_response_headers, &BACK);
});

fn known(index: u8) -> &'static str {
    let names = BOTH.iter().chain(&THERE).chain(&BACK).chain(&KEPT);
    let index = usize::from(index) % (BOTH.len() + THERE.len() + BACK.len() + KEPT.len());
    names.copied().nth(index).expect("below their number")
}

fn holds(before: &HeaderMap, clean: fn(&mut HeaderMap), ends: &[&str]) {
    let listed: Vec<String> = before
        .get_all("connection")
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase())
        .collect();
    let mut after = before.clone();
    clean(&mut after);
    for name in before.keys() {
        let forwarding = ["x-forwarded-", "x_forwarded_", "x-forwarded_", "x_forwarded-"];
        let gone = BOTH.contains(&name.as_str())
            || ends.contains(&name.as_str())
            || listed.iter().any(|listed| listed == name.as_str());
        // Other spellings with underscores may be stripped or forwarded.
        let perhaps = ends == THERE
            && (forwarding.iter().any(|start| name.as_str().starts_with(start))
                || matches!(name.as_str(), "x-real_ip" | "x_real-ip"));
        if gone {
            assert!(!after.contains_key(name), "{name} is forwarded");
        } else if !perhaps {
            assert!(
                before.get_all(name).iter().eq(after.get_all(name).iter()),
                "{name} is lost"
            );
        }
    }
    assert!(after.keys().all(|name| before.contains_key(name)));
    let mut again = after.clone();
    clean(&mut again);
    assert_eq!(again, after);
}
