use proptest::prelude::*;

use super::*;

fn redacted(text: &str, token: &str) -> Option<String> {
    let redacted = redact(text.as_bytes(), token.as_bytes())?;
    Some(String::from_utf8(redacted.into()).unwrap())
}

/// facts: react-native-fbsdk#220, with a token in the place of the token.
#[test]
fn an_error_that_repeats_the_token_is_delivered_without_it() {
    for (token, shown) in [
        ("EAAGm0PX4ZCpsBAKZA", "EAAGm0PX4ZCpsBAKZA"),
        ("EAAGm0/X4+ps==", r"EAAGm0\/X4+ps=="),
        ("EAAGm0/X4+ps==", r"EAAGm0\u002fX4\u002Bps=="),
        ("EAAGm0/X4+ps==", "EAAGm0%2FX4%2bps%3D%3d"),
        ("EAAGm0/X4+ps==", r"EAAGm0\u00252FX4\u00252bps=="),
        ("EAAGm0/X4+ps==", r"EAAGm0\\\/X4+ps=="),
        ("EAAGm0/X4+ps==", r"EAAGm0\\u00252FX4+ps=="),
        ("123456|EAAG-m0", "123456|EAAG-m0"),
        ("123456|EAAG-m0", r"123456\u00257CEAAG-m0"),
        ("\"EAAGm0PX4\"", r#"\"EAAGm0PX4\""#),
        ("EAAG%7Cm0PX4", "EAAG%7Cm0PX4"),
        ("EAAG%7Cm0PX4", "EAAG%257Cm0PX4"),
        ("EAAG\\m0PX4", r"EAAG\\m0PX4"),
    ] {
        let body = |shown: &str| {
            format!(
                r#"{{"error":{{"message":"Malformed access token {shown}","type":"OAuthException","code":190,"fbtrace_id":"A{shown}"}}}}"#
            )
        };
        let without = redacted(&body(shown), token).unwrap();
        assert_eq!(without, body("[redacted]"), "{shown}");
        assert_eq!(redacted(&without, token), None);
    }
}

#[test]
fn a_challenge_is_delivered_without_it() {
    let header = |shown| format!(r#"OAuth "Facebook Platform" "invalid_token" "Malformed access token {shown}""#);
    assert_eq!(
        redacted(&header("EAAGm0PX4ZCps|BA"), "EAAGm0PX4ZCps|BA"),
        Some(header("[redacted]"))
    );
}

#[test]
fn what_is_not_the_token_stays() {
    for (text, token) in [
        ("Malformed access token", "access"),
        ("EAAGm0P", "EAAGm0P"),
        ("EAAGm0PX4ZCpsBAKZ", "EAAGm0PX4ZCpsBAKZA"),
        ("eaagm0px4zcpsbakza", "EAAGm0PX4ZCpsBAKZA"),
        ("EAAGm0 PX4ZCpsBAKZA", "EAAGm0PX4ZCpsBAKZA"),
        ("EAAGm0%2", "EAAGm0/X"),
        ("EAAGm0\\u00", "EAAGm0/X"),
        ("", "EAAGm0PX4ZCpsBAKZA"),
        ("", "/\"|/\"|/\"|"),
    ] {
        assert_eq!(redacted(text, token), None, "{text}");
    }
}

#[test]
fn an_escape_before_the_token_is_not_halved() {
    let token = "tEAAGm0PX4";
    for (text, expected) in [
        (r#""\tEAAGm0PX4""#, r#""[redacted]""#),
        (r#""\\tEAAGm0PX4""#, r#""\\[redacted]""#),
        (r#""\n\\\tEAAGm0PX4\n""#, r#""\n\\[redacted]\n""#),
    ] {
        assert_eq!(redacted(text, token).as_deref(), Some(expected));
    }
    let text = r#""\u00e9EAAGm0PX4""#;
    assert_eq!(redacted(text, "9EAAGm0PX4").unwrap(), r#""[redacted]""#);
}

#[test]
fn no_text_takes_longer_than_its_length() {
    // A square of this would be noticed.
    for text in ["\\", "%", "\"", "\"\\", "\\u0022"] {
        let text = text.repeat(100_000);
        assert_eq!(redacted(&text, "\"\\\"\\\"\\\"/EAAG"), None);
    }
}

proptest! {
    #[test]
    fn no_spelling_of_the_token_survives_and_json_stays_json(
        token in "[A-Za-z0-9|/_.=+-]{8,20}",
        around in "[a-z%/\" \u{e9}\n\\\\]{0,6}",
        times in 0_usize..3,
        percent: bool,
        depth in 0_u8..3,
    ) {
        let spelled = if percent {
            percent_encoding::utf8_percent_encode(&token, percent_encoding::NON_ALPHANUMERIC).to_string()
        } else {
            token.clone()
        };
        // Backslashes before the token may be its own, and go with it.
        let around = if depth == 0 { around.replace('\\', "") } else { around };
        let around = around.trim_end_matches('\\').to_owned();
        let mut text = around.clone();
        let mut without = around.clone();
        for _ in 0..times {
            text = format!("{text}{spelled}{around}");
            without = format!("{without}[redacted]{around}");
        }
        for _ in 0..depth {
            text = serde_json::to_string(&text).unwrap().replace('/', "\\/");
            without = serde_json::to_string(&without).unwrap().replace('/', "\\/");
        }
        let found = redact(text.as_bytes(), token.as_bytes());
        prop_assert_eq!(found.is_some(), times > 0, "{}", text);
        if let Some(found) = found {
            prop_assert_eq!(String::from_utf8(found.into()).unwrap(), without);
        }
    }
}
