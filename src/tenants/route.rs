//! Finds the tenant that a request is for, from its signs.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

use super::directory::{Directory, Entry, Standing};
use crate::types::{TenantId, has_token};

/// A sign of the tenant that a request is for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Sign<'request> {
    /// Where it stands.
    pub kind: SignKind,
    /// The name of a tenant, or the id of an object. It need not be valid.
    pub value: &'request str,
}

/// Where a sign stands.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum SignKind {
    /// The listener is the tenant's own.
    Listener,
    /// The path begins with `/-/NAME/`.
    Prefix,
    /// The header of `routing.header`.
    Header,
    /// `tenant:NAME` in the place of a token.
    TokenSlot,
    /// An object of the request belongs to the tenant.
    Object,
}

/// The tenant that a request is for.
#[derive(Debug)]
pub struct Route<'directory, T> {
    /// The tenant.
    pub entry: &'directory Arc<Entry<T>>,
    /// Whether a sign names it. If not, it is that of requests without a sign.
    pub is_named: bool,
}

/// The reason why a request has no tenant.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RouteError {
    /// No sign names a tenant.
    #[error(
        "the request does not say which tenant it is for: name it in the header of routing.header, as tenant:NAME in the place \
         of the token, or in the path as /-/NAME/…"
    )]
    Unnamed,
    /// A token stands where the name of a tenant belongs. It is not repeated.
    #[error("{0} names no tenant, but has a token in it, which is not shown: put the name of the tenant there")]
    Token(SignKind),
    /// A sign names a tenant that does not exist.
    #[error("{kind} names the tenant {name:?}, which does not exist: correct the name, or configure it")]
    Unknown {
        /// Where it stands.
        kind: SignKind,
        /// The name.
        name: Box<str>,
    },
    /// Two signs name two tenants.
    #[error("{} names the tenant {}, but {} the tenant {}: all that a request says must agree", first.0, first.1, second_place(first.0, second.0), second.1)]
    Disagreement {
        /// One of them.
        first: (SignKind, TenantId),
        /// Another one.
        second: (SignKind, TenantId),
    },
    /// The tenant was deactivated, withdrawn or removed.
    #[error("the tenant {0} was deactivated, withdrawn, or removed from the configuration")]
    Inactive(TenantId),
}

/// Describes where a second sign stands.
fn second_place(first: SignKind, second: SignKind) -> String {
    if first == second {
        "another one".to_owned()
    } else {
        second.to_string()
    }
}

/// Finds the tenant that all signs name. An id that belongs to no tenant is no sign. One that several tenants claim names none of
/// them, but the tenant must be among them: it may be any of these, and it is not that of requests without a sign. The result does not
/// depend on the order of the signs.
///
/// # Errors
///
/// [`RouteError`]
pub fn route<'directory, 'request, T>(
    directory: &'directory Directory<T>,
    signs: impl Iterator<Item = Sign<'request>>,
) -> Result<Route<'directory, T>, RouteError> {
    let mut unknown: Option<Sign<'request>> = None;
    let mut named: Option<&Arc<Entry<T>>> = None;
    let mut claimed = Vec::new();
    // By their names, and of two signs of a tenant that whose kind comes first.
    let mut first: Option<(&TenantId, SignKind)> = None;
    let mut last: Option<(&TenantId, Reverse<SignKind>)> = None;
    signs.for_each(|sign| {
        let found = match sign.kind {
            SignKind::Object => {
                claimed.extend(directory.claimants().get(sign.value));
                directory.owner_of(sign.value)
            }
            SignKind::Listener | SignKind::Prefix | SignKind::Header | SignKind::TokenSlot => {
                let found = directory.find(sign.value);
                if found.is_none() {
                    unknown = Some(unknown.map_or(sign, |other| other.min(sign)));
                }
                found
            }
        };
        if let Some(entry) = found {
            named = Some(entry);
            let (before, after) = ((&entry.id, sign.kind), (&entry.id, Reverse(sign.kind)));
            first = Some(first.map_or(before, |other| other.min(before)));
            last = Some(last.map_or(after, |other| other.max(after)));
        }
    });
    if let Some(Sign { kind, value }) = unknown {
        if has_token(value) {
            return Err(RouteError::Token(kind));
        }
        return Err(RouteError::Unknown {
            kind,
            name: value.into(),
        });
    }
    if let (Some((first, kind)), Some((second, Reverse(second_kind)))) = (first, last)
        && first != second
    {
        return Err(RouteError::Disagreement {
            first: (kind, first.clone()),
            second: (second_kind, second.clone()),
        });
    }
    if let (Some(entry), Some((_, kind))) = (named, first) {
        let foreign = claimed.iter().filter(|claimants| !claimants.contains(&entry.id));
        if let Some(claimant) = foreign.flat_map(|claimants| claimants.iter()).min() {
            return Err(RouteError::Disagreement {
                first: (kind, entry.id.clone()),
                second: (SignKind::Object, claimant.clone()),
            });
        }
    }
    let fallback = directory.fallback().filter(|_| claimed.is_empty());
    let entry = named.or(fallback).ok_or(RouteError::Unnamed)?;
    match entry.standing {
        Standing::Active => Ok(Route {
            entry,
            is_named: named.is_some(),
        }),
        Standing::Inactive => Err(RouteError::Inactive(entry.id.clone())),
    }
}

// === impl SignKind ===

impl fmt::Display for SignKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listener => "the listener",
            Self::Prefix => "the prefix of the path",
            Self::Header => "the tenant header",
            Self::TokenSlot => "tenant:NAME in the place of the token",
            Self::Object => "an id in the request",
        })
    }
}

#[cfg(test)]
mod tests;
