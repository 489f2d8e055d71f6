use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;

const PLAIN: &[u8] = br#"{"error":{"code":190}}"#;
const BROTLI: &[u8] =
    b"\x8b\x0a\x80\x7b\x22\x65\x72\x72\x6f\x72\x22\x3a\x7b\x22\x63\x6f\x64\x65\x22\x3a\x31\x39\x30\x7d\x7d\x03";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd\x20\x16\xb1\x00\x00\x7b\x22\x65\x72\x72\x6f\x72\x22\x3a\x7b\x22\x63\x6f\x64\x65\x22\x3a\x31\x39\x30\x7d\x7d";
/// 4 MiB of zeros, by the reference encoder.
const BROTLI_BOMB: &[u8] = b"\x9b\xff\xff\x3f\xf8\x27\x00\xe2\xb1\x40\x20\xf7\xfe\x07";

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn deflate(plain: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    compress_to_vec(plain, CompressionLevel::Fastest)
}

fn fields(name: http::HeaderName, values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(&name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn decoded(coding: &str, body: &[u8], limit: usize) -> Option<Vec<u8>> {
    decode(&fields(CONTENT_ENCODING, &[coding]), body, limit).map(Cow::into_owned)
}

fn narrowed(offered: &[&str]) -> Option<String> {
    restrict_accept_encoding(&fields(ACCEPT_ENCODING, offered)).map(|value| value.to_str().unwrap().to_owned())
}

#[test]
fn every_coding_that_graph_may_use_is_decoded() {
    for (coding, body) in [
        ("identity", PLAIN.to_vec()),
        ("", PLAIN.to_vec()),
        ("gzip", gzip(PLAIN)),
        ("X-GZIP", gzip(PLAIN)),
        ("deflate", zlib(PLAIN)),
        ("deflate", deflate(PLAIN)),
        ("br", BROTLI.to_vec()),
        ("zstd", ZSTD.to_vec()),
        ("Zstd", zstd(PLAIN)),
        ("gzip", [gzip(b"{\"error\":"), gzip(b"{\"code\":190}}")].concat()),
    ] {
        assert_eq!(decoded(coding, &body, PLAIN.len()).as_deref(), Some(PLAIN), "{coding}");
    }
}

#[test]
fn a_plain_body_is_not_copied() {
    for headers in [HeaderMap::new(), fields(CONTENT_ENCODING, &["identity, identity"])] {
        assert!(matches!(decode(&headers, PLAIN, 100), Some(Cow::Borrowed(PLAIN))));
    }
}

#[test]
fn stacked_codings_are_decoded_from_the_last_to_the_first() {
    let body = zlib(&gzip(PLAIN));
    assert_eq!(decoded("gzip, deflate", &body, 100).as_deref(), Some(PLAIN));
    assert_eq!(decoded("gzip,identity,deflate", &body, 100).as_deref(), Some(PLAIN));
    assert_eq!(decoded("deflate, gzip", &body, 100), None);
    let two_fields = fields(CONTENT_ENCODING, &["gzip", "deflate"]);
    assert_eq!(decode(&two_fields, &body, 100).as_deref(), Some(PLAIN));
    assert_eq!(decoded("gzip, gzip, gzip", &gzip(&gzip(&gzip(PLAIN))), 1000), None);
}

#[test]
fn a_body_over_the_limit_is_not_decoded() {
    let zeros = vec![0; 4 << 20];
    let window = 8 << 20;
    for (coding, bomb) in [
        ("identity", zeros.clone()),
        ("gzip", gzip(&zeros)),
        ("deflate", zlib(&zeros)),
        ("deflate", deflate(&zeros)),
        ("br", BROTLI_BOMB.to_vec()),
        ("zstd", zstd(&zeros)),
        ("gzip, gzip", gzip(&gzip(&zeros))),
    ] {
        assert_eq!(decoded(coding, &bomb, 65_536), None, "{coding}");
        assert_eq!(decoded(coding, &bomb, zeros.len() - 1), None, "{coding}");
        assert_eq!(
            decoded(coding, &bomb, zeros.len()).as_deref(),
            Some(zeros.as_slice()),
            "{coding}"
        );
        assert!(zeros.len() < window);
    }
}

#[test]
fn a_zstd_frame_may_not_ask_for_a_window_that_could_hold_a_bomb() {
    let frame = |window: u8| [b"\x28\xB5\x2F\xFD\x00".as_slice(), &[window]].concat();
    assert_eq!(zstd_window_bytes(&frame(0)), Some(1 << 10));
    assert_eq!(zstd_window_bytes(&frame(0x68)), Some(MAX_ZSTD_WINDOW_BYTES));
    assert_eq!(zstd_window_bytes(&frame(0x69)), Some(MAX_ZSTD_WINDOW_BYTES / 8 * 9));
    assert_eq!(zstd_window_bytes(&frame(0xFF)), Some((1 << 41) / 8 * 15));
    assert_eq!(zstd_window_bytes(b"\x28\xB5\x2F\xFD\x20\x16"), Some(22));
    assert_eq!(
        zstd_window_bytes(b"\x28\xB5\x2F\xFD\x61\x07\x00\x01"),
        Some(0x100 + 256)
    );
    assert_eq!(
        zstd_window_bytes(b"\x28\xB5\x2F\xFD\xE0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"),
        Some(u64::MAX)
    );
    assert_eq!(zstd_window_bytes(b"\x28\xB5\x2F\xFD\xE0\xFF"), None);
    // Repeated bytes: 4 of them stand for 128 KiB, so 16,000 for two gigabytes.
    let mut bomb = frame(0x88);
    for _ in 0..4000 {
        bomb.extend_from_slice(b"\x02\x00\x10\x00");
    }
    assert_eq!(decoded("zstd", &bomb, 65_536), None);
}

#[test]
fn a_corrupt_truncated_or_unknown_body_is_not_decoded() {
    for (coding, body) in [
        ("gzip", gzip(PLAIN)),
        ("deflate", zlib(PLAIN)),
        ("deflate", deflate(PLAIN)),
        ("br", BROTLI.to_vec()),
        ("zstd", ZSTD.to_vec()),
        ("gzip, br", gzip(PLAIN)),
    ] {
        let half = body.get(..body.len() / 2).unwrap();
        assert_eq!(decoded(coding, half, 1000), None, "{coding}");
        assert_eq!(decoded(coding, b"", 1000), None, "{coding}");
        assert_eq!(decoded(coding, b"\xFF\xFF\xFF\xFF\xFF\xFF", 1000), None, "{coding}");
    }
    for coding in ["compress", "dcb", "gzip, foo", "foo, gzip", "gzip;q=1"] {
        assert_eq!(decoded(coding, &gzip(PLAIN), 1000), None, "{coding}");
    }
}

#[test]
fn an_offer_that_can_be_decoded_is_left_as_it_is() {
    for offered in [
        &[] as &[&str],
        &[""],
        &["gzip"],
        &["gzip, deflate"],
        &["gzip, deflate, br, zstd"],
        &["GZIP;q=1.0 , Br ; q=0.5,identity;q=0"],
        &["gzip;q=0, *;q=0"],
        &["*;q=0.000"],
        &["gzip", "br"],
        &["x-gzip"],
    ] {
        assert_eq!(narrowed(offered), None, "{offered:?}");
    }
}

#[test]
fn an_offer_is_narrowed_to_what_can_be_decoded() {
    for (offered, expected) in [
        (&["*"] as &[&str], "identity"),
        (&["*;q=0.5"], "identity"),
        (&["gzip, *;q=0.1"], "gzip"),
        (&["gzip;q=0, *"], "gzip;q=0"),
        (&["br;q=1.0, *;q=0.5"], "br;q=1.0"),
        (&["compress, gzip;q=0.8"], "gzip;q=0.8"),
        (&["gzip, dcb, dcz, br"], "gzip, br"),
        (&["compress"], "identity"),
        (&["compress, *;q=0"], "identity"),
        (&["compress, identity;q=0"], "identity;q=0"),
        (&["gzip", "compress", "br;q=0.1"], "gzip, br;q=0.1"),
        (&["gzipp", "*foo", "*0"], "identity"),
        (&["foo, gzip;q=0, *;q=0"], "gzip;q=0, *;q=0"),
    ] {
        assert_eq!(narrowed(offered).as_deref(), Some(expected), "{offered:?}");
    }
}

proptest! {
    #[test]
    fn decoding_is_total_bounded_and_inverse(
        plain in prop::collection::vec(0_u8..4, 0..3000),
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        for (coding, body) in [("gzip", gzip(&plain)), ("deflate", zlib(&plain)), ("zstd", zstd(&plain))] {
            let limit = plain.len();
            let back = decoded(coding, &body, limit);
            prop_assert_eq!(back.as_deref(), Some(plain.as_slice()));
            if limit > 0 {
                prop_assert_eq!(decoded(coding, &body, limit - 1), None);
            }
        }
        for coding in ["gzip", "deflate", "br", "zstd", "br, gzip"] {
            prop_assert!(decoded(coding, &noise, 500).is_none_or(|plain| plain.len() <= 500));
        }
    }
}
