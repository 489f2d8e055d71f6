//! The tokens of the fake: which there are, until when, and what became of them.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::failure::Failure;
use super::pacific::pacific;
use crate::types::Secret;
use crate::types::unix;

/// How a token can die. Each has its own answer, word for word.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Death {
    /// 190/463: its time ran out.
    Expired,
    /// 190/460: the password was changed.
    Invalidated,
    /// 190/467: the user logged out.
    LoggedOut,
    /// 190/458: the user removed the app.
    AppRemoved,
    /// 190/459: the user must log in at facebook.com first; no newer token helps.
    Checkpointed,
    /// 190/466: invalidated through an API call.
    Revoked,
    /// 190: "Invalid OAuth access token - Cannot parse access token".
    Unparsable,
    /// 190: "The access token could not be decrypted", as after a reset of the app's secret.
    Undecryptable,
    /// 190: "Malformed access token", and the token itself.
    Malformed,
}

/// Whose token it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    User,
    App,
}

/// All tokens.
#[derive(Default)]
pub(super) struct Ledger {
    tokens: HashMap<String, Entry>,
    issued: u64,
}

struct Entry {
    order: u64,
    kind: Kind,
    issued: SystemTime,
    until: Option<SystemTime>,
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
    pub(super) fn add(&mut self, token: &str, kind: Kind, now: SystemTime, ttl: Option<Duration>) {
        self.issued += 1;
        let entry = Entry {
            order: self.issued,
            kind,
            issued: now,
            until: ttl.map(|ttl| now + ttl),
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
            .filter(|entry| entry.kind == Kind::User);
        users
            .filter_map(|entry| entry.kill(death, now).then_some(()))
            .count()
    }

    pub(super) fn is_known(&self, token: &str) -> bool {
        self.tokens.contains_key(token)
    }

    /// When a token was issued, and when it ends.
    pub(super) fn dates(&self, token: &str) -> (Option<SystemTime>, Option<SystemTime>) {
        let entry = self.tokens.get(token);
        (
            entry.map(|entry| entry.issued),
            entry.and_then(|entry| entry.until),
        )
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
                None => Ok(entry.kind),
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
            kind: entry.kind,
            state: entry.end(now).map_or_else(
                || Value::from("alive"),
                |(death, _)| serde_json::to_value(death).unwrap_or_default(),
            ),
            issued_at: unix(entry.issued),
            expires_at: entry.until.map(unix),
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
        let ran_out = self.until.filter(|until| *until <= now);
        self.death
            .or_else(|| ran_out.map(|until| (Death::Expired, until)))
    }
}

// === impl Death ===

impl Death {
    /// What Graph says of what it cannot read: another family's token, too.
    pub(super) fn unparsable() -> Failure {
        let message = "Invalid OAuth access token - Cannot parse access token";
        Failure::token(None, message)
    }

    fn failure(self, app: &str, token: &str, at: SystemTime, now: SystemTime) -> Failure {
        const VALIDATING: &str = "Error validating access token:";
        let (subcode, message) = match self {
            Self::Expired => (
                463,
                format!(
                    "{VALIDATING} Session has expired on {}. The current time is {}.",
                    pacific(at),
                    pacific(now)
                ),
            ),
            Self::Invalidated => (
                460,
                format!(
                    "{VALIDATING} The session has been invalidated because the user changed their password or \
                     Facebook has changed the session for security reasons."
                ),
            ),
            Self::LoggedOut => (
                467,
                format!("{VALIDATING} The session is invalid because the user logged out."),
            ),
            Self::AppRemoved => (
                458,
                format!("{VALIDATING} The user has not authorized application {app}."),
            ),
            Self::Checkpointed => (
                459,
                format!(
                    "{VALIDATING} You cannot access the app till you log in to www.facebook.com and follow the \
                     instructions given."
                ),
            ),
            Self::Revoked => (
                466,
                format!("{VALIDATING} The session was explicitly invalidated using an API call."),
            ),
            Self::Unparsable => return Self::unparsable(),
            Self::Malformed => return Failure::malformed(token),
            Self::Undecryptable => {
                return Failure::token(None, "The access token could not be decrypted");
            }
        };
        Failure::token(Some(subcode), message)
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

    #[test]
    fn a_token_expires_by_the_clock_with_graphs_own_words() {
        let mut ledger = Ledger::default();
        let now = at(1_719_676_800);
        ledger.add(
            "EAAx",
            Kind::User,
            now - Duration::from_secs(60),
            Some(Duration::from_secs(60)),
        );
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
        ledger.add("EAAx", Kind::User, at(0), Some(Duration::from_secs(60)));
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
