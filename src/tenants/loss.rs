//! What the rows of a read lack, compared with those that are in use.
//!
//! # Why
//!
//! A migration that empties a column, a key that graphward does not have yet, and an UPDATE without its WHERE leave every row in its
//! place, and end as many tenants as a truncated table. So a row that has lost its usable token, or an id, counts as a missing one:
//! an id without its tenant would be that of the default tenant. A token that expires is no loss, because it expires in the row in
//! use, too. Several tokens that become one count, too, and one that moves to another row: each tenant would send with the token of
//! another one. The rotation of a token that several rows have in common does not.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use crate::source::TenantRow;
use crate::token::Token;
use crate::types::TenantId;

/// What a read lacks.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Loss {
    /// The number of tenants before.
    pub known: usize,
    /// The number of those that are missing.
    pub tenants: usize,
    /// The number of those that have lost a token that could be used and was their own.
    pub tokens: usize,
    /// The number of those that have lost ids of objects.
    pub ids: usize,
    /// The number of those that have lost a token or ids.
    pub rows: usize,
    /// Whether no token that can be used is left, or no id.
    pub is_total: bool,
}

// === impl Loss ===

impl Loss {
    /// Counts what the rows of a read lack that those `in_use` have.
    #[must_use]
    pub fn of_rows(read: &[TenantRow], in_use: &HashMap<&TenantId, &TenantRow>, now: SystemTime) -> Self {
        let (mut loss, mut has_tokens, mut has_ids) = (Self::default(), false, false);
        let (mut tokens_before, mut tokens_now) = (HashSet::new(), HashSet::new());
        let fingerprint = |row: &TenantRow| row.token.as_ref().ok().map(|token| token.secret.fingerprint());
        let in_use_tokens: HashSet<_> = in_use.values().filter_map(|row| fingerprint(row)).collect();
        let mut moved = 0;
        for row in read {
            let before = in_use.get(&row.id);
            let lacks_token = before.is_some_and(|before| lacks_token(row, before, now));
            let lacks_ids =
                before.is_some_and(|before| !before.object_ids.iter().all(|id| row.object_ids.contains(id)));
            loss.tokens += usize::from(lacks_token);
            loss.ids += usize::from(lacks_ids);
            loss.rows += usize::from(lacks_token || lacks_ids);
            has_tokens |= row.token.is_ok() && !lacks_token;
            has_ids |= !row.object_ids.is_empty();
            if let (Some(before), Some(now)) = (before.and_then(|before| fingerprint(before)), fingerprint(row)) {
                moved += usize::from(before != now && in_use_tokens.contains(&now));
                tokens_before.insert(before);
                tokens_now.insert(now);
            }
        }
        loss.is_total = (loss.tokens > 0 && !has_tokens) || (loss.ids > 0 && !has_ids);
        let merged = tokens_before.len().saturating_sub(tokens_now.len());
        loss.tokens += merged.max(moved);
        loss.rows += merged.max(moved);
        loss
    }
}

/// Returns whether a row has no token that can be used, though the row before it had one.
fn lacks_token(row: &TenantRow, before: &TenantRow, now: SystemTime) -> bool {
    let is_live = |token: &Token| token.expires_at.is_none_or(|at| at > now);
    before.token.as_ref().is_ok_and(|token_before| {
        // Without its app, it would be used with the secret of another one.
        let lost_app = before.app.is_some() && row.app.is_none();
        lost_app
            || !row
                .token
                .as_ref()
                .is_ok_and(|token| is_live(token) || !is_live(token_before))
    })
}

#[cfg(test)]
mod tests;
