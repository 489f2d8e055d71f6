//! The tokens of the fake: which there are, until when, and what became of them.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::unix_seconds;
use crate::digest::fingerprint;
use crate::failure::GraphFailure;
use crate::invalidation::InvalidationReason;

/// Whose token it is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TokenType {
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
pub enum Expiry {
    /// Until then.
    At(SystemTime),
    /// For ever.
    Never,
}

/// What to change of a token; what is `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct TokenChange {
    /// Whose it is.
    pub kind: Option<TokenType>,
    /// When it was issued.
    pub issued_at: Option<SystemTime>,
    /// When it ends. A dead one does not come back to life by it.
    pub expires_at: Option<Expiry>,
    /// When its access to the user's data ends.
    pub data_access_expires_at: Option<Expiry>,
    /// What it may do.
    pub scopes: Option<Vec<String>>,
    /// The objects for which it may do that; none is all.
    pub target_ids: Option<Vec<String>>,
    /// The id of the app it belongs to; `debug_token` tells another app nothing of it.
    pub app_id: Option<String>,
}

/// What is known of a token, apart from whether it is alive.
#[derive(Clone, Debug)]
pub(crate) struct TokenInfo {
    pub(crate) kind: TokenType,
    pub(crate) issued_at: SystemTime,
    pub(crate) expires_at: Option<SystemTime>,
    pub(crate) data_access_expires_at: Option<SystemTime>,
    pub(crate) scopes: Vec<String>,
    pub(crate) target_ids: Vec<String>,
    /// The app's id, if it is not the fake's.
    pub(crate) app_id: Option<String>,
}

/// All tokens.
#[derive(Default)]
pub(crate) struct TokenTable {
    tokens: HashMap<String, TokenEntry>,
    issued_count: u64,
}

struct TokenEntry {
    sequence: u64,
    info: TokenInfo,
    invalidation: Option<(InvalidationReason, SystemTime)>,
}

/// The app whose tokens they are.
#[derive(Clone, Copy)]
pub(crate) struct App<'a> {
    pub(crate) id: &'a str,
    pub(crate) secret: &'a str,
}

/// What may be shown of a token.
#[derive(Serialize)]
pub(crate) struct TokenSummary {
    fingerprint: String,
    kind: TokenType,
    state: Value,
    issued_at: i64,
    expires_at: Option<i64>,
}

// === impl TokenTable ===

impl TokenTable {
    pub(crate) fn add(&mut self, token: &str, about: TokenInfo) {
        self.issued_count += 1;
        let entry = TokenEntry {
            sequence: self.issued_count,
            info: about,
            invalidation: None,
        };
        self.tokens.insert(token.to_owned(), entry);
    }

    pub(crate) const fn issued_count(&self) -> u64 {
        self.issued_count
    }

    /// Lets a token die; says whether there was such a living one.
    pub(crate) fn invalidate(&mut self, token: &str, reason: InvalidationReason, now: SystemTime) -> bool {
        let entry = self.tokens.get_mut(token);
        entry.is_some_and(|entry| entry.invalidate(reason, now))
    }

    /// Lets all die that are no app's; says how many.
    pub(crate) fn invalidate_all(&mut self, reason: InvalidationReason, now: SystemTime) -> usize {
        let users = self
            .tokens
            .values_mut()
            .filter(|entry| entry.info.kind != TokenType::App);
        users
            .filter_map(|entry| entry.invalidate(reason, now).then_some(()))
            .count()
    }

    pub(crate) fn is_known(&self, token: &str) -> bool {
        self.tokens.contains_key(token)
    }

    /// What is known of a token.
    pub(crate) fn info(&self, token: &str) -> Option<TokenInfo> {
        self.tokens.get(token).map(|entry| entry.info.clone())
    }

    /// Changes a token; says whether there is such a one.
    pub(crate) fn update(&mut self, token: &str, change: TokenChange) -> bool {
        let entry = self.tokens.get_mut(token);
        entry.is_some_and(|entry| {
            entry.info.apply(change);
            true
        })
    }

    /// Graph's word on a token.
    pub(crate) fn check(&self, token: &str, app: App<'_>, now: SystemTime) -> Result<TokenType, GraphFailure> {
        if let Some(entry) = self.tokens.get(token) {
            return match entry.invalidation_at(now) {
                None => Ok(entry.info.kind),
                Some((death, at)) => Err(death.to_failure(app.id, token, at, now)),
            };
        }
        match token.split_once('|') {
            Some((id, secret)) if id == app.id && secret == app.secret => Ok(TokenType::App),
            Some((id, _)) if id == app.id => Err(GraphFailure::invalid_token(
                None,
                "Invalid OAuth access token signature.",
            )),
            Some((id, _)) if is_id(id) => Err(GraphFailure::invalid_token(
                None,
                "Error validating application. Invalid application ID.",
            )),
            None if token.bytes().all(|byte| byte.is_ascii_alphanumeric()) => Err(InvalidationReason::cannot_parse()),
            None | Some(_) => Err(GraphFailure::malformed_token(token)),
        }
    }

    /// All, in the order of their issue.
    pub(crate) fn summaries(&self, now: SystemTime) -> Vec<TokenSummary> {
        let mut entries: Vec<_> = self.tokens.iter().collect();
        entries.sort_by_key(|(_, entry)| entry.sequence);
        let shown = entries.into_iter().map(|(token, entry)| TokenSummary {
            fingerprint: fingerprint(token),
            kind: entry.info.kind,
            state: entry.invalidation_at(now).map_or_else(
                || Value::from("alive"),
                |(death, _)| serde_json::to_value(death).unwrap_or_default(),
            ),
            issued_at: unix_seconds(entry.info.issued_at),
            expires_at: entry.info.expires_at.map(unix_seconds),
        });
        shown.collect()
    }
}

/// Whether a text can be an object's id.
pub(crate) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

// === impl TokenInfo ===

impl TokenInfo {
    /// A token issued now, with all that its kind may have.
    pub(crate) fn new(kind: TokenType, now: SystemTime, ttl: Option<Duration>) -> Self {
        let scopes: &[&str] = match kind {
            TokenType::User | TokenType::Page | TokenType::SystemUser => &DEFAULT_SCOPES,
            TokenType::App => &[],
        };
        Self {
            kind,
            issued_at: now,
            expires_at: ttl.map(|ttl| now + ttl),
            data_access_expires_at: (kind == TokenType::User).then(|| now + DATA_ACCESS_TTL),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            target_ids: Vec::new(),
            app_id: None,
        }
    }

    fn apply(&mut self, change: TokenChange) {
        let to_time = |until| match until {
            Expiry::At(at) => Some(at),
            Expiry::Never => None,
        };
        self.kind = change.kind.unwrap_or(self.kind);
        self.issued_at = change.issued_at.unwrap_or(self.issued_at);
        self.expires_at = change.expires_at.map_or(self.expires_at, to_time);
        self.data_access_expires_at = change
            .data_access_expires_at
            .map_or(self.data_access_expires_at, to_time);
        if let Some(scopes) = change.scopes {
            self.scopes = scopes;
        }
        if let Some(targets) = change.target_ids {
            self.target_ids = targets;
        }
        if change.app_id.is_some() {
            self.app_id = change.app_id;
        }
    }
}

/// What a token may do, unless told otherwise.
const DEFAULT_SCOPES: [&str; 3] = [
    "business_management",
    "whatsapp_business_management",
    "whatsapp_business_messaging",
];
/// How long a person's token has access to their data.
const DATA_ACCESS_TTL: Duration = Duration::from_secs(90 * 24 * 60 * 60);

// === impl TokenEntry ===

impl TokenEntry {
    fn invalidate(&mut self, death: InvalidationReason, now: SystemTime) -> bool {
        let alive = self.invalidation_at(now).is_none();
        if alive {
            self.invalidation = Some((death, now));
        }
        alive
    }

    fn invalidation_at(&self, now: SystemTime) -> Option<(InvalidationReason, SystemTime)> {
        let expired_at = self.info.expires_at.filter(|until| *until <= now);
        self.invalidation
            .or_else(|| expired_at.map(|until| (InvalidationReason::Expired, until)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: App<'static> = App { id: "42", secret: "s" };

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn minute(from: SystemTime) -> TokenInfo {
        TokenInfo::new(TokenType::User, from, Some(Duration::from_secs(60)))
    }

    #[test]
    fn a_token_expires_by_the_clock_with_graphs_own_words() {
        let mut ledger = TokenTable::default();
        let now = at(1_719_676_800);
        ledger.add("EAAx", minute(now - Duration::from_secs(60)));
        assert!(ledger.check("EAAx", APP, now - Duration::from_secs(1)).is_ok());
        let failure = ledger.check("EAAx", APP, at(1_719_857_190)).unwrap_err();
        assert_eq!(
            failure.message,
            "Error validating access token: Session has expired on Saturday, 29-Jun-24 09:00:00 PDT. \
             The current time is Monday, 01-Jul-24 11:06:30 PDT."
        );
    }

    #[test]
    fn a_death_is_final_and_the_first_one_counts() {
        let mut ledger = TokenTable::default();
        ledger.add("EAAx", minute(at(0)));
        assert!(ledger.invalidate("EAAx", InvalidationReason::LoggedOut, at(1)));
        assert!(!ledger.invalidate("EAAx", InvalidationReason::Expired, at(2)));
        let failure = ledger.check("EAAx", APP, at(100)).unwrap_err();
        assert!(failure.message.ends_with("logged out."));
    }

    #[test]
    fn unknown_texts_are_told_apart() {
        let ledger = TokenTable::default();
        let says = |token: &str| ledger.check(token, APP, at(0)).unwrap_err().message;
        assert!(says("EAAGunknown").contains("Cannot parse"));
        assert_eq!(says("\"EAA\""), "Malformed access token \"EAA\"");
        assert!(says("42|wrong").contains("signature"));
        assert!(says("43|s").contains("Invalid application ID"));
        assert_eq!(ledger.check("42|s", APP, at(0)).unwrap(), TokenType::App);
    }
}
