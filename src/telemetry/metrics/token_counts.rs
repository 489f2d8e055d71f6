//! The tokens of all tenants, counted by their state.

use std::time::{SystemTime, UNIX_EPOCH};

/// The state of a tenant's token. It is in one: the first that is true.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenState {
    /// Its source says that it has no token any more.
    Withdrawn,
    /// Its source has one that cannot be decrypted.
    Undecryptable,
    /// No token is there, or Graph rejected it.
    Dead,
    /// It is usable, and ends within a day.
    EndsInOneDay,
    /// It is usable, and ends within seven days.
    EndsInSevenDays,
    /// It is usable, and ends later, never, or at an unknown time.
    Usable,
}

// === impl TokenState ===

impl TokenState {
    /// All states.
    pub const ALL: [Self; 6] = [
        Self::Usable,
        Self::Dead,
        Self::EndsInSevenDays,
        Self::EndsInOneDay,
        Self::Undecryptable,
        Self::Withdrawn,
    ];

    /// The state of a usable token, by its end in seconds since 1970; `None` if that is unknown, or never.
    #[must_use]
    pub fn of_usable(expires_at: Option<f64>, now: SystemTime) -> Self {
        const DAY: f64 = 24.0 * 60.0 * 60.0;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        match expires_at.map(|at| at - now) {
            Some(seconds) if seconds <= DAY => Self::EndsInOneDay,
            Some(seconds) if seconds <= 7.0 * DAY => Self::EndsInSevenDays,
            Some(_) | None => Self::Usable,
        }
    }

    /// The value of the label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Usable => "usable",
            Self::Dead => "dead",
            Self::EndsInSevenDays => "ends_7d",
            Self::EndsInOneDay => "ends_1d",
            Self::Undecryptable => "undecryptable",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Returns the number of tokens in each state, 0 too.
    #[must_use]
    pub fn count(states: impl Iterator<Item = Self>) -> [(&'static str, i64); 6] {
        let mut counts = Self::ALL.map(|state| (state.label(), 0));
        for state in states {
            for (count, known) in counts.iter_mut().zip(Self::ALL) {
                count.1 += i64::from(known == state);
            }
        }
        counts
    }
}
