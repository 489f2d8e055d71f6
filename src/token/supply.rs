//! Where tokens come from: the ports, and the rule between them.
//!
//! # Why
//!
//! "Different from the live token" is not "new": after a renewal the source may go on showing the superseded
//! token, and adopting it would flap between two tokens for ever. News is what differs *from what the source
//! showed last*.

use std::fmt;

use super::credential::{Credential, Token};
use super::ports::{ObtainError, Outgoing, Renewer, Source};
use crate::types::Fingerprint;

/// A source, perhaps a renewer, and the rule between them: look first, mint second.
pub struct Supply {
    source: Box<dyn Source>,
    renewer: Option<Box<dyn Renewer>>,
    shown: Option<Fingerprint>,
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
        let token = renewer
            .renew(Outgoing {
                token: outgoing.token(),
                dead: false,
            })
            .await?;
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
