//! How commands end.

use std::process::ExitCode;

/// How a command ended. The numbers are promised to those who write scripts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// 0: it did what it was asked to do, stopping included.
    Success,
    /// 1: anything that has no number of its own.
    Failed,
    /// 2: the command line or the configuration is wrong.
    Usage,
    /// 3: a listener cannot be bound.
    CannotBind,
    /// 4: no usable token, with `--require-token`.
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
