//! Errors of credential services and commands, as errors of a source or a renewer.
//!
//! # Why
//!
//! The message has the causes in one line, since one line reaches the log, the admin listener and a refused request. None of
//! these errors contains a secret.

use super::decode::DecodeError;
use crate::net::HttpEndpointError;
use crate::os::command::CommandError;
use crate::token::ObtainError;
use crate::types::error_chain;

/// Converts the failure of a credential service.
pub(crate) fn from_endpoint_error(source: &str, error: &HttpEndpointError) -> ObtainError {
    let message = format!("failed to get a token from {source}: {}", error_chain(error));
    if error.is_transient() {
        ObtainError::transient(error.reason(), message)
    } else {
        ObtainError::permanent(error.reason(), message)
    }
}

/// Converts the failure of a command.
pub(crate) fn from_command_error(source: &str, error: &CommandError) -> ObtainError {
    let message = format!("failed to get a token from {source}: {}", error_chain(error));
    if error.is_transient() {
        ObtainError::transient(error.reason(), message)
    } else {
        ObtainError::permanent(error.reason(), message)
    }
}

/// Converts the lack of a token in a response.
pub(crate) fn from_decode_error(source: &str, error: DecodeError) -> ObtainError {
    let message = format!("the response of {source} was rejected: {error}");
    ObtainError::permanent(error.label(), message)
}
