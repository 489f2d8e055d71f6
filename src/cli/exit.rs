//! The exit codes of commands.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use crate::types::error_chain;

/// The outcome of a command. The numbers are part of the interface for scripts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// 0: success, a requested stop included.
    Success,
    /// 1: any failure without a number of its own.
    Failed,
    /// 2: invalid command line or configuration.
    Usage,
    /// 3: a listener cannot be bound.
    CannotBind,
    /// 4: no valid token, with `--require-token`.
    NoToken,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::CannotBind => 3,
            Exit::NoToken => 4,
        })
    }
}

/// Prints an error and its causes to stderr, in one line.
pub(super) fn print_error(error: &dyn Error, exit: Exit) -> Exit {
    print_message(&error_chain(error));
    exit
}

/// Prints a message to stderr. If stderr is closed, the exit code still reports the failure.
pub(super) fn print_message(message: &str) {
    drop(writeln!(std::io::stderr(), "graphward: {message}"));
}

/// Prints lines to stdout; a closed stdout is a failure.
pub(super) fn print_lines(lines: &str) -> Exit {
    match writeln!(std::io::stdout(), "{lines}") {
        Ok(()) => Exit::Success,
        Err(_closed) => Exit::Failed,
    }
}
