//! What graphward would have done with a request that it only observed.

use std::fmt;

use super::refusal::Refusal;

/// What graphward would have done with a request.
#[derive(Debug, Default)]
pub(crate) struct Observation {
    /// It would have added the token.
    pub(crate) injects: bool,
    /// It would have replaced a token of the app.
    pub(crate) replaces: bool,
    /// Graph rejected the token, and graphward has a usable token to replay the request with.
    pub(crate) heals: bool,
    /// It would have refused the request.
    pub(crate) refusal: Option<Refusal>,
}

const REFUSE: &str = "refuse";

// === impl Observation ===

impl Observation {
    /// What graphward would have done, with the outcome that a refused request would have had.
    pub(crate) fn outcomes(&self) -> Vec<&'static str> {
        let refused = self.refusal.as_ref().map(Refusal::label);
        let outcome = |label| refused.filter(|_| label == REFUSE).unwrap_or(label);
        self.labels().map(outcome).collect()
    }

    /// What graphward would have done, as metric labels.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &'static str> {
        let labels = [
            (self.injects, "inject"),
            (self.replaces, "replace"),
            (self.heals, "heal"),
            (self.refusal.is_some(), REFUSE),
        ];
        labels.into_iter().filter_map(|(would, label)| would.then_some(label))
    }
}

/// `inject, refuse: refused_not_allowed`
impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, label) in self.labels().enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            write!(f, "{separator}{label}")?;
        }
        match &self.refusal {
            Some(refusal) => write!(f, ": {}", refusal.label()),
            None => Ok(()),
        }
    }
}
