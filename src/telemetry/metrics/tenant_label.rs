//! The setting of the label `tenant`.

use schemars::JsonSchema;
use serde::Deserialize;

/// What metrics say about tenants.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct MetricsConfig {
    /// The tenants that have series of their own: a number of those that send requests, all (true) or none (false).
    pub tenant_label: TenantLabel,
}

/// How many tenants have series of their own.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum TenantLabel {
    /// All, or none.
    Whether(bool),
    /// As many as that.
    #[schemars(extend("maximum" = u32::MAX))]
    MostActive(u32),
}

// === impl TenantLabel ===

impl TenantLabel {
    /// The number of tenants.
    pub(super) fn limit(self) -> usize {
        match self {
            Self::Whether(true) => usize::MAX,
            Self::Whether(false) => 0,
            Self::MostActive(count) => usize::try_from(count).unwrap_or(usize::MAX),
        }
    }
}

impl Default for TenantLabel {
    fn default() -> Self {
        Self::MostActive(100)
    }
}
