//! Back to the token before, in the files where renewed ones are kept.

use std::time::Duration;

use tokio::time::timeout;

use super::supply::{Callers, SupplyError, file, place, stored};
use crate::config::{Config, TokenSource};
use crate::net::Tasks;
use crate::net::tls::TlsError;
use crate::source::RolledBack;
use crate::token::{ObtainError, Source as _};
use crate::types::Clock;

/// Why nothing was rolled back.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// The sources cannot be made.
    #[error(transparent)]
    Supply(#[from] SupplyError),
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
    Place(#[from] ObtainError),
    /// A sidecar is renewing.
    #[error("somebody is renewing the token, for more than {} s now; try again", WAIT.as_secs())]
    Busy,
}

/// The longest wait for a sidecar that is renewing.
const WAIT: Duration = Duration::from_secs(35);

/// Rolls back the first place that has a token before: in the store, if there is one, else in the source's file. Says
/// which place it was, and what was done.
///
/// # Errors
///
/// [`RollbackError`]; nothing was changed then.
pub async fn roll_back(
    config: &Config,
    clock: Clock,
) -> Result<(String, RolledBack), RollbackError> {
    let done = timeout(WAIT, roll_back_first(config, clock)).await;
    done.unwrap_or(Err(RollbackError::Busy))
}

async fn roll_back_first(
    config: &Config,
    clock: Clock,
) -> Result<(String, RolledBack), RollbackError> {
    let life = &config.token;
    let callers = Callers::new(config, None, &Tasks::default())?;
    let mut refused = None;
    for (index, source) in life.sources.iter().enumerate() {
        let (place, done) = match (&life.store, source) {
            (Some(store), source) => {
                let inner = place(source, &callers.house, clock)?;
                let mut stored = stored(inner, store, index, clock)?;
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
                let file = file(path, format, fernet_keys)?;
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
        match done {
            Ok(done) => return Ok((place, done)),
            // What the first says is what the person meant.
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(refused.map_or(RollbackError::NoFile, RollbackError::Place))
}
