//! The sources of tokens.
//!
//! All of them keep the contract of [`crate::token::Source`]: a bounded read, no secret in an error, and a `changed` that may
//! be dropped at any moment. When a read fails, the current token stays in use.

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
