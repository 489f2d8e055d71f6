//! The renewers that can be configured.

use schemars::JsonSchema;
use serde::Deserialize;

use super::exchange::ExchangeSettings;
use super::mint::MintSettings;
use crate::source::{CommandConfig, HttpCallConfig};
use crate::types::SecretRef;

/// What renews a token.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum RenewerConfig {
    /// Graph's `fb_exchange_token`.
    Exchange(ExchangeSettings),
    /// A system user's `access_tokens`.
    #[schemars(extend("additionalProperties" = false))]
    Mint {
        /// The token of an admin system user.
        token: SecretRef,
        /// The new token.
        #[serde(flatten)]
        settings: MintSettings,
    },
    /// Instagram's `refresh_access_token`.
    Instagram {},
    /// Threads' `refresh_access_token`.
    Threads {},
    /// An internal credential service.
    #[serde(untagged)]
    Http(HttpCallConfig),
    /// A command's output.
    #[serde(untagged)]
    Exec(CommandConfig),
}
