//! The tokens of the fake: their properties and their states.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::unix_seconds;
use crate::digest::fingerprint;
use crate::failure::GraphFailure;
use crate::grants::{Grant, ObjectOwners, is_id};
use crate::hosts::TokenFamily;
use crate::invalidation::InvalidationReason;

/// Whose token it is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TokenType {
    /// A user's.
    User,
    /// A page's.
    Page,
    /// A system user's.
    SystemUser,
    /// An app's.
    App,
}

/// When something expires.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expiry {
    /// At this time.
    At(SystemTime),
    /// Never.
    Never,
}

/// A change of a token. What is `None` stays unchanged.
#[derive(Clone, Debug, Default)]
pub struct TokenChange {
    /// The type of its owner.
    pub kind: Option<TokenType>,
    /// When it was issued.
    pub issued_at: Option<SystemTime>,
    /// When it expires. This does not revive a dead token.
    pub expires_at: Option<Expiry>,
    /// When its access to the user's data ends.
    pub data_access_expires_at: Option<Expiry>,
    /// Its scopes.
    pub scopes: Option<Vec<String>>,
    /// The objects for which the scopes hold. Other tokens with targets may not act on these. An empty list is all objects.
    pub target_ids: Option<Vec<String>>,
    /// The id of its app. `debug_token` tells other apps nothing about it.
    pub app_id: Option<String>,
    /// The name by which records show it, instead of its fingerprint. Its successors inherit it.
    pub name: Option<String>,
}

/// The properties of a token, except whether it is alive.
#[derive(Clone, Debug)]
pub(crate) struct TokenInfo {
    pub(crate) kind: TokenType,
    pub(crate) issued_at: SystemTime,
    pub(crate) expires_at: Option<SystemTime>,
    pub(crate) data_access_expires_at: Option<SystemTime>,
    pub(crate) scopes: Vec<String>,
    pub(crate) grant: Grant,
    /// The app's id, if it is another app.
    pub(crate) app_id: Option<String>,
    /// The family that it was registered for. It counts if the token's first letters tell none.
    pub(crate) family: Option<TokenFamily>,
}

/// All tokens.
#[derive(Default)]
pub(crate) struct TokenTable {
    tokens: HashMap<String, TokenEntry>,
    pub(crate) owners: ObjectOwners,
    issued_count: u64,
    expiry_grace: Duration,
}

struct TokenEntry {
    sequence: u64,
    info: TokenInfo,
    invalidation: Option<(InvalidationReason, SystemTime)>,
}

/// Which app tokens are accepted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AppTokenPolicy {
    /// `<id>|<secret>`, and those that `client_credentials` issues.
    #[default]
    Any,
    /// Only those that `client_credentials` issues.
    Issued,
}

/// The app that the tokens belong to.
#[derive(Clone, Copy)]
pub(crate) struct App<'a> {
    pub(crate) id: &'a str,
    pub(crate) secret: &'a str,
    pub(crate) tokens: AppTokenPolicy,
}

/// A token as the control API shows it.
#[derive(Serialize)]
pub(crate) struct TokenSummary {
    fingerprint: String,
    name: Option<String>,
    kind: TokenType,
    state: Value,
    issued_at: i64,
    expires_at: Option<i64>,
}

// === impl TokenTable ===

impl TokenTable {
    /// A table whose tokens are accepted for some time after they expire.
    pub(crate) fn new(expiry_grace: Duration) -> Self {
        Self {
            expiry_grace,
            ..Self::default()
        }
    }

    pub(crate) fn add(&mut self, token: &str, about: TokenInfo) {
        self.issued_count += 1;
        self.owners.add(&about.grant);
        let entry = TokenEntry {
            sequence: self.issued_count,
            info: about,
            invalidation: None,
        };
        if let Some(old) = self.tokens.insert(token.to_owned(), entry) {
            self.owners.remove(&old.info.grant);
        }
    }

    pub(crate) const fn issued_count(&self) -> u64 {
        self.issued_count
    }

    /// Invalidates a token. Returns whether it was alive.
    pub(crate) fn invalidate(&mut self, token: &str, reason: InvalidationReason, now: SystemTime) -> bool {
        let entry = self.tokens.get_mut(token);
        entry.is_some_and(|entry| entry.invalidate(reason, now))
    }

    /// Invalidates all tokens except app tokens. Returns their number.
    pub(crate) fn invalidate_all(&mut self, reason: InvalidationReason, now: SystemTime) -> usize {
        self.invalidate_where(reason, now, |_| true)
    }

    /// Invalidates the tokens that list an object; if no token lists it, all except app tokens.
    pub(crate) fn invalidate_listing(&mut self, id: &str, reason: InvalidationReason, now: SystemTime) {
        let is_listed = self.owners.newest_grant(id).is_some();
        self.invalidate_where(reason, now, |grant| !is_listed || grant.lists(id));
    }

    fn invalidate_where(
        &mut self,
        reason: InvalidationReason,
        now: SystemTime,
        selects: impl Fn(&Grant) -> bool,
    ) -> usize {
        let users = self
            .tokens
            .values_mut()
            .filter(|entry| entry.info.kind != TokenType::App && selects(&entry.info.grant));
        users
            .filter_map(|entry| entry.invalidate(reason, now).then_some(()))
            .count()
    }

    pub(crate) fn is_known(&self, token: &str) -> bool {
        self.tokens.contains_key(token)
    }

    /// The properties of a token.
    pub(crate) fn info(&self, token: &str) -> Option<TokenInfo> {
        self.tokens.get(token).map(|entry| entry.info.clone())
    }

    /// The family of a token: by its first letters, else the one that it was registered for, else Facebook.
    pub(crate) fn family(&self, token: &str) -> TokenFamily {
        let registered = || self.tokens.get(token).and_then(|entry| entry.info.family);
        TokenFamily::from_token(token).or_else(registered).unwrap_or_default()
    }

    /// Changes a token. Returns whether it is known.
    pub(crate) fn update(&mut self, token: &str, change: TokenChange) -> bool {
        let Some(entry) = self.tokens.get_mut(token) else {
            return false;
        };
        self.owners.remove(&entry.info.grant);
        entry.info.apply(change);
        self.owners.add(&entry.info.grant);
        true
    }

    /// The grant of a token, if it is known.
    pub(crate) fn grant(&self, token: &str) -> Option<&Grant> {
        self.tokens.get(token).map(|entry| &entry.info.grant)
    }

    /// Whether a token may act on an object. A token that was never issued, such as `<id>|<secret>`, may act on all.
    pub(crate) fn may_act_on(&self, token: &str, id: &str) -> bool {
        self.grant(token).is_none_or(|grant| self.owners.may_act_on(grant, id))
    }

    /// Checks a token as Graph does.
    pub(crate) fn check(&self, token: &str, app: App<'_>, now: SystemTime) -> Result<TokenType, GraphFailure> {
        if let Some(entry) = self.tokens.get(token) {
            return match entry.invalidation_at(now - self.expiry_grace) {
                None => Ok(entry.info.kind),
                Some((reason, at)) => Err(reason.to_failure(app.id, token, at, now)),
            };
        }
        match token.split_once('|') {
            Some((id, secret)) if id == app.id && secret == app.secret && app.tokens == AppTokenPolicy::Any => {
                Ok(TokenType::App)
            }
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

    /// All tokens, in the order of their issue.
    fn in_order(&self) -> Vec<(&String, &TokenEntry)> {
        let mut entries: Vec<_> = self.tokens.iter().collect();
        entries.sort_by_key(|(_, entry)| entry.sequence);
        entries
    }

    /// The tokens with this name, in the order of their issue.
    pub(crate) fn with_name(&self, name: &str) -> Vec<String> {
        let mut entries = self.in_order();
        entries.retain(|(_, entry)| entry.info.grant.name.as_deref() == Some(name));
        entries.into_iter().map(|(token, _)| token.clone()).collect()
    }

    /// All tokens as the control API shows them, in the order of their issue.
    pub(crate) fn summaries(&self, now: SystemTime) -> Vec<TokenSummary> {
        let shown = self.in_order().into_iter().map(|(token, entry)| TokenSummary {
            fingerprint: fingerprint(token),
            name: entry.info.grant.name.as_deref().map(str::to_owned),
            kind: entry.info.kind,
            state: entry.invalidation_at(now).map_or_else(
                || Value::from("alive"),
                |(reason, _)| serde_json::to_value(reason).unwrap_or_default(),
            ),
            issued_at: unix_seconds(entry.info.issued_at),
            expires_at: entry.info.expires_at.map(unix_seconds),
        });
        shown.collect()
    }
}

// === impl TokenInfo ===

impl TokenInfo {
    /// A token issued now, with all scopes of its type.
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
            grant: Grant::default(),
            app_id: None,
            family: None,
        }
    }

    /// Changes what the change names.
    pub(crate) fn apply(&mut self, change: TokenChange) {
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
            self.grant.targets = targets.into();
        }
        if let Some(name) = change.name {
            self.grant.name = Some(name.into());
        }
        if change.app_id.is_some() {
            self.app_id = change.app_id;
        }
    }
}

/// The default scopes of a token.
const DEFAULT_SCOPES: [&str; 3] = [
    "business_management",
    "whatsapp_business_management",
    "whatsapp_business_messaging",
];
/// How long a user's token has access to data.
const DATA_ACCESS_TTL: Duration = Duration::from_secs(90 * 24 * 60 * 60);

// === impl TokenEntry ===

impl TokenEntry {
    fn invalidate(&mut self, reason: InvalidationReason, now: SystemTime) -> bool {
        let alive = self.invalidation_at(now).is_none();
        if alive {
            self.invalidation = Some((reason, now));
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

    const APP: App<'static> = App {
        id: "42",
        secret: "s",
        tokens: AppTokenPolicy::Any,
    };

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn minute(from: SystemTime) -> TokenInfo {
        TokenInfo::new(TokenType::User, from, Some(Duration::from_secs(60)))
    }

    #[test]
    fn a_token_expires_by_the_clock_with_the_message_of_graph() {
        let mut table = TokenTable::default();
        let now = at(1_719_676_800);
        table.add("EAAx", minute(now - Duration::from_secs(60)));
        assert!(table.check("EAAx", APP, now - Duration::from_secs(1)).is_ok());
        let failure = table.check("EAAx", APP, at(1_719_857_190)).unwrap_err();
        assert_eq!(
            failure.message,
            "Error validating access token: Session has expired on Saturday, 29-Jun-24 09:00:00 PDT. \
             The current time is Monday, 01-Jul-24 11:06:30 PDT."
        );
    }

    #[test]
    fn an_invalidation_is_final_and_the_first_one_counts() {
        let mut table = TokenTable::default();
        table.add("EAAx", minute(at(0)));
        assert!(table.invalidate("EAAx", InvalidationReason::LoggedOut, at(1)));
        assert!(!table.invalidate("EAAx", InvalidationReason::Expired, at(2)));
        let failure = table.check("EAAx", APP, at(100)).unwrap_err();
        assert!(failure.message.ends_with("logged out."));
    }

    #[test]
    fn unknown_tokens_are_distinguished() {
        let table = TokenTable::default();
        let says = |token: &str| table.check(token, APP, at(0)).unwrap_err().message;
        assert!(says("EAAGunknown").contains("Cannot parse"));
        assert_eq!(says("\"EAA\""), "Malformed access token \"EAA\"");
        assert!(says("42|wrong").contains("signature"));
        assert!(says("43|s").contains("Invalid application ID"));
        assert_eq!(table.check("42|s", APP, at(0)).unwrap(), TokenType::App);
    }
}
