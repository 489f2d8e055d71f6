//! A command that renews.
//!
//! # Why
//!
//! Some commands need the outgoing token, so they get it as one line on stdin: other processes of the machine, or of the
//! user, can read arguments and environment.

use zeroize::Zeroizing;

use crate::source::{CommandConfig, TokenCommand};
use crate::token::{BoxFuture, ObtainError, RenewalRequest, Renewer, Token};
use crate::types::Clock;

/// Renews by a command, which gets the old token as a line on stdin, and `GRAPHWARD_TOKEN_DEAD`, `true` or `false`.
#[derive(Debug)]
pub struct ExecRenewer {
    command: TokenCommand,
}

// === impl ExecRenewer ===

impl ExecRenewer {
    /// Renews by this command. Its environment has `HOME`, `LANG`, `PATH`, `TZ` and the variables that `keep_env` names. A
    /// lifetime in seconds counts by `clock`.
    #[must_use]
    pub fn new(config: CommandConfig, clock: Clock) -> Self {
        let command = TokenCommand::new(config, clock);
        Self { command }
    }

    async fn run(&mut self, request: RenewalRequest<'_>) -> Result<Token, ObtainError> {
        let stdin = Zeroizing::new(format!("{}\n", request.token.secret.expose()));
        let dead = if request.is_dead { "true" } else { "false" };
        let variables = [("GRAPHWARD_TOKEN_DEAD", dead)];
        self.command.run(stdin.as_bytes(), &variables).await
    }
}

impl Renewer for ExecRenewer {
    fn renew<'a>(&'a mut self, request: RenewalRequest<'a>) -> BoxFuture<'a, Result<Token, ObtainError>> {
        Box::pin(self.run(request))
    }

    fn describe(&self) -> String {
        self.command.to_string()
    }
}

#[cfg(test)]
mod tests;
