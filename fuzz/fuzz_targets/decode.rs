//! Whatever a file holds, the result may stand in a header, was in the file, and no error repeats the file.

#![no_main]

use graphward::source::decode::{Format, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (format, bytes) = input;
    let format = match format % 4 {
        0 => Format::Raw,
        1 => Format::Key("TOKEN".to_owned()),
        2 => Format::Pointer("/a".to_owned()),
        _ => Format::Pointer(String::new()),
    };
    match decode(bytes, &format) {
        Ok(secret) => {
            let token = secret.expose().as_bytes();
            assert!((1..=16 * 1024).contains(&token.len()));
            assert!(token.iter().all(u8::is_ascii_graphic));
            // A value of a .env file may be put together from others.
            let is_expanded = matches!(format, Format::Key(_)) && bytes.contains(&b'$');
            if !is_expanded && !matches!(format, Format::Pointer(_)) {
                assert!(bytes.windows(token.len()).any(|window| window == token));
            }
            // A token that was dropped bare comes out as it went in.
            if format == Format::Raw && token.iter().all(u8::is_ascii_alphanumeric) {
                let again = decode(token, &format).expect("still a token");
                assert_eq!(again.expose().as_bytes(), token);
            }
        }
        Err(error) => {
            assert!(!error.label().is_empty());
            // The messages are fixed except for two numbers.
            assert!(error.to_string().len() < 200);
        }
    }
});
