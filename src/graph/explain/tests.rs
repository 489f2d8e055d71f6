use std::collections::BTreeSet;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use proptest::prelude::*;

use super::super::verdict::{RejectionReason, Verdict, classify};
use super::*;

const TOKEN_ERROR_SUBCODES: [i64; 16] = [
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

fn remediation(code: i64, subcode: Option<i64>) -> &'static str {
    explain(&error(code, subcode)).remediation
}

#[test]
fn every_token_error_has_its_own_description() {
    let descriptions: BTreeSet<_> = TOKEN_ERROR_SUBCODES
        .into_iter()
        .map(|subcode| describe(&error(190, Some(subcode))).0)
        .chain([describe(&error(190, None)).0])
        .chain([102, 452, 0].map(|code| describe(&error(code, None)).0))
        .collect();
    assert_eq!(descriptions.len(), TOKEN_ERROR_SUBCODES.len() + 4);
    let expired = explain(&error(190, Some(463)));
    assert_eq!(expired.summary, "The token has expired (code 190, subcode 463).");
}

#[test]
fn every_rejected_token_needs_a_new_token_or_an_operator_action() {
    let dead = TOKEN_ERROR_SUBCODES.map(|subcode| (190, Some(subcode)));
    let others = [190, 102, 450, 452, 0].map(|code| (code, None));
    for (code, subcode) in dead.into_iter().chain(others) {
        let Verdict::TokenRejected(rejection) = verdict(code, subcode) else {
            panic!("{code} {subcode:?} is no rejection");
        };
        let error = error(code, subcode);
        assert_eq!(
            is_action_required(&error),
            rejection.reason == RejectionReason::ActionRequired
        );
        let asks_for_new_token =
            [REPLACE_TOKEN, LOG_IN_AGAIN, PASTE_TOKEN_AGAIN].contains(&explain(&error).remediation);
        assert!(asks_for_new_token || is_action_required(&error) || subcode == Some(458));
    }
}

#[test]
fn no_new_token_is_requested_where_a_token_does_not_help() {
    for code in [
        1, 2, 3, 4, 5, 10, 12, 17, 32, 33, 100, 101, 104, 145, 200, 275, 299, 341, 368, 506, 613, 803, 2500, 2635,
        3962, 6001, 80_000, 80_007, 80_014, 130_429, 130_497, 131_000, 131_005, 131_008, 131_009, 131_016, 131_021,
        131_026, 131_030, 131_031, 131_042, 131_045, 131_047, 131_048, 131_049, 131_051, 131_052, 131_053, 131_056,
        131_058, 131_064, 132_001, 133_010, 133_016, 135_000, 139_999, 1_609_005, 990_003, 424_242, -1,
    ] {
        assert!(!matches!(verdict(code, None), Verdict::TokenRejected(_)));
        let action = remediation(code, None);
        assert!(
            ![REPLACE_TOKEN, LOG_IN_AGAIN, PASTE_TOKEN_AGAIN].contains(&action),
            "{code}"
        );
        assert_eq!(is_action_required(&error(code, None)), code == 101);
    }
}

#[test]
fn an_error_after_which_a_request_may_have_taken_effect_says_so() {
    for code in [1, 2, 131_000, 131_016, 990_016, 990_017] {
        let explained = explain(&error(code, None));
        assert!(explained.summary.contains("may have taken effect"));
        assert_eq!(explained.remediation, RETRY_LATER);
    }
}

#[test]
fn every_rate_limit_asks_for_a_lower_rate() {
    let limits = (0..140_000).filter(|code| verdict(*code, None) == Verdict::Throttled);
    let limits: Vec<_> = limits.collect();
    assert!(limits.len() > 20);
    assert!(limits.iter().all(|code| remediation(*code, None) == REDUCE_RATE));
}

#[test]
fn a_proof_an_object_and_a_parameter_share_a_code_and_not_an_explanation() {
    let proof = GraphError {
        mentions_appsecret_proof: true,
        ..error(100, None)
    };
    assert_eq!(explain(&proof).remediation, SET_APP_SECRET);
    assert_eq!(remediation(1, Some(2_207_083)), SET_APP_SECRET);
    assert_eq!(remediation(100, None), FIX_REQUEST);
    assert!(explain(&error(100, Some(33))).summary.contains("does not exist"));
    assert_eq!(remediation(100, Some(2_018_001)), FIX_REQUEST);
}

#[test]
fn an_app_that_cannot_be_validated_is_for_its_admin_to_fix() {
    let error = GraphError {
        app_validation_failed: true,
        ..error(190, None)
    };
    assert_eq!(explain(&error).remediation, CHECK_APP);
    assert!(is_action_required(&error));
    assert_eq!(remediation(101, None), CHECK_APP);
}

#[test]
fn an_error_without_a_code_is_explained_too() {
    let explained = explain(&GraphError::default());
    assert_eq!(explained.summary, "Graph returned an error without a code.");
    assert!(!is_action_required(&GraphError::default()));
}

proptest! {
    #[test]
    fn every_explanation_is_two_sentences_of_one_line_with_nothing_of_the_errors_text(
        code in prop_oneof![any::<Option<i64>>(), (0_i64..400).prop_map(Some),
            (130_000_i64..136_000).prop_map(Some)],
        subcode in prop_oneof![any::<Option<i64>>(), (450_i64..500).prop_map(Some)],
        proof: bool,
        app: bool,
        client_secret: bool,
    ) {
        let error = GraphError {
            code,
            subcode,
            kind: Some("EAAsecret".to_owned()),
            fbtrace_id: Some("EAAsecret".to_owned()),
            mentions_appsecret_proof: proof,
            app_validation_failed: app,
            app_secret_refused: client_secret,
            is_transient: None,
        };
        let Explanation { summary, remediation } = explain(&error);
        for sentence in [summary.as_str(), remediation] {
            prop_assert!(sentence.ends_with('.') && !sentence.contains('\n'), "{}", sentence);
            prop_assert!(!sentence.contains("  ") && !sentence.contains(". "), "{}", sentence);
            prop_assert!(!sentence.contains("secret") || !sentence.contains("EAA"), "{}", sentence);
        }
    }
}
