//! How rejected requests are healed (`[heal]`).

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::dead_token::DeadTokenPolicy;
use super::spool::Spool;
use crate::graph::ClientCredentialPolicy;

/// What graphward does with requests: three steps of a roll-out.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum HealMode {
    /// It forwards them as the app sent them, with the app's own token, and notes what it would have done.
    Observe,
    /// It adds the token, and sends no request a second time.
    Inject,
    /// It heals them too.
    #[default]
    Heal,
}

/// How rejected requests are healed.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct HealConfig {
    /// What graphward does with requests.
    pub mode: HealMode,
    /// The longest time that a request waits for a token, or for the first read of `[tenants_from]`; at most 10m.
    #[schemars(extend("formatMaximum" = "10m"))]
    pub token_wait: Duration,
    /// How long requests are held after Graph first rejects a token and there is no newer one yet; at most 10m.
    #[schemars(extend("formatMaximum" = "10m"))]
    pub hold_timeout: Duration,
    /// What happens to requests while the token is known to be dead and there is no newer one.
    pub dead_token: DeadTokenPolicy,
    /// How much of one request's body is kept in memory; at most 1GiB.
    #[schemars(extend("formatMaximum" = "1GiB"))]
    pub body_memory: u64,
    /// How much of all bodies is kept in memory; at most 1TiB.
    #[schemars(extend("formatMaximum" = "1TiB"))]
    pub memory_total: u64,
    /// How much of one request's body is kept on disk; at most 1TiB.
    #[schemars(extend("formatMaximum" = "1TiB"))]
    pub body_disk: u64,
    /// How much of all bodies is kept on disk; at most 1TiB.
    #[schemars(extend("formatMaximum" = "1TiB"))]
    pub disk_total: u64,
    /// The directory for bodies on disk: an absolute path, "" for the system's temporary directory, or "off".
    #[serde(rename = "spool_dir")]
    #[schemars(with = "String", extend("pattern" = r"^(|off|/.*)$", "patternErrorMessage" = "must be \"off\", the absolute path of a directory, or \"\" for the system's temporary directory"))]
    pub spool: Spool,
    /// What happens to a token that the app itself sends.
    pub client_credentials: ClientCredentialPolicy,
}
