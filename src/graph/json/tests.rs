use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// The members of the text: names and values as they stand there.
fn members(text: &str) -> Vec<(&str, &str)> {
    let whole = 0..text.len();
    let members = tokens(text.as_bytes(), whole).filter_map(Token::member);
    members
        .filter_map(|member| Some((text.get(member.name)?, text.get(member.value)?)))
        .collect()
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
fn positions_are_those_in_the_text() {
    let text = br#"x,{"a":1,} "#;
    let expected = [
        Token::Open(Container::Object, 3),
        Token::Member(Member {
            name: 3..6,
            value: 7..8,
        }),
        Token::Comma(9),
        Token::Close,
    ];
    assert!(tokens(text, 2..text.len()).eq(expected.clone()));
    assert!(
        tokens(text, 2..8).eq(expected.into_iter().take(2)),
        "a part ends where it ends"
    );
}

proptest! {
    #[test]
    fn the_members_of_valid_json_are_those_of_a_parser(
        members in prop::collection::vec((any::<String>(), value()), 0..6),
        pretty in any::<bool>(),
    ) {
        let (mut names, mut values) = (Vec::new(), Vec::new());
        let object: serde_json::Map<_, _> = members.into_iter().collect();
        let document = Value::Object(object.clone());
        let text = if pretty { format!("{document:#}") } else { document.to_string() };
        for (name, value) in self::members(&text) {
            names.push(serde_json::from_str::<String>(name).unwrap());
            values.push(serde_json::from_str::<Value>(value).unwrap());
        }
        prop_assert!(names.iter().eq(object.keys()));
        prop_assert!(values.iter().eq(object.values()));
    }

    #[test]
    fn positions_never_go_back_and_never_leave_the_text(
        text in "[{}\\[\\]\"'\\\\,:;= a-c0u]{0,60}",
        start in 0..9_usize,
    ) {
        let mut last = start.min(text.len());
        for token in tokens(text.as_bytes(), last..text.len()) {
            let positions = match token {
                Token::Open(_, at) | Token::Comma(at) => vec![at],
                Token::Member(Member { name, value }) => vec![name.start, name.end, value.start, value.end],
                Token::Close => Vec::new(),
            };
            for at in positions {
                prop_assert!(last <= at && at <= text.len());
                last = at;
            }
        }
    }
}

/// A document of serde's.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        "[a-c\"\\\\/{}\\[\\],:é\n ]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-c\"}]{0,3}", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}
