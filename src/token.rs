//! The life of a token.
