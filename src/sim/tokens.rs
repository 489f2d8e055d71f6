//! The tokens of the fake: which there are, until when, and what became of them.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::death::Death;
use super::failure::Failure;
use crate::types::Secret;
use crate::types::unix;

/// Whose token it is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// A person's.
    User,
    /// A page's.
    Page,
    /// A system user's.
    SystemUser,
    /// An app's.
    App,
}

/// Until when something lasts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Until {
    /// Until then.
    Then(SystemTime),
    /// For ever.
    Ever,
}

/// What to change of a token; what is `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Whose it is.
    pub kind: Option<Kind>,
    /// When it was issued.
    pub issued: Option<SystemTime>,
    /// When it ends. A dead one does not come back to life by it.
    pub ends: Option<Until>,
    /// When its access to the user's data ends.
    pub data_access: Option<Until>,
    /// What it may do.
    pub scopes: Option<Vec<String>>,
    /// The objects for which it may do that; none is all.
    pub targets: Option<Vec<String>>,
    /// The id of the app it belongs to; `debug_token` tells another app nothing of it.
    pub app: Option<String>,
}

/// What is known of a token, apart from whether it is alive.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub(super) kind: Kind,
    pub(super) issued: SystemTime,
    pub(super) until: Option<SystemTime>,
    pub(super) data_access: Option<SystemTime>,
    pub(super) scopes: Vec<String>,
    pub(super) targets: Vec<String>,
    /// The app's id, if it is not the fake's.
    pub(super) app: Option<String>,
}

/// All tokens.
#[derive(Default)]
pub(super) struct Ledger {
    tokens: HashMap<String, Entry>,
    issued: u64,
}

struct Entry {
    order: u64,
    about: About,
    death: Option<(Death, SystemTime)>,
}

/// The app whose tokens they are.
#[derive(Clone, Copy)]
pub(super) struct App<'a> {
    pub(super) id: &'a str,
    pub(super) secret: &'a str,
}

/// What may be shown of a token.
#[derive(Serialize)]
pub(super) struct Shown {
    fingerprint: String,
    kind: Kind,
    state: Value,
    issued_at: i64,
    expires_at: Option<i64>,
}

// === impl Ledger ===

impl Ledger {
    pub(super) fn add(&mut self, token: &str, about: About) {
        self.issued += 1;
        let entry = Entry {
            order: self.issued,
            about,
            death: None,
        };
        self.tokens.insert(token.to_owned(), entry);
    }

    pub(super) const fn issued(&self) -> u64 {
        self.issued
    }

    /// Lets a token die; says whether there was such a living one.
    pub(super) fn kill(&mut self, token: &str, death: Death, now: SystemTime) -> bool {
        let entry = self.tokens.get_mut(token);
        entry.is_some_and(|entry| entry.kill(death, now))
    }

    /// Lets all die that are no app's; says how many.
    pub(super) fn kill_all(&mut self, death: Death, now: SystemTime) -> usize {
        let users = self
            .tokens
            .values_mut()
            .filter(|entry| entry.about.kind != Kind::App);
        users
            .filter_map(|entry| entry.kill(death, now).then_some(()))
            .count()
    }

    pub(super) fn is_known(&self, token: &str) -> bool {
        self.tokens.contains_key(token)
    }

    /// What is known of a token.
    pub(super) fn about(&self, token: &str) -> Option<About> {
        self.tokens.get(token).map(|entry| entry.about.clone())
    }

    /// Changes a token; says whether there is such a one.
    pub(super) fn change(&mut self, token: &str, change: Change) -> bool {
        let entry = self.tokens.get_mut(token);
        entry.is_some_and(|entry| {
            entry.about.change(change);
            true
        })
    }

    /// Graph's word on a token.
    pub(super) fn check(
        &self,
        token: &str,
        app: App<'_>,
        now: SystemTime,
    ) -> Result<Kind, Failure> {
        if let Some(entry) = self.tokens.get(token) {
            return match entry.end(now) {
                None => Ok(entry.about.kind),
                Some((death, at)) => Err(death.failure(app.id, token, at, now)),
            };
        }
        match token.split_once('|') {
            Some((id, secret)) if id == app.id && secret == app.secret => Ok(Kind::App),
            Some((id, _)) if id == app.id => Err(Failure::token(
                None,
                "Invalid OAuth access token signature.",
            )),
            Some((id, _)) if is_id(id) => Err(Failure::token(
                None,
                "Error validating application. Invalid application ID.",
            )),
            None if token.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                Err(Death::unparsable())
            }
            None | Some(_) => Err(Failure::malformed(token)),
        }
    }

    /// All, in the order of their issue.
    pub(super) fn shown(&self, now: SystemTime) -> Vec<Shown> {
        let mut entries: Vec<_> = self.tokens.iter().collect();
        entries.sort_by_key(|(_, entry)| entry.order);
        let shown = entries.into_iter().map(|(token, entry)| Shown {
            fingerprint: fingerprint(token),
            kind: entry.about.kind,
            state: entry.end(now).map_or_else(
                || Value::from("alive"),
                |(death, _)| serde_json::to_value(death).unwrap_or_default(),
            ),
            issued_at: unix(entry.about.issued),
            expires_at: entry.about.until.map(unix),
        });
        shown.collect()
    }
}

/// What a log, or a record, may show of a token.
pub(super) fn fingerprint(token: &str) -> String {
    Secret::new(token).map_or_else(
        |_no_secret| "unprintable".to_owned(),
        |secret| secret.fingerprint().to_string(),
    )
}

/// Whether a text can be an object's id.
pub(super) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

// === impl About ===

impl About {
    /// A token issued now, with all that its kind may have.
    pub(super) fn new(kind: Kind, now: SystemTime, ttl: Option<Duration>) -> Self {
        let scopes: &[&str] = match kind {
            Kind::User | Kind::Page | Kind::SystemUser => &SCOPES,
            Kind::App => &[],
        };
        Self {
            kind,
            issued: now,
            until: ttl.map(|ttl| now + ttl),
            data_access: (kind == Kind::User).then(|| now + NINETY_DAYS),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            targets: Vec::new(),
            app: None,
        }
    }

    fn change(&mut self, change: Change) {
        let moment = |until| match until {
            Until::Then(at) => Some(at),
            Until::Ever => None,
        };
        self.kind = change.kind.unwrap_or(self.kind);
        self.issued = change.issued.unwrap_or(self.issued);
        self.until = change.ends.map_or(self.until, moment);
        self.data_access = change.data_access.map_or(self.data_access, moment);
        if let Some(scopes) = change.scopes {
            self.scopes = scopes;
        }
        if let Some(targets) = change.targets {
            self.targets = targets;
        }
        if change.app.is_some() {
            self.app = change.app;
        }
    }
}

/// What a token may do, unless told otherwise.
const SCOPES: [&str; 3] = [
    "business_management",
    "whatsapp_business_management",
    "whatsapp_business_messaging",
];
/// How long a person's token has access to their data.
const NINETY_DAYS: Duration = Duration::from_secs(90 * 24 * 60 * 60);

// === impl Entry ===

impl Entry {
    fn kill(&mut self, death: Death, now: SystemTime) -> bool {
        let alive = self.end(now).is_none();
        if alive {
            self.death = Some((death, now));
        }
        alive
    }

    fn end(&self, now: SystemTime) -> Option<(Death, SystemTime)> {
        let ran_out = self.about.until.filter(|until| *until <= now);
        self.death
            .or_else(|| ran_out.map(|until| (Death::Expired, until)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: App<'static> = App {
        id: "42",
        secret: "s",
    };

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn minute(from: SystemTime) -> About {
        About::new(Kind::User, from, Some(Duration::from_secs(60)))
    }

    #[test]
    fn a_token_expires_by_the_clock_with_graphs_own_words() {
        let mut ledger = Ledger::default();
        let now = at(1_719_676_800);
        ledger.add("EAAx", minute(now - Duration::from_secs(60)));
        assert!(
            ledger
                .check("EAAx", APP, now - Duration::from_secs(1))
                .is_ok()
        );
        let failure = ledger.check("EAAx", APP, at(1_719_857_190)).unwrap_err();
        assert_eq!(
            failure.message,
            "Error validating access token: Session has expired on Saturday, 29-Jun-24 09:00:00 PDT. \
             The current time is Monday, 01-Jul-24 11:06:30 PDT."
        );
    }

    #[test]
    fn a_death_is_final_and_the_first_one_counts() {
        let mut ledger = Ledger::default();
        ledger.add("EAAx", minute(at(0)));
        assert!(ledger.kill("EAAx", Death::LoggedOut, at(1)));
        assert!(!ledger.kill("EAAx", Death::Expired, at(2)));
        let failure = ledger.check("EAAx", APP, at(100)).unwrap_err();
        assert!(failure.message.ends_with("logged out."));
    }

    #[test]
    fn unknown_texts_are_told_apart() {
        let ledger = Ledger::default();
        let says = |token: &str| ledger.check(token, APP, at(0)).unwrap_err().message;
        assert!(says("EAAGunknown").contains("Cannot parse"));
        assert_eq!(says("\"EAA\""), "Malformed access token \"EAA\"");
        assert!(says("42|wrong").contains("signature"));
        assert!(says("43|s").contains("Invalid application ID"));
        assert_eq!(ledger.check("42|s", APP, at(0)).unwrap(), Kind::App);
    }
}
