//! One check of the sources: which of them is read, and which token is used. The rules are in the decision table of
//! `provider`.

use futures_util::StreamExt as _;

use super::credential::{Credential, Token};
use super::error::ObtainError;
use super::sources::{LoadedSource, Reach, SourceList, SourcedToken, TokenOrigin, drain};
use super::traits::RefreshContext;
use super::vetting::Vetting;
use crate::graph::Inspection;

/// Reads the sources, and returns the first token that may be used.
pub(super) async fn read_sources(
    sources: &mut SourceList,
    vetting: &mut Vetting,
    reach: Reach,
    context: RefreshContext<'_>,
) -> Check {
    let current = context.current.map(Credential::fingerprint);
    let (mut first_error, mut skipped_error, mut dead_candidate, mut shown_by) = (None, None, None, None);
    let origin = sources.token_origin;
    let mut loads = sources.load(reach, context);
    while let Some(LoadedSource {
        index,
        result,
        fallback,
        tracked,
    }) = loads.next().await
    {
        let token = match result {
            Ok(token) => token,
            // The statement that withdraws the token matters more than another source's failure.
            Err(error) if error.is_absence() && (origin == TokenOrigin::Source(index) || origin.is_cache()) => {
                first_error = Some(error);
                continue;
            }
            Err(error) => {
                first_error = first_error.or(Some(error));
                continue;
            }
        };
        let loaded = token.secret.fingerprint();
        let is_new = tracked.record_if_new(loaded);
        let has_priority = is_new && origin.has_priority(index);
        let source = tracked.describe();
        let fallback = fallback.filter(|token| token.secret.fingerprint() != loaded);
        // A fallback does not replace a living token.
        let fallback = fallback.map(|token| (token, context.current_is_dead));
        let newest = (token, context.current_is_dead || has_priority);
        for (token, is_wanted) in [Some(newest), fallback].into_iter().flatten() {
            if Some(token.secret.fingerprint()) == current {
                if context.current_is_dead {
                    shown_by = shown_by.or(Some(index));
                    continue;
                }
                // The current token is still there, and the sources after it do not matter.
                drain(loads).await;
                sources.token_origin = TokenOrigin::Source(index);
                let refusal = skipped_error.or_else(|| first_error.filter(ObtainError::is_refusal));
                return Check::of(refusal.map_or(Ok(None), Err));
            }
            if !is_wanted {
                continue;
            }
            match vetting.admit(&token, &source, context).await {
                Ok(inspection) => {
                    if context.current_is_dead {
                        drop(loads);
                    } else {
                        drain(loads).await;
                    }
                    sources.token_origin = TokenOrigin::Source(index);
                    return Check::of(Ok(Some(ObtainedToken {
                        skipped_error: skipped_error.or_else(|| first_error.filter(ObtainError::is_refusal)),
                        ..ObtainedToken::new(token, inspection, source)
                    })));
                }
                Err(error) => {
                    let is_known = error.reason() == "previously_rejected";
                    if context.current.is_none() {
                        dead_candidate.get_or_insert(SourcedToken {
                            source_index: index,
                            token,
                        });
                    }
                    // That a token may not be used is reported once.
                    if is_new {
                        skipped_error = skipped_error.or(Some(error));
                    } else if !is_known {
                        first_error = first_error.or(Some(error));
                    }
                }
            }
        }
    }
    drop(loads);
    // Another source still has the token that its own source withdraws.
    if let Some(index) = shown_by
        && sources.is_absence_confirmed()
    {
        sources.token_origin = TokenOrigin::Source(index);
    }
    Check {
        found: skipped_error.or(first_error).map_or(Ok(None), Err),
        dead_candidate,
    }
}

/// A token that may be used.
#[derive(Debug)]
pub(super) struct ObtainedToken {
    pub(super) token: Token,
    /// The result of its inspection, if Graph could be asked.
    pub(super) inspection: Option<Inspection>,
    /// Whether the renewer returned it.
    pub(super) renewed: bool,
    /// The description of its source or renewer.
    pub(super) source: String,
    /// The reason why it would be lost at a restart, if it would.
    pub(super) store_error: Option<ObtainError>,
    /// The reason why what a source before it has was not used, if there was something.
    pub(super) skipped_error: Option<ObtainError>,
}

/// The result of reading the sources.
pub(super) struct Check {
    pub(super) found: Result<Option<ObtainedToken>, ObtainError>,
    /// The first token that may not be used, if there is no current one.
    pub(super) dead_candidate: Option<SourcedToken>,
}

// === impl ObtainedToken ===

impl ObtainedToken {
    pub(super) const fn new(token: Token, inspection: Option<Inspection>, source: String) -> Self {
        Self {
            token,
            inspection,
            renewed: false,
            source,
            store_error: None,
            skipped_error: None,
        }
    }
}

// === impl Check ===

impl Check {
    pub(super) const fn of(found: Result<Option<ObtainedToken>, ObtainError>) -> Self {
        Self {
            found,
            dead_candidate: None,
        }
    }
}
