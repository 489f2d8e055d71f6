//! No spelling of the token survives, every other byte does, and JSON stays JSON.

#![no_main]

use graphward::graph::redact;
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;

const TOKENS: [&str; 5] = ["EAAGm0PX4", "EAAG/m0+|=", "12345678|EAAG", "_EAAGm0|-", "IGAA-m_0."];

fuzz_target!(|input: (u8, Vec<Result<&[u8], u8>>)| {
    let (token, pieces) = input;
    let token = TOKENS[usize::from(token) % TOKENS.len()];
    let mut text = Vec::new();
    let mut held = false;
    for piece in pieces {
        match piece {
            Ok(piece) => text.extend_from_slice(piece),
            Err(spelling) => {
                held = true;
                text.extend_from_slice(spelled(token, spelling).as_bytes());
            }
        }
    }
    let Some(redacted) = redact(&text, token.as_bytes()) else {
        assert!(!held, "{}", String::from_utf8_lossy(&text));
        return;
    };
    assert!(redacted.windows(10).any(|part| part == b"[redacted]"));
    assert!(!redacted.windows(token.len()).any(|part| part == token.as_bytes()));
    if serde_json::from_slice::<IgnoredAny>(&text).is_ok() {
        assert!(serde_json::from_slice::<IgnoredAny>(&redacted).is_ok());
    }
});

fn spelled(token: &str, spelling: u8) -> String {
    let all = percent_encoding::NON_ALPHANUMERIC;
    let percent = percent_encoding::utf8_percent_encode(token, all).to_string();
    let json = |text: &str| {
        let text = serde_json::to_string(text).expect("text").replace('/', "\\/");
        text[1..text.len() - 1].to_owned()
    };
    match spelling % 6 {
        0 => token.to_owned(),
        1 => percent,
        2 => ["2F", "2B", "7C", "3D", "2D", "5F", "2E"]
            .iter()
            .fold(percent, |text, code| text.replace(code, &code.to_lowercase())),
        3 => json(token),
        4 => json(&json(token)),
        _ => percent.replace('%', "\\u0025"),
    }
}
