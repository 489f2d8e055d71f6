//! Credentials among the parameters of a form, or of a query.

use std::fmt;
use std::mem;

use bytes::BytesMut;
use memchr::{memchr, memchr2};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::super::parameter::{ParameterKind, ParameterName, form_decode, form_decode_with_len};
use super::batch;
use super::output::ScrubOutput;
use super::state::{Decision, InputState, MAX_BATCH_BYTES, MAX_FIELD_BYTES, ScrubError, ScrubMode, ScrubState};

/// A form: parameters with an ampersand between them.
#[derive(Default)]
pub(super) struct FormScrubber {
    state: FormState,
    /// What of the present parameter had to be kept to see what it is.
    buffered: BytesMut,
    /// What stands before the present parameter.
    separator: Separator,
}

#[derive(Clone, Copy, Debug, Default)]
enum FormState {
    /// In a name that may mean something.
    #[default]
    Name,
    /// In a parameter that leaves as it is.
    Passthrough,
    /// In one that has to be seen whole.
    Credential(ParameterName),
}

/// What stands before a parameter in the body, and what before the next that leaves.
#[derive(Clone, Copy, Debug, Default)]
enum Separator {
    /// It is the first.
    #[default]
    First,
    /// An ampersand, but nothing has left yet.
    Dropped,
    /// An ampersand behind what has left.
    Needed,
}

// === impl Form ===

impl FormScrubber {
    /// The next bytes, or the last.
    pub(super) fn feed(
        &mut self,
        data: &[u8],
        input_state: InputState,
        scrub_state: &mut ScrubState,
        out: &mut ScrubOutput<'_>,
    ) -> Result<(), ScrubError> {
        let buffered;
        let mut data = data;
        // A name is short, and begins again with what was kept of it; a field is only added to.
        if matches!(self.state, FormState::Name) && !self.buffered.is_empty() {
            self.buffered.extend_from_slice(data);
            buffered = mem::take(&mut self.buffered);
            data = &buffered;
        }
        loop {
            match self.state {
                FormState::Name => match match_name(data, input_state) {
                    NameMatch::Incomplete => {
                        self.buffered.extend_from_slice(data);
                        return Ok(());
                    }
                    NameMatch::Known(name) => self.state = FormState::Credential(name),
                    NameMatch::Other => {
                        self.write_separator(out);
                        self.state = FormState::Passthrough;
                    }
                },
                FormState::Passthrough => {
                    let (bytes, behind) = split_parameter(data);
                    out.forward(bytes);
                    match behind {
                        Some(behind) => data = behind,
                        None => break,
                    }
                    self.state = FormState::Name;
                }
                FormState::Credential(name) => {
                    let (bytes, behind) = split_parameter(data);
                    self.buffer(name, bytes)?;
                    match (behind, input_state) {
                        (None, InputState::More) => break,
                        (None, InputState::End) => {
                            self.scrub_parameter(name, scrub_state, out)?;
                            break;
                        }
                        (Some(behind), _) => data = behind,
                    }
                    self.scrub_parameter(name, scrub_state, out)?;
                    self.state = FormState::Name;
                }
            }
        }
        if input_state == InputState::End {
            for fragment in scrub_state.resolve_pending() {
                if matches!(self.separator, Separator::Needed) {
                    out.insert(b"&");
                }
                self.separator = Separator::Needed;
                out.insert(&fragment);
            }
        }
        Ok(())
    }

    fn buffer(&mut self, name: ParameterName, piece: &[u8]) -> Result<(), ScrubError> {
        let (limit, message) = match name {
            ParameterName::Batch => (MAX_BATCH_BYTES, "the batch is too long"),
            ParameterName::Token | ParameterName::Proof => (MAX_FIELD_BYTES, "one is too long"),
        };
        if self.buffered.len() + piece.len() > limit {
            return Err(ScrubError::CannotScrub(message));
        }
        self.buffered.extend_from_slice(piece);
        Ok(())
    }

    /// A parameter that has been seen whole.
    fn scrub_parameter(
        &mut self,
        name: ParameterName,
        scrub_state: &mut ScrubState,
        out: &mut ScrubOutput<'_>,
    ) -> Result<(), ScrubError> {
        let field = mem::take(&mut self.buffered);
        let equals = memchr(b'=', &field).unwrap_or(field.len());
        let (encoded_name, value) = field.split_at(equals);
        let value = value.get(1..).unwrap_or_default();
        if name == ParameterName::Batch {
            scrub_state.mark_batch();
            let decoded: Vec<u8> = form_decode(value).collect();
            self.write_separator(out);
            match batch::scrub(&decoded, scrub_state.policy(), scrub_state)? {
                None => out.forward(&field),
                Some(clean) => {
                    out.forward(encoded_name);
                    out.forward(b"=");
                    out.insert(&match scrub_state.mode() {
                        ScrubMode::Remove => percent_encode(&clean, FORM_ENCODE_SET).to_string().into_bytes(),
                        ScrubMode::Mask => mask_batch(value, &clean)?,
                    });
                }
            }
            return Ok(());
        }
        let kind = ParameterKind::from_decoded(name, form_decode(value));
        match (scrub_state.decide(kind, &field)?, scrub_state.mode()) {
            (Decision::Keep, _) => {
                self.write_separator(out);
                out.forward(&field);
            }
            (Decision::Remove, ScrubMode::Mask) => {
                self.write_separator(out);
                let mask = |byte: &u8| if *byte == b'=' { b'=' } else { b'x' };
                out.insert(&field.iter().map(mask).collect::<Vec<_>>());
            }
            (Decision::Remove, ScrubMode::Remove) => {
                out.discard();
                if matches!(self.separator, Separator::First) {
                    self.separator = Separator::Dropped;
                }
            }
        }
        Ok(())
    }

    /// The present parameter leaves: so does the ampersand before it, unless it is the first now.
    fn write_separator(&mut self, out: &mut ScrubOutput<'_>) {
        if matches!(self.separator, Separator::Needed) {
            out.forward(b"&");
        }
        self.separator = Separator::Needed;
    }
}

/// Never the bytes.
impl fmt::Debug for FormScrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Form")
            .field("place", &self.state)
            .field("before", &self.separator)
            .finish_non_exhaustive()
    }
}

/// What a form encodes, as browsers do.
const FORM_ENCODE_SET: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What the beginning of a parameter shows.
enum NameMatch {
    /// Not enough.
    Incomplete,
    /// A name that means something.
    Known(ParameterName),
    /// Any other.
    Other,
}

fn match_name(data: &[u8], input_state: InputState) -> NameMatch {
    // Most names begin otherwise, and go free here.
    match (data.first(), input_state) {
        (Some(b'a' | b'b' | b'%'), _) => {}
        (None, InputState::More) => return NameMatch::Incomplete,
        (Some(_), _) | (None, InputState::End) => return NameMatch::Other,
    }
    let prefix = data.get(..=ParameterName::MAX_ENCODED_BYTES).unwrap_or(data);
    let name = match (memchr2(b'=', b'&', prefix), input_state) {
        (Some(end), _) => data.get(..end),
        (None, InputState::More) if data.len() <= ParameterName::MAX_ENCODED_BYTES => {
            return NameMatch::Incomplete;
        }
        (None, _) => Some(data),
    };
    name.and_then(ParameterName::from_encoded)
        .map_or(NameMatch::Other, NameMatch::Known)
}

/// What is left of a parameter, and what is behind its ampersand.
fn split_parameter(data: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr(b'&', data).and_then(|at| data.split_at_checked(at)) {
        Some((piece, behind)) => (piece, behind.get(1..)),
        None => (data, None),
    }
}

/// A cleaned batch in the place of the value that it was, each byte with the length that it had.
fn mask_batch(value: &[u8], clean: &[u8]) -> Result<Vec<u8>, ScrubError> {
    let mut masked = Vec::with_capacity(value.len());
    let mut rest = value;
    let mut clean = clean.iter();
    for (byte, length) in form_decode_with_len(value) {
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

const CANNOT_MASK: ScrubError = ScrubError::CannotScrub("those of the batch cannot be masked");
