//! The reason why there is no new token.

use std::error::Error;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// The reason why there is no new token. The messages name sources and reasons, never contents.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ObtainError {
    kind: ErrorKind,
    message: String,
    reason: &'static str,
    /// The code and the subcode of Graph's error, if it is about one.
    codes: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    /// A keyed hash of the content that was refused, if it is about one.
    content: Option<u64>,
    is_from_renewer: bool,
}

/// What follows from an error.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// A later attempt may succeed.
    Transient,
    /// The operator must act.
    Permanent,
    /// The source says that there is no token, and means it: the token was withdrawn.
    Absent,
    /// The sources were read and have only the current token.
    NothingNew,
    /// Another replica renews the token now.
    Locked,
}

// === impl ObtainError ===

impl ObtainError {
    /// Creates an error that a later attempt may not meet; `reason` is a word of a closed list.
    pub fn transient(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Transient, reason, message.into())
    }

    /// Creates an error whose `message` tells the operator what to do; `reason` is a word of a closed list.
    pub fn permanent(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Permanent, reason, message.into())
    }

    /// Creates the statement of a source that there is no token; `reason` is a word of a closed list.
    pub fn absent(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Absent, reason, message.into())
    }

    /// The sources have only the current token.
    #[must_use]
    pub fn nothing_new() -> Self {
        let message = "the source has no newer token".to_owned();
        Self::new(ErrorKind::NothingNew, "unchanged", message)
    }

    /// Another replica has the renewal lock of this source, and is not waited for.
    #[must_use]
    pub fn locked(source: &str) -> Self {
        let message = format!("another replica renews the token of {source}");
        Self::new(ErrorKind::Locked, "locked", message)
    }

    /// Creates an error of a kind; `reason` is a word of a closed list.
    #[must_use]
    pub const fn new(kind: ErrorKind, reason: &'static str, message: String) -> Self {
        Self {
            kind,
            message,
            reason,
            codes: String::new(),
            source: None,
            content: None,
            is_from_renewer: false,
        }
    }

    /// Returns the same statement without its cause, for one of many that it was made to.
    #[must_use]
    pub fn repeat(&self) -> Self {
        Self {
            codes: self.codes.clone(),
            content: self.content,
            is_from_renewer: self.is_from_renewer,
            ..Self::new(self.kind, self.reason, self.message.clone())
        }
    }

    /// Adds the cause, which must not contain a secret.
    #[must_use]
    pub fn with_source(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(cause.into());
        self
    }

    /// Adds the code and the subcode of Graph's error: `190/460`.
    #[must_use]
    pub fn with_codes(self, codes: String) -> Self {
        Self { codes, ..self }
    }

    /// Notes which content was refused, so that another one with the same fault is reported again. The key of the hash is
    /// random and of this process, so the hash says nothing about the content.
    #[must_use]
    pub fn about_content(mut self, refused: &[u8]) -> Self {
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        self.content = Some(KEY.hash_one(refused));
        self
    }

    /// Notes that the renewer was called: the error is not about a token of a source.
    pub(super) fn by_renewer(self) -> Self {
        Self {
            is_from_renewer: true,
            ..self
        }
    }

    /// What follows from it.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// A word of a closed list, for metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.reason
    }

    /// The reason for alerts: the word, and what Graph said.
    #[must_use]
    pub fn alert_reason(&self) -> String {
        let parts = [self.reason, &self.codes];
        parts.join("/").trim_end_matches('/').to_owned()
    }

    /// What a repetition of it has in common with it. Each message about an answer of Graph has another trace id.
    pub(super) fn identity(&self) -> String {
        if self.is_from_renewer && !self.codes.is_empty() {
            self.alert_reason()
        } else {
            self.message.clone()
        }
    }

    /// The hash of the content that was refused.
    pub(super) const fn refused_content(&self) -> Option<u64> {
        self.content
    }

    /// Returns whether the renewer was called.
    #[must_use]
    pub const fn is_from_renewer(&self) -> bool {
        self.is_from_renewer
    }

    /// Returns whether a later attempt may succeed without the operator.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        !matches!(self.kind, ErrorKind::Permanent | ErrorKind::Absent)
    }

    /// Returns whether another replica has the renewal lock.
    #[must_use]
    pub const fn is_locked(&self) -> bool {
        matches!(self.kind, ErrorKind::Locked)
    }

    /// Returns whether a source says that there is no token.
    #[must_use]
    pub const fn is_absence(&self) -> bool {
        matches!(self.kind, ErrorKind::Absent)
    }

    /// Returns whether a token was there that could not be decrypted.
    #[must_use]
    pub fn is_about_encryption(&self) -> bool {
        self.reason == "encrypted" || self.reason.starts_with("fernet_")
    }

    /// Returns whether the token was looked for at a place where the content has none, so that another token changes nothing.
    #[must_use]
    pub fn is_about_place(&self) -> bool {
        let reasons = "invalid_json key_not_found missing_key missing_pointer not_string pointer_not_found";
        reasons.split(' ').any(|reason| reason == self.reason)
    }

    /// Returns whether a source has a token that may not be used, or content that is no token.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        let is_no_token = self.content.is_some() && self.kind == ErrorKind::Permanent;
        !self.is_from_renewer && (is_no_token || self.is_about_source_token())
    }

    /// Returns whether a token was there that may not be used, rather than none.
    #[must_use]
    pub fn is_about_source_token(&self) -> bool {
        matches!(
            self.reason,
            "rejected_by_inspection" | "previously_rejected" | "expired"
        )
    }
}
