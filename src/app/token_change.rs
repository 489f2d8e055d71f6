//! Changes the token of a configuration, for commands: in its source, as the refresher of a process would.

use super::context::BuildContext;
use super::error::StartError;
use super::token_provider::source_identity;
use crate::config::Config;
use crate::net::Tasks;
use crate::telemetry::metrics::Metrics;
use crate::token::{ObtainError, OperatorCommand, TokenChange, TokenProvider};
use crate::types::Clock;

/// The token of a configuration.
#[derive(Debug)]
pub struct ConfiguredToken {
    provider: TokenProvider,
    /// A hash that a running process with the same sources has, too.
    pub source_identity: String,
    clock: Clock,
}

impl ConfiguredToken {
    /// Builds the sources and what checks tokens, but no renewer: a change needs none of its secrets.
    ///
    /// # Errors
    ///
    /// [`StartError`] if the configuration cannot be used.
    pub fn new(mut config: Config, clock: Clock) -> Result<Self, StartError> {
        (config.token.renew, config.token.cache) = (None, None);
        let context = BuildContext::new(&config, Tasks::default(), clock, Metrics::new())?;
        let provider = context.token_side(&config, &config)?.provider;
        Ok(Self {
            source_identity: source_identity(&config.token, &provider.describe_sources()),
            provider,
            clock,
        })
    }

    /// Changes the token.
    ///
    /// # Errors
    ///
    /// [`ObtainError`] if nothing has changed.
    pub async fn change(&mut self, command: OperatorCommand) -> Result<TokenChange, ObtainError> {
        self.provider.change_token(command, self.clock.now()).await
    }
}
