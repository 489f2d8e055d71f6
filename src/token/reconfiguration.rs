//! What a reload changes for a refresher; the credential, and what is known about tokens, stay.

use std::time::Duration;

use super::credential::ProofSettings;
use super::provider::TokenProvider;
use super::sources::SourcedToken;

/// What a refresher works with from now on.
#[derive(Debug)]
pub struct Reconfiguration {
    /// The sources, the renewer and the inspector.
    pub provider: TokenProvider,
    /// The index that each source had before; `None` for one that is new or has changed.
    pub previous_sources: Vec<Option<usize>>,
    /// What computes proofs.
    pub proofs: Option<ProofSettings>,
    /// How long before its expiry a token is renewed: `RefreshPolicy::renew_before`.
    pub renew_before: Duration,
}

/// Makes a provider continue where `old` was. A renewed token that is not stored yet stays, if its source does.
pub(super) fn continue_from(provider: &mut TokenProvider, old: TokenProvider, previous_sources: &[Option<usize>]) {
    provider.sources.continue_from(&old.sources, previous_sources);
    provider.vetting.denied = old.vetting.denied;
    provider.last_known_good.continue_from(*old.last_known_good);
    provider.pending_store = old.pending_store.and_then(|pending| {
        let mut sources = previous_sources.iter();
        let source_index = sources.position(|index| *index == Some(pending.source_index))?;
        Some(Box::new(SourcedToken {
            source_index,
            ..*pending
        }))
    });
}
