//! Why tokens die, and how Graph answers.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::failure::GraphFailure;
use crate::pacific_time::format_pacific;

/// Why a token is dead. Each reason has its own answer, word for word.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InvalidationReason {
    /// 190/463: it expired.
    Expired,
    /// 190/460: the password was changed.
    PasswordChanged,
    /// 190/467: the user logged out.
    LoggedOut,
    /// 190/458: the user removed the app.
    AppRemoved,
    /// 190/459: the user must log in at facebook.com first; no newer token helps.
    Checkpointed,
    /// 190/466: invalidated through an API call.
    Revoked,
    /// 190: "Invalid OAuth access token - Cannot parse access token".
    CannotParse,
    /// 190: "The access token could not be decrypted", as after a reset of the app's secret.
    CannotDecrypt,
    /// 190: "Malformed access token", and the token itself.
    Malformed,
}

impl InvalidationReason {
    /// Graph's answer to a token that it cannot parse, such as another family's.
    pub(crate) fn cannot_parse() -> GraphFailure {
        let message = "Invalid OAuth access token - Cannot parse access token";
        GraphFailure::invalid_token(None, message)
    }

    pub(crate) fn to_failure(self, app: &str, token: &str, at: SystemTime, now: SystemTime) -> GraphFailure {
        const VALIDATING: &str = "Error validating access token:";
        let (subcode, message) = match self {
            Self::Expired => (
                463,
                format!(
                    "{VALIDATING} Session has expired on {}. The current time is {}.",
                    format_pacific(at),
                    format_pacific(now)
                ),
            ),
            Self::PasswordChanged => (
                460,
                format!(
                    "{VALIDATING} The session has been invalidated because the user changed their password or \
                     Facebook has changed the session for security reasons."
                ),
            ),
            Self::LoggedOut => (
                467,
                format!("{VALIDATING} The session is invalid because the user logged out."),
            ),
            Self::AppRemoved => (
                458,
                format!("{VALIDATING} The user has not authorized application {app}."),
            ),
            Self::Checkpointed => (
                459,
                format!(
                    "{VALIDATING} You cannot access the app till you log in to www.facebook.com and follow the \
                     instructions given."
                ),
            ),
            Self::Revoked => (
                466,
                format!("{VALIDATING} The session was explicitly invalidated using an API call."),
            ),
            Self::CannotParse => return Self::cannot_parse(),
            Self::Malformed => return GraphFailure::malformed_token(token),
            Self::CannotDecrypt => {
                return GraphFailure::invalid_token(None, "The access token could not be decrypted");
            }
        };
        GraphFailure::invalid_token(Some(subcode), message)
    }
}
