//! Credentials among the members of a JSON object.
//!
//! A member goes with the comma before it, or with the one behind it if nothing that stays is before it. Only the
//! outermost object's are looked at; elements of an array, and what is nested, are data. What is masked stays valid:
//! names and strings become `x`, anything else a number (`111…`), of the same length.
//!
//! # Why
//!
//! What comes out must not depend on the pieces that came in. So every bound is a bound of what the body holds, not of
//! what happens to be kept: a member that is longer than [`MAX_FIELD_BYTES`] is a token even if it came in one piece.

use std::mem;

use super::super::lenient_json::{Container, LexEvent, Lexer, SourceText};
use super::super::parameter::ParameterName;
use super::batch;
use super::edit::{Edit, EditKind, apply_edits};
use super::json_state::{JsonState, OversizedRemoval};
use super::member::{MAX_NAME_BYTES, classify_member, classify_oversized, parse_name};
use super::output::ScrubOutput;
use super::pending::{Chunk, Pending};
use super::state::{Decision, InputState, MAX_BATCH_BYTES, MAX_FIELD_BYTES, ScrubError, ScrubMode, ScrubState};

/// A JSON body.
#[derive(Debug, Default)]
pub(super) struct JsonScrubber {
    lexer: Lexer,
    state: JsonState,
    pending: Pending,
    /// Where the present member begins in what has not left, where its name ends, and where its value begins.
    member_start: usize,
    name_end: usize,
    value_start: Option<usize>,
    /// Whether a member of this object has left.
    has_kept: bool,
    /// Whether a comma is in what has not left.
    comma_pending: bool,
    /// Whether the next comma goes with a member that went.
    drop_next_comma: bool,
    /// Whether the comma before a member that went is still needed, should there be none behind it.
    comma_owed: bool,
    /// Whether too much joins the members to be kept.
    separator_overflowed: bool,
    /// Whether the comma before the present member has left, so that it must be masked if it is to go.
    comma_sent: bool,
}

// === impl Json ===

impl JsonScrubber {
    /// The next bytes, or the last.
    pub(super) fn feed(
        &mut self,
        data: &[u8],
        input_state: InputState,
        scrub: &mut ScrubState,
        out: &mut ScrubOutput<'_>,
    ) -> Result<(), ScrubError> {
        let mut chunk = Chunk::new(data);
        let mut at = 0;
        while let Some(event) = self.lexer.next(data, &mut at) {
            self.handle_event(event, at, &mut chunk, scrub, out)?;
        }
        if input_state == InputState::More {
            return self.end_chunk(&mut chunk, scrub, out);
        }
        let is_complete = self.lexer.is_between_members();
        while let Some(event) = self.lexer.next_at_end() {
            self.handle_event(event, at, &mut chunk, scrub, out)?;
        }
        if is_complete {
            self.restore_pending(at, &mut chunk, scrub, out);
        }
        self.pending.forward(&mut chunk, at, out);
        Ok(())
    }

    fn handle_event(
        &mut self,
        event: LexEvent,
        at: usize,
        chunk: &mut Chunk<'_>,
        scrub: &mut ScrubState,
        out: &mut ScrubOutput<'_>,
    ) -> Result<(), ScrubError> {
        match event {
            LexEvent::Open(Container::Array) => self.lexer.skip_rest(),
            LexEvent::Open(Container::Object) => {
                self.pending.forward(chunk, at, out);
                self.state = JsonState::BetweenMembers;
                self.has_kept = false;
                self.mark_removed();
                (self.drop_next_comma, self.comma_owed) = (false, false);
            }
            LexEvent::NameStart => {
                if scrub.mode() == ScrubMode::Mask || self.overflows_separator(chunk, at) {
                    self.comma_sent = self.comma_pending || scrub.mode() == ScrubMode::Mask;
                    self.pending.forward(chunk, at, out);
                }
                self.restore_owed_comma();
                self.member_start = self.pending.offset(chunk, at);
                self.state = JsonState::Name;
            }
            LexEvent::NameEnd => match (self.state, self.member_name(chunk, at)) {
                (JsonState::Name, Some(name)) => {
                    self.state = JsonState::Credential(name);
                    self.name_end = self.pending.offset(chunk, at);
                    self.value_start = None;
                }
                _ => self.state = JsonState::Passthrough,
            },
            LexEvent::ValueStart => match self.state {
                JsonState::Credential(_) => self.value_start = Some(self.pending.offset(chunk, at)),
                JsonState::BetweenMembers => {
                    self.restore_owed_comma();
                    self.state = JsonState::Passthrough;
                }
                JsonState::Oversized(removal @ OversizedRemoval::Mask(_)) => {
                    self.remove_oversized(removal, at, chunk, out);
                    let how = EditKind::mask_for(chunk.byte(at));
                    if how == EditKind::MaskString {
                        self.pending.forward(chunk, at + 1, out);
                    }
                    self.state = JsonState::Oversized(OversizedRemoval::Mask(Some(how)));
                }
                JsonState::Outside
                | JsonState::Name
                | JsonState::Passthrough
                | JsonState::Oversized(OversizedRemoval::Remove) => {}
            },
            LexEvent::ValueEnd => self.end_member(at, chunk, scrub, out)?,
            LexEvent::Comma if self.drop_next_comma => {
                if self.overflows_separator(chunk, at.saturating_sub(1)) {
                    self.pending.forward(chunk, at.saturating_sub(1), out);
                }
                self.pending.discard(chunk, at, out);
                (self.drop_next_comma, self.separator_overflowed) = (false, false);
            }
            LexEvent::Comma => {
                self.pending.forward(chunk, at.saturating_sub(1), out);
                (self.comma_pending, self.comma_owed, self.separator_overflowed) = (true, false, false);
            }
            LexEvent::Close => {
                self.restore_pending(at.saturating_sub(1), chunk, scrub, out);
                self.pending.forward(chunk, at, out);
                self.state = JsonState::Outside;
            }
        }
        Ok(())
    }

    /// The end of a member.
    fn end_member(
        &mut self,
        at: usize,
        chunk: &mut Chunk<'_>,
        scrub: &mut ScrubState,
        out: &mut ScrubOutput<'_>,
    ) -> Result<(), ScrubError> {
        match mem::replace(&mut self.state, JsonState::BetweenMembers) {
            JsonState::Credential(ParameterName::Batch) => {
                self.scrub_batch(at, chunk, scrub, out)?;
                self.mark_kept();
            }
            JsonState::Credential(name) => {
                let unsent = self.pending.unsent(chunk, at);
                let member = unsent.get(self.member_start..).unwrap_or_default();
                let value = self.value_start.and_then(|value| unsent.get(value..));
                let decision = if member.len() > MAX_FIELD_BYTES {
                    scrub.decide(classify_oversized(name), &[])?
                } else {
                    scrub.decide(classify_member(name, value.unwrap_or_default()), member)?
                };
                match decision {
                    Decision::Keep => {
                        self.pending.forward(chunk, at, out);
                        self.mark_kept();
                    }
                    Decision::Remove if self.comma_sent => {
                        let masked = self.mask_member(&unsent);
                        self.pending.discard(chunk, at, out);
                        out.insert(&masked);
                        self.mark_kept();
                    }
                    Decision::Remove => {
                        self.pending.discard(chunk, at, out);
                        self.mark_removed();
                    }
                }
            }
            JsonState::Oversized(removal) => {
                let is_closed = self.lexer.is_between_members()
                    && matches!(removal, OversizedRemoval::Mask(Some(EditKind::MaskString)));
                self.remove_oversized(removal, at.saturating_sub(usize::from(is_closed)), chunk, out);
                match removal {
                    OversizedRemoval::Remove => self.mark_removed(),
                    OversizedRemoval::Mask(_) => {
                        self.pending.forward(chunk, at, out);
                        self.mark_kept();
                    }
                }
            }
            JsonState::Passthrough | JsonState::Outside | JsonState::BetweenMembers | JsonState::Name => {
                self.pending.forward(chunk, at, out);
                self.mark_kept();
            }
        }
        Ok(())
    }

    /// A member begins, and there was no comma behind one that went with that before it.
    fn restore_owed_comma(&mut self) {
        if mem::take(&mut self.comma_owed) {
            self.pending.prepend(b',');
            self.comma_pending = true;
        }
    }

    /// The present member has left.
    const fn mark_kept(&mut self) {
        self.has_kept = true;
        (self.drop_next_comma, self.comma_owed) = (false, false);
        (self.comma_pending, self.separator_overflowed, self.comma_sent) = (false, false, false);
    }

    /// The present member has been cut.
    const fn mark_removed(&mut self) {
        (self.drop_next_comma, self.comma_owed) = (!self.has_kept, self.has_kept);
        (self.comma_pending, self.separator_overflowed, self.comma_sent) = (false, false, false);
    }

    /// The end of a piece: what may leave leaves, and what has to be seen whole is kept.
    fn end_chunk(
        &mut self,
        chunk: &mut Chunk<'_>,
        scrub: &mut ScrubState,
        out: &mut ScrubOutput<'_>,
    ) -> Result<(), ScrubError> {
        let end = chunk.end();
        let length = self.pending.offset(chunk, end);
        match self.state {
            JsonState::Outside | JsonState::Passthrough => self.pending.forward(chunk, end, out),
            JsonState::BetweenMembers if self.overflows_separator(chunk, end) => {
                self.separator_overflowed = true;
                self.pending.forward(chunk, end, out);
            }
            JsonState::Name if length.saturating_sub(self.member_start) > MAX_NAME_BYTES => {
                self.pending.forward(chunk, end, out);
                self.state = JsonState::Passthrough;
            }
            JsonState::Credential(ParameterName::Batch)
                if length.saturating_sub(self.member_start) > MAX_BATCH_BYTES =>
            {
                return Err(BATCH_TOO_LONG);
            }
            JsonState::Credential(name @ (ParameterName::Token | ParameterName::Proof))
                if length.saturating_sub(self.member_start) > MAX_FIELD_BYTES =>
            {
                self.begin_oversized(name, chunk, scrub, out)?;
            }
            JsonState::BetweenMembers | JsonState::Name | JsonState::Credential(_) => {
                self.pending.buffer(chunk);
            }
            JsonState::Oversized(gone) => self.remove_oversized(gone, end, chunk, out),
        }
        Ok(())
    }

    /// A credential that is too long to be kept: no app's is, and no placeholder.
    fn begin_oversized(
        &mut self,
        name: ParameterName,
        chunk: &mut Chunk<'_>,
        scrub: &mut ScrubState,
        out: &mut ScrubOutput<'_>,
    ) -> Result<(), ScrubError> {
        let end = chunk.end();
        let decision = scrub.decide(classify_oversized(name), &[])?;
        self.state = match decision {
            Decision::Keep => {
                self.pending.forward(chunk, end, out);
                JsonState::Passthrough
            }
            Decision::Remove if self.comma_sent => {
                let unsent = self.pending.unsent(chunk, end);
                let mask_kind = self
                    .value_start
                    .map(|value| EditKind::mask_for(unsent.get(value).copied()));
                let masked = self.mask_member(&unsent);
                self.pending.discard(chunk, end, out);
                out.insert(&masked);
                JsonState::Oversized(OversizedRemoval::Mask(mask_kind))
            }
            Decision::Remove => {
                self.pending.discard(chunk, end, out);
                JsonState::Oversized(OversizedRemoval::Remove)
            }
        };
        Ok(())
    }

    /// More of the value of a [`JsonState::Oversized`].
    fn remove_oversized(
        &mut self,
        gone: OversizedRemoval,
        at: usize,
        chunk: &mut Chunk<'_>,
        out: &mut ScrubOutput<'_>,
    ) {
        match gone {
            OversizedRemoval::Remove => self.pending.discard(chunk, at, out),
            OversizedRemoval::Mask(None) => self.pending.forward(chunk, at, out),
            OversizedRemoval::Mask(Some(how)) => {
                let masked = vec![how.mask_byte(); chunk.unsent_len(at)];
                self.pending.discard(chunk, at, out);
                out.insert(&masked);
            }
        }
    }

    /// A `batch` that has been seen whole.
    fn scrub_batch(
        &mut self,
        at: usize,
        chunk: &mut Chunk<'_>,
        scrub: &mut ScrubState,
        out: &mut ScrubOutput<'_>,
    ) -> Result<(), ScrubError> {
        scrub.mark_batch();
        let unsent = self.pending.unsent(chunk, at);
        if unsent.len().saturating_sub(self.member_start) > MAX_BATCH_BYTES {
            return Err(BATCH_TOO_LONG);
        }
        let start = self.value_start.unwrap_or(unsent.len());
        let text = SourceText::from_slice(unsent.get(start..).unwrap_or_default(), start);
        let edits = match text.bytes().first() {
            Some(b'"' | b'\'') => {
                batch::collect_edits(&text.unescape_at(0..text.bytes().len()), scrub.policy(), scrub)?
            }
            Some(_) => batch::collect_edits(&text, scrub.policy(), scrub)?,
            None => Vec::new(),
        };
        if edits.is_empty() {
            self.pending.forward(chunk, at, out);
        } else {
            let scrubbed = apply_edits(&unsent, &edits);
            self.pending.discard(chunk, at, out);
            out.insert(&scrubbed);
        }
        Ok(())
    }

    /// What was held goes before `at`, the end of the object.
    fn restore_pending(&mut self, at: usize, chunk: &mut Chunk<'_>, scrub: &mut ScrubState, out: &mut ScrubOutput<'_>) {
        if !matches!(self.state, JsonState::BetweenMembers) {
            return;
        }
        let mut needs_comma = self.has_kept && !self.comma_pending;
        for member in scrub.resolve_pending().iter().filter(|member| !member.is_empty()) {
            self.pending.forward(chunk, at, out);
            if needs_comma {
                out.insert(b",");
            }
            needs_comma = true;
            out.insert(member);
        }
    }

    /// What has not left, with the member masked.
    fn mask_member(&self, unsent: &[u8]) -> Vec<u8> {
        let value = self.value_start.unwrap_or(unsent.len())..unsent.len();
        let name = Edit::mask_literal(unsent, self.member_start..self.name_end);
        apply_edits(unsent, &[name, Edit::mask_literal(unsent, value)])
    }

    /// Whether more joins the members, up to `at`, than is kept.
    fn overflows_separator(&self, chunk: &Chunk<'_>, at: usize) -> bool {
        self.separator_overflowed || self.pending.offset(chunk, at) > MAX_FIELD_BYTES
    }

    /// What the name means that ends at `at`.
    fn member_name(&self, chunk: &Chunk<'_>, at: usize) -> Option<ParameterName> {
        parse_name(self.pending.unsent(chunk, at).get(self.member_start..)?)
    }
}

const BATCH_TOO_LONG: ScrubError = ScrubError::CannotScrub("the batch is too long");

#[cfg(test)]
mod tests;
