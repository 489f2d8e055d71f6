//! Places that show a token.
