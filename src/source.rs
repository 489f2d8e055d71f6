//! Places that show a token.
//!
//! All of them promise what [`crate::token::Source`] asks: a bounded read, no secret in an error, and a
//! `replace` that may be dropped at any moment. What was read last stays in use when a read fails.

pub mod decode;
mod encoding;
mod env;
pub(crate) mod errors;
mod exec;
mod fernet;
mod file;
mod http;
mod poll_interval;
mod postgres;
mod renewed_store;
mod token_file;

pub use env::EnvSource;
pub use exec::{ExecSettings, ExecSource};
pub use fernet::{Fernet, FernetError};
pub use file::{FileSource, RollbackOutcome};
pub use http::HttpSource;
pub use postgres::{PostgresError, PostgresSettings, PostgresSource};
pub use renewed_store::RenewedTokenStore;
