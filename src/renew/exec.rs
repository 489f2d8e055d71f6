//! A command that renews.
//!
//! # Why
//!
//! Some commands need the outgoing token, so they get it as one line on stdin: other processes of the machine, or of the
//! user, can read arguments and environment.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::os::command::ExternalCommand;
use crate::source::decode::{Format, decode_token};
use crate::source::errors::{from_command_error, from_decode_error};
use crate::token::{BoxFuture, ObtainError, RenewalRequest, Renewer, Token};
use crate::types::Clock;

/// Renews by a command, which gets the old token as a line on stdin, and `GRAPHWARD_TOKEN_DEAD`, `true` or `false`.
#[derive(Debug)]
pub struct ExecRenewer {
    command: ExternalCommand,
    format: Format,
    clock: Clock,
}

// === impl ExecRenewer ===

impl ExecRenewer {
    /// Renews by this program with these arguments, without a shell; `format` says where on its stdout the token is. The
    /// command's environment has `HOME`, `LANG`, `PATH`, `TZ` and the variables that `keep_env` names. A lifetime in
    /// seconds counts by `clock`.
    #[must_use]
    pub const fn new(
        argv: Vec<String>,
        format: Format,
        timeout: Duration,
        keep_env: Vec<String>,
        clock: Clock,
    ) -> Self {
        Self {
            command: ExternalCommand::new(argv, keep_env, timeout),
            format,
            clock,
        }
    }

    async fn run(&mut self, request: RenewalRequest<'_>) -> Result<Token, ObtainError> {
        let stdin = Zeroizing::new(format!("{}\n", request.token.secret.expose()));
        let dead = if request.is_dead { "true" } else { "false" };
        let variables = [("GRAPHWARD_TOKEN_DEAD", dead)];
        let started_at = self.clock.now();
        let stdout = self.command.run(stdin.as_bytes(), &variables).await;
        let stdout = stdout.map_err(|error| from_command_error(&self.describe(), &error))?;
        decode_token(&stdout, &self.format, Some(started_at))
            .map_err(|error| from_decode_error(&self.describe(), error))
    }
}

impl Renewer for ExecRenewer {
    fn renew<'a>(&'a mut self, request: RenewalRequest<'a>) -> BoxFuture<'a, Result<Token, ObtainError>> {
        Box::pin(self.run(request))
    }

    fn describe(&self) -> String {
        format!("command {}", self.command.program())
    }
}

#[cfg(test)]
mod tests;
