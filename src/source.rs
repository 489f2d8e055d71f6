//! Places that show a token.

pub mod decode;
