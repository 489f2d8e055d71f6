//! Errors of other crates.

/// An error of another crate, with its causes.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
