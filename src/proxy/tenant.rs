//! A tenant: one set of rules with one token.

use std::sync::Arc;

use super::dead_token::DeadTokenCache;
use super::record::RequestTelemetry;
use super::settings::Settings;
use crate::tenants::AllowRules;
use crate::token::TokenHandle;
use crate::types::TokenFamily;

/// What the requests of a tenant share. A clone shares the state; a reload makes one with other settings.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// What the requests of all tenants share.
    pub settings: Arc<Settings>,
    /// The current credential.
    pub tokens: TokenHandle,
    /// The family of its tokens, if neither their prefix nor their inspection tells it (`token.family`).
    pub family: Option<TokenFamily>,
    /// The rules for its requests; `None`: they may do everything.
    pub allow: Option<Arc<AllowRules>>,
    /// Graph's last rejection of the credential.
    pub dead_token_cache: Arc<DeadTokenCache>,
    /// The metrics and the log settings for requests.
    pub telemetry: Arc<RequestTelemetry>,
}
