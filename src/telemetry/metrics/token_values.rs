//! What is known of a tenant's token.

/// What the gauges of a token show. Points in time are in seconds since 1970; `None` has no series.
#[derive(Clone, Debug, Default)]
pub(super) struct TokenValues {
    pub(super) generation: Option<i64>,
    pub(super) expires_at: Option<f64>,
    pub(super) expiry_known: Option<i64>,
    pub(super) data_access_expires_at: Option<f64>,
    pub(super) missing_scopes: Option<i64>,
    pub(super) inspected_at: Option<f64>,
    pub(super) renewal_due_at: Option<f64>,
    pub(super) usable: Option<i64>,
    pub(super) waiters: Option<i64>,
}
