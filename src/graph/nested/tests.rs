use std::ops::ControlFlow;

use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;

fn walked(body: &[u8]) -> Walked {
    walk(Raw::new(body), &mut |_path, _event| {
        ControlFlow::Continue(())
    })
}

#[test]
fn what_is_json_is_whole_and_what_is_not_is_broken() {
    for whole in [
        r#"{}"#,
        r#" [ ] "#,
        r#"[1,-0.5e+10,0,true,false,null,"",{"a":[{}]}]"#,
        r#""\u00e9\/\"""#,
        "7",
    ] {
        assert_eq!(walked(whole.as_bytes()), Walked::Whole, "{whole}");
    }
    for broken in [
        "",
        "{",
        "[}",
        "{]",
        "[1,]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "01",
        "1.",
        "-",
        "nul",
        "nulll",
        "[1 2]",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"",
        "\"\n\"",
        "[]]",
        "{},",
        "1e",
        "}",
    ] {
        assert_eq!(walked(broken.as_bytes()), Walked::Broken, "{broken}");
    }
}

#[test]
fn depth_has_an_end() {
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(walked(nested(127).as_bytes()), Walked::Whole);
    assert_eq!(walked(nested(128).as_bytes()), Walked::Broken);
    assert_eq!(walked("[".repeat(1_000_000).as_bytes()), Walked::Broken);
}

#[test]
fn a_byte_of_a_string_within_a_string_knows_its_place_in_the_body() {
    let body = br#"["[\"a\\\/\\u0062\"]"]"#;
    let mut found = Vec::new();
    let _whole = walk(Raw::new(body), &mut |path, event| {
        if let (&[Step::Array], Event::String(inner)) = (path, event) {
            let _whole = walk(inner, &mut |_path, event| {
                if let Event::String(text) = event {
                    found.extend(text);
                }
                ControlFlow::Continue(())
            });
        }
        ControlFlow::Continue(())
    });
    let found: Vec<_> = found
        .into_iter()
        .map(|unit| (unit.byte, &body[unit.place]))
        .collect();
    assert_eq!(
        found,
        [(b'a', &b"a"[..]), (b'/', br"\\\/"), (b'b', br"\\u0062")]
    );
}

#[test]
fn the_path_is_told_by_keys_however_they_are_spelled() {
    let mut seen = Vec::new();
    let _whole = walk(
        Raw::new(br#"{"p\u0061ging":{"next":"a","nexts":"b"},"x":[{"url":1}]}"#),
        &mut |path, event| {
            if matches!(event, Event::String(_) | Event::Scalar(_)) {
                seen.push(path.to_vec());
            }
            ControlFlow::Continue(())
        },
    );
    use Step::{Array, Object};
    assert_eq!(
        seen,
        [
            vec![Object(Word::Paging), Object(Word::Next)],
            vec![Object(Word::Paging), Object(Word::Other)],
            vec![Object(Word::Other), Array, Object(Word::Url)],
        ]
    );
}

proptest! {
    #[test]
    fn it_agrees_with_another_reader(body in r#"([\[\]{}:, 0-9eE.+\-]|"[a-z\\u"]{0,3}"|true|null|\{"a":|\["){0,12}"#) {
        let whole = serde_json::from_str::<IgnoredAny>(&body).is_ok();
        prop_assert_eq!(walked(body.as_bytes()) == Walked::Whole, whole, "{}", body);
    }
}
