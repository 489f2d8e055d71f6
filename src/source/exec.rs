//! A command that prints the token: whatever the operator's vault has a client for.

use std::fmt;
use std::time::Duration;

use super::decode::{Format, token};
use super::every::Every;
use super::why::{failed, undecoded};
use crate::net::command::Command;
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
    pub every: Option<Duration>,
    /// Variables of our environment that it gets besides `HOME`, `LANG`, `PATH` and `TZ`. None that begins with
    /// `GRAPHWARD_` is handed on.
    pub keep_env: Vec<String>,
}

/// A token that a command prints.
#[derive(Debug)]
pub struct ExecSource {
    command: Command,
    format: Format,
    every: Every,
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
            every,
            keep_env,
        } = settings;
        Self {
            command: Command::new(argv, keep_env, timeout),
            format,
            every: Every::new(every),
            clock,
        }
    }

    async fn run(&mut self) -> Result<Token, ObtainError> {
        let said = self.clock.wall();
        let printed = self.command.run(&[], &[]).await;
        let printed = printed.map_err(|error| failed(&self.describe(), &error))?;
        token(&printed, &self.format, Some(said))
            .map_err(|error| undecoded(&self.describe(), error))
    }
}

impl Source for ExecSource {
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>> {
        Box::pin(async {
            // At the beginning, too: a look that is given up is a look.
            self.every.restart();
            let found = self.run().await;
            self.every.restart();
            found
        })
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.every.due())
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
            .field("every", &self.every)
            .field("keep_env", &self.keep_env)
            .finish()
    }
}

#[cfg(test)]
mod tests;
