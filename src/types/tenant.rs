//! The name of a tenant: checked once, then usable as a metric label and in a path.

use std::borrow::Borrow;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::secret_shape::has_token;

/// A tenant's name: 1 to 128 of the characters `A-Z a-z 0-9 . _ : @ -`, but not `.` or `..`. Case counts.
///
/// No token may stand in it. One that a client sends by mistake in the place of a name would otherwise be logged, and be looked up: in
/// the URL of a service, or in the arguments of a program, which every user of the machine sees.
///
/// It is used in headers, paths, file names, metric labels, logs and query strings, so it is checked where it enters and
/// nowhere else.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, derive_more::Display)]
#[display("{_0}")]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct TenantId(Arc<str>);

/// The text is not a valid tenant name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a tenant name is 1 to 128 of the characters A-Z a-z 0-9 . _ : @ -, is not . or .., and has no token in it")]
pub struct TenantIdError;

/// The longest name, in bytes.
const MAX_BYTES: usize = 128;

impl TenantId {
    /// Validates a name.
    ///
    /// # Errors
    ///
    /// [`TenantIdError`] if the name is empty, too long, `.` or `..`, or contains another character or a token.
    pub fn new(name: &str) -> Result<Self, TenantIdError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@-".contains(&byte);
        let is_valid = (1..=MAX_BYTES).contains(&name.len()) && name.bytes().all(is_allowed);
        if is_valid && name != "." && name != ".." && !has_token(name) {
            Ok(Self(Arc::from(name)))
        } else {
            Err(TenantIdError)
        }
    }

    /// The place of a tenant in records of requests that name none: an empty name, which no tenant has.
    #[must_use]
    pub fn unnamed() -> Self {
        Self(Arc::from(""))
    }

    /// The name; `None` for [`unnamed`](Self::unnamed).
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        Some(&*self.0).filter(|name| !name.is_empty())
    }

    /// The place of one of its settings in the configuration.
    #[must_use]
    pub fn setting(&self, key: &str) -> String {
        if *self == Self::default() {
            format!("token.{key}")
        } else {
            format!("tenants.{self}.{key}")
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TenantId {
    type Error = TenantIdError;

    fn try_from(name: String) -> Result<Self, TenantIdError> {
        Self::new(&name)
    }
}

impl Borrow<str> for TenantId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    /// The tenant of a configuration without tenants: `default`.
    fn default() -> Self {
        Self(Arc::from("default"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_break_a_path_a_header_or_a_label_is_refused() {
        for name in [
            "",
            ".",
            "..",
            "a b",
            "a/b",
            "a\"b",
            "a%2fb",
            "a\nb",
            "ü",
            &"a".repeat(129),
            "tenant:EAAGm0PX4ZCpsBAKZAtoken0123",
        ] {
            assert_eq!(TenantId::new(name), Err(TenantIdError), "{name:?}");
        }
        for name in ["shop-7_eu", "...", "-", "Acme:7@eu.example", &"a".repeat(128)] {
            assert_eq!(TenantId::new(name).unwrap().as_str(), name);
        }
        assert_ne!(TenantId::new("Acme"), TenantId::new("acme"));
    }
}
