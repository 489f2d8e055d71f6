//! JSON.

mod random;

use super::*;

const JSON: &str = "application/json; charset=utf-8";

/// In memory; the result, and what it was.
fn scrub_text(body: &str, policy: ClientCredentialPolicy) -> Result<(String, ScrubReport), ScrubError> {
    let (clean, report) = scrub_in_memory(JSON, policy, body.as_bytes())?;
    Ok((String::from_utf8(clean).unwrap(), report))
}

fn replaced(body: &str) -> (String, ParameterCredential) {
    let (clean, scrubbed) = scrub_text(body, ClientCredentialPolicy::Replace).unwrap();
    (clean, scrubbed.credential)
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
            let (_, scrubbed) = scrub_text(body, policy).unwrap();
            assert!(!scrubbed.is_changed, "{body}");
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
            scrub_text(sent, ClientCredentialPolicy::Refuse),
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
            let (left, scrubbed) = scrub_text(&sent, policy).unwrap();
            let expected = if policy == ClientCredentialPolicy::KeepAll {
                // The proof of a credential elsewhere.
                r#"{"a":1,"appsecret_proof":"ab"}"#
            } else {
                r#"{"a":1}"#
            };
            assert_eq!(left, expected, "{sent}");
            assert_eq!(scrubbed.credential, ParameterCredential::Placeholder, "{sent}");
        }
    }
}

#[test]
fn a_lone_app_token_keeps_its_place() {
    for sent in [
        r#"{"access_token":"1|s","a":1}"#,
        r#"{ "appsecret_proof":"ab", "access_token":"12\u007Cs", "a":1 }"#,
        r#"{"access_token":"1|s"}"#,
        r#"{"a":1,"access_token":"1|s",}"#,
    ] {
        let expected = (sent.to_owned(), ParameterCredential::AppToken);
        assert_eq!(replaced(sent), expected);
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
    let (left, scrubbed) = scrub_text(sent, ClientCredentialPolicy::Keep).unwrap();
    assert_eq!((left.as_str(), scrubbed.credential), (sent, ParameterCredential::Kept));
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
        let (out, scrubbed) = scrub_text(sent, ClientCredentialPolicy::Replace).unwrap();
        assert_eq!(
            (out.as_str(), scrubbed.has_batch, scrubbed.has_item_tokens),
            (left, true, false)
        );
        assert_eq!(
            scrub_text(sent, ClientCredentialPolicy::Refuse),
            Err(ScrubError::ClientCredential)
        );
    }
    let own = r#"{"batch":[{"access_token":"1|s"}]}"#;
    let (out, scrubbed) = scrub_text(own, ClientCredentialPolicy::Replace).unwrap();
    assert_eq!(
        (out.as_str(), scrubbed.has_item_tokens, scrubbed.credential),
        (own, true, ParameterCredential::None)
    );
}

#[test]
fn a_value_of_any_length_is_removed() {
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
            assert_eq!(replaced(&sent).0, "{\"a\":1,\"b\":2}");
        }
    }
}

#[test]
fn a_batch_that_is_too_long_is_refused() {
    let sent = format!("{{\"batch\":[\"{}\"]}}", "a".repeat(1024 * 1024));
    let refused = scrub_text(&sent, ClientCredentialPolicy::Replace);
    assert!(matches!(refused, Err(ScrubError::CannotScrub(_))));
}

#[test]
fn white_space_before_a_credential_is_removed_with_it() {
    let space = " ".repeat(40_000);
    for (sent, left) in [
        (format!("{{{space}\"access_token\":\"EAA\",\"a\":1}}"), "{\"a\":1}"),
        (format!("{{\"access_token\":\"EAA\"{space},\"a\":1}}"), "{\"a\":1}"),
        (
            format!("{{\"a\":1,{space}\"access_token\":\"EAA\",\"b\":2}}"),
            "{\"a\":1,\"b\":2}",
        ),
    ] {
        assert_eq!(replaced(&sent).0, left);
    }
}

#[test]
fn depth_needs_no_memory() {
    let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
    let sent = format!("{{\"a\":{deep},\"access_token\":{deep}}}");
    assert_eq!(replaced(&sent).0, format!("{{\"a\":{deep}}}"));
}

#[test]
fn only_an_escape_that_may_spell_a_letter_makes_a_body_be_read() {
    for text in [
        r"\u0061ccess_token",
        r"acce\u0073s_token",
        r"\u0041",
        r"access\u005ftoken",
        r"access\u005Ftoken",
        r"\u0039",
        // Escapes that JSON does not have.
        r"\x61ccess_token",
        r"\u{61}ccess_token",
        r"\access_token",
        r"\141ccess_token",
        r"\u",
        r"\u00",
        r"\",
        r"line\nbreak \u0061",
    ] {
        assert!(may_spell_a_letter(text.as_bytes()), "{text}");
    }
    for text in [
        "",
        "plain",
        r#"a\nb\t\"c\" \/ \\"#,
        r"\\u0061ccess_token",
        r"M\u00fcller \ud83d\ude00 \u20ac",
        r"\u003cb\u003e \u0026 \u0022 \u000a",
        "a real line\nand ü",
    ] {
        assert!(!may_spell_a_letter(text.as_bytes()), "{text}");
    }
}
