mod env_files;
mod not_a_token;

use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;

fn decode_text(bytes: &[u8], format: &Format) -> Result<String, DecodeError> {
    decode_token(bytes, format, None).map(|token| token.secret.expose().to_owned())
}

fn key() -> Format {
    Format::Key("WHATSAPP_TOKEN".to_owned())
}

fn key_not_found(hint: &str) -> DecodeError {
    let (key, hint) = ("WHATSAPP_TOKEN".into(), hint.into());
    DecodeError::KeyNotFound { key, hint }
}

fn pointer(pointer: &str) -> Format {
    Format::Pointer(pointer.to_owned())
}

#[test]
fn decorations_around_a_raw_token_are_stripped() {
    for bytes in [
        "EAAG",
        "EAAG\n",
        "EAAG\r\n",
        "\u{feff}EAAG",
        "\r\n\r\n  EAAG \t\r\n\n",
        "\"EAAG\"",
        "'EAAG'\n",
        "`EAAG`",
        "\" EAAG \"",
        "Bearer EAAG",
        "bearer  EAAG\n",
        "BEARER\tEAAG",
        "OAuth EAAG",
        "\"Bearer EAAG\"",
        "Bearer \"EAAG\"",
    ] {
        assert_eq!(
            decode_text(bytes.as_bytes(), &Format::Raw).as_deref(),
            Ok("EAAG"),
            "{bytes:?}"
        );
    }
}

#[test]
fn base64_padding_and_app_tokens_are_not_assignments() {
    for token in ["abcd==", "abc=", "123|a=b", "a-b=c", "EAAG|=="] {
        assert_eq!(decode_text(token.as_bytes(), &Format::Raw).as_deref(), Ok(token));
    }
}

#[test]
fn an_invalid_raw_token_is_rejected_with_the_reason() {
    let long = "a".repeat(Secret::MAX_BYTES + 1);
    for (bytes, expected) in [
        (b"".as_slice(), DecodeError::Empty),
        (b" \r\n\t", DecodeError::Empty),
        (b"\xEF\xBB\xBF\n", DecodeError::Empty),
        (b"\"\"", DecodeError::Empty),
        (b"Bearer", DecodeError::Empty),
        (b"Bearer ", DecodeError::Empty),
        (b"null", DecodeError::Empty),
        (b"Bearer undefined\n", DecodeError::Empty),
        (b"\xFF\xFEE\0A\0", DecodeError::Utf16),
        (b"\xFE\xFF\0E\0A", DecodeError::Utf16),
        (b"E\0A\0", DecodeError::Binary),
        (b"\x1f\x8b\x08\xff", DecodeError::Binary),
        (b"EA\x07AG", DecodeError::InvalidCharacter),
        (b"EA AG", DecodeError::InvalidCharacter),
        ("EAA\u{200b}G".as_bytes(), DecodeError::InvalidCharacter),
        ("\u{201c}EAAG\u{201d}".as_bytes(), DecodeError::InvalidCharacter),
        (b"\"EAAG", DecodeError::UnbalancedQuote),
        (b"EAAG'", DecodeError::UnbalancedQuote),
        (b"\"EAAG'", DecodeError::UnbalancedQuote),
        (b"\"", DecodeError::UnbalancedQuote),
        (b"EAAG\nEAAH", DecodeError::MultipleLines),
        (b"# the token\nEAAG", DecodeError::MultipleLines),
        (b"{\"access_token\":\"EAAG\"}", DecodeError::MissingPointer),
        (b" [\"EAAG\"]", DecodeError::MissingPointer),
        (b"TOKEN=EAAG", DecodeError::MissingKey),
        (b"# c\nexport access_token = 'EAAG'\nB=1", DecodeError::MissingKey),
        (long.as_bytes(), DecodeError::TooLong),
    ] {
        assert_eq!(
            decode_text(bytes, &Format::Raw),
            Err(expected),
            "{}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn a_key_is_found_in_all_variants_of_env_files() {
    for bytes in [
        "WHATSAPP_TOKEN=EAAG",
        "WHATSAPP_TOKEN = EAAG \r\n",
        "\u{feff}WHATSAPP_TOKEN=EAAG",
        "export WHATSAPP_TOKEN=EAAG",
        "  export  WHATSAPP_TOKEN=\"EAAG\"",
        "WHATSAPP_TOKEN='EAAG' # from the dashboard",
        "WHATSAPP_TOKEN=EAAG # from the dashboard",
        "WHATSAPP_TOKEN=EAAG\t#x",
        "WHATSAPP_TOKEN=\"Bearer EAAG\"",
        "WHATSAPP_TOKEN=old\nOTHER=1\nWHATSAPP_TOKEN=EAAG\n",
        "# WHATSAPP_TOKEN=no\n\nnonsense\nWHATSAPP_TOKEN_OLD=no\nWHATSAPP_TOKEN=EAAG\nwhatsapp_token=no",
    ] {
        assert_eq!(
            decode_text(bytes.as_bytes(), &key()).as_deref(),
            Ok("EAAG"),
            "{bytes:?}"
        );
    }
    assert_eq!(decode_text(b"WHATSAPP_TOKEN=a#b", &key()).as_deref(), Ok("a"));
    assert_eq!(
        decode_text(b"WHATSAPP_TOKEN=123|a=b==", &key()).as_deref(),
        Ok("123|a=b==")
    );
}

#[test]
fn a_key_without_a_token_is_rejected_with_the_reason() {
    for (bytes, expected) in [
        ("OTHER=EAAG", key_not_found("")),
        ("# WHATSAPP_TOKEN=EAAG", key_not_found("")),
        ("EAAG", key_not_found("")),
        ("WHATSAPP_TOKEN=", DecodeError::Empty),
        ("WHATSAPP_TOKEN=EAAG\nWHATSAPP_TOKEN=\n", DecodeError::Empty),
        ("WHATSAPP_TOKEN=\"\"", DecodeError::Empty),
        ("WHATSAPP_TOKEN= # none yet", DecodeError::Empty),
        ("WHATSAPP_TOKEN=\"EAAG", DecodeError::UnbalancedQuote),
        ("WHATSAPP_TOKEN=\"EAAG\"x", DecodeError::UnbalancedQuote),
        ("WHATSAPP_TOKEN=EA AG", DecodeError::InvalidCharacter),
    ] {
        assert_eq!(decode_text(bytes.as_bytes(), &key()), Err(expected), "{bytes:?}");
    }
}

#[test]
fn a_pointer_leads_into_a_string_that_is_json_itself() {
    let aws = |token: &str| {
        let inner = format!(r#"{{"t":"{token}","list":[{{"t":"Bearer {token}"}}],"expires_at":1795248000}}"#);
        format!(
            r#"{{"ARN":"x","SecretString":{}}}"#,
            serde_json::to_string(&inner).unwrap()
        )
    };
    for at in ["/SecretString/t", "/SecretString/list/0/t"] {
        let format = pointer(at);
        assert_eq!(
            decode_text(aws("EAAGold").as_bytes(), &format).as_deref(),
            Ok("EAAGold")
        );
    }
    let format = pointer("/SecretString/t");
    let found = decode_token(aws("EAAGold").as_bytes(), &format, None).unwrap();
    assert_eq!(
        found.expires_at,
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_248_000))
    );
    // Written back, the string is JSON again, and the rest of it stays.
    let written = replace_token(aws("EAAGold").as_bytes(), &format, "EAAGnew", found.expires_at).unwrap();
    let expected = aws("EAAGnew").replacen("Bearer EAAGnew", "Bearer EAAGold", 1);
    assert_eq!(std::str::from_utf8(&written).unwrap(), expected);
    for (document, label) in [
        (r#"{"SecretString":"EAAG"}"#, "invalid_json"),
        (r#"{"SecretString":"{\"u\":1}"}"#, "pointer_not_found"),
        (r#"{"SecretString":"{\"t\":1}"}"#, "not_string"),
    ] {
        assert_eq!(
            decode_text(document.as_bytes(), &format).unwrap_err().label(),
            label,
            "{document}"
        );
    }
}

#[test]
fn a_pointer_finds_a_string_and_nothing_else() {
    let json = "\u{feff}{\"access_token\":\"EAAG\",\"data\":[{\"a/b\":\"Bearer EAAH\"}],\"n\":1,\"e\":\"\",\"c\":\"a\\nb\",\"0\":null}";
    for (at, expected) in [
        ("/access_token", Ok("EAAG")),
        ("/data/0/a~1b", Ok("EAAH")),
        ("/n", Err(DecodeError::NotString)),
        ("/0", Err(DecodeError::Null)),
        ("", Err(DecodeError::NotString)),
        ("/data", Err(DecodeError::NotString)),
        ("/e", Err(DecodeError::Empty)),
        ("/c", Err(DecodeError::InvalidCharacter)),
        ("/data/1", Err(DecodeError::PointerNotFound)),
        ("access_token", Err(DecodeError::PointerNotFound)),
    ] {
        let result = decode_text(json.as_bytes(), &pointer(at));
        assert_eq!(result.as_deref().map_err(Clone::clone), expected, "{at}");
    }
    let bare = decode_text(b"\"EAAG\"", &pointer(""));
    assert_eq!(bare.as_deref(), Ok("EAAG"));
}

#[test]
fn invalid_json_is_reported_by_position_and_never_by_content() {
    let error = decode_text(b"{\"access_token\":\"EAAG", &pointer("/access_token")).unwrap_err();
    assert_eq!(error, DecodeError::InvalidJson { line: 1, column: 21 });
    assert!(!error.to_string().contains("EAA"));
    let deep = "[".repeat(MAX_DOCUMENT_BYTES);
    assert_eq!(
        decode_text(deep.as_bytes(), &pointer("")).unwrap_err().label(),
        "invalid_json"
    );
}

#[test]
fn a_string_that_is_not_json_is_named_by_its_pointer() {
    for (document, at, place) in [
        (r#"{"SecretString":"EAAG"}"#, "/SecretString/token", "/SecretString"),
        (r#"{"SecretString":""}"#, "/SecretString/token", "/SecretString"),
        (r#"{"a":["{\"t\":EAAG}"]}"#, "/a/0/t", "/a/0"),
        (r#"{"a":"{\"b\":\"EAAG\"}"}"#, "/a/b/0/t", "/a/b"),
        (r#""EAAG""#, "/t", ""),
    ] {
        let expected = DecodeError::NotJsonInString { pointer: place.into() };
        assert_eq!(decode_text(document.as_bytes(), &pointer(at)), Err(expected.clone()));
        assert_eq!(replace(document, &pointer(at), None), Err(expected.clone()));
        assert!(
            expected
                .to_string()
                .contains(&format!("the value at {place} is a string that is not JSON"))
        );
    }
    // What is wrong with JSON in a string is told as with any other.
    let number = decode_text(br#"{"SecretString":"{\"token\":7}"}"#, &pointer("/SecretString/token"));
    assert_eq!(number, Err(DecodeError::NotString));
}

#[test]
fn a_document_may_be_longer_than_a_token_but_the_token_may_not() {
    let pad = " ".repeat(Secret::MAX_BYTES);
    let document = format!("{{\"t\":\"EAAG\"}}{pad}");
    assert_eq!(decode_text(document.as_bytes(), &pointer("/t")).as_deref(), Ok("EAAG"));
    let long = format!("{{\"t\":\"{}\"}}", "a".repeat(Secret::MAX_BYTES + 1));
    assert_eq!(decode_text(long.as_bytes(), &pointer("/t")), Err(DecodeError::TooLong));
    let huge = " ".repeat(MAX_DOCUMENT_BYTES + 1);
    assert_eq!(decode_text(huge.as_bytes(), &pointer("/t")), Err(DecodeError::TooLong));
}

proptest! {
    #[test]
    fn decoding_never_panics_and_its_result_is_a_valid_header_value(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        text in "[ -~\r\n]{0,120}",
    ) {
        for input in [bytes.as_slice(), text.as_bytes()] {
            for format in [Format::Raw, Format::Key("A".to_owned()), pointer("/a")] {
                if let Ok(token) = decode_text(input, &format) {
                    prop_assert!(token.bytes().all(|byte| byte.is_ascii_graphic()));
                }
            }
        }
    }

    #[test]
    fn every_graph_token_comes_back_from_each_format(token in "(EAA|IGAA|THAA)[A-Za-z0-9]{1,200}(ZD)?") {
        prop_assert_eq!(decode_text(token.as_bytes(), &Format::Raw), Ok(token.clone()));
        let line = format!("A=1\nexport WHATSAPP_TOKEN=\"{token}\" # x\r\n");
        prop_assert_eq!(decode_text(line.as_bytes(), &key()), Ok(token.clone()));
        let json = format!("{{\"data\":{{\"t\":\"{token}\"}}}}");
        prop_assert_eq!(decode_text(json.as_bytes(), &pointer("/data/t")), Ok(token));
    }
}

fn expiry_seconds(bytes: &[u8], at: &str, received_at: Option<u64>) -> Option<u64> {
    let since = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let token = decode_token(bytes, &pointer(at), received_at.map(since)).unwrap();
    let expires_at = token.expires_at?.duration_since(UNIX_EPOCH).unwrap();
    Some(expires_at.as_secs())
}

#[test]
fn the_expiry_is_read_from_siblings_of_the_token_only() {
    let json = br#"{"expires_at":1,"data":{"token":"EAAG","expires_in":60},"list":["EAAH"],"expiry":2}"#;
    assert_eq!(expiry_seconds(json, "/data/token", Some(1_000)), Some(1_060));
    assert_eq!(expiry_seconds(json, "/data/token", None), None);
    assert_eq!(expiry_seconds(json, "/list/0", Some(1_000)), None);
    let graph = br#"{"access_token":"EAAG","token_type":"bearer","expires_in":5183944}"#;
    assert_eq!(expiry_seconds(graph, "/access_token", Some(1_000)), Some(5_184_944));
    assert_eq!(expiry_seconds(br#"{"t":"EAAG","expiresAt":0}"#, "/t", Some(1)), None);
    assert_eq!(expiry_seconds(br#"{"t":"EAAG","expiresAt":7}"#, "/t", None), Some(7));
}

fn replace(bytes: &str, format: &Format, expires_at: Option<u64>) -> Result<String, DecodeError> {
    let expires_at = expires_at.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
    let bytes = replace_token(bytes.as_bytes(), format, "EAAnew", expires_at)?;
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

#[test]
fn a_bare_token_is_replaced_by_a_bare_token() {
    for before in ["EAAG", "\u{feff}\"Bearer EAAG\"\r\n\r\n"] {
        assert_eq!(replace(before, &Format::Raw, Some(1)).as_deref(), Ok("EAAnew\n"));
    }
}

#[test]
fn in_a_line_only_the_token_is_replaced() {
    for (before, after) in [
        ("WHATSAPP_TOKEN=EAAG", "WHATSAPP_TOKEN=EAAnew"),
        (
            "\u{feff}# the token\r\nA=1\r\n  export  WHATSAPP_TOKEN = \"Bearer EAAG\" # mine\r\nB='2'",
            "\u{feff}# the token\r\nA=1\r\n  export  WHATSAPP_TOKEN = \"Bearer EAAnew\" # mine\r\nB='2'",
        ),
        (
            "WHATSAPP_TOKEN=EAAG\nWHATSAPP_TOKEN='EAAG'#x\nX=EAAG",
            "WHATSAPP_TOKEN=EAAG\nWHATSAPP_TOKEN='EAAnew'#x\nX=EAAG",
        ),
        ("\nWHATSAPP_TOKEN=E\t# x\n\n", "\nWHATSAPP_TOKEN=EAAnew\t# x\n\n"),
    ] {
        assert_eq!(replace(before, &key(), Some(1)).as_deref(), Ok(after));
    }
    assert_eq!(replace("A=1", &key(), None), Err(key_not_found("")));
    let none = replace("WHATSAPP_TOKEN=", &key(), None);
    assert_eq!(none, Err(DecodeError::Empty));
}

#[test]
fn in_a_document_only_the_token_and_its_dates_are_replaced() {
    for (before, at, after) in [
        (
            "{ \"x\": 1.50,\n  \"access_token\" : \"EAAG\", \"é\":\"EAAG\" }\n",
            "/access_token",
            "{ \"x\": 1.50,\n  \"access_token\" : \"EAAnew\", \"é\":\"EAAG\" }\n",
        ),
        (
            "\u{feff}{\"expires_at\":17,\"a\":[0,{\"a/b\":\"Bearer EAAG\",\"expiry\": \"17\",\"expires_in\":5}]}",
            "/a/1/a~1b",
            "\u{feff}{\"expires_at\":17,\"a\":[0,{\"a/b\":\"Bearer EAAnew\",\"expiry\": \"1795248000\",\"expires_in\":5}]}",
        ),
        (
            "{\"expiresAt\":\"2020-01-01T00:00:00Z\",\"t\":\"EA\\u0041G\",\"expires_at\":17,\"t\":\"EAAG|\\\"\"}",
            "/t",
            "{\"expiresAt\":\"2026-11-21T08:00:00Z\",\"t\":\"EA\\u0041G\",\"expires_at\":1795248000,\"t\":\"EAAnew\"}",
        ),
        ("[\"EAAG\"]", "/0", "[\"EAAnew\"]"),
    ] {
        let changed = replace(before, &pointer(at), Some(1_795_248_000));
        // The token of the third would be rejected for its quotation mark, and can be replaced all the same.
        assert_eq!(changed.as_deref(), Ok(after), "{before}");
    }
    for (before, at, error) in [
        ("{\"t\":1}", "/t", DecodeError::NotString),
        ("{\"t\":1}", "/t/0", DecodeError::PointerNotFound),
        ("{\"t\":[]}", "/t/0", DecodeError::PointerNotFound),
        ("{}", "/t", DecodeError::PointerNotFound),
    ] {
        assert_eq!(replace(before, &pointer(at), None), Err(error));
    }
}

#[test]
fn an_unknown_expiry_clears_the_old_one() {
    let before = "{\"t\":\"EAAG\",\"expires_at\":17,\"expiry\":\"2020-01-01T00:00:00Z\"}";
    let after = replace(before, &pointer("/t"), None).unwrap();
    assert_eq!(after, "{\"t\":\"EAAnew\",\"expires_at\":0,\"expiry\":null}");
    assert_eq!(expiry_seconds(after.as_bytes(), "/t", Some(1)), None);
}

proptest! {
    #[test]
    fn a_replaced_token_is_decoded_and_its_surroundings_stay(
        token in "(EAA|IGAA|THAA)[A-Za-z0-9]{1,60}",
        value in "[ -~]{0,20}",
        line in "[ -~]{0,40}",
    ) {
        let json = serde_json::json!({ "a": { "x": value, "t": "EAAold" }, "z": line });
        let env = format!("{line}\nWHATSAPP_TOKEN=\"EAAold\"\n#{value}\n");
        for (text, format) in [(json.to_string(), pointer("/a/t")), (env, key())] {
            if let Ok(new) = replace_token(text.as_bytes(), &format, &token, None) {
                prop_assert_eq!(decode_text(&new, &format), Ok(token.clone()));
                let back = replace_token(&new, &format, "EAAold", None).unwrap();
                prop_assert_eq!(back.as_slice(), text.as_bytes());
            } else {
                prop_assert!(decode_text(text.as_bytes(), &format).is_err());
            }
        }
    }
}
