//! Errors that come from elsewhere.

/// An error of somebody else's, kept whole.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
