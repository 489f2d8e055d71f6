use http::header::HeaderValue;
use proptest::prelude::*;

use super::*;

mod recorded;

fn json() -> HeaderMap {
    typed("application/json; charset=UTF-8")
}

fn typed(content_type: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))])
}

fn with_challenge(mut headers: HeaderMap, challenge: &'static str) -> HeaderMap {
    headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    headers
}

fn verdict_of(status: u16, body: &str) -> Verdict {
    classify(StatusCode::from_u16(status).unwrap(), &json(), body.as_bytes())
}

const EXPIRED: Verdict = rejected(RejectionReason::Expired, RejectionProof::SessionEnded);
const REVOKED: Verdict = rejected(RejectionReason::Invalidated, RejectionProof::SessionEnded);
const INVALIDATED: Verdict = rejected(RejectionReason::Invalidated, RejectionProof::Unproven);
const MALFORMED: Verdict = rejected(RejectionReason::Malformed, RejectionProof::Unproven);

const fn rejected(reason: RejectionReason, proof: RejectionProof) -> Verdict {
    Verdict::TokenRejected(Rejection { reason, proof })
}

#[test]
fn each_token_error_code_is_recognized_at_each_status_that_may_carry_it() {
    for status in [400, 401, 403, 404] {
        const SESSION_CODES: [i64; 3] = [102, 450, 452];
        for (code, subcode, expected) in [
            (190, 0, RejectionReason::Malformed),
            (190, 456, RejectionReason::Malformed),
            (190, 457, RejectionReason::Malformed),
            (190, 458, RejectionReason::Invalidated),
            (190, 459, RejectionReason::ActionRequired),
            (190, 460, RejectionReason::Invalidated),
            (190, 461, RejectionReason::Invalidated),
            (190, 462, RejectionReason::Invalidated),
            (190, 463, RejectionReason::Expired),
            (190, 464, RejectionReason::ActionRequired),
            (190, 465, RejectionReason::Invalidated),
            (190, 466, RejectionReason::Invalidated),
            (190, 467, RejectionReason::Invalidated),
            (190, 468, RejectionReason::Expired),
            (190, 492, RejectionReason::ActionRequired),
            (190, 493, RejectionReason::Expired),
            (190, 2_593_002, RejectionReason::Invalidated),
            (102, 0, RejectionReason::Expired),
            (450, 0, RejectionReason::Expired),
            (452, 0, RejectionReason::Invalidated),
        ] {
            let body = format!("{{\"error\":{{\"code\":{code},\"error_subcode\":{subcode}}}}}");
            let proof = if SESSION_CODES.contains(&code) || matches!(subcode, 456..=468 | 493) {
                RejectionProof::SessionEnded
            } else {
                RejectionProof::Unproven
            };
            assert_eq!(verdict_of(status, &body), rejected(expected, proof), "{status} {body}");
        }
    }
}

#[test]
fn a_missing_or_invalid_proof_differs_from_other_parameter_errors() {
    let missing = "API calls from the server require an appsecret_proof argument";
    let wrong = "Invalid appsecret_proof provided in the API argument";
    for (code, subcode, message, expected) in [
        (100, 0, missing, Verdict::ProofRejected),
        (100, 0, wrong, Verdict::ProofRejected),
        (1, 2_207_083, "An unknown error", Verdict::ProofRejected),
        (100, 33, "Unsupported post request", Verdict::Refused),
        (1, 99, wrong, Verdict::Refused),
        (10, 0, wrong, Verdict::Permission),
        (190, 0, wrong, MALFORMED),
    ] {
        let body = format!("{{\"error\":{{\"message\":\"{message}\",\"code\":{code},\"error_subcode\":{subcode}}}}}");
        assert_eq!(verdict_of(400, &body), expected, "{body}");
    }
    let elsewhere = r#"{"error":{"message":"no","code":100,"error_data":"appsecret_proof"}}"#;
    assert_eq!(verdict_of(400, elsewhere), Verdict::Refused);
}

#[test]
fn code_zero_counts_only_with_401() {
    let body =
        r#"{"error":{"message":"We were unable to authenticate the app user","type":"OAuthException","code":0}}"#;
    assert_eq!(verdict_of(401, body), INVALIDATED);
    assert_eq!(verdict_of(400, body), Verdict::Refused);
    assert_eq!(
        verdict_of(401, r#"{"error":{"type":"OAuthException"}}"#),
        Verdict::Refused
    );
}

#[test]
fn codes_that_only_look_like_auth_never_lead_to_a_replay() {
    let others = [
        1, 2, 3, 4, 5, 10, 17, 32, 33, 100, 101, 104, 341, 368, 463, 467, 506, 613, 2500, 2635, 3962, 6001, 80_007,
        130_429, 130_497, 131_005, 131_031, 131_048, 131_056, 132_000, 133_016, 135_000, 1_609_005, -190,
    ];
    for code in others.into_iter().chain(200..300) {
        for status in [400, 401, 403, 404] {
            let body = format!("{{\"error\":{{\"type\":\"OAuthException\",\"code\":{code},\"error_subcode\":463}}}}");
            let verdict = verdict_of(status, &body);
            assert!(!matches!(verdict, Verdict::TokenRejected(_)), "{status} {body}");
        }
    }
}

#[test]
fn rate_limits_are_recognized_by_status_or_code() {
    assert_eq!(verdict_of(429, "{}"), Verdict::Throttled);
    assert_eq!(verdict_of(429, r#"{"error":{"code":190}}"#), Verdict::Throttled);
    for code in [
        4, 17, 32, 341, 613, 80_000, 80_007, 80_014, 130_429, 131_048, 131_056, 131_064, 133_016,
    ] {
        let body = format!("{{\"error\":{{\"type\":\"OAuthException\",\"code\":{code}}}}}");
        assert_eq!(verdict_of(400, &body), Verdict::Throttled, "{code}");
        assert_eq!(verdict_of(403, &body), Verdict::Throttled, "{code}");
    }
}

#[test]
fn a_token_error_code_at_another_status_changes_nothing() {
    let body = r#"{"error":{"code":190,"error_subcode":463}}"#;
    for status in [100, 101, 301, 302, 304, 399] {
        assert_eq!(verdict_of(status, body), Verdict::Success, "{status}");
    }
    for status in [500, 502, 503, 599, 999] {
        assert_eq!(verdict_of(status, body), Verdict::ServerError, "{status}");
    }
    for status in [402, 405, 408, 409, 410, 413, 422, 451, 499] {
        assert_eq!(verdict_of(status, body), Verdict::Refused, "{status}");
    }
}

#[test]
fn any_4xx_counts_if_its_challenge_says_invalid_token() {
    let body = br#"{"error":{"code":190,"error_subcode":463}}"#;
    let gone = StatusCode::GONE;
    let invalid = with_challenge(
        json(),
        "OAuth \"Facebook Platform\" \"invalid_token\" \"Error validating\"",
    );
    assert_eq!(classify(gone, &invalid, body), EXPIRED);
    // The word alone is not enough.
    assert_eq!(classify(gone, &invalid, br#"{"error":{"code":100}}"#), Verdict::Refused);
    let other = with_challenge(
        json(),
        "OAuth \"Facebook Platform\" \"invalid_request\" \"invalid_token\u{7e}\"",
    );
    assert_eq!(classify(gone, &other, body), Verdict::Refused);
    let second = with_challenge(other, "OAuth \"Facebook Platform\" \"invalid_token\" \"x\"");
    assert_eq!(classify(gone, &second, body), EXPIRED);
}

#[test]
fn what_cannot_be_read_is_opaque() {
    for body in [
        "",
        "<!DOCTYPE html><title>Error</title>Sorry, something went wrong.",
        r#"{"error":{"message":"Error validating access token","type":"OAuthException","code":190"#,
        r#"[{"code":400,"body":"{\"error\":{\"code\":190}}"},null]"#,
        r#"{"error_type":"OAuthException","code":400,"error_message":"…"}"#,
        r#"{"debug_info":{"retriable":false,"type":"NotAuthorizedError","message":"…"}}"#,
        "\u{1f}\u{8b}",
    ] {
        assert_eq!(verdict_of(401, body), Verdict::Opaque, "{body}");
    }
}

#[test]
fn errors_inside_a_success_are_part_of_it() {
    assert_eq!(
        verdict_of(
            200,
            r#"{"data":{"is_valid":false,"error":{"code":190,"message":"…","subcode":463}}}"#
        ),
        Verdict::Success
    );
    assert_eq!(
        verdict_of(200, r#"[{"code":401,"body":"{\"error\":{\"code\":190}}"}]"#),
        Verdict::Success
    );
    assert_eq!(verdict_of(200, "false"), Verdict::Success);
    assert_eq!(verdict_of(200, r#"{"error":"invalid_token"}"#), Verdict::Success);
    assert_eq!(
        verdict_of(200, r#"{"data":[{"error":{"code":190}}]}"#),
        Verdict::Success
    );
}

#[test]
fn an_error_envelope_is_no_success_whatever_the_status() {
    for status in [200, 201, 206, 299] {
        for (body, expected) in [
            (r#"{"error":{"code":190,"error_subcode":463}}"#, EXPIRED),
            (r#"/**/ cb({"error":{"code":190}});"#, MALFORMED),
            (r#"{"error":{"code":10}}"#, Verdict::Permission),
            (r#"{"error":{"code":2}}"#, Verdict::ServerError),
            (r#"{"error":{"code":4}}"#, Verdict::Throttled),
            (r#"{"error":{"code":0}}"#, Verdict::Refused),
            (r#"{"error":{"message":"no code"}}"#, Verdict::Refused),
        ] {
            assert_eq!(verdict_of(status, body), expected, "{status} {body}");
        }
    }
    let image = classify(StatusCode::OK, &typed("image/jpeg"), br#"{"error":{"code":190}}"#);
    assert_eq!(image, Verdict::Refused);
}

#[test]
fn a_missing_permission_and_a_locked_account_have_verdicts_of_their_own() {
    for status in [400, 401, 403, 404] {
        for code in [3, 10, 200, 275, 294, 299, 131_005] {
            let body = format!(r#"{{"error":{{"type":"OAuthException","code":{code}}}}}"#);
            assert_eq!(verdict_of(status, &body), Verdict::Permission, "{body}");
        }
        for code in [368, 131_031] {
            let body = format!(r#"{{"error":{{"type":"OAuthException","code":{code}}}}}"#);
            assert_eq!(verdict_of(status, &body), Verdict::AccountLocked, "{body}");
        }
        for code in [5, 12, 100, 199, 300, 367, 369, 131_030, 131_042] {
            let body = format!(r#"{{"error":{{"type":"OAuthException","code":{code}}}}}"#);
            assert_eq!(verdict_of(status, &body), Verdict::Refused, "{body}");
        }
    }
    assert_eq!(verdict_of(500, r#"{"error":{"code":10}}"#), Verdict::ServerError);
}

#[test]
fn only_json_and_javascript_may_be_token_errors() {
    let status = StatusCode::UNAUTHORIZED;
    let body = br#"{"error":{"code":190,"error_subcode":463}}"#;
    for name in [
        "application/json",
        "Application/JSON; charset=UTF-8",
        "text/javascript; charset=UTF-8",
        "application/x-javascript",
        "application/problem+json",
    ] {
        assert!(may_be_token_error(status, &typed(name)), "{name}");
        assert_eq!(classify(status, &typed(name), body), EXPIRED);
    }
    for headers in [HeaderMap::new(), typed("text/html"), typed(""), typed("image/jpeg")] {
        assert!(!may_be_token_error(status, &headers), "{headers:?}");
        assert!(!matches!(classify(status, &headers, body), Verdict::TokenRejected(_)));
    }
    for status in [200, 204, 302, 304, 402, 429, 500, 503] {
        assert!(
            !may_be_token_error(StatusCode::from_u16(status).unwrap(), &json()),
            "{status}"
        );
    }
}

#[test]
fn only_codes_about_the_session_prove_that_it_has_ended() {
    let proof_of = |status: u16, code: i64, subcode: Option<i64>| {
        let subcode = subcode.map_or_else(String::new, |subcode| format!(",\"error_subcode\":{subcode}"));
        let body = format!("{{\"error\":{{\"code\":{code}{subcode}}}}}");
        if let Verdict::TokenRejected(Rejection { proof, .. }) = verdict_of(status, &body) {
            Some(proof)
        } else {
            None
        }
    };
    let ended = Some(RejectionProof::SessionEnded);
    let unproven = Some(RejectionProof::Unproven);
    for subcode in (456..=468).chain([493]) {
        assert_eq!(proof_of(400, 190, Some(subcode)), ended, "{subcode}");
    }
    for code in [102, 450, 452] {
        assert_eq!(proof_of(401, code, None), ended, "{code}");
    }
    for subcode in [
        None,
        Some(0),
        Some(455),
        Some(469),
        Some(492),
        Some(494),
        Some(2_069_032),
        Some(-1),
    ] {
        assert_eq!(proof_of(400, 190, subcode), unproven, "{subcode:?}");
    }
    assert_eq!(proof_of(401, 0, None), unproven);
    assert_eq!(proof_of(400, 0, None), None);
}

#[test]
fn labels_are_distinct() {
    let verdicts = [
        Verdict::Success,
        EXPIRED,
        Verdict::ProofRejected,
        Verdict::Throttled,
        Verdict::Permission,
        Verdict::AccountLocked,
        Verdict::Refused,
        Verdict::ServerError,
        Verdict::Opaque,
        Verdict::WrongTokenKind,
    ];
    let rejections = [
        RejectionReason::Expired,
        RejectionReason::Invalidated,
        RejectionReason::Malformed,
        RejectionReason::ActionRequired,
    ];
    let labels: std::collections::BTreeSet<_> = verdicts
        .map(Verdict::label)
        .into_iter()
        .chain(rejections.map(RejectionReason::label))
        .collect();
    assert_eq!(labels.len(), 14);
}

proptest! {
    #[test]
    fn the_verdict_is_total_and_a_2xx_without_an_envelope_is_a_success(
        status in 100_u16..1000,
        noise in prop::collection::vec(any::<u8>(), 0..300),
        code in any::<i64>(),
        cut in 0_usize..60,
    ) {
        let envelope = format!("{{\"error\":{{\"type\":\"OAuthException\",\"code\":{code},\"error_subcode\":463}}}}");
        let envelope = envelope.as_bytes();
        let cut = envelope.get(..cut).unwrap_or(envelope);
        let status = StatusCode::from_u16(status).unwrap();
        for body in [noise.as_slice(), envelope, cut, br#"{"error":{"code":190}}"#] {
            let verdict = classify(status, &json(), body);
            let is_hidden_error = status.is_success() && GraphError::parse(body).is_some();
            let is_success = status.as_u16() < 400 && !is_hidden_error;
            prop_assert_eq!(is_success, verdict == Verdict::Success);
            if matches!(verdict, Verdict::TokenRejected(_)) {
                prop_assert!(may_be_token_error(status, &json()) || may_be_hidden_error(status, &json()));
            }
        }
    }
}
