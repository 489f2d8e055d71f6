//! The lines of a multipart form: boundaries, and the end of a part's head.

use memchr::memmem::Finder;
use memchr::{memchr_iter, memrchr};

use super::state::{InputState, MAX_FIELD_BYTES};

/// The boundary between parts: a line end, two dashes and the boundary's text.
pub(super) struct Boundary(Finder<'static>);

/// A line that may be a boundary, with its length.
pub(super) enum DelimiterLine {
    /// It is not a boundary.
    None,
    /// More bytes are needed to tell.
    Incomplete,
    /// It starts a part.
    Opening(usize),
    /// It ends the form.
    Closing(usize),
}

/// The end of a part's head.
pub(super) enum HeaderEnd {
    /// The position after the blank line.
    Found(usize),
    /// It has not arrived yet.
    Incomplete,
    /// The head is too long to be read.
    TooLong,
    /// The body ends before.
    Truncated,
}

/// The longest head of a part. A longer one is not read.
const MAX_PART_HEADER_BYTES: usize = MAX_FIELD_BYTES;
/// The most white space after a boundary.
const MAX_PADDING_BYTES: usize = 256;

/// Finds the end of the head that follows a boundary line of this length.
pub(super) fn find_header_end(data: &[u8], line: usize, input_state: InputState) -> HeaderEnd {
    let head = data.get(line..).unwrap_or_default();
    let head = head.get(..MAX_PART_HEADER_BYTES).unwrap_or(head);
    // The line before the head ends in a line feed too.
    let ends = [0].into_iter().chain(memchr_iter(b'\n', head).map(|at| at + 1));
    for end in ends {
        match head.get(end..).unwrap_or_default() {
            [b'\n', ..] => return HeaderEnd::Found(line + end + 1),
            [b'\r', b'\n', ..] => return HeaderEnd::Found(line + end + 2),
            _ => {}
        }
    }
    match input_state {
        _ if head.len() == MAX_PART_HEADER_BYTES => HeaderEnd::TooLong,
        InputState::More => HeaderEnd::Incomplete,
        InputState::End => HeaderEnd::Truncated,
    }
}

// === impl Boundary ===

impl Boundary {
    /// The boundary with this text.
    pub(super) fn new(text: &[u8]) -> Self {
        Self(Finder::new(&[b"\n--", text].concat()).into_owned())
    }

    /// The position of the first line feed with the boundary after it.
    pub(super) fn find(&self, data: &[u8]) -> Option<usize> {
        self.0.find(data)
    }

    /// The position of a line feed after which the data ends in the beginning of the boundary.
    pub(super) fn find_partial(&self, data: &[u8]) -> Option<usize> {
        let delimiter = self.0.needle();
        let tail = data.len().saturating_sub(delimiter.len());
        let line_feed = memrchr(b'\n', data.get(tail..)?)? + tail;
        delimiter.starts_with(data.get(line_feed..)?).then_some(line_feed)
    }

    /// Reads the line that starts here.
    pub(super) fn parse_line(&self, data: &[u8], input_state: InputState) -> DelimiterLine {
        let incomplete = match input_state {
            InputState::More => DelimiterLine::Incomplete,
            InputState::End => DelimiterLine::None,
        };
        let dashes = self.0.needle().get(1..).unwrap_or_default();
        let Some(after) = data.strip_prefix(dashes) else {
            return if dashes.starts_with(data) {
                incomplete
            } else {
                DelimiterLine::None
            };
        };
        let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
        let padding_len = after.iter().take_while(is_blank).count();
        match after.get(padding_len..).unwrap_or_default() {
            _ if padding_len > MAX_PADDING_BYTES => DelimiterLine::None,
            [b'\n', ..] => DelimiterLine::Opening(dashes.len() + padding_len + 1),
            [b'\r', b'\n', ..] => DelimiterLine::Opening(dashes.len() + padding_len + 2),
            [b'-', b'-', ..] if padding_len == 0 => DelimiterLine::Closing(dashes.len() + 2),
            // A form that breaks off in a boundary line ends with it.
            end @ ([] | [b'\r']) => match input_state {
                InputState::More => DelimiterLine::Incomplete,
                InputState::End => DelimiterLine::Closing(dashes.len() + padding_len + end.len()),
            },
            [b'-'] if padding_len == 0 => incomplete,
            _ => DelimiterLine::None,
        }
    }
}
