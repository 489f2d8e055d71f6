//! The standard streams that a log can be written to.

use std::io::{self, IsTerminal as _, Write};
use std::os::fd::{AsFd, BorrowedFd};

/// The stream that a process logs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogOutput {
    /// Standard output.
    Stdout,
    /// Standard error, for a process whose standard output is for something else.
    Stderr,
}

/// An open [`LogOutput`].
#[derive(Debug)]
pub(super) enum LogStream {
    Stdout(io::Stdout),
    Stderr(io::Stderr),
}

impl LogOutput {
    pub(super) fn open(self) -> LogStream {
        match self {
            Self::Stdout => LogStream::Stdout(io::stdout()),
            Self::Stderr => LogStream::Stderr(io::stderr()),
        }
    }

    pub(crate) fn is_terminal(self) -> bool {
        self.open().as_fd().is_terminal()
    }
}

impl Write for LogStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stream) => stream.write(bytes),
            Self::Stderr(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stream) => stream.flush(),
            Self::Stderr(stream) => stream.flush(),
        }
    }
}

impl AsFd for LogStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Stdout(stream) => stream.as_fd(),
            Self::Stderr(stream) => stream.as_fd(),
        }
    }
}
