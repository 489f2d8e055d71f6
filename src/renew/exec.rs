//! A command that mints.
//!
//! # Why
//!
//! Some need the token that goes, so it stands on stdin, one line: arguments and environment are there for every process
//! of the machine, or of the user, to read.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::net::command::Command;
use crate::source::decode::{Format, token};
use crate::source::why::{failed, undecoded};
use crate::token::{BoxFuture, ObtainError, Outgoing, Renewer, Token};
use crate::types::Clock;

/// A renewal by a command, which gets the old token as a line on stdin, and `GRAPHWARD_TOKEN_DEAD`, `true` or `false`.
#[derive(Debug)]
pub struct ExecRenewer {
    command: Command,
    format: Format,
    clock: Clock,
}

// === impl ExecRenewer ===

impl ExecRenewer {
    /// Renewals by this program with these arguments, which no shell reads; `format` says where on its stdout the token
    /// is. Of our environment it gets `HOME`, `LANG`, `PATH`, `TZ` and what `keep_env` names. By the clock a life of
    /// so many seconds is counted.
    #[must_use]
    pub const fn new(
        argv: Vec<String>,
        format: Format,
        timeout: Duration,
        keep_env: Vec<String>,
        clock: Clock,
    ) -> Self {
        Self {
            command: Command::new(argv, keep_env, timeout),
            format,
            clock,
        }
    }

    async fn run(&mut self, outgoing: Outgoing<'_>) -> Result<Token, ObtainError> {
        let line = Zeroizing::new(format!("{}\n", outgoing.token.secret.expose()));
        let dead = if outgoing.dead { "true" } else { "false" };
        let variables = [("GRAPHWARD_TOKEN_DEAD", dead)];
        let said = self.clock.wall();
        let printed = self.command.run(line.as_bytes(), &variables).await;
        let printed = printed.map_err(|error| failed(&self.describe(), &error))?;
        token(&printed, &self.format, Some(said))
            .map_err(|error| undecoded(&self.describe(), error))
    }
}

impl Renewer for ExecRenewer {
    fn renew<'a>(
        &'a mut self,
        outgoing: Outgoing<'a>,
    ) -> BoxFuture<'a, Result<Token, ObtainError>> {
        Box::pin(self.run(outgoing))
    }

    fn describe(&self) -> String {
        format!("command {}", self.command.program())
    }
}

#[cfg(test)]
mod tests;
