//! A command that prints the token, such as the client of a secret store.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::absent::AbsentPolicy;
use super::command::{CommandConfig, TokenCommand};
use super::poll_interval::PollInterval;
use crate::token::{BoxFuture, ObtainError, Source, Token};
use crate::types::Clock;

/// A command that prints the token.
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

/// A source that runs a command.
#[derive(Debug)]
pub struct ExecSource {
    command: TokenCommand,
    poll_interval: PollInterval,
}

/// The time between two runs while the token is dead: a command costs more than a request.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

// === impl ExecSource ===

impl ExecSource {
    /// Creates a source that runs this command. Relative expiries count from `clock`.
    #[must_use]
    pub fn new(config: ExecSourceConfig, clock: Clock) -> Self {
        Self {
            command: TokenCommand::new(config.command, clock),
            poll_interval: PollInterval::new(config.poll_interval),
        }
    }

    /// Sets what it means if the output has `null` in place of the token; the default is nothing.
    #[must_use]
    pub fn with_absent(mut self, absent: AbsentPolicy) -> Self {
        self.command = self.command.with_absent(absent);
        self
    }
}

impl Source for ExecSource {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        Box::pin(self.poll_interval.poll(self.command.run(&[], &[])))
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.poll_interval.tick())
    }

    fn look_interval(&self) -> Option<Duration> {
        Some(LOOK_INTERVAL)
    }

    fn describe(&self) -> String {
        self.command.to_string()
    }
}

#[cfg(test)]
mod tests;
