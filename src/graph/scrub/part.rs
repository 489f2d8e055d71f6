//! The head of a part of a multipart form: whether the part is a field whose name graphward knows.
//!
//! # Why
//!
//! Graph's parser descends from PHP's and is not published. Where parsers differ, a name counts if any known parser
//! would read it: in double quotes, in single quotes or without quotes, with backslashes that escape or do not, in a
//! folded line, in a line that ends in a bare line feed, as `name*`. A part with a `filename` is a file to all.

use std::iter;
use std::ops::Range;

use memchr::memchr;

use super::super::parameter::{ParameterName, form_decode};

/// A field whose name graphward knows.
#[derive(Debug)]
pub(super) struct PartField {
    /// The meaning of the name.
    pub(super) name: ParameterName,
    /// Its ranges in the head; several if the head repeats it.
    pub(super) name_ranges: Vec<Range<usize>>,
}

/// The ranges of the name and the value of a parameter of a header. Quotes are not part of the value.
struct HeaderParameter {
    key: Range<usize>,
    value: Range<usize>,
}

/// The meaning of a backslash in a quoted string.
#[derive(Clone, Copy)]
enum Backslash {
    /// It escapes the next byte.
    Escapes,
    /// It is itself.
    Literal,
}

// === impl PartField ===

impl PartField {
    /// Reads the head of a part. `None` if it is not a field that graphward knows.
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        let mut field: Option<Self> = None;
        for header in header_ranges(head) {
            let text = slice(head, &header);
            let Some(colon) = memchr(b':', text) else {
                continue;
            };
            let (key, value) = text.split_at(colon);
            if !key.trim_ascii().eq_ignore_ascii_case(b"content-disposition") {
                continue;
            }
            let backslash_styles = match memchr(b'\\', value) {
                Some(_) => &[Backslash::Escapes, Backslash::Literal][..],
                None => &[Backslash::Escapes],
            };
            for style in backslash_styles {
                for (name, range) in field_names(value.get(1..).unwrap_or_default(), *style) {
                    let offset = header.start + colon + 1;
                    let field = field.get_or_insert(Self {
                        name,
                        name_ranges: Vec::new(),
                    });
                    // Of two such names the stricter one counts.
                    if name == ParameterName::Token || field.name == ParameterName::ObjectIds {
                        field.name = name;
                    }
                    field.name_ranges.push(range.start + offset..range.end + offset);
                }
            }
        }
        field
    }
}

/// The value of the first parameter of this name in a header, without its quotes and escapes.
pub(super) fn parameter_value(header: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let mut parameters = header_parameters(header, Backslash::Escapes);
    let found = parameters.find(|parameter| slice(header, &parameter.key).eq_ignore_ascii_case(key))?;
    Some(unescape_quoted(slice(header, &found.value), Backslash::Escapes).collect())
}

/// The names of a part under every reading of its head; none if it is a file.
pub(super) fn all_names(head: &[u8]) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    for header in header_ranges(head) {
        let text = slice(head, &header);
        let (key, value) = text.split_at(memchr(b':', text).unwrap_or(text.len()));
        if !key.trim_ascii().eq_ignore_ascii_case(b"content-disposition") {
            continue;
        }
        let value = value.get(1..).unwrap_or_default();
        for style in [Backslash::Escapes, Backslash::Literal] {
            let is = |parameter: &HeaderParameter, key: &[u8]| slice(value, &parameter.key).eq_ignore_ascii_case(key);
            if header_parameters(value, style).any(|parameter| is(&parameter, b"filename")) {
                continue;
            }
            for parameter in header_parameters(value, style) {
                let raw = slice(value, &parameter.value);
                if is(&parameter, b"name") {
                    names.push(unescape_quoted(raw.trim_ascii(), style).collect());
                } else if is(&parameter, b"name*") {
                    let coded = raw.rsplit(|byte| *byte == b'\'').next();
                    names.push(form_decode(coded.unwrap_or_default()).collect());
                }
            }
        }
    }
    names
}

/// The known names in a `Content-Disposition` with their ranges; none if this is a file.
fn field_names(text: &[u8], style: Backslash) -> Vec<(ParameterName, Range<usize>)> {
    let mut names = Vec::new();
    for HeaderParameter { key, value } in header_parameters(text, style) {
        let (key, raw) = (slice(text, &key), slice(text, &value));
        let name = if key.eq_ignore_ascii_case(b"filename") {
            return Vec::new();
        } else if key.eq_ignore_ascii_case(b"name") {
            ParameterName::of_field(unescape_quoted(raw.trim_ascii(), style))
        } else if key.eq_ignore_ascii_case(b"name*") {
            // `UTF-8''access_token`
            let coded = raw.rsplit(|byte| *byte == b'\'').next();
            ParameterName::of_field(form_decode(coded.unwrap_or_default()))
        } else {
            None
        };
        names.extend(name.map(|name| (name, value)));
    }
    names
}

/// The headers of a head, each with the lines that continue it: those that start with white space or have no colon.
fn header_ranges(head: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let line = |at: usize| {
        let rest = head.get(at..).unwrap_or_default();
        rest.split_inclusive(|byte| *byte == b'\n').next()
    };
    let mut at = 0;
    iter::from_fn(move || {
        let start = at;
        at += line(at)?.len();
        while let Some(next) = line(at)
            && (matches!(next.first(), Some(b' ' | b'\t')) || memchr(b':', next).is_none())
        {
            at += next.len();
        }
        Some(start..at)
    })
}

/// The pieces `key=value` between semicolons.
fn header_parameters(text: &[u8], style: Backslash) -> impl Iterator<Item = HeaderParameter> {
    let mut at = 0;
    iter::from_fn(move || {
        loop {
            let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
            let start = at;
            let parameter_len = find_unquoted(rest, b';', style);
            at += parameter_len + 1;
            let piece = rest.get(..parameter_len).unwrap_or(rest);
            let Some(equals) = memchr(b'=', piece) else {
                continue;
            };
            let key = trim_range(piece, 0..equals);
            let value = value_range(piece, trim_range(piece, equals + 1..piece.len()), style);
            return Some(HeaderParameter {
                key: key.start + start..key.end + start,
                value: value.start + start..value.end + start,
            });
        }
    })
}

/// The range of a value without its quotes. A value without quotes ends at white space.
fn value_range(parameter: &[u8], value: Range<usize>, style: Backslash) -> Range<usize> {
    let text = slice(parameter, &value);
    match text.split_first() {
        Some((quote @ (b'"' | b'\''), inner)) => {
            let end = find_closing_quote(inner, *quote, style);
            value.start + 1..value.start + 1 + end
        }
        _ => {
            let end = text.iter().position(u8::is_ascii_whitespace);
            value.start..value.start + end.unwrap_or(text.len())
        }
    }
}

/// The distance to a byte outside of double quotes, or to the end.
fn find_unquoted(text: &[u8], wanted: u8, style: Backslash) -> usize {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        if *byte == wanted {
            break;
        }
        at += 1;
        if *byte == b'"' {
            at += find_closing_quote(text.get(at..).unwrap_or_default(), b'"', style) + 1;
        }
    }
    at.min(text.len())
}

/// The distance to the closing quote, or to the end.
fn find_closing_quote(text: &[u8], quote: u8, style: Backslash) -> usize {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match (byte, style) {
            (b'\\', Backslash::Escapes) => at += 2,
            (byte, _) if *byte == quote => break,
            _ => at += 1,
        }
    }
    at.min(text.len())
}

fn unescape_quoted(text: &[u8], style: Backslash) -> impl Iterator<Item = u8> + Clone {
    let mut rest = text;
    iter::from_fn(move || {
        let (mut first, mut after) = rest.split_first()?;
        if let (b'\\', Backslash::Escapes, Some((escaped, beyond))) = (first, style, after.split_first()) {
            (first, after) = (escaped, beyond);
        }
        rest = after;
        Some(*first)
    })
}

fn trim_range(text: &[u8], range: Range<usize>) -> Range<usize> {
    let piece = slice(text, &range);
    let start = range.start + (piece.len() - piece.trim_ascii_start().len());
    start..start + piece.trim_ascii().len()
}

fn slice<'a>(text: &'a [u8], range: &Range<usize>) -> &'a [u8] {
    text.get(range.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(head: &str) -> Option<(ParameterName, Vec<&str>)> {
        let field = PartField::parse(head.as_bytes())?;
        let places = field.name_ranges.iter();
        Some((field.name, places.filter_map(|place| head.get(place.clone())).collect()))
    }

    #[test]
    fn a_name_is_recognized_in_every_syntax() {
        for head in [
            "Content-Disposition: form-data; name=\"access_token\"\r\n\r\n",
            "content-disposition:form-data;name=access_token\n\n",
            "CONTENT-DISPOSITION : form-data ; NAME = \"access_token\" \r\n\r\n",
            "Content-Disposition: form-data;\r\n name=\"access_token\"\r\n\r\n",
            "Content-Disposition: form-data;\r\n\tname=access_token\r\n\r\n",
            "Content-Disposition: form-data;\r\nname=access_token\r\n\r\n",
            "Content-Disposition: form-data; name='access_token'\r\n\r\n",
            "Content-Disposition: form-data; x=\"a;\\\"b\"; name=access_token\r\n\r\n",
            "Content-Disposition: form-data; x=\"\\\"; name=\"access_token\"\r\n\r\n",
            "Content-Disposition: form-data; name=access_token; name=a\r\n\r\n",
            "Content-Disposition: form-data; name=a; name=access_token\r\n\r\n",
            "Content-Disposition: form-data; name=access_token a\r\n\r\n",
            "Content-Disposition: form-data; name=\"access_token\r\n\r\n",
            "Content-Disposition: form-data; name=\"access_token\"; filename*=a\r\n\r\n",
            "Content-Type: text/plain\r\nContent-Disposition: form-data; name=\"access_token\"\r\n\r\n",
            "Content-Disposition: a; name=b\r\nContent-Disposition: form-data; name=access_token\r\n\r\n",
        ] {
            assert_eq!(
                field(head),
                Some((ParameterName::Token, vec!["access_token"])),
                "{head}"
            );
        }
        for (head, expected) in [
            (
                "Content-Disposition: form-data; name=\"access\\_token\"\r\n\r\n",
                (ParameterName::Token, vec!["access\\_token"]),
            ),
            (
                "Content-Disposition: form-data; name*=UTF-8''access%5Ftoken\r\n\r\n",
                (ParameterName::Token, vec!["UTF-8''access%5Ftoken"]),
            ),
            (
                "Content-Disposition: form-data; name=batch; name*=UTF-8''access_token\r\n\r\n",
                (ParameterName::Token, vec!["batch", "UTF-8''access_token"]),
            ),
            (
                "Content-Disposition: form-data; name=\"appsecret_proof\"\r\n\r\n",
                (ParameterName::Proof, vec!["appsecret_proof"]),
            ),
            (
                "Content-Disposition: form-data; name=\"batch\"\r\n\r\n",
                (ParameterName::Batch, vec!["batch"]),
            ),
            (
                "Content-Disposition: form-data; name=\"access.token\"\r\n\r\n",
                (ParameterName::Token, vec!["access.token"]),
            ),
            (
                "Content-Disposition: form-data; name=\" access token[]\"\r\n\r\n",
                (ParameterName::Token, vec![" access token[]"]),
            ),
        ] {
            assert_eq!(field(head), Some(expected), "{head}");
        }
    }

    #[test]
    fn other_parts_are_passed_through() {
        for head in [
            "\r\n",
            "Content-Type: text/plain\r\n\r\n",
            "Content-Disposition: form-data\r\n\r\n",
            "Content-Disposition: form-data; name=\"message\"\r\n\r\n",
            "Content-Disposition: form-data; name=\"access_tokens\"\r\n\r\n",
            "Content-Disposition: form-data; name=\"fb_exchange_token\"\r\n\r\n",
            "Content-Disposition: form-data; name=\"%61ccess_token\"\r\n\r\n",
            "Content-Disposition: form-data; name=\"file\"; filename=\"access_token\"\r\n\r\n",
            "Content-Disposition: form-data; name=\"access_token\"; filename=\"a\"\r\n\r\n",
            "Content-Disposition: form-data; x=\"; name=access_token\"\r\n\r\n",
            "Content-Disposition: form-data; x=\"\\\"; name=access_token\"\r\n\r\n",
            "Content-Type: form-data; name=\"access_token\"\r\n\r\n",
            "X: Content-Disposition: form-data; name=\"access_token\"\r\n\r\n",
        ] {
            assert_eq!(field(head), None, "{head}");
        }
    }

    #[test]
    fn a_boundary_is_read_quoted_or_not() {
        for (text, expected) in [
            ("boundary=abc", "abc"),
            (" charset=utf-8; Boundary=\"a b;c\" ", "a b;c"),
            ("boundary=\"a\\\"b\"", "a\"b"),
            ("boundary=abc ; x", "abc"),
            ("boundary=a,b", "a,b"),
        ] {
            let found = parameter_value(text.as_bytes(), b"boundary");
            assert_eq!(found.as_deref(), Some(expected.as_bytes()), "{text}");
        }
        assert!(parameter_value(b"charset=utf-8", b"boundary").is_none());
    }
}
