//! The reasons why bytes contain no token.

/// The reason why bytes contain no token. The messages say what to do, and repeat nothing of the content but the names of keys
/// that resemble the configured one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// Nothing, white space, a scheme alone, or a placeholder such as `null`.
    #[error("it is empty, or has only a scheme or a word such as `null`; write the value to it")]
    Empty,
    /// More than [`Secret::MAX_BYTES`](crate::types::Secret::MAX_BYTES) for a token, or than 64 KiB for a document around one.
    #[error(
        "it is too large: a token or another secret may have at most 16 KiB, a JSON or .env document at most 64 KiB; check that it is the right file"
    )]
    TooLong,
    /// UTF-16, by its byte order mark.
    #[error("it is UTF-16 text; save it as UTF-8 (PowerShell's > writes UTF-16: use Set-Content -Encoding ascii)")]
    Utf16,
    /// Neither UTF-8 nor free of NUL.
    #[error("it is binary data, not plain text; check whether it is encrypted, compressed or the wrong file")]
    Binary,
    /// A control character, a space or a non-ASCII character inside the token.
    #[error("it contains a space, a control character or a non-ASCII character; copy it again, and nothing else")]
    InvalidCharacter,
    /// A punctuation mark that no token has, such as the one of a comment.
    #[error(
        "it contains `{0}`, which no token or app secret does; copy only the value again, without comments, line \
         continuations and code"
    )]
    ForbiddenCharacter(char),
    /// `${NAME}`, `{{ name }}`: what a shell or a template would have replaced.
    #[error(
        "it refers to a variable that was not replaced; write the value itself, or in a .env file define the variable there"
    )]
    UnresolvedVariable,
    /// A URL, a path, or the address of a secret in a store.
    #[error(
        "it is the address of a secret (a URL, a path, op://, vault: or the like) or has a label; write the secret \
         itself, or for the token use an exec source that gets it"
    )]
    Reference,
    /// The text of a template.
    #[error("it is a placeholder; write the value to it")]
    Placeholder,
    /// Encrypted by SOPS, Ansible Vault and the like.
    #[error("it is encrypted by another tool; decrypt it with that tool, or use an exec source that does")]
    EncryptedElsewhere,
    /// Base64 of JSON or of a token.
    #[error("it is base64 of JSON or of a token; decode it first")]
    Base64,
    /// A quotation mark at one end only.
    #[error(
        "it has an unbalanced quotation mark, or is Python's `b'…'`; keep only what is between the quotation marks"
    )]
    UnbalancedQuote,
    /// Several lines instead of one token.
    #[error("it has several lines; keep only the line with the value, or set `key` or `pointer` to locate it")]
    MultipleLines,
    /// JSON instead of a bare token.
    #[error(
        "it is JSON, not a bare value; set `pointer` to locate the value, for example pointer = \"/access_token\" for a token"
    )]
    MissingPointer,
    /// `KEY=value` lines instead of a bare token.
    #[error(
        "it has KEY=value lines; set `key` to the name of the line, for example key = \"WHATSAPP_ACCESS_TOKEN\" for a token"
    )]
    MissingKey,
    /// No such key.
    #[error("no line assigns `{key}`, the configured `key`{hint}; add {key}=VALUE, or fix `key` (case matters)")]
    KeyNotFound {
        /// The configured key.
        key: Box<str>,
        /// The keys of the file that resemble it, as a part of the message.
        hint: Box<str>,
    },
    /// Not JSON.
    #[error("invalid JSON (line {line}, column {column}); fix it, or remove `pointer` if it is a bare value")]
    InvalidJson {
        /// From 1.
        line: usize,
        /// From 1; 0 before a line's first character.
        column: usize,
    },
    /// The pointer leads on into a string that is not JSON.
    #[error("the value at {pointer} is a string that is not JSON; fix it, or end `pointer` there")]
    NotJsonInString {
        /// The pointer to the string.
        pointer: Box<str>,
    },
    /// Nothing at the pointer.
    #[error("the JSON has no value at the configured `pointer`; a pointer looks like /access_token or /data/0/token")]
    PointerNotFound,
    /// `null` at the pointer.
    #[error("the JSON value at the configured `pointer` is null")]
    Null,
    /// Not a string at the pointer.
    #[error("the JSON value at the configured `pointer` is not a string; point to the value itself")]
    NotString,
}

impl DecodeError {
    /// Returns whether the bytes look like another document than one for a token, which must not be overwritten.
    pub(in super::super) const fn is_about_document(&self) -> bool {
        matches!(
            self,
            Self::TooLong | Self::Utf16 | Self::Binary | Self::MultipleLines | Self::MissingPointer | Self::MissingKey
        )
    }

    /// Its name in logs and metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::Utf16 => "utf16",
            Self::Binary => "binary",
            Self::InvalidCharacter | Self::ForbiddenCharacter(_) => "invalid_character",
            Self::UnresolvedVariable => "unresolved_variable",
            Self::Reference => "reference",
            Self::Placeholder => "placeholder",
            Self::EncryptedElsewhere => "encrypted_elsewhere",
            Self::Base64 => "base64",
            Self::UnbalancedQuote => "unbalanced_quote",
            Self::MultipleLines => "multiple_lines",
            Self::MissingPointer => "missing_pointer",
            Self::MissingKey => "missing_key",
            Self::KeyNotFound { .. } => "key_not_found",
            Self::InvalidJson { .. } | Self::NotJsonInString { .. } => "invalid_json",
            Self::PointerNotFound => "pointer_not_found",
            Self::Null => "null",
            Self::NotString => "not_string",
        }
    }
}
