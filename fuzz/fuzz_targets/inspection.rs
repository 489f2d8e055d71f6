//! Any answer to a question about a token is read or is not, and any error has two sentences that repeat none of it.

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
    let inspection = Inspection::of_debug_token(&body);
    assert_eq!(inspection, Inspection::of_debug_token(&body));
    if let Some(inspection) = &inspection {
        if let Some(error) = &inspection.dead {
            in_words(error);
            assert!(inspection.missing().is_empty());
        }
        assert!(inspection.missing().len() <= 2);
        for scope in inspection.scopes.iter().flatten() {
            assert!(scope.len() <= 64 && scope.bytes().all(|byte| byte.is_ascii_graphic()));
        }
        for ends in [inspection.expires, inspection.data_access] {
            assert!(ends.at().is_none_or(|at| at > SystemTime::UNIX_EPOCH));
        }
    }
    let status = StatusCode::from_u16(100 + number % 900).expect("three digits");
    if let Some(probed) = Inspection::of_probe(status, &body) {
        assert_eq!(probed.dead.is_none(), status == StatusCode::OK);
        assert!(probed.dead.is_none() || status.is_client_error());
    }
    if let Some(error) = GraphError::parse(&body) {
        in_words(&error);
    }
});

fn in_words(error: &GraphError) {
    let Explanation { happened, action } = explain(error);
    for sentence in [happened.as_str(), action] {
        assert!(
            sentence.ends_with('.') && !sentence.contains('\n'),
            "{sentence}"
        );
    }
    assert!(happened.len() < 300, "{happened}");
}
