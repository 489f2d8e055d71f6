//! Why bytes hold no token.

/// Why bytes hold no token. The messages say what to do, and repeat nothing of the content.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// Nothing, white space, a scheme alone, or a word for nothing such as `null`.
    #[error("there is no token in it; put the token there (an empty file is never taken for one)")]
    Empty,
    /// More than [`Secret::MAX_BYTES`](crate::types::Secret::MAX_BYTES) for a token, or than 64 KiB for a document around one.
    #[error(
        "it is too long: a token has at most 16 KiB, a JSON or .env document at most 64 KiB; is it the right file?"
    )]
    TooLong,
    /// UTF-16, by its byte order mark.
    #[error("it is UTF-16 text; save it as UTF-8 (PowerShell's > writes UTF-16: use Set-Content -Encoding ascii)")]
    Utf16,
    /// Neither UTF-8 nor free of NUL.
    #[error("it is binary; a token is plain text (is it encrypted, compressed or the wrong file?)")]
    Binary,
    /// A control character, a space or a non-ASCII character inside the token.
    #[error("the token has a space, a control or a non-ASCII character inside; copy the token again, and nothing else")]
    InvalidCharacter,
    /// A quotation mark at one end.
    #[error("the token has a quotation mark at one end only; remove it, or add the other one")]
    UnbalancedQuote,
    /// Several lines where one token should be.
    #[error("it has several lines; leave one line with the token, or say with `key` or `pointer` where the token is")]
    MultipleLines,
    /// JSON where a bare token should be.
    #[error("it is JSON, not a bare token; say where the token is, such as pointer = \"/access_token\"")]
    MissingPointer,
    /// `KEY=value` where a bare token should be.
    #[error("it has KEY=value lines, not a bare token; name the key, such as key = \"WHATSAPP_ACCESS_TOKEN\"")]
    MissingKey,
    /// No such key.
    #[error("no line assigns the configured `key`; add KEY=token, or correct `key` (case matters)")]
    KeyNotFound,
    /// Not JSON.
    #[error("it is not valid JSON (line {line}, column {column}); mend it, or remove `pointer` if it is a bare token")]
    InvalidJson {
        /// From 1.
        line: usize,
        /// From 1; 0 before a line's first character.
        column: usize,
    },
    /// Nothing at the pointer.
    #[error("the JSON has nothing at the configured `pointer`; it should look like /access_token or /data/0/token")]
    PointerNotFound,
    /// Not a string at the pointer.
    #[error("the JSON value at the configured `pointer` is not a string; point at the token itself")]
    NotString,
}

impl DecodeError {
    /// Its name in logs and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::Utf16 => "utf16",
            Self::Binary => "binary",
            Self::InvalidCharacter => "character",
            Self::UnbalancedQuote => "quote",
            Self::MultipleLines => "lines",
            Self::MissingPointer => "wants_pointer",
            Self::MissingKey => "wants_key",
            Self::KeyNotFound => "no_key",
            Self::InvalidJson { .. } => "json",
            Self::PointerNotFound => "no_pointer",
            Self::NotString => "not_string",
        }
    }
}
