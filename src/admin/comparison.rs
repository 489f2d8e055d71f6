//! The comparison of a token that the operator sends with the one in use.
//!
//! # Why
//!
//! A token of another app or account is as valid as the right one: only the failures of the app's requests would show the mistake.
//! Graph tells the two apart, and `graphward check --diff` asks it, so the process is given that comparison, and no second one.

use std::fmt;

use super::tenant::AdminTenant;
use crate::token::{BoxFuture, Token};

/// Compares tokens of a tenant.
pub trait TokenComparison: fmt::Debug + Send + Sync {
    /// Compares a token with the one that a tenant uses.
    ///
    /// # Errors
    ///
    /// What may not work with the token, or why the two could not be compared.
    fn compare(&self, tenant: &AdminTenant, token: &Token) -> BoxFuture<'static, Result<(), String>>;
}
