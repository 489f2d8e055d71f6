//! The path of a request: which endpoint it names, and what a log may show of it.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr;
use percent_encoding::percent_decode;

/// A path for logs: `{id}` for everything that is not a plain word.
#[derive(Clone, Copy, derive_more::Debug)]
#[debug("{self}")]
pub struct PathTemplate<'path>(pub(super) &'path str);

/// The endpoint that a path names, whatever its version and the ids in it: requests with the same one need the same kind
/// of token. It is a hash, so two endpoints may rarely share one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct EndpointId(pub(crate) u64);

const MAX_TEMPLATE_SEGMENTS: usize = 6;
const MAX_EDGE_NAME_BYTES: usize = 32;

/// Returns whether this is an endpoint that makes tokens out of the credentials in its query: below `/oauth/`, or
/// Instagram's and Threads' `/access_token` and `/refresh_access_token`, with or without a version before.
#[must_use]
pub fn is_token_endpoint(path: &str) -> bool {
    let mut segments = segments_without_version(path);
    let (first, is_last) = (segments.next(), segments.next().is_none());
    let matches_decoded = |segment: &[u8], name: &[u8]| {
        percent_decode(segment)
            .map(|byte| byte.to_ascii_lowercase())
            .eq(name.iter().copied())
    };
    first.is_some_and(|first| {
        matches_decoded(first, b"oauth")
            || (is_last && (matches_decoded(first, b"access_token") || matches_decoded(first, b"refresh_access_token")))
    })
}

/// Returns whether this is the path of a session of resumable uploads, `/upload:…`.
#[must_use]
pub fn is_upload_session(path: &str) -> bool {
    if !path.contains("upload") {
        return false;
    }
    let first = segments_without_version(path).next().unwrap_or_default();
    percent_decode(first).take(b"upload:".len()).eq(*b"upload:")
}

/// The segments of a path, without empty ones and a version in front. Bytes, because each request is split so, and splitting
/// a `str` costs five times as much.
pub fn segments_without_version<P: AsRef<[u8]> + ?Sized>(path: &P) -> impl Iterator<Item = &[u8]> {
    let segments = path.as_ref().split(|byte| *byte == b'/');
    let mut segments = segments.filter(|segment| !segment.is_empty()).peekable();
    segments.next_if(|first| is_version(first));
    segments
}

/// Returns whether a segment is a version, such as `v19.0`, in either case, and perhaps percent-encoded.
#[must_use]
pub fn is_version(segment: &[u8]) -> bool {
    // Most segments start otherwise, and need no further look.
    let [b'v' | b'V' | b'%', ..] = segment else {
        return false;
    };
    is_decoded_version(segment) || is_decoded_version(&decode(segment))
}

fn is_decoded_version(segment: &[u8]) -> bool {
    let is_digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let [b'v' | b'V', number @ ..] = segment else {
        return false;
    };
    let mut numbers = number.splitn(2, |byte| *byte == b'.');
    segment.len() <= 8 && numbers.next().is_some_and(is_digits) && numbers.next().is_some_and(is_digits)
}

/// The decoded bytes of a path or a part of one. Nearly all have nothing encoded, which is found out faster than each byte is decoded.
pub(super) fn decode(encoded: &[u8]) -> Cow<'_, [u8]> {
    match memchr(b'%', encoded) {
        Some(_) => percent_decode(encoded).into(),
        None => encoded.into(),
    }
}

/// Returns whether a path segment names an edge or an endpoint: those are lower-case words. Tokens, upload ids and
/// signatures have digits, capitals or other characters, so they are never mistaken for one.
fn is_edge_name(segment: &[u8]) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'_';
    segment.len() <= MAX_EDGE_NAME_BYTES && segment.iter().all(is_letter)
}

// === impl EndpointId ===

impl EndpointId {
    /// Computes the endpoint of a path: FNV-1a of its words, with one placeholder for everything that is not a word.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        const OFFSET: u64 = 0xCBF2_9CE4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01B3;
        let add = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
        let words = segments_without_version(path).map(|segment| if is_edge_name(segment) { segment } else { b"{}" });
        Self(words.fold(OFFSET, |hash, word| add(word.iter().fold(hash, add), &b'/')))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

// === impl PathTemplate ===

impl fmt::Display for PathTemplate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut segments = self.0.strip_prefix('/').unwrap_or(self.0).split('/');
        for segment in segments.by_ref().take(MAX_TEMPLATE_SEGMENTS) {
            f.write_str("/")?;
            f.write_str(if is_edge_name(segment.as_bytes()) || is_version(segment.as_bytes()) {
                segment
            } else {
                "{id}"
            })?;
        }
        if segments.next().is_some() {
            f.write_str("/…")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_depends_on_neither_version_nor_ids() {
        let of = EndpointId::of_path;
        assert_eq!(of("/v21.0/106540352242922/messages"), of("/v25.0//1/messages"));
        assert_eq!(of("/17841400000000000_1/comments"), of("/act_1/comments"));
        for other in [
            "/v21.0/1/media",
            "/v21.0/1",
            "/v21.0/messages",
            "/v21.0/1/messages/2",
            "/",
        ] {
            assert_ne!(of("/v21.0/1/messages"), of(other), "{other}");
        }
        assert_eq!(of("/"), of("/v21.0/"));
    }

    #[test]
    fn a_version_may_be_encoded_as_any_segment() {
        for version in ["v25.0", "V25.0", "%7625.0", "%56%32%35%2E%30"] {
            assert!(is_version(version.as_bytes()), "{version}");
            assert!(
                is_token_endpoint(&format!("/{version}/oauth/access_token")),
                "{version}"
            );
        }
        for other in [
            "",
            "v",
            "v25",
            "v25.",
            "%",
            "%76",
            "%2576",
            "%257625.0",
            "me",
            "v12345.67",
            "v2.5.0",
        ] {
            assert!(!is_version(other.as_bytes()), "{other}");
        }
    }
}
