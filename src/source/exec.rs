//! A command that prints the token: whatever the operator's vault has a client for.

use std::fmt;
use std::time::Duration;

use super::decode::{Format, token};
use super::errors::{from_command_error, from_decode_error};
use super::poll_interval::PollInterval;
use crate::net::command::ExternalCommand;
use crate::token::{BoxFuture, ObtainError, Source, Token};
use crate::types::Clock;

/// How a command is run for a token.
#[derive(Clone)]
pub struct ExecSettings {
    /// The program and its arguments; no shell reads them.
    pub argv: Vec<String>,
    /// Where on stdout the token is.
    pub format: Format,
    /// It is killed then, with all that it started.
    pub timeout: Duration,
    /// How often it is run, a tenth more or less; `None` if only when a new token is needed.
    pub poll_interval: Option<Duration>,
    /// Variables of our environment that it gets besides `HOME`, `LANG`, `PATH` and `TZ`. None that begins with
    /// `GRAPHWARD_` is handed on.
    pub keep_env: Vec<String>,
}

/// A token that a command prints.
#[derive(Debug)]
pub struct ExecSource {
    command: ExternalCommand,
    format: Format,
    poll_interval: PollInterval,
    clock: Clock,
}

// === impl ExecSource ===

impl ExecSource {
    /// The token that this command prints. By the clock a life of so many seconds is counted.
    #[must_use]
    pub fn new(settings: ExecSettings, clock: Clock) -> Self {
        let ExecSettings {
            argv,
            format,
            timeout,
            poll_interval,
            keep_env,
        } = settings;
        Self {
            command: ExternalCommand::new(argv, keep_env, timeout),
            format,
            poll_interval: PollInterval::new(poll_interval),
            clock,
        }
    }

    async fn run(&mut self) -> Result<Token, ObtainError> {
        let requested_at = self.clock.now();
        let printed = self.command.run(&[], &[]).await;
        let printed = printed.map_err(|error| from_command_error(&self.describe(), &error))?;
        token(&printed, &self.format, Some(requested_at)).map_err(|error| from_decode_error(&self.describe(), error))
    }
}

impl Source for ExecSource {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        Box::pin(async {
            // At the beginning, too: a look that is given up is a look.
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
        // Not the arguments, which may hold a secret.
        f.debug_struct("ExecSettings")
            .field("program", &self.argv.first())
            .field("format", &self.format)
            .field("timeout", &self.timeout)
            .field("every", &self.poll_interval)
            .field("keep_env", &self.keep_env)
            .finish()
    }
}

#[cfg(test)]
mod tests;
