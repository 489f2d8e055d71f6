mod random;

use bytes::BytesMut;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::Value;

use crate::graph::scrub::{ScrubError, ScrubMode, ScrubReport, Scrubber, scrub};
use crate::graph::{ClientCredentialPolicy, ParameterCredential};

const POLICIES: [ClientCredentialPolicy; 3] = [
    ClientCredentialPolicy::Replace,
    ClientCredentialPolicy::Refuse,
    ClientCredentialPolicy::Keep,
];

fn headers() -> HeaderMap {
    let value = HeaderValue::from_static("application/json; charset=utf-8");
    HeaderMap::from_iter([(CONTENT_TYPE, value)])
}

/// In memory; the result, and what it was.
fn scrub_in_memory(body: &str, policy: ClientCredentialPolicy) -> Result<(String, ScrubReport), ScrubError> {
    let (clean, scrubbed) = scrub(&headers(), policy, body.as_bytes())?;
    assert_eq!(clean.is_some(), scrubbed.is_changed);
    let clean = clean.map_or_else(|| body.as_bytes().to_vec(), |clean| clean.to_vec());
    Ok((String::from_utf8(clean).unwrap(), scrubbed))
}

/// As it arrives, in pieces that end at `cuts`.
fn scrub_in_chunks(
    body: &str,
    policy: ClientCredentialPolicy,
    mode: ScrubMode,
    cuts: &[usize],
) -> Result<(String, ScrubReport), ScrubError> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
    cuts.extend([0, body.len()]);
    cuts.sort_unstable();
    let mut scrubber = Scrubber::from_headers(&headers(), policy, mode).unwrap();
    let mut out = BytesMut::new();
    for piece in cuts.windows(2) {
        scrubber.push(&body.as_bytes()[piece[0]..piece[1]], &mut out)?;
    }
    let scrubbed = scrubber.finish(&mut out)?;
    Ok((String::from_utf8(out.to_vec()).unwrap(), scrubbed))
}

fn replaced(body: &str) -> (String, ParameterCredential) {
    let (clean, scrubbed) = scrub_in_memory(body, ClientCredentialPolicy::Replace).unwrap();
    (clean, scrubbed.credential)
}

fn masked(body: &str) -> String {
    scrub_in_chunks(body, ClientCredentialPolicy::Replace, ScrubMode::Mask, &[])
        .unwrap()
        .0
}

#[test]
fn a_body_without_credentials_is_not_copied() {
    for body in [
        "",
        " ",
        "{}",
        "[]",
        "null",
        "\"access_token\"",
        r#"[{"access_token":"EAA"}]"#,
        r#"{"messaging_product":"whatsapp","to":"1","type":"text","text":{"body":"access_token \u00e9"}}"#,
        r#"{"input_token":"EAA","fb_exchange_token":"EAA","revoke_token":"EAA","code":"c","client_secret":"s"}"#,
        r#"{"a":{"access_token":"EAA"},"b":[{"access_token":"EAA"}],"c":"\"access_token\":\"EAA\""}"#,
        r#"{"Access_token":"EAA","access_token ":"EAA","access_tokens":1,"access\\u005ftoken":1}"#,
        "{\"a\":1,\"a\":2, \"n\":1.0E+2,\t\"z\":[ ]}\n",
        "{,}{]",
    ] {
        for policy in POLICIES {
            let (clean, scrubbed) = scrub(&headers(), policy, body.as_bytes()).unwrap();
            assert_eq!((clean, scrubbed.is_changed), (None, false), "{body}");
            assert_eq!(scrubbed.credential, ParameterCredential::None, "{body}");
        }
    }
}

#[test]
fn a_token_is_removed_with_one_comma_and_nothing_else() {
    for (sent, left) in [
        (r#"{"access_token":"EAA"}"#, "{}"),
        (r#"{ "access_token" : "EAA" }"#, "{ }"),
        (r#"{"a":1,"access_token":"EAA"}"#, r#"{"a":1}"#),
        (r#"{"access_token":"EAA","a":1}"#, r#"{"a":1}"#),
        (r#"{"a":1, "access_token":"EAA" , "b":2}"#, r#"{"a":1 , "b":2}"#),
        ("{\n  \"access_token\": \"EAA\",\n  \"a\": 1\n}\n", "{\n  \"a\": 1\n}\n"),
        ("{\n  \"a\": 1,\n  \"access_token\": \"EAA\"\n}", "{\n  \"a\": 1\n}"),
        (
            r#"{"access_token":"EAA","appsecret_proof":"ab","appsecret_time":1,"a":"b"}"#,
            r#"{"a":"b"}"#,
        ),
        (r#"{"a":1,"access_token":"EAA","appsecret_proof":"ab"}"#, r#"{"a":1}"#),
        (r#"{"access_token":"EAA","access_token":"EAB"}"#, "{}"),
        (
            r#"{"access_token":"EAA","a":1,"access_token":"EAB","b":2}"#,
            r#"{"a":1,"b":2}"#,
        ),
        (r#"{"\u0061ccess\u005Ftoken":"EAA","a":"\u0061"}"#, r#"{"a":"\u0061"}"#),
        (r#"{"access_token":"EA\"A,}","a":1}"#, r#"{"a":1}"#),
        (r#"{"access_token":123,"a":1}"#, r#"{"a":1}"#),
        (r#"{"access_token":false}"#, "{}"),
        (r#"{"a":[],"access_token":{"x":["}"]},"b":{}}"#, r#"{"a":[],"b":{}}"#),
        (r#"{"access_token":[1,{"a":2}]}"#, "{}"),
        ("\u{FEFF}{\"access_token\":\"EAA\"}", "\u{FEFF}{}"),
        (r#"{"access_token":"1|s","access_token":"EAA"}"#, "{}"),
        // What only tolerant parsers read.
        (r#"{"access_token":"EAA"#, "{"),
        (r#"{"a":1,"access_token":"EAA"#, r#"{"a":1"#),
        (r#"{"a":1}x{"access_token":"EAA"}"#, r#"{"a":1}x{}"#),
        (r#"{"access_token":"EAA",}"#, "{}"),
        (r#"{'a':'"','access_token':'EAA'}"#, r#"{'a':'"'}"#),
        ("{access_token=EAA;a=1}", "{a=1}"),
        (r#"{"access_token" "EAA"}"#, "{}"),
        (r#"{"a":1 "access_token":"EAA" "b":2}"#, r#"{"a":1, "b":2}"#),
        (r#"{"a":b,"access_token":"EAA"c:1}"#, r#"{"a":b,c:1}"#),
    ] {
        let expected = (left.to_owned(), ParameterCredential::Removed);
        assert_eq!(replaced(sent), expected, "{sent}");
        assert_eq!(
            scrub_in_memory(sent, ClientCredentialPolicy::Refuse),
            Err(ScrubError::ClientCredential)
        );
    }
}

#[test]
fn placeholders_and_proofs_are_removed_under_every_policy() {
    for value in [
        "\"\"",
        "\" \\t\"",
        "null",
        "\"null\"",
        "\"None\"",
        "\"undefined\"",
        "\"\\u006eull\"",
        "undefined",
        "None",
        "",
        " ",
    ] {
        let sent = format!(r#"{{"a":1,"access_token":{value},"appsecret_proof":"ab"}}"#);
        for policy in POLICIES {
            let (left, scrubbed) = scrub_in_memory(&sent, policy).unwrap();
            assert_eq!(left, r#"{"a":1}"#, "{sent}");
            assert_eq!(scrubbed.credential, ParameterCredential::Placeholder, "{sent}");
        }
    }
}

#[test]
fn an_app_token_keeps_its_place_in_memory_and_moves_to_the_end_when_streamed() {
    for (sent, streamed) in [
        (r#"{"access_token":"1|s","a":1}"#, r#"{"a":1,"access_token":"1|s"}"#),
        (
            r#"{ "appsecret_proof":"ab", "access_token":"12\u007Cs", "a":1 }"#,
            r#"{ "a":1 ,"appsecret_proof":"ab","access_token":"12\u007Cs"}"#,
        ),
        (r#"{"access_token":"1|s"}"#, r#"{"access_token":"1|s"}"#),
        (r#"{"a":1,"access_token":"1|s",}"#, r#"{"a":1,"access_token":"1|s"}"#),
    ] {
        let expected = (sent.to_owned(), ParameterCredential::AppToken);
        assert_eq!(replaced(sent), expected);
        let (out, scrubbed) = scrub_in_chunks(sent, ClientCredentialPolicy::Replace, ScrubMode::Remove, &[]).unwrap();
        assert_eq!(out, streamed);
        assert_eq!(scrubbed.credential, ParameterCredential::AppToken);
    }
    let mixed = replaced(r#"{"access_token":"1|s","a":1,"access_token":null}"#);
    let expected = (
        r#"{"access_token":"1|s","a":1}"#.to_owned(),
        ParameterCredential::AppToken,
    );
    assert_eq!(mixed, expected);
}

#[test]
fn a_kept_token_stays_with_its_proof() {
    let sent = r#"{"access_token":"EAA","appsecret_proof":"ab","a":1}"#;
    let (left, scrubbed) = scrub_in_memory(sent, ClientCredentialPolicy::Keep).unwrap();
    assert_eq!((left.as_str(), scrubbed.credential), (sent, ParameterCredential::Kept));
}

#[test]
fn masked_json_keeps_its_length_and_stays_valid() {
    for (sent, left) in [
        (r#"{"access_token":"EAA","a":1}"#, r#"{"xxxxxxxxxxxx":"xxx","a":1}"#),
        (
            r#"{"a":1, "access_token" : {"b":[]} }"#,
            r#"{"a":1, "xxxxxxxxxxxx" : 11111111 }"#,
        ),
        (
            r#"{"access_token":null,"\u0061ppsecret_proof":"\"\\"}"#,
            r#"{"xxxxxxxxxxxx":1111,"xxxxxxxxxxxxxxxxxxxx":"xxxx"}"#,
        ),
        (r#"{"access_token":"1|s"}"#, r#"{"xxxxxxxxxxxx":"xxx"}"#),
        (r#"{"batch":[{"access_token":1}]}"#, r#"{"batch":[{"xxxxxxxxxxxx":1}]}"#),
    ] {
        assert_eq!(masked(sent), left);
        assert_eq!(left.len(), sent.len());
    }
}

#[test]
fn a_batch_is_cleaned_in_an_array_and_in_a_string() {
    for (sent, left) in [
        (
            r#"{"batch":[{"relative_url":"me?access_token=EAA&a=\/"}],"a":1}"#,
            r#"{"batch":[{"relative_url":"me?a=\/"}],"a":1}"#,
        ),
        (
            r#"{"batch":"[{\"relative_url\":\"v1\\\/me?access_token=EAA\\u0026a=\u00e9\"}]","access_token":"EAA"}"#,
            r#"{"batch":"[{\"relative_url\":\"v1\\\/me?a=\u00e9\"}]"}"#,
        ),
        (
            r#"{"b\u0061tch":"[{\"body\":\"{\\\"access_token\\\":\\\"EAA\\\",\\\"a\\\":1}\"}]"}"#,
            r#"{"b\u0061tch":"[{\"body\":\"{\\\"a\\\":1}\"}]"}"#,
        ),
        (
            r#"{"batch":"[{\"body\":\"access_token=EAA"#,
            r#"{"batch":"[{\"body\":\""#,
        ),
    ] {
        let (out, scrubbed) = scrub_in_memory(sent, ClientCredentialPolicy::Replace).unwrap();
        assert_eq!(
            (out.as_str(), scrubbed.has_batch, scrubbed.has_item_tokens),
            (left, true, false)
        );
        assert_eq!(
            scrub_in_memory(sent, ClientCredentialPolicy::Refuse),
            Err(ScrubError::ClientCredential)
        );
    }
    let own = r#"{"batch":[{"access_token":"1|s"}]}"#;
    let (out, scrubbed) = scrub_in_memory(own, ClientCredentialPolicy::Replace).unwrap();
    assert_eq!(
        (out.as_str(), scrubbed.has_item_tokens, scrubbed.credential),
        (own, true, ParameterCredential::None)
    );
}

#[test]
fn a_value_too_long_to_buffer_is_removed_too() {
    let long = "A".repeat(100_000);
    for value in [
        format!("\"{long}\\\"\""),
        format!("\"1|{long}\""),
        format!("\"{}\"", " ".repeat(100_000)),
        format!("{{\"a\":\"{long}\"}}"),
        "1".repeat(100_000),
        format!("{}\"EAA\"", " ".repeat(100_000)),
        " ".repeat(100_000),
    ] {
        for sent in [
            format!("{{\"a\":1,\"access_token\":{value},\"b\":2}}"),
            format!("{{\"access_token\":{value},\"a\":1,\"b\":2}}"),
            format!("{{\"a\":1,\"b\":2,\"appsecret_proof\":{value}}}"),
        ] {
            for cuts in [&[][..], &[20_000, 20_001, 60_000], &[16_000, 17_000]] {
                let (out, _) =
                    scrub_in_chunks(&sent, ClientCredentialPolicy::Replace, ScrubMode::Remove, cuts).unwrap();
                assert_eq!(out, "{\"a\":1,\"b\":2}", "{cuts:?}");
                let (out, _) = scrub_in_chunks(&sent, ClientCredentialPolicy::Replace, ScrubMode::Mask, cuts).unwrap();
                assert_eq!(out.len(), sent.len());
                assert!(!out.contains('A') && !out.contains("_"), "{cuts:?}");
                if serde_json::from_str::<Value>(&sent).is_ok() && !value.starts_with('1') {
                    assert!(serde_json::from_str::<serde::de::IgnoredAny>(&out).is_ok(), "{cuts:?}");
                }
            }
        }
    }
}

#[test]
fn a_batch_that_is_too_long_is_refused() {
    let sent = format!("{{\"batch\":[\"{}\"]}}", "a".repeat(1024 * 1024));
    for cuts in [&[][..], &[500_000, 1_000_000]] {
        let refused = scrub_in_chunks(&sent, ClientCredentialPolicy::Replace, ScrubMode::Remove, cuts);
        assert!(matches!(refused, Err(ScrubError::CannotScrub(_))));
    }
}

#[test]
fn unbounded_whitespace_is_not_buffered() {
    let space = " ".repeat(40_000);
    for (sent, left) in [
        (
            format!("{{{space}\"access_token\":\"EAA\",\"a\":1}}"),
            format!("{{{space}\"a\":1}}"),
        ),
        (
            format!("{{\"access_token\":\"EAA\"{space},\"a\":1}}"),
            format!("{{{space}\"a\":1}}"),
        ),
        // The comma has left already.
        (
            format!("{{\"a\":1,{space}\"access_token\":\"EAA\",\"b\":2}}"),
            format!("{{\"a\":1,{space}\"xxxxxxxxxxxx\":\"xxx\",\"b\":2}}"),
        ),
    ] {
        for cuts in [&[][..], &[20_000, 30_000], &[16_000, 17_000, 40_007]] {
            let (out, _) = scrub_in_chunks(&sent, ClientCredentialPolicy::Replace, ScrubMode::Remove, cuts).unwrap();
            assert!(out == left, "{cuts:?}");
        }
    }
}

#[test]
fn depth_needs_no_memory() {
    let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
    let sent = format!("{{\"a\":{deep},\"access_token\":{deep}}}");
    assert_eq!(replaced(&sent).0, format!("{{\"a\":{deep}}}"));
}
