//! A command that prints the token, such as the client of a secret store.

use std::fmt;
use std::time::Duration;

use super::decode::{Format, decode_token};
use super::errors::{from_command_error, from_decode_error};
use super::poll_interval::PollInterval;
use crate::os::command::ExternalCommand;
use crate::token::{BoxFuture, ObtainError, Source, Token};
use crate::types::Clock;

/// The settings of an [`ExecSource`].
#[derive(Clone)]
pub struct ExecSettings {
    /// The program and its arguments; no shell reads them.
    pub argv: Vec<String>,
    /// The format of its standard output.
    pub format: Format,
    /// The time limit, after which the command and its children are killed.
    pub timeout: Duration,
    /// How often it is run, a tenth more or less; `None` to run it only when a new token is needed.
    pub poll_interval: Option<Duration>,
    /// The environment variables that it gets besides `HOME`, `LANG`, `PATH` and `TZ`. It gets none that begins with
    /// `GRAPHWARD_`.
    pub keep_env: Vec<String>,
}

/// A source that runs a command.
#[derive(Debug)]
pub struct ExecSource {
    command: ExternalCommand,
    format: Format,
    poll_interval: PollInterval,
    clock: Clock,
}

// === impl ExecSource ===

impl ExecSource {
    /// Creates a source that runs this command. Relative expiries count from `clock`.
    #[must_use]
    pub fn new(settings: ExecSettings, clock: Clock) -> Self {
        Self {
            command: ExternalCommand::new(settings.argv, settings.keep_env, settings.timeout),
            format: settings.format,
            poll_interval: PollInterval::new(settings.poll_interval),
            clock,
        }
    }

    async fn run(&mut self) -> Result<Token, ObtainError> {
        let requested_at = self.clock.now();
        let printed = self.command.run(&[], &[]).await;
        let printed = printed.map_err(|error| from_command_error(&self.describe(), &error))?;
        decode_token(&printed, &self.format, Some(requested_at))
            .map_err(|error| from_decode_error(&self.describe(), error))
    }
}

impl Source for ExecSource {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        Box::pin(async {
            // Reset first, too: a load that is canceled counts as one.
            self.poll_interval.reset();
            let found = self.run().await;
            self.poll_interval.reset();
            found
        })
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.poll_interval.tick())
    }

    fn describe(&self) -> String {
        format!("command {}", self.command.program())
    }
}

// === impl ExecSettings ===

impl fmt::Debug for ExecSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the arguments, which may contain a secret.
        f.debug_struct("ExecSettings")
            .field("program", &self.argv.first())
            .field("format", &self.format)
            .field("timeout", &self.timeout)
            .field("poll_interval", &self.poll_interval)
            .field("keep_env", &self.keep_env)
            .finish()
    }
}

#[cfg(test)]
mod tests;
