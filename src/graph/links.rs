//! Links in Graph's answers that lead around us: media and paging.
//!
//! # Why
//!
//! A media URL needs the token and leads to another host, so it is of no use to an app that has no token: by default
//! it is led back here. A paging link is led back only if the app asks for it (`links.paging`): some clients want to
//! recognise Graph's host in it, others call it as it is. See README.
//!
//! Only scheme and host are replaced, spelled as they were (`\/`, `\u002f`, both again inside a batch's strings), and a
//! token of ours is cut out of a paging link. No other byte is touched, and nothing is if the body is not JSON to its
//! end: an answer that is not understood is delivered as it is. `next` is never taken away, for clients look whether it
//! is there. The body has to be whole, so the caller sets a limit, and what is longer passes with Graph's links in it.

use std::ops::{ControlFlow, Range};

use bytes::Bytes;
use http::Method;
use percent_encoding::percent_decode;

use super::strict_json::{
    ByteSource, KnownKey, ParseOutcome, PathStep, RawBytes, SourceByte, UnescapedString, VisitEvent, walk,
};
use super::target::is_version;

/// Where the files of WhatsApp's messages are.
pub const MEDIA_HOST: &str = "lookaside.fbsbx.com";

/// Which hosts' links are led back here: an authority, in lower case, less `:443`.
pub type HostPredicate<'test> = &'test dyn Fn(&str) -> bool;

/// Whether a decoded value is a token of ours, which the app must not see.
pub type TokenPredicate<'test> = &'test dyn Fn(&mut dyn Iterator<Item = u8>) -> bool;

/// A piece of the body, and what stands there instead.
struct LinkEdit {
    range: Range<usize>,
    text: Vec<u8>,
}

/// The scheme and authority of a URL, and the spelling of its first slash.
struct LinkOrigin {
    range: Range<usize>,
    slash: Range<usize>,
    authority: String,
}

/// Whether the answer may be that of `GET /{media-id}`: other answers need not be read at all.
///
/// Media ids are digits, and so are those of most other objects.
#[must_use]
pub fn is_media_lookup(method: &Method, path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut segments = path.split('/');
    let (root, first, second) = (segments.next(), segments.next(), segments.next());
    let id = match (first, second) {
        (Some(version), Some(id)) if is_version(version) => id,
        (Some(id), None) => id,
        _ => return false,
    };
    method == Method::GET
        && root == Some("")
        && segments.next().is_none()
        && !id.is_empty()
        && id.bytes().all(|byte| byte.is_ascii_digit())
}

/// The answer to a media look-up with `base` for the scheme and host of its top-level `url`.
///
/// `base` is like `http://127.0.0.1:8080`. `None` if there is nothing to change.
#[must_use]
pub fn rewrite_media_link(body: &[u8], base: &str, is_rewritten_host: HostPredicate<'_>) -> Option<Bytes> {
    if !is_valid_base(base) {
        return None;
    }
    let mut edits = Vec::new();
    let outcome = walk(RawBytes::new(body), &mut |path, event| {
        if let ([PathStep::Object(KnownKey::Url)], VisitEvent::String(mut url)) = (path, event)
            && let Some(origin) = parse_origin(&mut url)
            && is_rewritten_host(&origin.authority)
        {
            edits.push(origin.replace_with(body, base));
        }
        ControlFlow::Continue(())
    });
    apply_link_edits(body, &edits, outcome)
}

/// An answer with `base` for the scheme and host of every `paging.next` and `paging.previous`, at any depth, and in
/// the bodies of a batch's items; and without an `access_token` of ours in them.
///
/// `base` is like `http://127.0.0.1:8080`. `None` if there is nothing to change.
#[must_use]
pub fn rewrite_paging_links(
    body: &[u8],
    base: &str,
    is_rewritten_host: HostPredicate<'_>,
    is_own_token: TokenPredicate<'_>,
) -> Option<Bytes> {
    if !is_valid_base(base) {
        return None;
    }
    let mut edits = Vec::new();
    let outcome = walk(RawBytes::new(body), &mut |path, event| {
        let VisitEvent::String(content) = event else {
            return ControlFlow::Continue(());
        };
        if is_paging_link(path) {
            edits.extend(link_edits(body, base, content, is_rewritten_host, is_own_token));
        } else if let [PathStep::Array, PathStep::Object(KnownKey::Body)] = path {
            edits.extend(batch_item_edits(body, base, content, is_rewritten_host, is_own_token));
        }
        ControlFlow::Continue(())
    });
    apply_link_edits(body, &edits, outcome)
}

/// The edits in the answer to one item of a batch; none if it is no JSON.
fn batch_item_edits(
    body: &[u8],
    base: &str,
    response: UnescapedString<RawBytes<'_>>,
    is_rewritten_host: HostPredicate<'_>,
    is_own_token: TokenPredicate<'_>,
) -> Vec<LinkEdit> {
    let mut edits = Vec::new();
    let outcome = walk(response, &mut |path, event| {
        if let VisitEvent::String(content) = event
            && is_paging_link(path)
        {
            edits.extend(link_edits(body, base, content, is_rewritten_host, is_own_token));
        }
        ControlFlow::Continue(())
    });
    if outcome != ParseOutcome::Complete {
        edits.clear();
    }
    edits
}

/// The edits in one link.
fn link_edits<T: ByteSource>(
    body: &[u8],
    base: &str,
    mut url: UnescapedString<T>,
    is_rewritten_host: HostPredicate<'_>,
    is_own_token: TokenPredicate<'_>,
) -> Vec<LinkEdit> {
    let Some(origin) = parse_origin(&mut url).filter(|origin| is_rewritten_host(&origin.authority)) else {
        return Vec::new();
    };
    let mut edits = vec![origin.replace_with(body, base)];
    let removal = |place| LinkEdit {
        range: place,
        text: Vec::new(),
    };
    edits.extend(token_parameter_ranges(url, is_own_token).into_iter().map(removal));
    edits
}

/// `"paging": {"next": …, "previous": …}`
fn is_paging_link(path: &[PathStep]) -> bool {
    matches!(
        path,
        [
            ..,
            PathStep::Object(KnownKey::Paging),
            PathStep::Object(KnownKey::Next | KnownKey::Previous)
        ]
    )
}

/// What may stand in a URL and in a string of JSON without an escape. The host may be the app's own word.
fn is_valid_base(base: &str) -> bool {
    base.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b":/.-_[]".contains(&byte))
}

/// The beginning of a URL; what is read next of `url` stands behind it. `None` if the URL is not of `https`, or names
/// no host.
fn parse_origin<T: ByteSource>(url: &mut T) -> Option<LinkOrigin> {
    let start = url.clone().next()?.place.start;
    let mut slash = start..start;
    for expected in b"https://" {
        let unit = url.next()?;
        if !unit.byte.eq_ignore_ascii_case(expected) {
            return None;
        }
        slash = unit.place;
    }
    let mut end = slash.end;
    let mut authority = String::new();
    let mut before = url.clone();
    while let Some(unit) = url.next() {
        match unit.byte {
            b'/' | b'?' | b'#' => break,
            byte if byte.is_ascii_graphic() && authority.len() < MAX_AUTHORITY_BYTES => {
                authority.push(char::from(byte.to_ascii_lowercase()));
            }
            _ => return None,
        }
        end = unit.place.end;
        before = url.clone();
    }
    *url = before;
    let authority = match authority.strip_suffix(":443") {
        Some(host) => host.to_owned(),
        None => authority,
    };
    let range = start..end;
    (!authority.is_empty()).then_some(LinkOrigin {
        range,
        slash,
        authority,
    })
}

/// The longest authority: a name of DNS, and a port.
const MAX_AUTHORITY_BYTES: usize = 260;

/// What has to be cut from a URL so that our token is no parameter of its query: the parameter, and one separator.
fn token_parameter_ranges<T: ByteSource>(mut url: T, is_own_token: TokenPredicate<'_>) -> Vec<Range<usize>> {
    let delimiter = url.find(|unit| matches!(unit.byte, b'?' | b'#'));
    let Some(mark) = delimiter.filter(|mark| mark.byte == b'?') else {
        return Vec::new();
    };
    let mut ranges = Vec::new();
    let mut is_first = true;
    let mut is_query_empty = true;
    let mut separator = mark.place.clone();
    loop {
        let (parameter, end, next) = next_parameter(&mut url, separator.end);
        let is_removed = is_own_token_parameter(&parameter, is_own_token);
        match (is_removed, is_first) {
            (true, true) => ranges.push(separator.end..end),
            (true, false) => ranges.push(separator.start..end),
            // What was before it is gone, and the `?` is its separator now.
            (false, false) if is_query_empty => ranges.push(separator.clone()),
            (false, _) => {}
        }
        is_query_empty &= is_removed;
        is_first = false;
        match next {
            Some(unit) if unit.byte == b'&' => separator = unit.place,
            _ => break,
        }
    }
    if is_query_empty {
        ranges.insert(0, mark.place);
    }
    ranges
}

/// A parameter that begins at `base_offset`, where it ends in the body, and what stands behind it.
fn next_parameter<T: ByteSource>(url: &mut T, start: usize) -> (Vec<u8>, usize, Option<SourceByte>) {
    let (mut text, mut end) = (Vec::new(), start);
    for unit in url {
        if matches!(unit.byte, b'&' | b'#') {
            return (text, end, Some(unit));
        }
        text.push(unit.byte);
        end = unit.place.end;
    }
    (text, end, None)
}

fn is_own_token_parameter(parameter: &[u8], is_own_token: TokenPredicate<'_>) -> bool {
    let mut halves = parameter.splitn(2, |byte| *byte == b'=');
    let name = halves.next().unwrap_or_default();
    let value = halves.next().unwrap_or_default();
    percent_decode(name).eq(*b"access_token") && is_own_token(&mut percent_decode(value))
}

/// The body with the edits, which are in order; `None` if there is none, or the body is not understood.
fn apply_link_edits(body: &[u8], edits: &[LinkEdit], outcome: ParseOutcome) -> Option<Bytes> {
    if outcome != ParseOutcome::Complete || edits.is_empty() {
        return None;
    }
    let longer: usize = edits.iter().map(|edit| edit.text.len()).sum();
    let mut rewritten = Vec::with_capacity(body.len() + longer);
    let mut kept = 0;
    for edit in edits {
        rewritten.extend_from_slice(body.get(kept..edit.range.start)?);
        rewritten.extend_from_slice(&edit.text);
        kept = edit.range.end;
    }
    rewritten.extend_from_slice(body.get(kept..)?);
    Some(rewritten.into())
}

// === impl Origin ===

impl LinkOrigin {
    /// `base` here, with its slashes spelled as the one that was here.
    fn replace_with(&self, body: &[u8], base: &str) -> LinkEdit {
        let slash = body.get(self.slash.clone()).unwrap_or(b"/");
        let mut text = Vec::with_capacity(base.len() + 2 * slash.len());
        for byte in base.as_bytes() {
            match byte {
                b'/' => text.extend_from_slice(slash),
                plain => text.push(*plain),
            }
        }
        let place = self.range.clone();
        LinkEdit { range: place, text }
    }
}

#[cfg(test)]
mod tests;
