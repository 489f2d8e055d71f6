//! Content codings: the ones that Graph may choose, and their decoders.

use std::borrow::Cow;
use std::io::Read;

use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderValue;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap};

/// Restricts the app's `Accept-Encoding` to what [`decode`] can read, so that a verdict is always possible. Returns the
/// value that replaces all that the app sent; `None` if the app's may stay.
///
/// Members are kept byte for byte, with their weights, `q=0` included. `*` is left out: PHP's SDK sends it with every request
/// and cannot decode anything, and Graph might choose a coding that graphward does not know. If nothing is left it becomes
/// `identity`. An absent header stays absent: Graph does not compress unless it is asked to.
#[must_use]
pub fn restrict_accept_encoding(headers: &HeaderMap) -> Option<HeaderValue> {
    let offered = || {
        let values = headers.get_all(ACCEPT_ENCODING).iter();
        values.flat_map(|value| list_members(value.as_bytes()))
    };
    let is_supported =
        |member: &[u8]| Coding::from_name(coding_name(member)).is_some() || is_forbidden_wildcard(member);
    if offered().all(is_supported) {
        return None;
    }
    let supported = offered()
        .filter(|member| is_supported(member))
        .collect::<Vec<_>>()
        .join(&b", "[..]);
    // Pieces of valid values make a valid value. A lone `*;q=0` would forbid every response.
    let is_usable = !supported.is_empty() && !is_forbidden_wildcard(&supported);
    let value = is_usable.then(|| HeaderValue::from_bytes(&supported).ok()).flatten();
    Some(value.unwrap_or(HeaderValue::from_static("identity")))
}

/// Undoes the content codings of `body` that `headers` name: `gzip`, `deflate` (with and without its zlib frame),
/// `br`, `zstd`, two of them at most.
///
/// The result and every intermediate one is at most `limit` bytes. `None` if it would be more, if a coding is unknown,
/// or if the data is broken or ends early.
#[must_use]
pub fn decode<'body>(headers: &HeaderMap, body: &'body [u8], limit: usize) -> Option<Cow<'body, [u8]>> {
    let mut applied = [Coding::Identity; 2];
    let mut slots = applied.iter_mut();
    for value in headers.get_all(CONTENT_ENCODING) {
        for member in list_members(value.as_bytes()) {
            let coding = Coding::from_name(member)?;
            if coding != Coding::Identity {
                *slots.next()? = coding;
            }
        }
    }
    // The last one applied is the first one undone.
    let mut body = Cow::Borrowed(body);
    for coding in applied.into_iter().rev() {
        body = coding.decode(body, limit)?;
    }
    (body.len() <= limit).then_some(body)
}

/// The codings that graphward reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Coding {
    Identity,
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// The members of a list that are not empty, without the white space around them.
fn list_members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// A member without its parameters.
fn coding_name(member: &[u8]) -> &[u8] {
    member
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii_end()
}

/// Returns whether a member is `*;q=0`, "nothing else": it offers nothing, so it needs no restriction.
fn is_forbidden_wildcard(member: &[u8]) -> bool {
    let mut weight_digits = member.iter().filter(|byte| byte.is_ascii_digit()).peekable();
    coding_name(member) == b"*" && weight_digits.peek().is_some() && weight_digits.all(|digit| *digit == b'0')
}

// === impl Coding ===

impl Coding {
    fn from_name(name: &[u8]) -> Option<Self> {
        const NAMES: [(&[u8], Coding); 6] = [
            (b"gzip", Coding::Gzip),
            (b"deflate", Coding::Deflate),
            (b"br", Coding::Brotli),
            (b"zstd", Coding::Zstd),
            (b"identity", Coding::Identity),
            (b"x-gzip", Coding::Gzip),
        ];
        NAMES
            .iter()
            .find_map(|(known, coding)| name.eq_ignore_ascii_case(known).then_some(*coding))
    }

    fn decode(self, body: Cow<'_, [u8]>, limit: usize) -> Option<Cow<'_, [u8]>> {
        let decoded = match self {
            Self::Identity => return Some(body),
            Self::Gzip => read_limited(flate2::bufread::MultiGzDecoder::new(&*body), limit)?,
            Self::Deflate => inflate(Decompress::new(true), &body, limit)
                .or_else(|| inflate(Decompress::new(false), &body, limit))?,
            Self::Brotli => read_limited(
                brotli_decompressor::Decompressor::new(&*body, BROTLI_BUFFER_BYTES),
                limit,
            )?,
            Self::Zstd => {
                let window_fits = zstd_window_bytes(&body)? <= MAX_ZSTD_WINDOW_BYTES;
                let decoder = window_fits
                    .then(|| ruzstd::decoding::StreamingDecoder::new(&*body).ok())
                    .flatten()?;
                read_limited(decoder, limit)?
            }
        };
        Some(Cow::Owned(decoded))
    }
}

const BROTLI_BUFFER_BYTES: usize = 4096;

/// The largest window that a `zstd` content coding may ask for (RFC 9659): 8 MiB. The decoder fills the window before
/// it returns anything, so without this bound 64 KiB could ask for gigabytes.
const MAX_ZSTD_WINDOW_BYTES: u64 = 8 * 1024 * 1024;

fn read_limited(decoder: impl Read, limit: usize) -> Option<Vec<u8>> {
    let limit_plus_one = u64::try_from(limit).ok()?.saturating_add(1);
    let mut plain = Vec::new();
    decoder.take(limit_plus_one).read_to_end(&mut plain).ok()?;
    (plain.len() <= limit).then_some(plain)
}

/// Written by hand, because the reader in flate2 accepts a truncated `deflate` body.
fn inflate(mut state: Decompress, body: &[u8], limit: usize) -> Option<Vec<u8>> {
    const OUTPUT_CHUNK_BYTES: usize = 4096;
    let mut plain = Vec::with_capacity(OUTPUT_CHUNK_BYTES);
    loop {
        let consumed = usize::try_from(state.total_in()).ok()?;
        let rest = body.get(consumed..)?;
        let before = (consumed, plain.len());
        let status = state.decompress_vec(rest, &mut plain, FlushDecompress::None).ok()?;
        if plain.len() > limit {
            return None;
        }
        if status == Status::StreamEnd {
            return Some(plain);
        }
        if before == (usize::try_from(state.total_in()).ok()?, plain.len()) {
            return None;
        }
        plain.reserve(OUTPUT_CHUNK_BYTES);
    }
}

/// Reads the window of a zstd frame, in bytes, from its header (RFC 8878, 3.1.1.1). `None` if this is not a frame.
fn zstd_window_bytes(body: &[u8]) -> Option<u64> {
    let header = body.strip_prefix(&[0x28, 0xB5, 0x2F, 0xFD])?;
    let (descriptor, header) = header.split_first()?;
    let single_segment = descriptor & 0x20 != 0;
    if !single_segment {
        let window = header.first()?;
        let base = 1_u64 << (10 + (window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    // A single segment is its own window: the content's size, after the dictionary's id.
    let dictionary = [0, 1, 2, 4].get(usize::from(descriptor & 3)).copied()?;
    let (width, offset) = match descriptor >> 6 {
        0 => (1, 0),
        1 => (2, 256),
        2 => (4, 0),
        _ => (8, 0),
    };
    let size = header.get(dictionary..)?.get(..width)?;
    let size = size.iter().rev().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    Some(size.saturating_add(offset))
}

#[cfg(test)]
mod tests;
