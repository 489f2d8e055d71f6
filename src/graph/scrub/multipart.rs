//! Credentials and signs among the fields of a multipart form.
//!
//! The body is a list of parts, each after a line with the boundary. A part is removed together with that line and the
//! line end after the part, so the rest is the body that the app would have sent without the part. Files stream: only
//! bytes that may be the beginning of a boundary are held back.
//!
//! # Why
//!
//! This parser is written by hand because a library returns parts, and here every kept byte has to be forwarded unchanged.
//! As in the head of a part, whatever any known parser accepts as a boundary is one: after a line feed alone, with white
//! space after it, after the closing boundary too. A part without an end ends with the body.

use std::mem;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::super::credential::SignPolicy;
use super::super::edit::apply;
use super::super::parameter::ParameterName;
use super::super::text::SourceText;
use super::batch;
use super::boundary::{Boundary, DelimiterLine, HeaderEnd, find_header_end};
use super::output::ScrubOutput;
use super::part;
use super::state::{Decision, InputState, ScrubError, ScrubMode, ScrubReport, ScrubRules, ScrubState, check_length};

/// Cleans a multipart form.
#[derive(derive_more::Debug)]
// Never the bytes.
#[debug("MultipartScrubber({state:?})")]
pub(super) struct MultipartScrubber {
    boundary: Boundary,
    state: MultipartState,
    /// Whether the next byte starts a line.
    at_line_start: bool,
    /// Bytes that may be the beginning of a boundary line, or of the head of a part.
    buffered: BytesMut,
}

#[derive(Debug)]
enum MultipartState {
    /// In bytes that are forwarded unchanged.
    Passthrough,
    /// After a boundary line of this length, which is still in `buffered`.
    Headers(usize),
    /// In a field that has to be read whole.
    Field(BufferedField),
}

/// A field that has to be read whole.
#[derive(derive_more::Debug)]
// Never the bytes.
#[debug("BufferedField({name:?})")]
struct BufferedField {
    name: ParameterName,
    /// The boundary line, the head, and the value that has arrived so far.
    bytes: Vec<u8>,
    /// The ranges of the name.
    name_ranges: Vec<Range<usize>>,
    /// The start of the value.
    value_start: usize,
}

/// Cleans a form that is in memory. `None`: nothing had to change, and nothing was copied.
///
/// # Errors
///
/// [`ScrubError`] if it may not be forwarded.
pub(super) fn scrub_in_memory(
    boundary: &[u8],
    rules: ScrubRules,
    body: &[u8],
) -> Result<(Option<Bytes>, ScrubReport), ScrubError> {
    let scrub = |mut state: ScrubState| {
        let mut edited = BytesMut::new();
        let mut out = ScrubOutput::in_memory(body, &mut edited);
        MultipartScrubber::new(boundary).feed(body, InputState::End, &mut state, &mut out)?;
        state.report.is_changed = out.is_changed;
        Ok((edited, state))
    };
    let (mut edited, mut state) = scrub(ScrubState::new(rules, ScrubMode::Remove))?;
    if state.restored {
        // A second pass keeps in their place the parts that the first one put back at the end.
        (edited, state) = scrub(ScrubState::with_token_kept(rules, ScrubMode::Remove))?;
    }
    let report = state.report();
    Ok((report.is_changed.then(|| edited.freeze()), report))
}

// === impl MultipartScrubber ===

impl MultipartScrubber {
    /// Cleans a form with this boundary.
    pub(super) fn new(boundary: &[u8]) -> Self {
        Self {
            boundary: Boundary::new(boundary),
            state: MultipartState::Passthrough,
            at_line_start: true,
            buffered: BytesMut::new(),
        }
    }

    /// Takes the next bytes, or the last.
    pub(super) fn feed(
        &mut self,
        data: &[u8],
        input_state: InputState,
        scrub_state: &mut ScrubState,
        out: &mut ScrubOutput<'_>,
    ) -> Result<(), ScrubError> {
        let buffered;
        let mut data = data;
        if !self.buffered.is_empty() {
            self.buffered.extend_from_slice(data);
            buffered = mem::take(&mut self.buffered);
            data = &buffered;
        }
        loop {
            if let MultipartState::Headers(line) = self.state {
                let head = find_header_end(data, line, input_state);
                match head {
                    HeaderEnd::Incomplete => break,
                    HeaderEnd::Found(end) => {
                        let (begin, after) = data.split_at(end);
                        self.begin_part(line, begin, scrub_state, out);
                        data = after;
                    }
                    // It may name another tenant.
                    HeaderEnd::TooLong if scrub_state.rules.signs == SignPolicy::Read => {
                        return Err(ScrubError::CannotScrub(
                            "a part of its form has a head that is too long",
                        ));
                    }
                    HeaderEnd::TooLong | HeaderEnd::Truncated => {
                        if let Some(calls) = &mut scrub_state.report.calls {
                            calls.unreadable = Some("a part of its form has a head that is too long or has no end");
                        }
                        // Nothing can be put after a truncated head.
                        if let HeaderEnd::Truncated = head {
                            self.restore_pending(scrub_state, out);
                        }
                        let (line, after) = data.split_at(line);
                        out.forward(line);
                        data = after;
                        self.state = MultipartState::Passthrough;
                    }
                }
                self.at_line_start = true;
                continue;
            }
            let (content, line) = self.find_delimiter(data, input_state);
            let (content, after) = data.split_at(content);
            data = after;
            match &mut self.state {
                MultipartState::Field(field) => field.buffer(content)?,
                MultipartState::Passthrough | MultipartState::Headers(_) => out.forward(content),
            }
            match line {
                DelimiterLine::None | DelimiterLine::Incomplete => break,
                DelimiterLine::Opening(length) => {
                    self.end_field(scrub_state, out)?;
                    self.state = MultipartState::Headers(length);
                }
                DelimiterLine::Closing(length) => {
                    self.end_field(scrub_state, out)?;
                    self.restore_pending(scrub_state, out);
                    let (line, after) = data.split_at(length);
                    out.forward(line);
                    data = after;
                    self.at_line_start = false;
                }
            }
        }
        self.buffered.extend_from_slice(data);
        if input_state == InputState::End {
            self.end_field(scrub_state, out)?;
            self.restore_pending(scrub_state, out);
        }
        scrub_state.report.check_signs()
    }

    /// Begins a part: takes its boundary line, which is `line` bytes long, and its head.
    fn begin_part(&mut self, line: usize, begin: &[u8], scrub_state: &mut ScrubState, out: &mut ScrubOutput<'_>) {
        let head = begin.get(line..).unwrap_or_default();
        if let Some(calls) = &mut scrub_state.report.calls {
            part::all_names(head).iter().for_each(|name| calls.add_field_name(name));
        }
        let field = part::PartField::parse(head);
        self.state = match field.filter(|field| scrub_state.rules.reads(field.name)) {
            None => {
                out.forward(begin);
                MultipartState::Passthrough
            }
            Some(part::PartField { name, name_ranges }) => MultipartState::Field(BufferedField {
                name,
                bytes: begin.to_vec(),
                name_ranges: name_ranges
                    .into_iter()
                    .map(|range| range.start + line..range.end + line)
                    .collect(),
                value_start: begin.len(),
            }),
        };
    }

    /// The length of the content, and the line after it.
    fn find_delimiter(&mut self, data: &[u8], input_state: InputState) -> (usize, DelimiterLine) {
        let mut content_len = 0;
        loop {
            let left = data.get(content_len..).unwrap_or_default();
            if self.at_line_start {
                match self.boundary.parse_line(left, input_state) {
                    DelimiterLine::None => {}
                    line @ (DelimiterLine::Incomplete | DelimiterLine::Opening(_) | DelimiterLine::Closing(_)) => {
                        return (content_len, line);
                    }
                }
            }
            if let Some(at) = self.boundary.find(left) {
                content_len += at + 1;
                self.at_line_start = true;
                continue;
            }
            let partial_delimiter = match input_state {
                InputState::More => self.boundary.find_partial(left),
                InputState::End => None,
            };
            if let Some(at) = partial_delimiter {
                self.at_line_start = true;
                return (content_len + at + 1, DelimiterLine::Incomplete);
            }
            if let Some(last) = left.last() {
                self.at_line_start = *last == b'\n';
            }
            return (data.len(), DelimiterLine::None);
        }
    }

    /// Ends the field that was being read, if there is one.
    fn end_field(&mut self, scrub_state: &mut ScrubState, out: &mut ScrubOutput<'_>) -> Result<(), ScrubError> {
        let MultipartState::Field(field) = mem::replace(&mut self.state, MultipartState::Passthrough) else {
            return Ok(());
        };
        match field.finish(scrub_state, out)? {
            Decision::Keep => {}
            // The forwarded bytes end before the boundary line.
            Decision::Remove => self.at_line_start = true,
        }
        Ok(())
    }

    /// Puts back the parts that are kept after all: before the closing boundary, or at the end of a form without one.
    fn restore_pending(&self, scrub_state: &mut ScrubState, out: &mut ScrubOutput<'_>) {
        let fragments = scrub_state.resolve_pending();
        if !fragments.is_empty() && !self.at_line_start {
            out.insert(b"\r\n");
        }
        for piece in fragments {
            out.insert(&piece);
        }
    }
}

// === impl BufferedField ===

impl BufferedField {
    fn buffer(&mut self, content: &[u8]) -> Result<(), ScrubError> {
        check_length(self.name, self.bytes.len() + content.len())?;
        self.bytes.extend_from_slice(content);
        Ok(())
    }

    fn finish(mut self, scrub_state: &mut ScrubState, out: &mut ScrubOutput<'_>) -> Result<Decision, ScrubError> {
        let (head, content) = self.bytes.split_at(self.value_start);
        let value = content
            .strip_suffix(b"\n")
            .map_or(content, |line| line.strip_suffix(b"\r").unwrap_or(line));
        let value = value.len();
        let (value, line_end) = content.split_at(value);
        if self.name == ParameterName::Batch {
            let rules = scrub_state.rules;
            let batch = SourceText::from_slice(value, 0);
            if let Some(calls) = &mut scrub_state.report.calls {
                calls.add_batch(&batch);
            }
            let edits = batch::find_edits(&batch, rules, &mut scrub_state.report)?;
            if edits.is_empty() {
                out.forward(&self.bytes);
                return Ok(Decision::Keep);
            }
            let mut scrubbed = apply(value, edits);
            if scrub_state.mode == ScrubMode::Mask {
                // White space after a document means nothing.
                scrubbed.resize(value.len(), b' ');
            }
            out.forward(head);
            out.insert(&scrubbed);
            out.forward(line_end);
            return Ok(Decision::Keep);
        }
        let rules = scrub_state.rules;
        let kind = rules.classify(self.name, value.iter().copied(), &mut scrub_state.report.signs);
        let decision = scrub_state.decide(kind, &self.bytes)?;
        match (decision, scrub_state.mode) {
            (Decision::Keep, _) => out.forward(&self.bytes),
            (Decision::Remove, ScrubMode::Remove) => out.discard(),
            (Decision::Remove, ScrubMode::Mask) => {
                let value = self.value_start..self.value_start + value.len();
                for range in self.name_ranges.iter().chain([&value]) {
                    if let Some(masked) = self.bytes.get_mut(range.clone()) {
                        masked.fill(b'x');
                    }
                }
                out.insert(&self.bytes);
            }
        }
        Ok(decision)
    }
}
