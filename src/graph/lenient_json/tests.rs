use proptest::prelude::*;

use super::*;

/// The members of the text: names and values as they stand there.
fn members(text: &str) -> Vec<(&str, &str)> {
    let part = |from, to| text.get(from..to).unwrap();
    let mut members = Vec::new();
    let (mut name, mut name_end, mut value) = (0, 0, None);
    for (event, at) in lex(text.as_bytes()) {
        match event {
            LexEvent::NameStart => name = at,
            LexEvent::NameEnd => name_end = at,
            LexEvent::ValueStart => value = Some(at),
            LexEvent::ValueEnd => {
                members.push((part(name, name_end), part(value.take().unwrap_or(at), at)));
                (name, name_end) = (at, at);
            }
            LexEvent::Open(_) | LexEvent::Comma | LexEvent::Close => {}
        }
    }
    members
}

/// The same in pieces that end at `cuts`.
fn lex_in_chunks(text: &[u8], cuts: &[usize]) -> Vec<(LexEvent, usize)> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    let mut lexer = Lexer::default();
    let mut events = Vec::new();
    for chunk in cuts.windows(2) {
        let mut at = 0;
        while let Some(event) = lexer.next(&text[chunk[0]..chunk[1]], &mut at) {
            events.push((event, chunk[0] + at));
        }
    }
    while let Some(event) = lexer.next_at_end() {
        events.push((event, text.len()));
    }
    events
}

#[test]
fn the_members_of_an_object_are_separated() {
    for (text, expected) in [
        ("", &[][..]),
        ("{}", &[]),
        (r#"{"a":1}"#, &[(r#""a""#, "1")]),
        (
            "\u{FEFF} {\"a\" : \"b\\\"}\" ,\n\"c\":{\"d\":[\"]}\"]} , \"e\":null}",
            &[
                (r#""a""#, r#""b\"}""#),
                (r#""c""#, r#"{"d":["]}"]}"#),
                (r#""e""#, "null"),
            ],
        ),
        ("[1, {\"a\":2},\"x\"]", &[("", "1"), ("", "{\"a\":2}"), ("", "\"x\"")]),
        (r#""a":1"#, &[]),
        ("12 {\"a\":1}", &[]),
        // What only tolerant parsers read.
        ("{a:1,'b':'\"',}", &[("a", "1"), ("'b'", "'\"'")]),
        ("{a=b;c=>d e:f}", &[("a", "b"), ("c", "d"), ("e", "f")]),
        ("{,,\"a\"}{\"b\":2", &[("\"a\"", ""), ("\"b\"", "2")]),
        ("{\"a\":\"b", &[("\"a\"", "\"b")]),
        ("{\"a", &[("\"a", "")]),
        ("{\"a\":]}", &[("\"a\"", "")]),
        ("{{\"a\":1}:\"b\":2}", &[("", "{\"a\":1}"), ("\"b\"", "2")]),
    ] {
        assert_eq!(members(text), expected, "{text}");
    }
}

#[test]
fn depth_is_a_counter() {
    let deep = 1_000_000;
    let text = format!("{{\"a\":{}{},\"b\":1}}", "[".repeat(deep), "]".repeat(deep));
    assert_eq!(members(&text)[1], ("\"b\"", "1"));
}

#[test]
fn a_string_is_unescaped_with_the_place_of_every_byte() {
    for (literal, expected, end) in [
        (r#""""#, "", 1),
        (r#""ab""#, "ab", 3),
        (r#""\u0061\/\"\\\n\t\b\f\r""#, "a/\"\\\n\t\u{8}\u{c}\r", 23),
        (r#""é\u00e9\u20ac\ud83d\ude00""#, "éé€😀", 27),
        (r#""\ud83d!\ude00\ud83d\u0041""#, "\u{FFFD}!\u{FFFD}\u{FFFD}A", 26),
        (r#""\u00""#, "u00", 5),
        (r#""\q\'""#, "q'", 5),
        ("'a\"b'", "a\"b", 4),
        (r#""ab"#, "ab", 3),
        (r#""ab\"#, "ab", 4),
        ("\"", "", 1),
    ] {
        let bytes: Vec<u8> = unescape(literal.as_bytes()).map(|(byte, _)| byte).collect();
        assert_eq!(String::from_utf8_lossy(&bytes), expected, "{literal}");
        assert_eq!(unescape(literal.as_bytes()).end(), end, "{literal}");
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
    let places: Vec<_> = (0..=3).map(|index| inner.place(index)).collect();
    assert_eq!(places, [14, 15, 22, 23]);
    assert!(document.get(22..).unwrap().starts_with("y\\\""));
}

proptest! {
    #[test]
    fn events_do_not_depend_on_the_chunks(
        text in "[{}\\[\\]\"'\\\\,:;= a-c0u]{0,60}",
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let expected: Vec<_> = lex(text.as_bytes()).collect();
        prop_assert_eq!(lex_in_chunks(text.as_bytes(), &cuts), expected);
    }

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
        prop_assert_eq!(unescape(literal.as_bytes()).end(), literal.len() - 1);
    }
}
