use proptest::prelude::*;

use super::*;

#[test]
fn a_string_is_unescaped_with_the_place_of_every_byte() {
    for (literal, expected) in [
        (r#""""#, ""),
        (r#""ab""#, "ab"),
        (r#""\u0061\/\"\\\n\t\b\f\r""#, "a/\"\\\n\t\u{8}\u{c}\r"),
        (r#""é\u00e9\u20ac\ud83d\ude00""#, "éé€😀"),
        (r#""\ud83d!\ude00\ud83d\u0041""#, "\u{FFFD}!\u{FFFD}\u{FFFD}A"),
        (r#""\u00""#, "u00"),
        (r#""\q\'""#, "q'"),
        ("'a\"b'", "a\"b"),
        (r#""ab"#, "ab"),
        (r#""ab\"#, "ab"),
        ("\"", ""),
    ] {
        let bytes: Vec<u8> = unescape(literal.as_bytes()).map(|(byte, _)| byte).collect();
        assert_eq!(String::from_utf8_lossy(&bytes), expected, "{literal}");
    }
}

#[test]
fn a_string_within_a_string_maps_to_its_offset_in_the_document() {
    let document = r#"{"a":"\u005b\"x\\u0041y\"]"}"#;
    let text = SourceText::from_slice(&document.as_bytes()[5..], 5);
    let outer = text.unescape_at(0..text.bytes().len());
    assert_eq!(outer.bytes(), br#"["x\u0041y"]"#);
    let inner = outer.unescape_at(1..11);
    assert_eq!(inner.bytes(), b"xAy");
    let places: Vec<_> = (0..=3).map(|index| inner.document_offset(index)).collect();
    assert_eq!(places, [14, 15, 22, 23]);
    assert!(document.get(22..).unwrap().starts_with("y\\\""));
}

#[test]
fn a_string_without_escapes_maps_to_its_offset_in_the_document() {
    let text = SourceText::from_slice(br#"{"a":'b"c','"#, 10);
    for (literal, bytes, end) in [(5..10, &b"b\"c"[..], 19), (11..12, b"", 22)] {
        let inner = text.unescape_at(literal);
        assert_eq!((inner.bytes(), inner.document_offset(bytes.len())), (bytes, end));
        assert_eq!(inner.document_offset(0), end - bytes.len());
    }
}

#[test]
fn a_form_maps_to_its_offset_in_the_document() {
    let text = SourceText::from_form(b"a+%62%zz", 10);
    assert_eq!(text.bytes(), b"a b%zz");
    let places: Vec<_> = (0..=6).map(|index| text.document_offset(index)).collect();
    assert_eq!(places, [10, 11, 12, 15, 16, 17, 18]);
}

#[test]
fn a_name_is_compared_decoded_if_it_has_quotes() {
    for literal in ["body", "\"body\"", "'body'", "\"b\\u006fdy\""] {
        assert!(is_named(literal.as_bytes(), b"body"), "{literal}");
    }
    for literal in ["", "xbody", "bodybod", "\"bodyy\"", "\"Body\"", "b\\u006fdy"] {
        assert!(!is_named(literal.as_bytes(), b"body"), "{literal}");
    }
}

proptest! {
    #[test]
    fn a_string_means_what_a_parser_says(text in any::<String>(), ascii in any::<bool>()) {
        let mut literal = serde_json::to_string(&text).unwrap();
        if ascii {
            let escape = |letter: char| -> String {
                let mut units = [0; 2];
                letter.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
            };
            literal = format!("\"{}\"", text.chars().map(escape).collect::<String>());
        }
        let bytes: Vec<u8> = unescape(literal.as_bytes()).map(|(byte, _)| byte).collect();
        prop_assert_eq!(bytes, text.as_bytes());
    }
}
