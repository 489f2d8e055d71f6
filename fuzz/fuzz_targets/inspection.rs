//! Any answer about a token is read or is not, and the explanation of any error is two sentences that repeat none of it.

#![no_main]

use std::time::SystemTime;

use graphward::graph::{Explanation, GraphError, Inspection, explain};
use http::StatusCode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, Option<(i64, i16)>, &[u8])| {
    let (number, fields, noise) = input;
    let body = match fields {
        // An answer with noise where another field would be.
        Some((seconds, subcode)) => [
            format!(
                "{{\"data\":{{\"is_valid\":{},\"expires_at\":{seconds},\"error\":{{\"code\":190,\"subcode\":{subcode}}},\
                 \"scopes\":",
                number % 2 == 0
            )
            .as_bytes(),
            noise,
            b"}}",
        ]
        .concat(),
        None => noise.to_vec(),
    };
    let inspection = Inspection::from_debug_token(&body);
    assert_eq!(inspection, Inspection::from_debug_token(&body));
    if let Some(inspection) = &inspection {
        if let Some(error) = &inspection.error {
            assert_explained(error);
            assert!(inspection.missing_scopes().is_empty());
        }
        assert!(inspection.missing_scopes().len() <= 2);
        for scope in inspection.scopes.iter().flatten() {
            assert!(scope.len() <= 64 && scope.bytes().all(|byte| byte.is_ascii_graphic()));
        }
        for ends in [inspection.expires_at, inspection.data_access_expires_at] {
            assert!(ends.as_system_time().is_none_or(|at| at > SystemTime::UNIX_EPOCH));
        }
    }
    let status = StatusCode::from_u16(100 + number % 900).expect("three digits");
    if let Some(probed) = Inspection::from_me_response(status, &body) {
        assert_eq!(probed.error.is_none(), status == StatusCode::OK);
        assert!(probed.error.is_none() || status.is_client_error());
    }
    if let Some(error) = GraphError::parse(&body) {
        assert_explained(&error);
    }
});

fn assert_explained(error: &GraphError) {
    let Explanation { summary, remediation } = explain(error);
    for sentence in [summary.as_str(), remediation] {
        assert!(sentence.ends_with('.') && !sentence.contains('\n'), "{sentence}");
    }
    assert!(summary.len() < 300, "{summary}");
}
