//! The calls that a tenant's requests may make of Graph: `allow = ["POST /{id}/messages", "GET /{id}"]`.
//!
//! # Why
//!
//! A rule allows, and nothing forbids: a path that no rule describes, in whatever spelling, is refused. So a rule need not know
//! how Graph reads `//`, `..` or `%2F`. It is compared with the path segment by segment, and `{id}` stands only for what cannot
//! be the name of an edge: it has a digit.

use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::percent_decode;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use crate::graph::calls::{Calls, normalized_method, shown_path};
use crate::graph::path::{is_token_endpoint, is_version, segments_without_version};

/// A rule, or the name of a set of rules.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, derive_more::Display)]
#[display("{text}")]
#[schemars(with = "String", extend("format" = "allow-rule"))]
pub struct AllowRule {
    text: Box<str>,
    calls: Vec<CallPattern>,
}

/// The rules of a tenant that may not make every call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AllowRules(Vec<CallPattern>);

/// The reason why a request is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotAllowed {
    /// No rule allows a call.
    #[error("it does not allow {method} {template}{}", in_item(*item))]
    Call {
        /// The method.
        method: Box<str>,
        /// The path without its ids.
        template: String,
        /// The number of the batch item, from 1.
        item: Option<usize>,
    },
    /// What the request does cannot be read.
    #[error("what it does cannot be read: {0}")]
    Unreadable(&'static str),
}

/// What is wrong with a rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AllowRuleError {
    /// It has one word, which is not the name of a set.
    #[error(
        "must be \"METHOD /path\", such as \"POST /{{id}}/messages\", or \"everything\", \"send-only\" or \"read-only\""
    )]
    Shape,
    /// Its method is unknown.
    #[error(
        "must begin with GET, POST, PUT, PATCH, DELETE or OPTIONS in capitals, or with * for all (HEAD counts as GET)"
    )]
    Method,
    /// Its path does not begin with a slash.
    #[error("must have a path that begins with a slash, such as \"GET /{{id}}\"")]
    NoSlash,
    /// Its path has a query.
    #[error("must not have a query: rules are about methods and paths")]
    Query,
    /// Its path begins with a version.
    #[error("must not have a version: a rule is for all versions")]
    Version,
    /// A segment is neither a word nor a placeholder.
    #[error(
        "must have a path of words, {{id}} for an id, word{{id}} for one after a prefix, and ** at the end for any rest"
    )]
    Segment,
}

/// The method of a rule is all of them.
const ALL_METHODS: &str = "*";
const ID: &str = "{id}";
const REST: &str = "**";
const EVERYTHING: &str = "everything";
const SEND_ONLY: [&str; 6] = [
    "POST /{id}/messages",
    "POST /me/messages",
    "POST /{id}/marketing_messages",
    "POST /{id}/media",
    "POST /{id}/message_attachments",
    "POST /me/message_attachments",
];

/// `POST /{id}/messages`
#[derive(Clone, Debug, Eq, PartialEq)]
struct CallPattern {
    method: Box<str>,
    segments: Vec<Segment>,
    /// Whether any rest may follow.
    is_open: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Segment {
    Word(Box<str>),
    /// An id after this prefix.
    Id(Box<str>),
}

/// A call of a request.
struct OneCall<'a> {
    method: &'a str,
    path: &'a str,
    /// The number of the batch item, from 1.
    item: Option<usize>,
}

// === impl AllowRule ===

impl FromStr for AllowRule {
    type Err = AllowRuleError;

    fn from_str(text: &str) -> Result<Self, AllowRuleError> {
        let rules = match text {
            EVERYTHING => &["* /**"],
            "send-only" => &SEND_ONLY[..],
            "read-only" => &["GET /**"],
            _ => &[text],
        };
        let calls = rules.iter().map(|rule| rule.parse()).collect::<Result<_, _>>()?;
        Ok(Self {
            text: text.into(),
            calls,
        })
    }
}

impl<'de> Deserialize<'de> for AllowRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

// === impl AllowRules ===

impl AllowRules {
    /// The rules that limit a tenant; `None` if it may make every call.
    #[must_use]
    pub fn limiting(rules: &[AllowRule]) -> Option<Arc<Self>> {
        if rules.iter().any(|rule| &*rule.text == EVERYTHING) {
            return None;
        }
        let calls = rules.iter().flat_map(|rule| rule.calls.iter().cloned());
        Some(Arc::new(Self(calls.collect())))
    }

    /// Checks each call that a request makes.
    ///
    /// # Errors
    ///
    /// [`NotAllowed`] for the first call that no rule allows.
    pub fn check(&self, method: &str, path: &str, calls: &Calls) -> Result<(), NotAllowed> {
        if let Some(reason) = calls.unreadable {
            return Err(NotAllowed::Unreadable(reason));
        }
        each_call(&normalized_method(method.bytes()), path, calls)
            .try_for_each(|call| self.check_call(call.method, call.path, call.item))
    }

    fn check_call(&self, method: &str, path: &str, item: Option<usize>) -> Result<(), NotAllowed> {
        if self.0.iter().any(|rule| rule.allows(method, path)) {
            return Ok(());
        }
        Err(NotAllowed::Call {
            method: method.into(),
            template: shown_path(path),
            item,
        })
    }
}

/// Returns each call that a request makes. A batch is its items; it is a call of its own if it has another method, or `ids`.
fn each_call<'a>(own: &'a str, path: &'a str, calls: &'a Calls) -> impl Iterator<Item = OneCall<'a>> {
    let is_batch = !calls.items.is_empty()
        && *own == *"POST"
        && calls.methods.iter().all(|method| **method == *"POST")
        && !calls.has_ids
        && segments_without_version(path).next().is_none();
    let methods = calls.methods.iter().map(|method| &**method).chain([own]);
    let own = methods.filter(move |_| !is_batch).map(move |method| OneCall {
        method,
        path,
        item: None,
    });
    let items = calls.items.iter().enumerate().flat_map(|(index, item)| {
        item.methods.iter().flat_map(move |method| {
            item.paths.iter().map(move |path| OneCall {
                method,
                path,
                item: Some(index + 1),
            })
        })
    });
    own.chain(items)
}

/// Returns the rules that allow what a request does; `None` in place of one if no rule can describe it.
pub(super) fn rules_for(method: &str, path: &str, calls: &Calls) -> Vec<Option<String>> {
    let mut rules: Vec<_> = each_call(&normalized_method(method.bytes()), path, calls)
        .map(|call| {
            let rule = format!("{} {}", call.method, shown_path(&path_without_version(call.path)));
            let pattern: CallPattern = rule.parse().ok()?;
            pattern.allows(call.method, call.path).then_some(rule)
        })
        .collect();
    if calls.unreadable.is_some() {
        rules.push(None);
    }
    rules
}

fn path_without_version(path: &str) -> String {
    let segments = segments_without_version(path).map(String::from_utf8_lossy);
    segments.fold(String::new(), |path, segment| path + "/" + &segment)
}

// === impl CallPattern ===

impl CallPattern {
    fn allows(&self, method: &str, path: &str) -> bool {
        if *self.method != *ALL_METHODS && *self.method != *method {
            return false;
        }
        let mut found = segments_without_version(path);
        for segment in &self.segments {
            if !found.next().is_some_and(|found| segment.matches(found)) {
                return false;
            }
        }
        // Tokens are made only where a rule says so.
        if self.is_open {
            !is_token_endpoint(path)
        } else {
            found.next().is_none()
        }
    }
}

impl FromStr for CallPattern {
    type Err = AllowRuleError;

    fn from_str(text: &str) -> Result<Self, AllowRuleError> {
        let (method, path) = text.split_once(' ').ok_or(AllowRuleError::Shape)?;
        let is_known = |method: &str| matches!(method, "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS");
        if method != ALL_METHODS && !is_known(method) {
            return Err(AllowRuleError::Method);
        }
        let path = path.strip_prefix('/').ok_or(AllowRuleError::NoSlash)?;
        if path.contains(['?', '#', '&']) {
            return Err(AllowRuleError::Query);
        }
        let (path, is_open) = match path.strip_suffix(REST) {
            Some(path) if path.is_empty() || path.ends_with('/') => (path, true),
            Some(_) => return Err(AllowRuleError::Segment),
            None => (path, false),
        };
        let path = path.strip_suffix('/').unwrap_or(path);
        let names = path.split('/').filter(|_| !path.is_empty());
        let segments: Vec<_> = names.map(str::parse).collect::<Result<_, _>>()?;
        if matches!(segments.first(), Some(Segment::Word(word)) if is_version(word.as_bytes())) {
            return Err(AllowRuleError::Version);
        }
        Ok(Self {
            method: method.into(),
            segments,
            is_open,
        })
    }
}

// === impl Segment ===

impl Segment {
    /// Compares a segment that is percent-encoded. Case counts.
    fn matches(&self, found: &[u8]) -> bool {
        let found: Vec<u8> = percent_decode(found).collect();
        match self {
            Self::Word(word) => *found == *word.as_bytes(),
            // The id of an upload is base64, and may have no digit.
            Self::Id(prefix) if prefix.ends_with(':') => found
                .strip_prefix(prefix.as_bytes())
                .is_some_and(|id| !id.is_empty() && id.iter().copied().all(is_id_byte)),
            Self::Id(prefix) => found.strip_prefix(prefix.as_bytes()).is_some_and(is_id),
        }
    }
}

impl FromStr for Segment {
    type Err = AllowRuleError;

    fn from_str(text: &str) -> Result<Self, AllowRuleError> {
        let is_plain = |text: &str| text.bytes().all(|byte| is_id_byte(byte) || byte == b':');
        match text.strip_suffix(ID) {
            Some(prefix) if is_plain(prefix) => Ok(Self::Id(prefix.into())),
            None if is_plain(text) && !text.is_empty() && text.bytes().any(|byte| byte != b'.') => {
                Ok(Self::Word(text.into()))
            }
            Some(_) | None => Err(AllowRuleError::Segment),
        }
    }
}

/// Whether this is an id: `106540352242922`, `1784_99`, an upload's. It has a digit, which no edge has, and is no version.
fn is_id(text: &[u8]) -> bool {
    text.iter().copied().all(is_id_byte)
        && text.iter().any(u8::is_ascii_digit)
        && !is_version(&text.to_ascii_lowercase())
}

const fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'=')
}

/// The end of a message about a batch item.
fn in_item(number: Option<usize>) -> String {
    number.map_or_else(String::new, |number| format!(" in item {number} of the batch"))
}

#[cfg(test)]
mod tests;
