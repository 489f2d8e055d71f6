//! The exit codes of commands.

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::types::{AnyError, error_chain};

/// The outcome of a command. The numbers are part of the interface for scripts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Exit {
    /// Success, a requested stop included.
    Success = 0,
    /// Any failure without a number of its own.
    Failed = 1,
    /// Invalid command line or configuration.
    Usage = 2,
    /// A listener cannot be bound.
    CannotBind = 3,
    /// No valid token, with `--require-token`.
    NoToken = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Prints an error and its causes to stderr, in one line.
pub(super) fn print_error(error: &AnyError, exit: Exit) -> Exit {
    print_message(&error_chain(error));
    exit
}

/// Prints a message to stderr, where nothing in it can change the terminal: the errors of a configuration have a line each. If stderr
/// is closed, the exit code still reports the failure.
pub(super) fn print_message(message: &str) {
    let message = message.replace(|letter: char| letter.is_control() && letter != '\n', " ");
    drop(writeln!(io::stderr(), "graphward: {message}"));
}

/// Prints lines to stdout, with their colors if it is a terminal.
pub(super) fn print_lines(lines: &str) -> Exit {
    exit_of(writeln!(anstream::stdout(), "{lines}"))
}

/// The outcome of a command whose result was written like this. If it was not, stderr says why.
pub(super) fn exit_of(written: io::Result<()>) -> Exit {
    match written.and_then(|()| io::stdout().flush()) {
        Ok(()) => Exit::Success,
        // `head` has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Success,
        Err(error) => {
            print_message(&format!("cannot write the result: {error}"));
            Exit::Failed
        }
    }
}
