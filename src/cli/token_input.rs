//! Reads a token that the operator types or pipes.

use std::io::{self, IsTerminal as _, Read as _};

use zeroize::Zeroizing;

use super::exit::print_message;
use crate::source::decode::{DecodeError, Format, MAX_DOCUMENT_BYTES, decode_token};
use crate::token::Token;

/// The reason why there is no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenInputError {
    #[error("cannot read the token")]
    Read(#[from] io::Error),
    #[error("not a valid token")]
    Token(#[from] DecodeError),
}

/// Graph has issued no shorter token.
const SHORTEST_TOKEN: usize = 100;

/// Reads the token from a prompt that hides it, or from stdin if that is not a terminal.
pub(super) fn read_token() -> Result<Token, TokenInputError> {
    let stdin = io::stdin();
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_DOCUMENT_BYTES));
    if stdin.is_terminal() {
        let line = rpassword::prompt_password("Token (hidden): ")?;
        bytes.extend_from_slice(Zeroizing::new(line).as_bytes());
    } else {
        let max_bytes = u64::try_from(MAX_DOCUMENT_BYTES).unwrap_or(u64::MAX);
        stdin.lock().take(max_bytes).read_to_end(&mut bytes)?;
    }
    let token = decode_token(&bytes, &Format::Raw, None)?;
    if bytes.len() < SHORTEST_TOKEN {
        print_message("warning: tokens of Graph are longer; check that it was copied to its end");
    }
    Ok(token)
}
