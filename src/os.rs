//! The operating system: child processes, and files that are watched and read.

pub mod command;
pub mod watch;
