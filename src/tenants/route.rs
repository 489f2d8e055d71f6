//! Finds the tenant that a request is for, from its signs.

use std::cmp::Reverse;
use std::sync::Arc;

use super::directory::{Directory, Entry, Holder, Standing, Unowned, UnownedReason};
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
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, derive_more::Display)]
pub enum SignKind {
    /// The listener is the tenant's own.
    #[display("the listener")]
    Listener,
    /// The path begins with `/-/NAME/`.
    #[display("the prefix of the path")]
    Prefix,
    /// The header of `routing.header`.
    #[display("the tenant header")]
    Header,
    /// `tenant:NAME` in the place of a token.
    #[display("tenant:NAME in the place of the token")]
    TokenSlot,
    /// An object of the request belongs to the tenant.
    #[display("an id in the request")]
    Object,
}

/// The tenant that a request is for.
#[derive(Debug)]
pub struct Route<'directory, T> {
    /// The tenant.
    pub entry: &'directory Arc<Entry<T>>,
    /// Whether a sign names it. If not, it is the default tenant.
    pub is_named: bool,
}

/// The reason why a request has no tenant.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RouteError {
    /// No sign names a tenant.
    #[error("the request does not say which tenant it is for")]
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
    /// No tenant has an id in the request at the moment, or two have it, which the next read of the table decides.
    #[error(
        "no tenant has an id in the request at the moment, or two have it, because tenants_from has changed: it is being read again. \
         Retry the request"
    )]
    Undecided,
    /// An id in the request was this tenant's, and no tenant has it now.
    #[error(
        "an id in the request was that of the tenant {0}, and no tenant has it now: add it to one, or name the tenant in another \
         way, too"
    )]
    Former(TenantId),
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

/// Finds the tenant that all signs name. An id that belongs to no tenant is no sign. An id that several tenants claim, or that one
/// had, does not say which of them is meant: another sign has to name one of them, and the default tenant does not get the request.
/// The result does not depend on the order of the signs.
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
    let mut unowned: Vec<&Unowned> = Vec::new();
    // The least and the greatest tenant by name, each with its first kind of sign: the error does not depend on the order.
    let mut first: Option<(&TenantId, SignKind)> = None;
    let mut last: Option<(&TenantId, Reverse<SignKind>)> = None;
    signs.for_each(|sign| {
        let found = match sign.kind {
            SignKind::Object => match directory.holder_of(sign.value) {
                Some(Holder::Tenant(entry)) => Some(entry),
                Some(Holder::Unowned(found)) => {
                    unowned.push(found);
                    None
                }
                None => None,
            },
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
    let is_undecided = |foreign: &[&Unowned]| foreign.iter().any(|unowned| unowned.is_undecided());
    let entry = if let (Some(entry), Some((_, kind))) = (named, first) {
        unowned.retain(|unowned| is_foreign(unowned, &entry.id, directory));
        if is_undecided(&unowned) {
            return Err(RouteError::Undecided);
        }
        if let Some(claimant) = unowned.iter().flat_map(|unowned| &unowned.claimants).min() {
            return Err(RouteError::Disagreement {
                first: (kind, entry.id.clone()),
                second: (SignKind::Object, claimant.clone()),
            });
        }
        entry
    } else if is_undecided(&unowned) {
        return Err(RouteError::Undecided);
    } else {
        let former = unowned.iter().filter(|unowned| unowned.reason == UnownedReason::Former);
        if let Some(former) = former.flat_map(|unowned| &unowned.claimants).min() {
            let is_usable = directory.has_usable(former);
            let error = if is_usable {
                RouteError::Former
            } else {
                RouteError::Inactive
            };
            return Err(error(former.clone()));
        }
        let default_tenant = directory.default_tenant().filter(|_| unowned.is_empty());
        default_tenant.ok_or(RouteError::Unnamed)?
    };
    match entry.standing {
        Standing::Active | Standing::Missing => Ok(Route {
            entry,
            is_named: named.is_some(),
        }),
        Standing::Inactive => Err(RouteError::Inactive(entry.id.clone())),
    }
}

/// Returns whether an id contradicts that the request is for this tenant. A former id of other tenants that are still usable does
/// not: it is free.
fn is_foreign<T>(unowned: &Unowned, named: &TenantId, directory: &Directory<T>) -> bool {
    let is_settled = unowned.reason == UnownedReason::Former && !unowned.is_undecided();
    let is_free = is_settled && unowned.claimants.iter().all(|claimant| directory.has_usable(claimant));
    !is_free && !unowned.claimants.contains(named)
}

#[cfg(test)]
mod tests;
