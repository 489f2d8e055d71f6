//! Places that show a token.
//!
//! All of them promise what [`crate::token::Source`] asks: a bounded read, no secret in an error, and a
//! `changed` that may be dropped at any moment. What was read last stays in use when a read fails.

pub mod decode;
mod env;
mod every;
mod exec;
mod file;
mod http;
pub(crate) mod why;

pub use env::EnvSource;
pub use exec::{ExecSettings, ExecSource};
pub use file::FileSource;
pub use http::{HttpSettings, HttpSource};
