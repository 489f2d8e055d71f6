//! Errors that come from elsewhere, and how they are told.

/// An error of somebody else's, kept whole.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
