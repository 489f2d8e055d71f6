//! Credentials among the members of a JSON object.

use super::held::{Held, Rest, ScrubError};
use super::out::Out;

/// A JSON body.
#[derive(Debug, Default)]
pub(super) struct Json {}

impl Json {
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
