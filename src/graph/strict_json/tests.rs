use std::ops::ControlFlow;

use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;

fn outcome(body: &[u8]) -> ParseOutcome {
    walk(RawBytes::new(body), &mut |_path, _event| ControlFlow::Continue(()))
}

#[test]
fn json_is_complete_and_anything_else_is_invalid() {
    for valid in [
        r#"{}"#,
        r#" [ ] "#,
        r#"[1,-0.5e+10,0,true,false,null,"",{"a":[{}]}]"#,
        r#""\u00e9\/\"""#,
        "7",
    ] {
        assert_eq!(outcome(valid.as_bytes()), ParseOutcome::Complete, "{valid}");
    }
    for invalid in [
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
        assert_eq!(outcome(invalid.as_bytes()), ParseOutcome::Invalid, "{invalid}");
    }
}

#[test]
fn depth_is_limited() {
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(outcome(nested(127).as_bytes()), ParseOutcome::Complete);
    assert_eq!(outcome(nested(128).as_bytes()), ParseOutcome::Invalid);
    assert_eq!(outcome("[".repeat(1_000_000).as_bytes()), ParseOutcome::Invalid);
}

#[test]
fn a_byte_of_a_string_within_a_string_maps_to_its_range_in_the_body() {
    let body = br#"["[\"a\\\/\\u0062\"]"]"#;
    let mut found = Vec::new();
    let _outcome = walk(RawBytes::new(body), &mut |path, event| {
        if let (&[PathStep::Array], VisitEvent::String(inner)) = (path, event) {
            let _outcome = walk(inner, &mut |_path, event| {
                if let VisitEvent::String(text) = event {
                    found.extend(text);
                }
                ControlFlow::Continue(())
            });
        }
        ControlFlow::Continue(())
    });
    let found: Vec<_> = found.into_iter().map(|unit| (unit.byte, &body[unit.place])).collect();
    assert_eq!(found, [(b'a', &b"a"[..]), (b'/', br"\\\/"), (b'b', br"\\u0062")]);
}

#[test]
fn the_path_matches_keys_in_any_escaping() {
    let mut seen = Vec::new();
    let _outcome = walk(
        RawBytes::new(br#"{"p\u0061ging":{"next":"a","nexts":"b"},"x":[{"url":1}]}"#),
        &mut |path, event| {
            if matches!(event, VisitEvent::String(_) | VisitEvent::Scalar(_)) {
                seen.push(path.to_vec());
            }
            ControlFlow::Continue(())
        },
    );
    use PathStep::{Array, Object};
    assert_eq!(
        seen,
        [
            vec![Object(KnownKey::Paging), Object(KnownKey::Next)],
            vec![Object(KnownKey::Paging), Object(KnownKey::Other)],
            vec![Object(KnownKey::Other), Array, Object(KnownKey::Url)],
        ]
    );
}

proptest! {
    #[test]
    fn the_outcome_agrees_with_serde_json(body in r#"([\[\]{}:, 0-9eE.+\-]|"[a-z\\u"]{0,3}"|true|null|\{"a":|\["){0,12}"#) {
        let is_valid = serde_json::from_str::<IgnoredAny>(&body).is_ok();
        prop_assert_eq!(outcome(body.as_bytes()) == ParseOutcome::Complete, is_valid, "{}", body);
    }
}
