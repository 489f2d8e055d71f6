//! Decoding is total and bounded; a restricted `Accept-Encoding` offers only codings that can be decoded, and needs no
//! further restriction.

#![no_main]

use graphward::graph::{decode, restrict_accept_encoding};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

const CODINGS: [&str; 8] = [
    "gzip",
    "deflate",
    "br",
    "zstd",
    "gzip, br",
    "zstd, deflate",
    "identity",
    "x-gzip, identity, gzip",
];
const LIMIT: usize = 64 * 1024;

fuzz_target!(|input: (u8, &[u8], &[u8])| {
    let (coding, offer, body) = input;
    let mut headers = HeaderMap::new();
    if let Some(name) = CODINGS.get(usize::from(coding)) {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    if let Some(plain) = decode(&headers, body, LIMIT) {
        assert!(plain.len() <= LIMIT);
        // A tighter bound holds too.
        if let Some(less) = plain.len().checked_sub(1) {
            assert!(decode(&headers, body, less).is_none());
        }
    }

    let Ok(offer) = HeaderValue::from_bytes(offer) else {
        return;
    };
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_ENCODING, offer);
    if let Some(value) = restrict_accept_encoding(&headers) {
        headers.insert(ACCEPT_ENCODING, value);
        assert_eq!(restrict_accept_encoding(&headers), None);
    }
    let value = headers.get(ACCEPT_ENCODING).expect("it is there").as_bytes();
    for member in value.split(|byte| *byte == b',') {
        let name = member.split(|byte| *byte == b';').next().unwrap_or_default();
        let name = name.trim_ascii().to_ascii_lowercase();
        assert!(matches!(
            &name[..],
            b"" | b"gzip" | b"x-gzip" | b"deflate" | b"br" | b"zstd" | b"identity" | b"*"
        ));
    }
});
