//! Why something of the house gave no token, for people and for metrics.
//!
//! # Why
//!
//! All is said in one line, as one line is what reaches the log, the operators' listener and a refused request. None of
//! these errors holds a secret.

use super::decode::DecodeError;
use crate::net::EndpointError;
use crate::net::command::CommandError;
use crate::token::ObtainError;
use crate::types::chain;

/// An address gave no answer, or none of use.
pub(crate) fn unanswered(what: &str, error: &EndpointError) -> ObtainError {
    let told = format!("{what} gave no token: {}", chain(error));
    if error.is_transient() {
        ObtainError::transient(error.reason(), told)
    } else {
        ObtainError::permanent(error.reason(), told)
    }
}

/// A command could not be run, or ended badly.
pub(crate) fn failed(what: &str, error: &CommandError) -> ObtainError {
    let told = format!("{what} gave no token: {}", chain(error));
    if error.is_transient() {
        ObtainError::transient(error.reason(), told)
    } else {
        ObtainError::permanent(error.reason(), told)
    }
}

/// There is no token in what was answered.
pub(crate) fn undecoded(what: &str, error: DecodeError) -> ObtainError {
    let told = format!("what {what} answered was refused: {error}");
    ObtainError::permanent(error.label(), told)
}
