//! Where tokens come from: the ports, and the rule between them.
//!
//! # Why
//!
//! "Different from the live token" is not "new": after a renewal the source may go on showing the superseded
//! token, and adopting it would flap between two tokens for ever. News is what differs *from what the source
//! showed last*.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use super::credential::{Credential, Token};
use crate::types::Fingerprint;

/// A boxed future: sources and renewers are called once in a while, by one task, chosen by configuration.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A place that shows a token somebody else keeps. Called by one refresher only, hence `&mut self` and no locks
/// inside.
pub trait Source: Send + 'static {
    /// Reads what the place shows now. Bounded in time and size.
    fn load(&mut self) -> BoxFuture<'_, Result<Token, ObtainError>>;

    /// Completes when there may be news. Cancel-safe.
    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    /// What it is, for people: `file /run/graphward/token`. Never a secret.
    fn describe(&self) -> String;
}

/// An act that mints a new token.
pub trait Renewer: Send + 'static {
    /// Mints the successor of `outgoing`. Bounded in time.
    fn renew<'a>(&'a mut self, outgoing: &'a Token) -> BoxFuture<'a, Result<Token, ObtainError>>;
}

/// Why there is no new token. The messages name places and reasons, never contents.
#[derive(Debug, thiserror::Error)]
pub enum ObtainError {
    /// It mends itself without a person.
    #[error("{what}")]
    Transient {
        /// What was attempted, with what.
        what: String,
        /// A closed word for metrics.
        reason: &'static str,
        /// What lies behind.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A person has to act.
    #[error("{what}")]
    Permanent {
        /// What was attempted, with what, and what to do.
        what: String,
        /// A closed word for metrics.
        reason: &'static str,
        /// What lies behind.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// All was read, and it is the token we know.
    #[error("the source shows no newer token")]
    NothingNew,
}

/// A source, perhaps a renewer, and the rule between them: look first, mint second.
pub struct Supply {
    source: Box<dyn Source>,
    renewer: Option<Box<dyn Renewer>>,
    shown: Option<Fingerprint>,
}

// === impl ObtainError ===

impl ObtainError {
    /// Whether it mends itself without a person.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Transient { .. } | Self::NothingNew => true,
            Self::Permanent { .. } => false,
        }
    }

    /// A closed word for metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Transient { reason, .. } | Self::Permanent { reason, .. } => reason,
            Self::NothingNew => "nothing_new",
        }
    }
}

// === impl Supply ===

impl Supply {
    /// A supply that finds tokens and mints none.
    #[must_use]
    pub fn of(source: impl Source) -> Self {
        Self {
            source: Box::new(source),
            renewer: None,
            shown: None,
        }
    }

    /// The same with a renewer.
    #[must_use]
    pub fn renewed_by(self, renewer: impl Renewer) -> Self {
        Self {
            renewer: Some(Box::new(renewer)),
            ..self
        }
    }

    /// What the source is, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        self.source.describe()
    }

    /// News from the source: what it shows, if that differs from what it showed last.
    ///
    /// # Errors
    ///
    /// What the source says.
    pub async fn look(&mut self) -> Result<Option<Token>, ObtainError> {
        let token = self.source.load().await?;
        let fingerprint = token.secret.fingerprint();
        Ok((self.shown.replace(fingerprint) != Some(fingerprint)).then_some(token))
    }

    /// A token other than `outgoing`: from the source if that has news, else minted.
    ///
    /// # Errors
    ///
    /// [`ObtainError::NothingNew`] if the source has no news and nothing can be minted; what the source or the
    /// renewer says otherwise. A source that cannot be read does not keep the renewer from minting.
    pub async fn replace(&mut self, outgoing: Option<&Credential>) -> Result<Token, ObtainError> {
        let looked = self.look().await;
        let (renewer, outgoing) = match (looked, &mut self.renewer, outgoing) {
            (Ok(Some(token)), _, _) => return Ok(token),
            (_, Some(renewer), Some(outgoing)) => (renewer, outgoing),
            (Ok(None), ..) => return Err(ObtainError::NothingNew),
            (Err(error), ..) => return Err(error),
        };
        let token = renewer.renew(outgoing.token()).await?;
        if token.secret.fingerprint() == outgoing.fingerprint() {
            return Err(ObtainError::NothingNew);
        }
        Ok(token)
    }

    /// Completes when the source may have news. Cancel-safe.
    pub async fn changed(&mut self) {
        self.source.changed().await;
    }
}

impl fmt::Debug for Supply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supply")
            .field("source", &self.source.describe())
            .field("renews", &self.renewer.is_some())
            .finish_non_exhaustive()
    }
}
