//! A command that renews.
//!
//! # Why
//!
//! Some commands need the outgoing token, so they get it as one line on stdin: other processes of the machine, or of the
//! user, can read arguments and environment.

use zeroize::Zeroizing;

use crate::source::TokenCommand;
use crate::token::{BoxFuture, ObtainError, RenewalRequest, Renewer, Token};

/// Renews by a command, which gets the old token as a line on stdin, and `GRAPHWARD_TOKEN_DEAD`, `true` or `false`. Its
/// environment has `HOME`, `LANG`, `PATH`, `TZ` and the variables that `keep_env` names as well.
impl Renewer for TokenCommand {
    fn renew<'a>(&'a mut self, request: RenewalRequest<'a>) -> BoxFuture<'a, Result<Token, ObtainError>> {
        Box::pin(async move {
            let stdin = Zeroizing::new(format!("{}\n", request.token.secret.expose()));
            let dead = if request.is_dead { "true" } else { "false" };
            self.run(stdin.as_bytes(), &[("GRAPHWARD_TOKEN_DEAD", dead)]).await
        })
    }

    fn describe(&self) -> String {
        self.to_string()
    }
}

#[cfg(test)]
mod tests;
