//! Who says aloud what happens to a token: to the log, and to whoever keeps count.

use std::time::{Duration, SystemTime};

use super::credential::Credential;
use super::live::{Live, Outlook};
use super::notice::{Cause, Notice};
use super::ports::ObtainError;
use crate::graph::{Ends, GraphError, explain, needs_person};
use crate::types::{TenantId, Utc, chain};

/// What the refresher sets out to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Errand {
    /// Look at the source for news.
    Look,
    /// Find or mint a successor.
    Replace,
}

/// How an errand ended.
#[derive(Debug)]
pub struct Report<'a> {
    /// What it was.
    pub errand: Errand,
    /// How long it took.
    pub took: Duration,
    /// The credential that is live now; nothing; or why not.
    pub outcome: Result<Option<&'a Credential>, &'a ObtainError>,
    /// Whether it came to minting: what failed then is no source's fault.
    pub minted: bool,
}

/// What the refresher tells whoever keeps count.
#[derive(Debug)]
pub enum Told<'a> {
    /// An errand ended.
    Report(Report<'a>),
    /// What is known of the live token, whenever that has changed.
    Outlook(Outlook),
    /// A person should hear something.
    Notice(&'a Notice),
}

/// Who is told.
pub type Observer = Box<dyn Fn(&Told<'_>) + Send>;

/// Says aloud what happens to a tenant's token.
pub(super) struct Crier {
    pub(super) tenant: TenantId,
    pub(super) observer: Observer,
    /// Where tokens are from, for people.
    pub(super) sources: String,
    /// What mints them, if anything does.
    pub(super) renewal: Option<String>,
    /// The failure that was told last.
    told: Option<String>,
}

// === impl Errand ===

impl Errand {
    /// The word for metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Replace => "replace",
        }
    }
}

// === impl Crier ===

impl Crier {
    pub(super) const fn new(
        tenant: TenantId,
        observer: Observer,
        sources: String,
        renewal: Option<String>,
    ) -> Self {
        Self {
            tenant,
            observer,
            sources,
            renewal,
            told: None,
        }
    }

    pub(super) fn report(&self, report: Report<'_>) {
        (self.observer)(&Told::Report(report));
    }

    pub(super) fn outlook(&self, live: &Live) {
        (self.observer)(&Told::Outlook(live.outlook()));
    }

    /// A new token is in use.
    pub(super) fn published(&mut self, credential: &Credential, from: &str, expires: Ends) {
        self.told = None;
        let expires = match expires {
            Ends::At(at) => Utc(at).to_string(),
            Ends::Never => "never".to_owned(),
            Ends::Unknown => "nobody says".to_owned(),
        };
        tracing::info!(
            tenant = %self.tenant,
            generation = credential.generation().get(),
            fingerprint = %credential.fingerprint(),
            source = from,
            expires,
            "a new token is in use"
        );
    }

    /// At start: renewed tokens would be lost with the process.
    pub(super) fn kept_nowhere(&self, reasons: &[String], all: bool) {
        let which = if all { "" } else { " of some sources" };
        let happened = format!(
            "Renewed tokens{which} can be stored nowhere ({}): each would be lost with this process.",
            reasons.join("; ")
        );
        let action =
            "Set token.store = { file = \"…\" } to a place that lasts and may be written to."
                .to_owned();
        self.notice(Cause::NotStored, happened, action);
    }

    /// A renewed token is in use, and would be lost with the process.
    pub(super) fn not_stored(&self, why: &ObtainError) {
        let happened = format!("A renewed token is in use, but could not be stored: {why}.");
        let action = "Mend the storage before this process stops, or the token is lost with it; graphward tries again \
                      every minute."
            .to_owned();
        self.notice(Cause::NotStored, happened, action);
    }

    /// Graph rejects the token in use.
    pub(super) fn rejected(&self, live: &Credential, why: Option<&GraphError>) {
        let fingerprint = live.fingerprint();
        let Some(why) = why else {
            let happened = format!("Graph rejects the token {fingerprint}.");
            return self.notice(Cause::Rejected, happened, self.put_a_new_one());
        };
        let explanation = explain(why);
        let happened = format!(
            "Graph rejects the token {fingerprint}: {}",
            explanation.happened
        );
        if needs_person(why) {
            return self.notice(Cause::NeedsPerson, happened, explanation.action.to_owned());
        }
        let action = match &self.renewal {
            Some(renewal) => format!(
                "graphward looks for a newer one, and renews it with {renewal} if it can; if that fails, {}",
                self.put_a_new_one()
            ),
            None => format!(
                "graphward looks for a newer one; if there is none, {}",
                self.put_a_new_one()
            ),
        };
        self.notice(Cause::Rejected, happened, action);
    }

    /// A failure: one line, and once, since what goes on failing for the same reason is not said again. That there is
    /// nothing new was said when the token was rejected.
    pub(super) fn failed(
        &mut self,
        (errand, minting): (Errand, bool),
        why: &ObtainError,
        live: Option<&Credential>,
    ) {
        let error = why.to_string();
        let (tenant, label) = (&self.tenant, errand.label());
        if self.told.as_ref() == Some(&error) || matches!(why, ObtainError::NothingNew) {
            tracing::debug!(%tenant, errand = label, error, "no newer token");
            return;
        }
        let (cause, reason) = (std::error::Error::source(why).map(chain), why.reason());
        let behind = cause.as_ref().map(|cause| format!(" ({cause})"));
        let behind = behind.unwrap_or_default();
        if !minting && matches!(reason, "quarantined" | "rejected_before" | "expired") {
            let happened = format!("{error}{behind}.");
            self.notice(Cause::Quarantined, happened, self.put_a_new_one());
        } else if errand == Errand::Replace && self.renewal.is_some() {
            let happened = format!("No newer token could be obtained: {error}{behind}.");
            let what = if why.is_transient() {
                "graphward tries again by itself; if this stays, mend what it names"
            } else {
                "mend what it names"
            };
            let action = format!("{what}, or {}", self.put_a_new_one());
            self.notice(Cause::RenewalFailed, happened, action);
        } else if live.is_some() {
            tracing::warn!(%tenant, reason, error, cause, "no newer token; the one before stays in use");
        } else {
            tracing::warn!(%tenant, reason, error, cause, "there is no token yet");
        }
        self.told = Some(error);
    }

    /// The token's end comes near, and nobody renews it, or has managed to.
    pub(super) fn expires_soon(&self, days: u8, ends: SystemTime, now: SystemTime, live: &Live) {
        let happened = format!("The token ends {}, at {}.", in_words(ends, now), Utc(ends));
        let action = match live.outlook().due {
            Some(due) => format!(
                "It should have been renewed at {}: see why that fails, or {}",
                Utc(due),
                self.put_a_new_one()
            ),
            None => self.put_a_new_one(),
        };
        self.notice(Cause::Expiry(days), happened, action);
    }

    /// The token's access to data ends soon. Renewing it does not change that.
    pub(super) fn data_access_ends_soon(&self, days: u8, ends: SystemTime, now: SystemTime) {
        let happened = format!(
            "The token's access to data ends {}, at {}; from then on Graph refuses its calls.",
            in_words(ends, now),
            Utc(ends)
        );
        let action = "Its user has to log in to the app again, and the token that this gives has to be put in place.";
        self.notice(Cause::DataAccess(days), happened, action.to_owned());
    }

    /// Permissions that are missing.
    pub(super) fn scopes_missing(&self, missing: &[&str]) {
        let happened = format!(
            "The token lacks {}, which WhatsApp needs.",
            missing.join(" and ")
        );
        let action = "Whoever made the token has to make one with that permission, if the app sends WhatsApp messages."
            .to_owned();
        self.notice(Cause::ScopesMissing, happened, action);
    }

    fn put_a_new_one(&self) -> String {
        format!("put a new token into {}.", self.sources)
    }

    fn notice(&self, cause: Cause, happened: String, action: String) {
        let (happened, action) = (sentence(&happened), sentence(&action));
        tracing::warn!(tenant = %self.tenant, cause = cause.label(), action, "{happened}");
        (self.observer)(&Told::Notice(&Notice {
            tenant: self.tenant.clone(),
            cause,
            happened,
            action,
        }));
    }
}

/// With a capital letter, and one full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    let text: String = first.into_iter().flatten().chain(letters).collect();
    format!("{}.", text.trim_end_matches('.'))
}

fn in_words(ends: SystemTime, now: SystemTime) -> String {
    let left = ends.duration_since(now).unwrap_or_default();
    const HOUR: u64 = 60 * 60;
    let (number, unit) = match left.as_secs() {
        0 => return "now".to_owned(),
        seconds if seconds < 2 * 60 => (seconds, "seconds"),
        seconds if seconds < 2 * HOUR => (seconds / 60, "minutes"),
        seconds if seconds < 48 * HOUR => (seconds / HOUR, "hours"),
        seconds => (seconds / (24 * HOUR), "days"),
    };
    format!("in {number} {unit}")
}
