//! Back to the token before, in the files where renewed ones are kept.

use std::time::Duration;

use tokio::time::timeout;

use super::token_provider::{HttpClients, TokenProviderError, build_source, file_source, with_store};
use crate::config::{Config, TokenSource};
use crate::net::Tasks;
use crate::net::tls::TlsError;
use crate::source::RollbackOutcome;
use crate::token::{ObtainError, Source as _};
use crate::types::Clock;

/// Why nothing was rolled back.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// The sources cannot be made.
    #[error(transparent)]
    Sources(#[from] TokenProviderError),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] TlsError),
    /// No file is written to.
    #[error(
        "there is no file to roll back: renewed tokens are kept in a file if token.source is one, or token.store is; in a \
         row, the token before is where `update` puts it, to be put back by SQL"
    )]
    NoFile,
    /// There is no token before, or no way to put it there.
    #[error(transparent)]
    Obtain(#[from] ObtainError),
    /// A sidecar is renewing.
    #[error("somebody is renewing the token, for more than {} s now; try again", LOCK_TIMEOUT.as_secs())]
    RefreshInProgress,
}

/// The longest wait for a sidecar that is renewing.
const LOCK_TIMEOUT: Duration = Duration::from_secs(35);

/// Rolls back the first place that has a token before: in the store, if there is one, else in the source's file. Says
/// which place it was, and what was done.
///
/// # Errors
///
/// [`RollbackError`]; nothing was changed then.
pub async fn roll_back(config: &Config, clock: Clock) -> Result<(String, RollbackOutcome), RollbackError> {
    let result = timeout(LOCK_TIMEOUT, roll_back_first_source(config, clock)).await;
    result.unwrap_or(Err(RollbackError::RefreshInProgress))
}

async fn roll_back_first_source(config: &Config, clock: Clock) -> Result<(String, RollbackOutcome), RollbackError> {
    let token_config = &config.token;
    let clients = HttpClients::new(config, None, &Tasks::default())?;
    let mut first_error = None;
    for (index, source) in token_config.sources.iter().enumerate() {
        let (location, result) = match (&token_config.store, source) {
            (Some(store), source) => {
                let inner = build_source(source, &clients.internal, clock)?;
                let mut stored = with_store(inner, store, index, clock)?;
                (stored.describe(), stored.roll_back().await)
            }
            (
                None,
                TokenSource::File {
                    path,
                    format,
                    fernet_keys,
                },
            ) => {
                let file = file_source(path, format, fernet_keys)?;
                (file.describe(), file.roll_back().await)
            }
            (
                None,
                TokenSource::Env { .. }
                | TokenSource::Http { .. }
                | TokenSource::Exec { .. }
                | TokenSource::Postgres(_),
            ) => continue,
        };
        match result {
            Ok(rolled_back) => return Ok((location, rolled_back)),
            // What the first says is what the person meant.
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.map_or(RollbackError::NoFile, RollbackError::Obtain))
}
