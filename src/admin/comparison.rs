//! The comparison of a token that the operator sends with the one in use.
//!
//! # Why
//!
//! A token of another app or account is as valid as the right one: only the failures of the app's requests would show the mistake.
//! Graph tells the two apart, and `graphward check --diff` asks it, so the process is given that comparison, and no second one.
//!
//! Each comparison has a thread to the end, also when its client has left. So few run at the same time: token files and uploads need
//! the same threads, and Graph counts the calls.

use std::fmt;
use std::time::Duration;

use super::tenant::AdminTenant;
use crate::token::{BoxFuture, Token};

/// The reason why a token is not known to be like the one in use.
#[derive(Debug, thiserror::Error)]
pub enum ComparisonError {
    /// What may not work with the token, or why the two could not be compared.
    #[error(
        "the token was not changed, because it is not known to be like the current one ({0}); ?force=yes puts it in its place"
    )]
    Different(String),
    /// As many comparisons run as may.
    #[error("the token was not changed: busy with other comparisons; retry in {} s", COMPARISON_TIMEOUT.as_secs())]
    Busy,
}

/// The longest wait for a comparison of two tokens.
pub const COMPARISON_TIMEOUT: Duration = Duration::from_secs(15);

/// The reason why a comparison took longer.
pub const COMPARED_LATE: &str = "Graph did not answer in time, so they were not compared";

/// Compares tokens of a tenant.
pub trait TokenComparison: fmt::Debug + Send + Sync {
    /// Compares a token with the one that a tenant uses.
    ///
    /// # Errors
    ///
    /// [`ComparisonError`].
    fn compare(&self, tenant: &AdminTenant, token: &Token) -> BoxFuture<'static, Result<(), ComparisonError>>;
}
