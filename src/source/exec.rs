//! The source `exec`: a command whose output holds a token, such as the client of a secret store.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::absent::AbsentPolicy;
use super::decode::{Format, decode_response};
use super::polled::TokenCall;
use crate::os::command::ExternalCommand;
use crate::token::{ObtainError, Token};
use crate::types::{Clock, error_chain};

/// A command that prints a token.
#[derive(Clone, Deserialize, Eq, JsonSchema, PartialEq, derive_more::Debug)]
// Without the command line, which may contain a secret.
#[debug("CommandConfig {{ .. }}")]
#[schemars(extend("additionalProperties" = false, "not" = { "required": ["key", "pointer"] }))]
pub struct CommandConfig {
    /// The program, which is searched for in `PATH`, and its arguments. There is no shell.
    #[serde(rename = "exec")]
    #[schemars(length(min = 1), extend("format" = "argument", "pattern" = r"^[^\x00]*$", "patternErrorMessage" = "must not contain a NUL"))]
    pub argv: Vec<String>,
    /// The format of its standard output.
    #[serde(flatten)]
    pub format: Format,
    /// The limit for the whole run; at most 15s.
    #[serde(default = "default_timeout")]
    #[schemars(extend("formatMinimum" = "1ms", "formatMaximum" = "15s"))]
    pub timeout: Duration,
    /// The variables that the command gets besides `PATH` and the like.
    #[serde(default)]
    #[schemars(extend("format" = "passed-env", "pattern" = r"^[A-Za-z_][A-Za-z0-9_]{0,99}$", "patternErrorMessage" = "must be the name of an environment variable (letters, digits and _), not its value"))]
    pub keep_env: Vec<String>,
}

/// A command that prints the token, and may run from time to time.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[schemars(extend("additionalProperties" = false, "not" = { "required": ["key", "pointer"] }))]
pub struct ExecSourceConfig {
    /// The command.
    #[serde(flatten)]
    pub command: CommandConfig,
    /// How often the command runs, 100ms to 1d; without it, only when a token is wanted.
    #[schemars(extend("formatMinimum" = "100ms", "formatMaximum" = "1d"))]
    pub poll_interval: Option<Duration>,
}

fn default_timeout() -> Duration {
    Duration::from_secs(10)
}

/// A command that is run for a token.
#[derive(Debug, derive_more::Display)]
#[display("command {}", command.program())]
pub struct TokenCommand {
    command: ExternalCommand,
    format: Format,
    clock: Clock,
    absent: AbsentPolicy,
}

// === impl TokenCommand ===

impl TokenCommand {
    /// Creates a command. Relative expiries count from `clock`.
    #[must_use]
    pub fn new(config: CommandConfig, clock: Clock) -> Self {
        Self {
            command: ExternalCommand::new(config.argv, config.keep_env, config.timeout),
            format: config.format,
            clock,
            absent: AbsentPolicy::Keep,
        }
    }

    /// Sets what it means if the output has `null` in place of the token; the default is nothing.
    #[must_use]
    pub fn with_absent(self, absent: AbsentPolicy) -> Self {
        Self { absent, ..self }
    }

    /// Runs the command with these arguments, of which the first is the program.
    pub(super) async fn run_as(&mut self, argv: Vec<String>) -> Result<Token, ObtainError> {
        self.command.set_argv(argv);
        self.run(&[], &[]).await
    }

    /// Runs the command with this standard input and these additional variables.
    pub(crate) async fn run(&mut self, stdin: &[u8], variables: &[(&str, &str)]) -> Result<Token, ObtainError> {
        let started_at = self.clock.now();
        let stdout = self.command.run(stdin, variables).await.map_err(|error| {
            let message = format!("failed to get a token from {self}: {}", error_chain(&error));
            if error.is_transient() {
                ObtainError::transient(error.reason(), message)
            } else {
                ObtainError::permanent(error.reason(), message)
            }
        })?;
        decode_response(&stdout, &self.format, started_at, &self, self.absent)
    }
}

impl TokenCall for TokenCommand {
    /// A command costs more than a request.
    const LOOK_INTERVAL: Duration = Duration::from_secs(10);

    async fn call(&mut self) -> Result<Token, ObtainError> {
        self.run(&[], &[]).await
    }
}

// === impl CommandConfig ===

#[cfg(test)]
mod tests;
