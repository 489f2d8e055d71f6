//! Content codings: what Graph may choose from, and reading what it chose.

use std::borrow::Cow;
use std::io::Read;

use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderValue;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap};

/// What becomes of the app's `Accept-Encoding`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Narrowed {
    /// It stays as it is, or stays absent; nothing was allocated.
    Unchanged,
    /// This one value stands for all the app sent.
    To(HeaderValue),
}

/// The part of the app's `Accept-Encoding` that [`decode`] can read, so that a verdict is always possible.
///
/// Members are kept byte for byte, with their weights, `q=0` included. `*` becomes `gzip`: whoever takes anything
/// takes that, and Graph might choose a coding that is younger than we. If nothing is left the app gets
/// `identity`. An absent field stays absent: Graph does not compress unasked.
#[must_use]
pub fn narrow(headers: &HeaderMap) -> Narrowed {
    let offered = || {
        headers
            .get_all(ACCEPT_ENCODING)
            .iter()
            .flat_map(|value| members(value.as_bytes()))
    };
    if offered().all(|member| Coding::of(name(member)).is_some() || is_refused_star(member)) {
        return Narrowed::Unchanged;
    }
    let gzip_named = offered().any(|member| Coding::of(name(member)) == Some(Coding::Gzip));
    let mut kept = Vec::new();
    for member in offered() {
        let star = name(member) == b"*" && !is_refused_star(member);
        if star && gzip_named {
            continue;
        }
        if !star && Coding::of(name(member)).is_none() && !is_refused_star(member) {
            continue;
        }
        if !kept.is_empty() {
            kept.extend_from_slice(b", ");
        }
        if star {
            kept.extend_from_slice(b"gzip");
            kept.extend(member.iter().skip(1));
        } else {
            kept.extend_from_slice(member);
        }
    }
    // Pieces of valid values make a valid value; and a lone `*;q=0` would forbid every answer.
    let usable = !kept.is_empty() && !is_refused_star(&kept);
    let value = usable
        .then(|| HeaderValue::from_bytes(&kept).ok())
        .flatten();
    Narrowed::To(value.unwrap_or(HeaderValue::from_static("identity")))
}

/// Undoes the content codings of `body` that `headers` name: `gzip`, `deflate` (with and without its zlib frame),
/// `br`, `zstd`, two of them at most.
///
/// The result and every intermediate one is at most `limit` bytes. `None` if it would be more, if a coding is unknown,
/// or if the data is broken or ends early.
#[must_use]
pub fn decode<'body>(
    headers: &HeaderMap,
    body: &'body [u8],
    limit: usize,
) -> Option<Cow<'body, [u8]>> {
    let mut applied = [Coding::Identity; 2];
    let mut free = applied.iter_mut();
    for value in headers.get_all(CONTENT_ENCODING) {
        for member in members(value.as_bytes()) {
            let coding = Coding::of(member)?;
            if coding != Coding::Identity {
                *free.next()? = coding;
            }
        }
    }
    // The last one applied is the first one undone.
    let mut body = Cow::Borrowed(body);
    for coding in applied.into_iter().rev() {
        body = coding.undo(body, limit)?;
    }
    (body.len() <= limit).then_some(body)
}

/// The codings we read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Coding {
    Identity,
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// The members of a list, without the white space around them; empty ones are no members.
fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// A member without its parameters.
fn name(member: &[u8]) -> &[u8] {
    member
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii_end()
}

/// `*;q=0`, "nothing else": it offers nothing, so it needs no narrowing.
fn is_refused_star(member: &[u8]) -> bool {
    let mut digits = member
        .iter()
        .filter(|byte| byte.is_ascii_digit())
        .peekable();
    name(member) == b"*" && digits.peek().is_some() && digits.all(|digit| *digit == b'0')
}

// === impl Coding ===

impl Coding {
    fn of(name: &[u8]) -> Option<Self> {
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

    fn undo(self, body: Cow<'_, [u8]>, limit: usize) -> Option<Cow<'_, [u8]>> {
        let plain = match self {
            Self::Identity => return Some(body),
            Self::Gzip => read(flate2::bufread::MultiGzDecoder::new(&*body), limit)?,
            Self::Deflate => {
                inflate(true, &body, limit).or_else(|| inflate(false, &body, limit))?
            }
            Self::Brotli => read(
                brotli_decompressor::Decompressor::new(&*body, BROTLI_BUFFER),
                limit,
            )?,
            Self::Zstd => {
                let window_fits = zstd_window(&body)? <= MAX_ZSTD_WINDOW;
                let decoder = window_fits
                    .then(|| ruzstd::decoding::StreamingDecoder::new(&*body).ok())
                    .flatten()?;
                read(decoder, limit)?
            }
        };
        Some(Cow::Owned(plain))
    }
}

const BROTLI_BUFFER: usize = 4096;

/// RFC 9659: the largest window a `zstd` content coding may ask for, 8 MiB. The decoder fills it before it gives
/// anything out, so without this bound 64 KiB could ask for gigabytes.
const MAX_ZSTD_WINDOW: u64 = 8 * 1024 * 1024;

fn read(decoder: impl Read, limit: usize) -> Option<Vec<u8>> {
    let one_more = u64::try_from(limit).ok()?.saturating_add(1);
    let mut plain = Vec::new();
    decoder.take(one_more).read_to_end(&mut plain).ok()?;
    (plain.len() <= limit).then_some(plain)
}

/// By hand, because the reader in flate2 takes the early end of a `deflate` body for its end.
fn inflate(zlib_frame: bool, body: &[u8], limit: usize) -> Option<Vec<u8>> {
    const STEP: usize = 4096;
    let mut state = Decompress::new(zlib_frame);
    let mut plain = Vec::with_capacity(STEP);
    loop {
        let consumed = usize::try_from(state.total_in()).ok()?;
        let rest = body.get(consumed..)?;
        let before = (consumed, plain.len());
        let status = state
            .decompress_vec(rest, &mut plain, FlushDecompress::None)
            .ok()?;
        if plain.len() > limit {
            return None;
        }
        if status == Status::StreamEnd {
            return Some(plain);
        }
        if before == (usize::try_from(state.total_in()).ok()?, plain.len()) {
            return None;
        }
        plain.reserve(STEP);
    }
}

/// The window of a zstd frame in bytes, from its header (RFC 8878, 3.1.1.1). `None` if this is no frame.
fn zstd_window(body: &[u8]) -> Option<u64> {
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
    let size = size
        .iter()
        .rev()
        .fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    Some(size.saturating_add(offset))
}

#[cfg(test)]
mod tests;
