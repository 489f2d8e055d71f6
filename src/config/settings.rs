//! A configuration, once it is known to be valid.

mod token;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::address::BindAddress;
use crate::admin::ReadinessPolicy;
use crate::graph::{ClientCredentialPolicy, ProofMode};
use crate::net;
use crate::proxy::{AccessLogFilter, DeadTokenPolicy, LinkRewriteConfig, Spool};
use crate::telemetry::LogSettings;

pub use token::{
    ExecCommand, HttpCall, MaybeSecret, PostgresSourceConfig, RenewerConfig, SecretRef, StoreConfig, TokenConfig,
    TokenSource,
};

/// A configuration. One exists only if it is valid, as only [`Config::load`] makes one.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// `[listen]`
    pub listen: ListenConfig,
    /// `[upstream]`
    pub upstream: UpstreamConfig,
    /// `[app]`
    pub app: AppConfig,
    /// `[token]`
    pub token: TokenConfig,
    /// `[heal]`
    pub heal: HealConfig,
    /// `[links]`
    pub links: LinkRewriteConfig,
    /// `[ready] tokens`
    pub ready: ReadinessPolicy,
    /// `[alerts]`
    pub alerts: AlertConfig,
    /// `[log]`
    pub log: LogConfig,
    /// How long connections are still accepted after the stop was asked for, so that whoever routes to us has
    /// noticed. Not a key: a sidecar's only client stops with it.
    pub drain_delay: Duration,
    /// How long connections may take to end before they are cut. Not a key: it has to be shorter than the 30 s
    /// after which Kubernetes kills.
    pub drain_timeout: Duration,
}

/// Where to listen, and to whom.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListenConfig {
    /// Where the app connects. At least one; no two clash, nor with `admin`.
    pub proxy: Vec<BindAddress>,
    /// Where operators connect.
    pub admin: BindAddress,
    /// Host names accepted besides loopback names, the listeners' own and the upstream's: lower case, no port.
    pub allowed_hosts: Vec<String>,
    /// What TLS towards the app is spoken with, if it is.
    pub tls: Option<TlsFiles>,
    /// Hosts besides Graph's that CONNECT leads to: lower case, no port. None without `tls`.
    pub tunnel_hosts: Vec<String>,
}

/// A certificate and its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFiles {
    /// PEM: the certificate, and those that vouch for it behind it.
    pub cert: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
}

/// How to reach Graph.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamConfig {
    /// `https://host` or `https://host:port`, in lower case, without a path.
    pub origin: String,
    /// Further hosts that a request may name, and that it is then sent to; lower case, no port.
    pub hosts: Vec<String>,
    /// PEM certificates, added to the roots.
    pub ca_file: Option<PathBuf>,
    /// Which versions of HTTP.
    pub http: net::HttpVersion,
    /// Independent connection pools: 1 to 64.
    pub connections: NonZeroUsize,
    /// Whether to say `Via`.
    pub via: bool,
    /// Limit for name look-up, TCP and TLS together.
    pub connect_timeout: Duration,
    /// Limit from the end of the request's body to the answer's head.
    pub head_timeout: Duration,
    /// Limit between two frames of a body, either way.
    pub idle_timeout: Duration,
    /// Host name -> `host:port` to dial instead; both in lower case.
    pub connect_to: HashMap<String, String>,
}

/// The Meta app.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AppConfig {
    /// Its id: digits.
    pub id: Option<String>,
    /// Where its secret is, if proofs or renewals are wanted.
    pub secret: Option<SecretRef>,
    /// Which proofs are made if there is a secret; `None`: none.
    pub proof: Option<ProofMode>,
}

/// How rejected requests are healed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HealConfig {
    /// Longest a request waits for a credential.
    pub token_wait: Duration,
    /// How long requests are held after a live token is first rejected and no newer one is there.
    pub hold_timeout: Duration,
    /// What becomes of requests while the token is known to be dead and no newer one is there.
    pub dead_token: DeadTokenPolicy,
    /// Bytes of a request's body kept in memory.
    pub body_memory: u64,
    /// Bytes of all bodies kept in memory; not less than `body_memory`.
    pub memory_total: u64,
    /// Bytes of a request's body kept on disk.
    pub body_disk: u64,
    /// Bytes of all bodies kept on disk; not less than `body_disk`.
    pub disk_total: u64,
    /// Where bodies are kept on disk.
    pub spool: Spool,
    /// What becomes of credentials that the app itself sends.
    pub client_credentials: ClientCredentialPolicy,
}

/// Who is told of what a person should hear.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AlertConfig {
    /// The webhook, if there is one.
    pub url: Option<MaybeSecret>,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LogConfig {
    /// `format` and `level`.
    pub settings: LogSettings,
    /// Which requests are recorded.
    pub requests: AccessLogFilter,
}

impl UpstreamConfig {
    /// The origin's `host` or `host:port`.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.origin.strip_prefix("https://").unwrap_or(&self.origin)
    }

    /// The origin's host, without a port; an IPv6 address keeps its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let authority = self.authority();
        match authority.rsplit_once(':') {
            // What is behind the last colon of `[::1]` ends in a bracket, so it is no port.
            Some((host, port)) if !port.ends_with(']') => host,
            Some(_) | None => authority,
        }
    }
}
