use proptest::prelude::*;

use super::*;

fn found(bytes: &[u8], format: &Format) -> Result<String, DecodeError> {
    decode(bytes, format).map(|secret| secret.expose().to_owned())
}

fn key() -> Format {
    Format::Key("WHATSAPP_TOKEN".to_owned())
}

fn pointer(pointer: &str) -> Format {
    Format::Pointer(pointer.to_owned())
}

#[test]
fn what_people_and_tools_put_around_a_raw_token_is_taken_off() {
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
            found(bytes.as_bytes(), &Format::Raw).as_deref(),
            Ok("EAAG"),
            "{bytes:?}"
        );
    }
}

#[test]
fn base64_padding_and_app_tokens_are_no_assignments() {
    for token in ["abcd==", "abc=", "123|a=b", "a-b=c", "EAAG|=="] {
        assert_eq!(found(token.as_bytes(), &Format::Raw).as_deref(), Ok(token));
    }
}

#[test]
fn a_raw_token_that_is_none_is_refused_with_the_reason() {
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
        (b"EA\x07AG", DecodeError::Character),
        (b"EA AG", DecodeError::Character),
        ("EAA\u{200b}G".as_bytes(), DecodeError::Character),
        ("\u{201c}EAAG\u{201d}".as_bytes(), DecodeError::Character),
        (b"\"EAAG", DecodeError::Quote),
        (b"EAAG'", DecodeError::Quote),
        (b"\"EAAG'", DecodeError::Quote),
        (b"\"", DecodeError::Quote),
        (b"EAAG\nEAAH", DecodeError::Lines),
        (b"# the token\nEAAG", DecodeError::Lines),
        (b"{\"access_token\":\"EAAG\"}", DecodeError::WantsPointer),
        (b" [\"EAAG\"]", DecodeError::WantsPointer),
        (b"TOKEN=EAAG", DecodeError::WantsKey),
        (
            b"# c\nexport access_token = 'EAAG'\nB=1",
            DecodeError::WantsKey,
        ),
        (long.as_bytes(), DecodeError::TooLong),
    ] {
        assert_eq!(
            found(bytes, &Format::Raw),
            Err(expected),
            "{}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn a_key_is_found_in_the_dialects_of_env_files() {
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
            found(bytes.as_bytes(), &key()).as_deref(),
            Ok("EAAG"),
            "{bytes:?}"
        );
    }
    assert_eq!(found(b"WHATSAPP_TOKEN=a#b", &key()).as_deref(), Ok("a#b"));
    assert_eq!(
        found(b"WHATSAPP_TOKEN=123|a=b==", &key()).as_deref(),
        Ok("123|a=b==")
    );
}

#[test]
fn a_key_without_a_token_is_refused_with_the_reason() {
    for (bytes, expected) in [
        ("OTHER=EAAG", DecodeError::NoKey),
        ("# WHATSAPP_TOKEN=EAAG", DecodeError::NoKey),
        ("EAAG", DecodeError::NoKey),
        ("WHATSAPP_TOKEN=", DecodeError::Empty),
        ("WHATSAPP_TOKEN=EAAG\nWHATSAPP_TOKEN=\n", DecodeError::Empty),
        ("WHATSAPP_TOKEN=\"\"", DecodeError::Empty),
        ("WHATSAPP_TOKEN= # none yet", DecodeError::Empty),
        ("WHATSAPP_TOKEN=\"EAAG", DecodeError::Quote),
        ("WHATSAPP_TOKEN=\"EAAG\"x", DecodeError::Quote),
        ("WHATSAPP_TOKEN=EA AG", DecodeError::Character),
    ] {
        assert_eq!(found(bytes.as_bytes(), &key()), Err(expected), "{bytes:?}");
    }
}

#[test]
fn a_pointer_finds_a_string_and_nothing_else() {
    let json = "\u{feff}{\"access_token\":\"EAAG\",\"data\":[{\"a/b\":\"Bearer EAAH\"}],\"n\":1,\"e\":\"\",\"c\":\"a\\nb\",\"0\":null}";
    for (at, expected) in [
        ("/access_token", Ok("EAAG")),
        ("/data/0/a~1b", Ok("EAAH")),
        ("/n", Err(DecodeError::NotString)),
        ("/0", Err(DecodeError::NotString)),
        ("", Err(DecodeError::NotString)),
        ("/data", Err(DecodeError::NotString)),
        ("/e", Err(DecodeError::Empty)),
        ("/c", Err(DecodeError::Character)),
        ("/data/1", Err(DecodeError::NoPointer)),
        ("access_token", Err(DecodeError::NoPointer)),
    ] {
        let result = found(json.as_bytes(), &pointer(at));
        assert_eq!(result.as_deref().map_err(|error| *error), expected, "{at}");
    }
    let bare = found(b"\"EAAG\"", &pointer(""));
    assert_eq!(bare.as_deref(), Ok("EAAG"));
}

#[test]
fn broken_json_is_named_by_place_and_never_by_content() {
    let error = found(b"{\"access_token\":\"EAAG", &pointer("/access_token")).unwrap_err();
    assert_eq!(
        error,
        DecodeError::Json {
            line: 1,
            column: 21
        }
    );
    assert!(!error.to_string().contains("EAA"));
    let deep = "[".repeat(MAX_DOCUMENT_BYTES);
    assert_eq!(
        found(deep.as_bytes(), &pointer("")).unwrap_err().label(),
        "json"
    );
}

#[test]
fn a_document_may_be_longer_than_a_token_but_the_token_may_not() {
    let pad = " ".repeat(Secret::MAX_BYTES);
    let document = format!("{{\"t\":\"EAAG\"}}{pad}");
    assert_eq!(
        found(document.as_bytes(), &pointer("/t")).as_deref(),
        Ok("EAAG")
    );
    let long = format!("{{\"t\":\"{}\"}}", "a".repeat(Secret::MAX_BYTES + 1));
    assert_eq!(
        found(long.as_bytes(), &pointer("/t")),
        Err(DecodeError::TooLong)
    );
    let huge = " ".repeat(MAX_DOCUMENT_BYTES + 1);
    assert_eq!(
        found(huge.as_bytes(), &pointer("/t")),
        Err(DecodeError::TooLong)
    );
}

proptest! {
    #[test]
    fn decoding_is_total_and_its_result_may_stand_in_a_header(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        text in "[ -~\r\n]{0,120}",
    ) {
        for input in [bytes.as_slice(), text.as_bytes()] {
            for format in [Format::Raw, Format::Key("A".to_owned()), pointer("/a")] {
                if let Ok(token) = found(input, &format) {
                    prop_assert!(token.bytes().all(|byte| byte.is_ascii_graphic()));
                }
            }
        }
    }

    #[test]
    fn every_graph_token_comes_back_from_each_format(token in "(EAA|IGAA|THAA)[A-Za-z0-9]{1,200}(ZD)?") {
        prop_assert_eq!(found(token.as_bytes(), &Format::Raw), Ok(token.clone()));
        let line = format!("A=1\nexport WHATSAPP_TOKEN=\"{token}\" # x\r\n");
        prop_assert_eq!(found(line.as_bytes(), &key()), Ok(token.clone()));
        let json = format!("{{\"data\":{{\"t\":\"{token}\"}}}}");
        prop_assert_eq!(found(json.as_bytes(), &pointer("/data/t")), Ok(token));
    }
}
