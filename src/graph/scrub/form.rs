//! Credentials among the parameters of a form, or of a query.

use std::fmt;
use std::mem;

use bytes::BytesMut;
use memchr::{memchr, memchr2};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::super::parameter::{Name, Parameter, form_decode, form_units};
use super::batch;
use super::held::{BATCH, FIELD, Fate, Held, Mode, Rest, ScrubError};
use super::out::Out;

/// A form: parameters with an ampersand between them.
#[derive(Default)]
pub(super) struct Form {
    place: Place,
    /// What of the present parameter had to be kept to see what it is.
    kept: BytesMut,
    /// What stands before the present parameter.
    before: Before,
}

#[derive(Clone, Copy, Debug, Default)]
enum Place {
    /// In a name that may mean something.
    #[default]
    Name,
    /// In a parameter that leaves as it is.
    Data,
    /// In one that has to be seen whole.
    Field(Name),
}

/// What stands before a parameter in the body, and what before the next that leaves.
#[derive(Clone, Copy, Debug, Default)]
enum Before {
    /// It is the first.
    #[default]
    Nothing,
    /// An ampersand, but nothing has left yet.
    Lost,
    /// An ampersand behind what has left.
    Ampersand,
}

// === impl Form ===

impl Form {
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
        // A name is short, and begins again with what was kept of it; a field is only added to.
        if matches!(self.place, Place::Name) && !self.kept.is_empty() {
            self.kept.extend_from_slice(data);
            kept = mem::take(&mut self.kept);
            data = &kept;
        }
        loop {
            match self.place {
                Place::Name => match name(data, rest) {
                    Seen::Part => {
                        self.kept.extend_from_slice(data);
                        return Ok(());
                    }
                    Seen::Name(name) => self.place = Place::Field(name),
                    Seen::Other => {
                        self.join(out);
                        self.place = Place::Data;
                    }
                },
                Place::Data => {
                    let (piece, behind) = parameter(data);
                    out.pass(piece);
                    match behind {
                        Some(behind) => data = behind,
                        None => break,
                    }
                    self.place = Place::Name;
                }
                Place::Field(name) => {
                    let (piece, behind) = parameter(data);
                    self.collect(name, piece)?;
                    match (behind, rest) {
                        (None, Rest::ToCome) => break,
                        (None, Rest::Nothing) => {
                            self.field(name, held, out)?;
                            break;
                        }
                        (Some(behind), _) => data = behind,
                    }
                    self.field(name, held, out)?;
                    self.place = Place::Name;
                }
            }
        }
        if rest == Rest::Nothing {
            for piece in held.settle() {
                if matches!(self.before, Before::Ampersand) {
                    out.put(b"&");
                }
                self.before = Before::Ampersand;
                out.put(&piece);
            }
        }
        Ok(())
    }

    fn collect(&mut self, name: Name, piece: &[u8]) -> Result<(), ScrubError> {
        let (most, fault) = match name {
            Name::Batch => (BATCH, "the batch is too long"),
            Name::Token | Name::Proof => (FIELD, "one is too long"),
        };
        if self.kept.len() + piece.len() > most {
            return Err(ScrubError::Unclean(fault));
        }
        self.kept.extend_from_slice(piece);
        Ok(())
    }

    /// A parameter that has been seen whole.
    fn field(&mut self, name: Name, held: &mut Held, out: &mut Out<'_>) -> Result<(), ScrubError> {
        let field = mem::take(&mut self.kept);
        let equals = memchr(b'=', &field).unwrap_or(field.len());
        let (named, value) = field.split_at(equals);
        let value = value.get(1..).unwrap_or_default();
        if name == Name::Batch {
            held.note_batch();
            let decoded: Vec<u8> = form_decode(value).collect();
            self.join(out);
            match batch::clean(&decoded, held.policy(), held)? {
                None => out.pass(&field),
                Some(clean) => {
                    out.pass(named);
                    out.pass(b"=");
                    out.put(&match held.mode() {
                        Mode::Cut => percent_encode(&clean, ENCODED).to_string().into_bytes(),
                        Mode::Mask => masked_batch(value, &clean)?,
                    });
                }
            }
            return Ok(());
        }
        let what = Parameter::named(name, form_decode(value));
        match (held.judge(what, &field)?, held.mode()) {
            (Fate::Stays, _) => {
                self.join(out);
                out.pass(&field);
            }
            (Fate::Goes, Mode::Mask) => {
                self.join(out);
                let mask = |byte: &u8| if *byte == b'=' { b'=' } else { b'x' };
                out.put(&field.iter().map(mask).collect::<Vec<_>>());
            }
            (Fate::Goes, Mode::Cut) => {
                out.cut();
                if matches!(self.before, Before::Nothing) {
                    self.before = Before::Lost;
                }
            }
        }
        Ok(())
    }

    /// The present parameter leaves: so does the ampersand before it, unless it is the first now.
    fn join(&mut self, out: &mut Out<'_>) {
        if matches!(self.before, Before::Ampersand) {
            out.pass(b"&");
        }
        self.before = Before::Ampersand;
    }
}

/// Never the bytes.
impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Form")
            .field("place", &self.place)
            .field("before", &self.before)
            .finish_non_exhaustive()
    }
}

/// What a form encodes, as browsers do.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What the beginning of a parameter shows.
enum Seen {
    /// Not enough.
    Part,
    /// A name that means something.
    Name(Name),
    /// Any other.
    Other,
}

fn name(data: &[u8], rest: Rest) -> Seen {
    // Most names begin otherwise, and go free here.
    match (data.first(), rest) {
        (Some(b'a' | b'b' | b'%'), _) => {}
        (None, Rest::ToCome) => return Seen::Part,
        (Some(_), _) | (None, Rest::Nothing) => return Seen::Other,
    }
    let longest = data.get(..=Name::LONGEST_ENCODED).unwrap_or(data);
    let name = match (memchr2(b'=', b'&', longest), rest) {
        (Some(end), _) => data.get(..end),
        (None, Rest::ToCome) if data.len() <= Name::LONGEST_ENCODED => return Seen::Part,
        (None, _) => Some(data),
    };
    name.and_then(Name::encoded).map_or(Seen::Other, Seen::Name)
}

/// What is left of a parameter, and what is behind its ampersand.
fn parameter(data: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr(b'&', data).and_then(|at| data.split_at_checked(at)) {
        Some((piece, behind)) => (piece, behind.get(1..)),
        None => (data, None),
    }
}

/// A cleaned batch in the place of the value that it was, each byte with the length that it had.
fn masked_batch(value: &[u8], clean: &[u8]) -> Result<Vec<u8>, ScrubError> {
    let mut masked = Vec::with_capacity(value.len());
    let mut rest = value;
    let mut clean = clean.iter();
    for (byte, length) in form_units(value) {
        let (unit, behind) = rest.split_at(length);
        rest = behind;
        match clean.next() {
            Some(same) if *same == byte => masked.extend_from_slice(unit),
            Some(mask) if length == 3 => {
                masked.extend_from_slice(format!("%{mask:02X}").as_bytes());
            }
            Some(mask) if mask.is_ascii_alphanumeric() => masked.push(*mask),
            Some(_) | None => return Err(CANNOT_MASK),
        }
    }
    match clean.next() {
        None => Ok(masked),
        Some(_) => Err(CANNOT_MASK),
    }
}

const CANNOT_MASK: ScrubError = ScrubError::Unclean("those of the batch cannot be masked");
