//! Rolls back to the previous token, in the files that hold renewed tokens.

use std::time::Duration;

use tokio::time::timeout;

use super::context::{BuildContext, UpstreamError};
use super::token_provider::{TokenProviderError, file_source, with_store};
use crate::config::Config;
use crate::net::Tasks;
use crate::source::{RollbackOutcome, TokenSource};
use crate::telemetry::metrics::Metrics;
use crate::token::{ObtainError, Source as _};
use crate::types::Clock;

/// The reason why nothing was rolled back.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// The sources cannot be built.
    #[error(transparent)]
    Sources(#[from] TokenProviderError),
    /// The upstream cannot be used as configured.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// Renewed tokens are not written to a file.
    #[error(
        "nothing to roll back: neither token.source nor token.store is a file. For a database source, restore the previous \
         token with SQL from where `update` saves it"
    )]
    NoFile,
    /// There is no previous token, or it cannot be restored.
    #[error(transparent)]
    Obtain(#[from] ObtainError),
    /// Another process is renewing the token.
    #[error("another process has been renewing the token for more than {} s; try again", LOCK_TIMEOUT.as_secs())]
    RefreshInProgress,
}

/// The longest wait for a renewal by another process.
const LOCK_TIMEOUT: Duration = Duration::from_secs(35);

/// Rolls back the first file that has a previous token: the store's, if there is a store, else the source's. Returns the
/// location of the file and the outcome.
///
/// # Errors
///
/// [`RollbackError`]; nothing is changed then.
pub async fn roll_back(config: &Config, clock: Clock) -> Result<(String, RollbackOutcome), RollbackError> {
    let result = timeout(LOCK_TIMEOUT, roll_back_first_source(config, clock)).await;
    result.unwrap_or(Err(RollbackError::RefreshInProgress))
}

async fn roll_back_first_source(config: &Config, clock: Clock) -> Result<(String, RollbackOutcome), RollbackError> {
    let token_config = &config.token;
    let context = BuildContext::new(config, Tasks::default(), clock, Metrics::new())?;
    let mut first_error = None;
    for (index, source) in token_config.sources.iter().enumerate() {
        let (location, result) = match (&token_config.store, source) {
            (Some(store), source) => {
                let inner = context.source(config, source)?;
                let mut stored = with_store(inner, store, index, clock)?;
                (stored.describe(), stored.roll_back().await)
            }
            (None, TokenSource::File(file)) => {
                let file = file_source(config, file)?;
                (file.describe(), file.roll_back().await)
            }
            (None, TokenSource::Env(_) | TokenSource::Http(_) | TokenSource::Exec(_) | TokenSource::Postgres(_)) => {
                continue;
            }
        };
        match result {
            Ok(rolled_back) => return Ok((location, rolled_back)),
            // The first file is the one that the operator means.
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.map_or(RollbackError::NoFile, RollbackError::Obtain))
}
