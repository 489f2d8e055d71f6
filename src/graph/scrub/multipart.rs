//! Credentials among the fields of a multipart form.
//!
//! The body is a row of parts, each with a line before it that names the boundary. A part that goes, goes with the
//! line before it and the line end behind it: what is left is the body that it would have been without the part. Files
//! flow; of them nothing is kept but what may be the beginning of a boundary.
//!
//! # Why
//!
//! As with the head of a part, what any known parser takes for a boundary is one: after a line feed alone, with white
//! space behind it, behind the closing one too. A part that has no end but the body's ends there.

use std::fmt;
use std::mem;
use std::ops::Range;

use bytes::BytesMut;
use memchr::memmem::Finder;
use memchr::{memchr_iter, memrchr};

use super::super::parameter::{Name, Parameter};
use super::batch;
use super::held::{BATCH, FIELD, Fate, Held, Mode, Rest, ScrubError};
use super::out::Out;
use super::part;

/// A multipart form.
pub(super) struct Multipart {
    /// A line end, and the boundary with its dashes.
    mark: Finder<'static>,
    place: Place,
    /// Whether the next byte begins a line.
    fresh: bool,
    /// What cannot be told from a boundary, or is the beginning of a part's head.
    kept: BytesMut,
}

#[derive(Debug)]
enum Place {
    /// In what leaves as it is.
    Flow,
    /// Behind a boundary line, so long, that is still in `kept`.
    Head(usize),
    /// In a field that has to be seen whole.
    Field(Field),
}

/// A field that has to be seen whole.
struct Field {
    name: Name,
    /// The boundary line, the head, and the value as far as it has come.
    piece: Vec<u8>,
    /// Where the name is.
    places: Vec<Range<usize>>,
    /// Where the value is.
    value: usize,
}

/// A boundary line, or the beginning of one; so long.
enum Line {
    /// None.
    Other,
    /// It cannot be told yet.
    Part,
    /// It begins a part.
    Opening(usize),
    /// It ends the form.
    Closing(usize),
}

/// The longest head of a part. A longer one is not read.
const HEAD: usize = FIELD;
/// The most white space behind a boundary.
const PADDING: usize = 256;

// === impl Multipart ===

impl Multipart {
    /// For the parameters of its content type, with what stands before them; `None`: it has no boundary.
    pub(super) fn of(parameters: &[u8]) -> Option<Self> {
        let boundary = part::Attribute::find(parameters.get(1..)?, b"boundary")?;
        if boundary.is_empty() {
            return None;
        }
        let mark = [b"\n--", &boundary[..]].concat();
        Some(Self {
            mark: Finder::new(&mark).into_owned(),
            place: Place::Flow,
            fresh: true,
            kept: BytesMut::new(),
        })
    }

    /// The next bytes, or the last.
    pub(super) fn step(
        &mut self,
        data: &[u8],
        rest: Rest,
        held: &mut Held,
        out: &mut Out<'_>,
    ) -> Result<(), ScrubError> {
        let kept;
        let mut data = data;
        if !self.kept.is_empty() {
            self.kept.extend_from_slice(data);
            kept = mem::take(&mut self.kept);
            data = &kept;
        }
        loop {
            if let Place::Head(line) = self.place {
                let head = head(data, line, rest);
                match head {
                    Head::Part => break,
                    Head::End(end) => data = self.begin(line, data.split_at(end), out),
                    Head::None | Head::Broken => {
                        // Behind a head that breaks off nothing can be put any more.
                        if let Head::Broken = head {
                            self.put_back(held, out);
                        }
                        let (line, behind) = data.split_at(line);
                        out.pass(line);
                        data = behind;
                        self.place = Place::Flow;
                    }
                }
                self.fresh = true;
                continue;
            }
            let (content, line) = self.scan(data, rest);
            let (content, behind) = data.split_at(content);
            data = behind;
            match &mut self.place {
                Place::Field(field) => field.collect(content)?,
                Place::Flow | Place::Head(_) => out.pass(content),
            }
            match line {
                Line::Other | Line::Part => break,
                Line::Opening(length) => {
                    self.end_field(held, out)?;
                    self.place = Place::Head(length);
                }
                Line::Closing(length) => {
                    self.end_field(held, out)?;
                    self.put_back(held, out);
                    let (line, behind) = data.split_at(length);
                    out.pass(line);
                    data = behind;
                    self.fresh = false;
                }
            }
        }
        self.kept.extend_from_slice(data);
        if rest == Rest::Nothing {
            self.end_field(held, out)?;
            self.put_back(held, out);
        }
        Ok(())
    }

    /// A part begins: its boundary line, its head and what is behind. Gives back the latter.
    fn begin<'a>(
        &mut self,
        line: usize,
        (begin, behind): (&'a [u8], &'a [u8]),
        out: &mut Out<'_>,
    ) -> &'a [u8] {
        let head = begin.get(line..).unwrap_or_default();
        self.place = match part::Field::of(head) {
            None => {
                out.pass(begin);
                Place::Flow
            }
            Some(part::Field { name, places }) => Place::Field(Field {
                name,
                piece: begin.to_vec(),
                places: places
                    .into_iter()
                    .map(|place| place.start + line..place.end + line)
                    .collect(),
                value: begin.len(),
            }),
        };
        behind
    }

    /// How much of this is content, and what the line behind it is.
    fn scan(&mut self, data: &[u8], rest: Rest) -> (usize, Line) {
        let mut content = 0;
        loop {
            let left = data.get(content..).unwrap_or_default();
            if self.fresh {
                match self.line(left, rest) {
                    Line::Other => {}
                    line @ (Line::Part | Line::Opening(_) | Line::Closing(_)) => {
                        return (content, line);
                    }
                }
            }
            if let Some(at) = self.mark.find(left) {
                content += at + 1;
                self.fresh = true;
                continue;
            }
            // What stands behind the last line feed may go on as a boundary.
            let mark = self.mark.needle();
            let tail = left.len().saturating_sub(mark.len());
            let feed = memrchr(b'\n', left.get(tail..).unwrap_or_default()).map(|at| at + tail);
            let begun = feed.filter(|at| {
                rest == Rest::ToCome && left.get(*at..).is_some_and(|begun| mark.starts_with(begun))
            });
            if let Some(at) = begun {
                self.fresh = true;
                return (content + at + 1, Line::Part);
            }
            if let Some(last) = left.last() {
                self.fresh = *last == b'\n';
            }
            return (data.len(), Line::Other);
        }
    }

    /// What a line is, that begins here.
    fn line(&self, data: &[u8], rest: Rest) -> Line {
        let part = match rest {
            Rest::ToCome => Line::Part,
            Rest::Nothing => Line::Other,
        };
        let dashes = self.mark.needle().get(1..).unwrap_or_default();
        let Some(behind) = data.strip_prefix(dashes) else {
            return if dashes.starts_with(data) {
                part
            } else {
                Line::Other
            };
        };
        let blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
        let padding = behind.iter().take_while(blank).count();
        match behind.get(padding..).unwrap_or_default() {
            _ if padding > PADDING => Line::Other,
            [b'\n', ..] => Line::Opening(dashes.len() + padding + 1),
            [b'\r', b'\n', ..] => Line::Opening(dashes.len() + padding + 2),
            [b'-', b'-', ..] if padding == 0 => Line::Closing(dashes.len() + 2),
            // A form that breaks off in a boundary line ends with it.
            end @ ([] | [b'\r']) => match rest {
                Rest::ToCome => Line::Part,
                Rest::Nothing => Line::Closing(dashes.len() + padding + end.len()),
            },
            [b'-'] if padding == 0 => part,
            _ => Line::Other,
        }
    }

    /// The field that was being read has been seen whole, if there is one.
    fn end_field(&mut self, held: &mut Held, out: &mut Out<'_>) -> Result<(), ScrubError> {
        let Place::Field(field) = mem::replace(&mut self.place, Place::Flow) else {
            return Ok(());
        };
        match field.end(held, out)? {
            Fate::Stays => {}
            // What has left ends before the boundary line.
            Fate::Goes => self.fresh = true,
        }
        Ok(())
    }

    /// Puts back what may stay after all: as parts before the closing boundary, or at the end of a form that has none.
    fn put_back(&self, held: &mut Held, out: &mut Out<'_>) {
        let pieces = held.settle();
        if !pieces.is_empty() && !self.fresh {
            out.put(b"\r\n");
        }
        for piece in pieces {
            out.put(&piece);
        }
    }
}

/// Never the bytes.
impl fmt::Debug for Multipart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Multipart")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

// === impl Field ===

impl Field {
    fn collect(&mut self, content: &[u8]) -> Result<(), ScrubError> {
        let (most, fault) = match self.name {
            Name::Batch => (BATCH, "the batch is too long"),
            Name::Token | Name::Proof => (FIELD, "one is too long"),
        };
        if self.piece.len() + content.len() > most {
            return Err(ScrubError::Unclean(fault));
        }
        self.piece.extend_from_slice(content);
        Ok(())
    }

    fn end(mut self, held: &mut Held, out: &mut Out<'_>) -> Result<Fate, ScrubError> {
        let (head, content) = self.piece.split_at(self.value);
        let value = content
            .strip_suffix(b"\n")
            .map_or(content, |line| line.strip_suffix(b"\r").unwrap_or(line));
        let value = value.len();
        let (value, line_end) = content.split_at(value);
        if self.name == Name::Batch {
            held.note_batch();
            match batch::clean(value, held.policy(), held)? {
                None => out.pass(&self.piece),
                Some(clean) if held.mode() == Mode::Mask && clean.len() != value.len() => {
                    return Err(ScrubError::Unclean("those of the batch cannot be masked"));
                }
                Some(clean) => {
                    out.pass(head);
                    out.put(&clean);
                    out.pass(line_end);
                }
            }
            return Ok(Fate::Stays);
        }
        let what = Parameter::named(self.name, value.iter().copied());
        let fate = held.judge(what, &self.piece)?;
        match (fate, held.mode()) {
            (Fate::Stays, _) => out.pass(&self.piece),
            (Fate::Goes, Mode::Cut) => out.cut(),
            (Fate::Goes, Mode::Mask) => {
                let value = self.value..self.value + value.len();
                for place in self.places.iter().chain([&value]) {
                    if let Some(place) = self.piece.get_mut(place.clone()) {
                        place.fill(b'x');
                    }
                }
                out.put(&self.piece);
            }
        }
        Ok(fate)
    }
}

/// Never the bytes.
impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field({:?})", self.name)
    }
}

/// How far it is to the end of a part's head.
enum Head {
    /// So far, with the blank line.
    End(usize),
    /// It has not come yet.
    Part,
    /// Too far.
    None,
    /// The body ends before.
    Broken,
}

/// Where the head ends that stands behind a boundary line, so long.
fn head(data: &[u8], line: usize, rest: Rest) -> Head {
    let head = data.get(line..).unwrap_or_default();
    let head = head.get(..HEAD).unwrap_or(head);
    // The line that stands before the head ends in a line feed too.
    let ends = [0]
        .into_iter()
        .chain(memchr_iter(b'\n', head).map(|at| at + 1));
    for end in ends {
        match head.get(end..).unwrap_or_default() {
            [b'\n', ..] => return Head::End(line + end + 1),
            [b'\r', b'\n', ..] => return Head::End(line + end + 2),
            _ => {}
        }
    }
    match rest {
        _ if head.len() == HEAD => Head::None,
        Rest::ToCome => Head::Part,
        Rest::Nothing => Head::Broken,
    }
}
