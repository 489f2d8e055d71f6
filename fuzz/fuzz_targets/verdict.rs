//! Any answer has a verdict, and only one that may be a token error, with a code of one, leads to a replay.

#![no_main]

use graphward::graph::verdict::may_be_hidden_error;
use graphward::graph::{GraphError, Verdict, classify, may_be_token_error};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use libfuzzer_sys::fuzz_target;

const TYPES: [Option<&str>; 4] = [
    None,
    Some("application/json; charset=UTF-8"),
    Some("text/javascript; charset=UTF-8"),
    Some("text/html"),
];

fuzz_target!(|input: (u16, u8, bool, Option<(i16, i16)>, &[u8])| {
    let (number, content_type, challenged, codes, noise) = input;
    let body = match codes {
        // An envelope with noise where a message would be.
        Some((code, subcode)) => [
            format!("{{\"error\":{{\"code\":{code},\"error_subcode\":{subcode},\"message\":\"").as_bytes(),
            noise,
            b"\"}}",
        ]
        .concat(),
        None => noise.to_vec(),
    };
    let body = body.as_slice();
    let status = StatusCode::from_u16(100 + number % 900).expect("three digits");
    let mut headers = HeaderMap::new();
    if let Some(Some(name)) = TYPES.get(usize::from(content_type) % TYPES.len()) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(name));
    }
    if challenged {
        let challenge = "OAuth \"Facebook Platform\" \"invalid_token\" \"…\"";
        headers.insert(
            WWW_AUTHENTICATE,
            HeaderValue::from_bytes(challenge.as_bytes()).expect("valid"),
        );
    }

    let verdict = classify(status, &headers, body);
    assert_eq!(verdict, classify(status, &headers, body));
    let is_hidden_error = status.is_success() && GraphError::parse(body).is_some();
    assert_eq!(verdict == Verdict::Success, status.as_u16() < 400 && !is_hidden_error);
    if status.as_u16() >= 500 {
        assert_eq!(verdict, Verdict::ServerError);
    }
    if !status.is_client_error() {
        assert!(!may_be_token_error(status, &headers));
    }
    if matches!(verdict, Verdict::TokenRejected(_)) {
        assert!(may_be_token_error(status, &headers) || may_be_hidden_error(status, &headers));
        let code = GraphError::parse(body).and_then(|error| error.code);
        assert!(matches!(code, Some(0 | 102 | 190 | 450 | 452)));
        assert!(code != Some(0) || status == StatusCode::UNAUTHORIZED);
    }
    // White space around an envelope means nothing.
    let padded = [b"\r\n ", body, b" \n"].concat();
    if GraphError::parse(body).is_some() && !body.starts_with(b"\xEF\xBB\xBF") {
        assert_eq!(classify(status, &headers, &padded), verdict);
    }
});
