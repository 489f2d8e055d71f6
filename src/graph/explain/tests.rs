use std::collections::BTreeSet;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use proptest::prelude::*;

use super::super::verdict::{Rejection, Verdict, classify};
use super::*;

const DEATHS: [i64; 16] = [
    456, 457, 458, 459, 460, 461, 462, 463, 464, 465, 466, 467, 468, 492, 493, 999,
];

fn error(code: i64, subcode: Option<i64>) -> GraphError {
    GraphError {
        code: Some(code),
        subcode,
        ..GraphError::default()
    }
}

fn verdict(code: i64, subcode: Option<i64>) -> Verdict {
    let subcode = subcode.map_or_else(String::new, |code| format!(",\"error_subcode\":{code}"));
    let body = format!(r#"{{"error":{{"code":{code}{subcode}}}}}"#);
    let json = HeaderValue::from_static("application/json");
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, json)]);
    classify(StatusCode::UNAUTHORIZED, &headers, body.as_bytes())
}

fn action(code: i64, subcode: Option<i64>) -> &'static str {
    explain(&error(code, subcode)).action
}

#[test]
fn every_way_to_die_is_told_from_the_others() {
    let told: BTreeSet<_> = DEATHS
        .into_iter()
        .map(|subcode| words(&error(190, Some(subcode))).0)
        .chain([words(&error(190, None)).0])
        .chain([102, 452, 0].map(|code| words(&error(code, None)).0))
        .collect();
    assert_eq!(told.len(), DEATHS.len() + 4);
    let expired = explain(&error(190, Some(463)));
    assert_eq!(
        expired.happened,
        "The token has expired (code 190, subcode 463)."
    );
}

#[test]
fn what_graph_calls_a_dead_token_is_answered_with_a_new_one_or_a_person() {
    let dead = DEATHS.map(|subcode| (190, Some(subcode)));
    let others = [190, 102, 450, 452, 0].map(|code| (code, None));
    for (code, subcode) in dead.into_iter().chain(others) {
        let Verdict::TokenRejected(why) = verdict(code, subcode) else {
            panic!("{code} {subcode:?} is no rejection");
        };
        let error = error(code, subcode);
        assert_eq!(needs_person(&error), why == Rejection::NeedsPerson);
        let renews = [REPLACE, LOG_IN, PASTE].contains(&explain(&error).action);
        assert!(renews || needs_person(&error) || subcode == Some(458));
    }
}

#[test]
fn nobody_is_sent_for_a_token_where_a_token_does_not_help() {
    for code in [
        1, 2, 3, 4, 5, 10, 12, 17, 32, 33, 100, 101, 104, 145, 200, 275, 299, 341, 368, 506, 613,
        803, 2500, 2635, 3962, 6001, 80_000, 80_007, 80_014, 130_429, 130_497, 131_000, 131_005,
        131_008, 131_009, 131_016, 131_021, 131_026, 131_031, 131_042, 131_045, 131_047, 131_048,
        131_049, 131_051, 131_052, 131_053, 131_056, 131_064, 132_001, 133_010, 133_016, 135_000,
        139_999, 1_609_005, 990_003, 424_242, -1,
    ] {
        assert!(!matches!(verdict(code, None), Verdict::TokenRejected(_)));
        let action = action(code, None);
        assert!(![REPLACE, LOG_IN, PASTE].contains(&action), "{code}");
        assert_eq!(needs_person(&error(code, None)), code == 101);
    }
}

#[test]
fn where_graph_may_have_acted_nobody_is_told_that_it_has_not() {
    for code in [1, 2, 131_000, 131_016, 990_016, 990_017] {
        let explained = explain(&error(code, None));
        assert!(explained.happened.contains("may or may not have acted"));
        assert_eq!(explained.action, LATER);
    }
}

#[test]
fn every_rate_limit_asks_for_less() {
    let limits = (0..140_000).filter(|code| verdict(*code, None) == Verdict::Throttled);
    let limits: Vec<_> = limits.collect();
    assert!(limits.len() > 20);
    assert!(limits.iter().all(|code| action(*code, None) == LESS));
}

#[test]
fn a_proof_an_object_and_a_parameter_share_a_code_and_not_an_explanation() {
    let proof = GraphError {
        blames_proof: true,
        ..error(100, None)
    };
    assert_eq!(explain(&proof).action, PROOF);
    assert_eq!(action(1, Some(2_207_083)), PROOF);
    assert_eq!(action(100, None), REQUEST);
    assert!(
        explain(&error(100, Some(33)))
            .happened
            .contains("does not exist")
    );
    assert_eq!(action(100, Some(2_018_001)), REQUEST);
}

#[test]
fn an_app_that_cannot_be_validated_is_its_admins_business() {
    let blamed = GraphError {
        blames_app: true,
        ..error(190, None)
    };
    assert_eq!(explain(&blamed).action, ADMIN);
    assert!(needs_person(&blamed));
    assert_eq!(action(101, None), ADMIN);
}

#[test]
fn an_error_without_a_code_is_explained_too() {
    let explained = explain(&GraphError::default());
    assert_eq!(
        explained.happened,
        "Graph reports an error without saying which."
    );
    assert!(!needs_person(&GraphError::default()));
}

proptest! {
    #[test]
    fn every_explanation_is_two_sentences_of_one_line_with_nothing_of_the_errors_text(
        code in prop_oneof![any::<Option<i64>>(), (0_i64..400).prop_map(Some),
            (130_000_i64..136_000).prop_map(Some)],
        subcode in prop_oneof![any::<Option<i64>>(), (450_i64..500).prop_map(Some)],
        proof: bool,
        app: bool,
    ) {
        let error = GraphError {
            code,
            subcode,
            kind: Some("EAAsecret".to_owned()),
            trace: Some("EAAsecret".to_owned()),
            blames_proof: proof,
            blames_app: app,
            transient: None,
        };
        let Explanation { happened, action } = explain(&error);
        for sentence in [happened.as_str(), action] {
            prop_assert!(sentence.ends_with('.') && !sentence.contains('\n'), "{}", sentence);
            prop_assert!(!sentence.contains("  ") && !sentence.contains(". "), "{}", sentence);
            prop_assert!(!sentence.contains("secret") || !sentence.contains("EAA"), "{}", sentence);
        }
    }
}
