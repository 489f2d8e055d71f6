//! What it means if a source says that it has no token (`token.absent`).
//!
//! # Why
//!
//! An app withdraws a tenant by deleting its row or with an answer of its credential service: going on with the token would
//! ignore that. A file is often missing for another reason (a volume that is not mounted yet, an editor, a failed job), and a
//! command fails in many ways, so with these the token is kept by default.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::token::ObtainError;

/// What happens to the current token if its source says that it has none.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum AbsentPolicy {
    /// Withdrawn for `http` and `postgres`, kept for the others.
    #[default]
    Auto,
    /// It is withdrawn: requests are refused.
    Withdraw,
    /// It is kept.
    Keep,
}

// === impl AbsentPolicy ===

impl AbsentPolicy {
    /// Returns the policy of a source whose default is this one.
    pub(super) const fn or(self, default: Self) -> Self {
        match self {
            Self::Auto => default,
            Self::Withdraw | Self::Keep => self,
        }
    }

    /// Returns the statement of a source that there is no token; `otherwise` is the error if that does not withdraw it.
    pub(super) fn apply(self, otherwise: ObtainError) -> ObtainError {
        match self {
            Self::Withdraw => ObtainError::absent(otherwise.reason(), otherwise.to_string()),
            Self::Auto | Self::Keep => otherwise,
        }
    }
}
