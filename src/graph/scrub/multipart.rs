//! Credentials among the fields of a multipart form.

use super::held::{Held, Rest, ScrubError};
use super::out::Out;

/// A multipart form.
#[derive(Debug)]
pub(super) struct Multipart {}

impl Multipart {
    /// For the parameters of its content type; `None`: it has no boundary.
    pub(super) fn of(_parameters: &[u8]) -> Option<Self> {
        None
    }

    /// The next bytes, or the last.
    pub(super) fn step(
        &mut self,
        data: &[u8],
        _rest: Rest,
        _held: &mut Held,
        out: &mut Out<'_>,
    ) -> Result<(), ScrubError> {
        out.pass(data);
        Ok(())
    }
}
