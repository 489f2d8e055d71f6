//! Places that show a token.
//!
//! All of them promise what [`crate::token::Source`] asks: a bounded read, no secret in an error, and a
//! `changed` that may be dropped at any moment. What was read last stays in use when a read fails.

pub mod decode;
mod env;
mod every;
mod exec;
mod fernet;
mod file;
mod http;
mod place;
mod postgres;
mod stored;
pub(crate) mod why;
mod written;

pub use env::EnvSource;
pub use exec::{ExecSettings, ExecSource};
pub use fernet::{Fernet, FernetError};
pub use file::{FileSource, RolledBack};
pub use http::{HttpSettings, HttpSource};
pub use postgres::{PostgresError, PostgresSettings, PostgresSource};
pub use stored::Stored;
