//! The environment: variables for the commonest keys.

/// The variables that are read.
pub const ENV_VARS: [&str; 11] = [
    "GRAPHWARD_CONFIG",
    "GRAPHWARD_LISTEN",
    "GRAPHWARD_ADMIN",
    "GRAPHWARD_ORIGIN",
    "GRAPHWARD_CA_FILE",
    "GRAPHWARD_TOKEN_FILE",
    "GRAPHWARD_TOKEN",
    "GRAPHWARD_APP_ID",
    "GRAPHWARD_APP_SECRET",
    "GRAPHWARD_APP_SECRET_FILE",
    "GRAPHWARD_LOG",
];

/// A variable of the process. One that is not Unicode comes with its strange bytes replaced, so that it is
/// found wrong rather than missing.
#[expect(
    clippy::disallowed_methods,
    reason = "the one door to the environment; everything else is handed a function"
)]
#[must_use]
pub fn env_var(name: &str) -> Option<String> {
    match std::env::var(name) {
        Ok(value) => Some(value),
        Err(std::env::VarError::NotPresent) => None,
        Err(std::env::VarError::NotUnicode(value)) => Some(value.to_string_lossy().into_owned()),
    }
}
