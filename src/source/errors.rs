//! Why something of the house gave no token, for people and for metrics.
//!
//! # Why
//!
//! All is said in one line, as one line is what reaches the log, the operators' listener and a refused request. None of
//! these errors holds a secret.

use super::decode::DecodeError;
use crate::net::HttpEndpointError;
use crate::net::command::CommandError;
use crate::token::ObtainError;
use crate::types::error_chain;

/// An address gave no answer, or none of use.
pub(crate) fn from_endpoint_error(source: &str, error: &HttpEndpointError) -> ObtainError {
    let message = format!("{source} gave no token: {}", error_chain(error));
    if error.is_transient() {
        ObtainError::transient(error.reason(), message)
    } else {
        ObtainError::permanent(error.reason(), message)
    }
}

/// A command could not be run, or ended badly.
pub(crate) fn from_command_error(source: &str, error: &CommandError) -> ObtainError {
    let message = format!("{source} gave no token: {}", error_chain(error));
    if error.is_transient() {
        ObtainError::transient(error.reason(), message)
    } else {
        ObtainError::permanent(error.reason(), message)
    }
}

/// There is no token in what was answered.
pub(crate) fn from_decode_error(source: &str, error: DecodeError) -> ObtainError {
    let message = format!("what {source} answered was refused: {error}");
    ObtainError::permanent(error.label(), message)
}
