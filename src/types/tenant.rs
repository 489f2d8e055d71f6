//! The name of a tenant: checked once, then usable as a metric label and in a path.

use std::fmt;
use std::sync::Arc;

/// A tenant's name: 1 to 64 characters of `a-z`, `0-9`, `_` and `-`.
///
/// It is used in metric labels, logs and query strings, so it is checked where it enters and nowhere else.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TenantId(Arc<str>);

/// The text is not a valid tenant name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a tenant name is 1 to 64 characters of a-z, 0-9, _ and -")]
pub struct TenantIdError;

impl TenantId {
    /// Validates a name.
    ///
    /// # Errors
    ///
    /// [`TenantIdError`] if the name is empty, longer than 64 bytes, or contains another character.
    pub fn new(name: &str) -> Result<Self, TenantIdError> {
        let is_valid = (1..=64).contains(&name.len())
            && name
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
        if is_valid {
            Ok(Self(Arc::from(name)))
        } else {
            Err(TenantIdError)
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    /// The tenant of a configuration without tenants: `default`.
    fn default() -> Self {
        Self(Arc::from("default"))
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_break_a_label_or_a_path_is_refused() {
        for name in ["", "A", "a b", "a/b", "a\"b", "ü", &"a".repeat(65)] {
            assert_eq!(TenantId::new(name), Err(TenantIdError), "{name:?}");
        }
        assert_eq!(TenantId::new("shop-7_eu").unwrap().as_str(), "shop-7_eu");
    }
}
