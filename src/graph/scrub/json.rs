//! Credentials among the members of a JSON object.
//!
//! A member goes with the comma before it, or with the one behind it if nothing that stays is before it. Only the
//! outermost object's are looked at; elements of an array, and what is nested, are data. What is masked stays valid:
//! names and strings become `x`, anything else a number (`111…`), of the same length.
//!
//! # Why
//!
//! What comes out must not depend on the pieces that came in. So every bound is a bound of what the body holds, not of
//! what happens to be kept: a member that is longer than [`FIELD`] is a token even if it came in one piece.

use std::mem;

use super::super::json::{Container, Event, Lexer, Text};
use super::super::parameter::Name;
use super::batch;
use super::carried::{Carried, Piece};
use super::edit::{Edit, How, edited};
use super::held::{BATCH, FIELD, Fate, Held, Mode, Rest, ScrubError};
use super::member::{LONGEST_NAME, judged, named, too_long};
use super::out::Out;

/// A JSON body.
#[derive(Debug, Default)]
pub(super) struct Json {
    lexer: Lexer,
    place: Place,
    carried: Carried,
    /// Where the present member begins in what has not left, where its name ends, and where its value begins.
    member: usize,
    named: usize,
    value: Option<usize>,
    /// Whether a member of this object has left.
    left: bool,
    /// Whether a comma is in what has not left.
    comma: bool,
    /// Whether the next comma goes with a member that went.
    orphan: bool,
    /// Whether the comma before a member that went is still needed, should there be none behind it.
    owed: bool,
    /// Whether too much joins the members to be kept.
    spilled: bool,
    /// Whether the comma before the present member has left, so that it must be masked if it is to go.
    joined: bool,
}

/// What becomes of the bytes that come next.
#[derive(Clone, Copy, Debug, Default)]
enum Place {
    /// Nothing is known: before the object, or behind it.
    #[default]
    Outside,
    /// Between members. What joins them is kept.
    Between,
    /// In a name. It is kept.
    Name,
    /// Behind a name that means something. It is kept.
    Field(Name),
    /// In a member that leaves.
    Data,
    /// In the value of a member that is too long to be kept, and goes.
    Long(Gone),
}

/// How the rest of a long value goes.
#[derive(Clone, Copy, Debug)]
enum Gone {
    Cut,
    /// It is overwritten, but for its quotes. Nothing: it has not begun.
    Masked(Option<How>),
}

// === impl Json ===

impl Json {
    /// The next bytes, or the last.
    pub(super) fn step(
        &mut self,
        data: &[u8],
        rest: Rest,
        held: &mut Held,
        out: &mut Out<'_>,
    ) -> Result<(), ScrubError> {
        let mut piece = Piece::new(data);
        let mut at = 0;
        while let Some(event) = self.lexer.next(data, &mut at) {
            self.meet(event, at, &mut piece, held, out)?;
        }
        if rest == Rest::ToCome {
            return self.keep(&mut piece, held, out);
        }
        let whole = self.lexer.is_between();
        while let Some(event) = self.lexer.finish() {
            self.meet(event, at, &mut piece, held, out)?;
        }
        if whole {
            self.settle(at, &mut piece, held, out);
        }
        self.carried.pass(&mut piece, at, out);
        Ok(())
    }

    fn meet(
        &mut self,
        event: Event,
        at: usize,
        piece: &mut Piece<'_>,
        held: &mut Held,
        out: &mut Out<'_>,
    ) -> Result<(), ScrubError> {
        match event {
            Event::Open(Container::Array) => self.lexer.ignore(),
            Event::Open(Container::Object) => {
                self.carried.pass(piece, at, out);
                self.place = Place::Between;
                self.left = false;
                self.lose();
                (self.orphan, self.owed) = (false, false);
            }
            Event::NameStart => {
                if held.mode() == Mode::Mask || self.spills(piece, at) {
                    self.joined = self.comma || held.mode() == Mode::Mask;
                    self.carried.pass(piece, at, out);
                }
                self.owe();
                self.member = self.carried.offset(piece, at);
                self.place = Place::Name;
            }
            Event::NameEnd => match (self.place, self.name(piece, at)) {
                (Place::Name, Some(name)) => {
                    self.place = Place::Field(name);
                    self.named = self.carried.offset(piece, at);
                    self.value = None;
                }
                _ => self.place = Place::Data,
            },
            Event::ValueStart => match self.place {
                Place::Field(_) => self.value = Some(self.carried.offset(piece, at)),
                Place::Between => {
                    self.owe();
                    self.place = Place::Data;
                }
                Place::Long(gone @ Gone::Masked(_)) => {
                    self.gone(gone, at, piece, out);
                    let how = How::of(piece.byte(at));
                    if how == How::Text {
                        self.carried.pass(piece, at + 1, out);
                    }
                    self.place = Place::Long(Gone::Masked(Some(how)));
                }
                Place::Outside | Place::Name | Place::Data | Place::Long(Gone::Cut) => {}
            },
            Event::ValueEnd => self.end(at, piece, held, out)?,
            Event::Comma if self.orphan => {
                if self.spills(piece, at.saturating_sub(1)) {
                    self.carried.pass(piece, at.saturating_sub(1), out);
                }
                self.carried.cut(piece, at, out);
                (self.orphan, self.spilled) = (false, false);
            }
            Event::Comma => {
                self.carried.pass(piece, at.saturating_sub(1), out);
                (self.comma, self.owed, self.spilled) = (true, false, false);
            }
            Event::Close => {
                self.settle(at.saturating_sub(1), piece, held, out);
                self.carried.pass(piece, at, out);
                self.place = Place::Outside;
            }
        }
        Ok(())
    }

    /// The end of a member.
    fn end(
        &mut self,
        at: usize,
        piece: &mut Piece<'_>,
        held: &mut Held,
        out: &mut Out<'_>,
    ) -> Result<(), ScrubError> {
        match mem::replace(&mut self.place, Place::Between) {
            Place::Field(Name::Batch) => {
                self.batch(at, piece, held, out)?;
                self.leave();
            }
            Place::Field(name) => {
                let kept = self.carried.kept(piece, at);
                let member = kept.get(self.member..).unwrap_or_default();
                let value = self.value.and_then(|value| kept.get(value..));
                let fate = if member.len() > FIELD {
                    held.judge(too_long(name), &[])?
                } else {
                    held.judge(judged(name, value.unwrap_or_default()), member)?
                };
                match fate {
                    Fate::Stays => {
                        self.carried.pass(piece, at, out);
                        self.leave();
                    }
                    Fate::Goes if self.joined => {
                        let masked = self.masked(&kept);
                        self.carried.cut(piece, at, out);
                        out.put(&masked);
                        self.leave();
                    }
                    Fate::Goes => {
                        self.carried.cut(piece, at, out);
                        self.lose();
                    }
                }
            }
            Place::Long(gone) => {
                let closed =
                    self.lexer.is_between() && matches!(gone, Gone::Masked(Some(How::Text)));
                self.gone(gone, at.saturating_sub(usize::from(closed)), piece, out);
                match gone {
                    Gone::Cut => self.lose(),
                    Gone::Masked(_) => {
                        self.carried.pass(piece, at, out);
                        self.leave();
                    }
                }
            }
            Place::Data | Place::Outside | Place::Between | Place::Name => {
                self.carried.pass(piece, at, out);
                self.leave();
            }
        }
        Ok(())
    }

    /// A member begins, and there was no comma behind one that went with that before it.
    fn owe(&mut self) {
        if mem::take(&mut self.owed) {
            self.carried.prepend(b',');
            self.comma = true;
        }
    }

    /// The present member has left.
    const fn leave(&mut self) {
        self.left = true;
        (self.orphan, self.owed) = (false, false);
        (self.comma, self.spilled, self.joined) = (false, false, false);
    }

    /// The present member has been cut.
    const fn lose(&mut self) {
        (self.orphan, self.owed) = (!self.left, self.left);
        (self.comma, self.spilled, self.joined) = (false, false, false);
    }

    /// The end of a piece: what may leave leaves, and what has to be seen whole is kept.
    fn keep(
        &mut self,
        piece: &mut Piece<'_>,
        held: &mut Held,
        out: &mut Out<'_>,
    ) -> Result<(), ScrubError> {
        let end = piece.end();
        let length = self.carried.offset(piece, end);
        match self.place {
            Place::Outside | Place::Data => self.carried.pass(piece, end, out),
            Place::Between if self.spills(piece, end) => {
                self.spilled = true;
                self.carried.pass(piece, end, out);
            }
            Place::Name if length.saturating_sub(self.member) > LONGEST_NAME => {
                self.carried.pass(piece, end, out);
                self.place = Place::Data;
            }
            Place::Field(Name::Batch) if length.saturating_sub(self.member) > BATCH => {
                return Err(TOO_LONG);
            }
            Place::Field(name @ (Name::Token | Name::Proof))
                if length.saturating_sub(self.member) > FIELD =>
            {
                self.long(name, piece, held, out)?;
            }
            Place::Between | Place::Name | Place::Field(_) => self.carried.keep(piece),
            Place::Long(gone) => self.gone(gone, end, piece, out),
        }
        Ok(())
    }

    /// A credential that is too long to be kept: no app's is, and no placeholder.
    fn long(
        &mut self,
        name: Name,
        piece: &mut Piece<'_>,
        held: &mut Held,
        out: &mut Out<'_>,
    ) -> Result<(), ScrubError> {
        let end = piece.end();
        let fate = held.judge(too_long(name), &[])?;
        self.place = match fate {
            Fate::Stays => {
                self.carried.pass(piece, end, out);
                Place::Data
            }
            Fate::Goes if self.joined => {
                let kept = self.carried.kept(piece, end);
                let how = self.value.map(|value| How::of(kept.get(value).copied()));
                let masked = self.masked(&kept);
                self.carried.cut(piece, end, out);
                out.put(&masked);
                Place::Long(Gone::Masked(how))
            }
            Fate::Goes => {
                self.carried.cut(piece, end, out);
                Place::Long(Gone::Cut)
            }
        };
        Ok(())
    }

    /// More of the value of a [`Place::Long`].
    fn gone(&mut self, gone: Gone, at: usize, piece: &mut Piece<'_>, out: &mut Out<'_>) {
        match gone {
            Gone::Cut => self.carried.cut(piece, at, out),
            Gone::Masked(None) => self.carried.pass(piece, at, out),
            Gone::Masked(Some(how)) => {
                let masked = vec![how.mask(); piece.length(at)];
                self.carried.cut(piece, at, out);
                out.put(&masked);
            }
        }
    }

    /// A `batch` that has been seen whole.
    fn batch(
        &mut self,
        at: usize,
        piece: &mut Piece<'_>,
        held: &mut Held,
        out: &mut Out<'_>,
    ) -> Result<(), ScrubError> {
        held.note_batch();
        let kept = self.carried.kept(piece, at);
        if kept.len().saturating_sub(self.member) > BATCH {
            return Err(TOO_LONG);
        }
        let start = self.value.unwrap_or(kept.len());
        let text = Text::plain(kept.get(start..).unwrap_or_default(), start);
        let edits = match text.bytes().first() {
            Some(b'"' | b'\'') => {
                batch::edits(&text.unescaped(0..text.bytes().len()), held.policy(), held)?
            }
            Some(_) => batch::edits(&text, held.policy(), held)?,
            None => Vec::new(),
        };
        if edits.is_empty() {
            self.carried.pass(piece, at, out);
        } else {
            let edited = edited(&kept, &edits);
            self.carried.cut(piece, at, out);
            out.put(&edited);
        }
        Ok(())
    }

    /// What was held goes before `at`, the end of the object.
    fn settle(&mut self, at: usize, piece: &mut Piece<'_>, held: &mut Held, out: &mut Out<'_>) {
        if !matches!(self.place, Place::Between) {
            return;
        }
        let mut separate = self.left && !self.comma;
        for member in held.settle().iter().filter(|member| !member.is_empty()) {
            self.carried.pass(piece, at, out);
            if separate {
                out.put(b",");
            }
            separate = true;
            out.put(member);
        }
    }

    /// What has not left, with the member masked.
    fn masked(&self, kept: &[u8]) -> Vec<u8> {
        let value = self.value.unwrap_or(kept.len())..kept.len();
        let name = Edit::masked(kept, self.member..self.named);
        edited(kept, &[name, Edit::masked(kept, value)])
    }

    /// Whether more joins the members, up to `at`, than is kept.
    fn spills(&self, piece: &Piece<'_>, at: usize) -> bool {
        self.spilled || self.carried.offset(piece, at) > FIELD
    }

    /// What the name means that ends at `at`.
    fn name(&self, piece: &Piece<'_>, at: usize) -> Option<Name> {
        named(self.carried.kept(piece, at).get(self.member..)?)
    }
}

const TOO_LONG: ScrubError = ScrubError::Unclean("the batch is too long");

#[cfg(test)]
mod tests;
