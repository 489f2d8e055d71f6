//! The shape of the configuration, section by section, with its defaults.
//!
//! # Why
//!
//! A setting has one shape: the type that is deserialized is the type that its module takes. Where a module can own that
//! type (`LogLevel`, `DeadTokenPolicy`), it derives `Deserialize` there. The comments of the fields are what the JSON
//! Schema says about them.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::address::BindAddress;
use super::rules::{
    Address, FilePath, FilePathOrEmpty, Host, Id, Origin, SpoolDir, WebhookUrl, connect_to, integer, one_or_many_texts,
    optional, text, texts,
};
use super::secret::{MaybeSecret, SecretRef, optional_maybe_secret};
use super::token::{OneOrMany, TokenConfig};
use super::units::{duration, size};
use crate::admin::ReadinessPolicy;
use crate::graph::{ClientCredentialPolicy, OTHER_GRAPH_HOSTS, ProofMode};
use crate::net::HttpVersion;
use crate::proxy::{AccessLogFilter, DeadTokenPolicy, LinkRewriteConfig, Spool};
use crate::telemetry::{LogFormat, LogLevel, LogSettings};

/// The configuration of graphward. It is valid if [`Config::load`] returned it.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Where graphward listens, and for whom.
    pub listen: ListenConfig,
    /// How Graph is reached.
    pub upstream: UpstreamConfig,
    /// The Meta app.
    pub app: AppConfig,
    /// The token: where it is read from, and what renews it.
    pub token: TokenConfig,
    /// How rejected requests are healed.
    pub heal: HealConfig,
    /// Which links in responses point at graphward.
    pub links: LinkRewriteConfig,
    /// When graphward is ready.
    pub ready: ReadyConfig,
    /// Where alerts are sent.
    pub alerts: AlertConfig,
    /// What is logged, and how.
    pub log: LogConfig,
    /// How long connections are still accepted after a stop was asked for, so that routers have noticed. It is not a key:
    /// a sidecar's only client stops with it.
    #[serde(skip)]
    pub drain_delay: Duration,
}

/// Where graphward listens, and for whom.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct ListenConfig {
    /// The addresses that the app connects to, one or a list: `IP:PORT` or `unix:/path`.
    #[serde(deserialize_with = "one_or_many_texts::<_, Address>")]
    #[schemars(with = "OneOrMany<String>")]
    pub proxy: Vec<BindAddress>,
    /// The address that operators connect to: health and metrics.
    #[serde(deserialize_with = "text::<_, Address>")]
    #[schemars(with = "String")]
    pub admin: BindAddress,
    /// Host names that the app may use besides loopback names, the listeners' own and the upstream's.
    #[serde(deserialize_with = "texts::<_, Host>")]
    pub allowed_hosts: Vec<String>,
    /// The certificate for clients that insist on https.
    #[serde(deserialize_with = "tls_files")]
    pub tls: Option<TlsFiles>,
    /// Further hosts, on port 443, that CONNECT is passed through to, without a token.
    #[serde(deserialize_with = "texts::<_, Host>")]
    pub tunnel_hosts: Vec<String>,
}

/// A certificate and its key.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "{ cert = \"cert.pem\", key = \"key.pem\" }, two PEM files (`graphward ca` makes some)"
)]
pub struct TlsFiles {
    /// PEM: the certificate, and behind it those that issued it.
    #[serde(deserialize_with = "text::<_, FilePathOrEmpty>")]
    pub cert: PathBuf,
    /// PEM: the certificate's private key.
    #[serde(deserialize_with = "text::<_, FilePathOrEmpty>")]
    pub key: PathBuf,
}

/// How Graph is reached.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamConfig {
    /// Graph's address, `https://host` or `https://host:port`, without a path.
    #[serde(deserialize_with = "text::<_, Origin>")]
    pub origin: String,
    /// Further hosts that a request may name and that it is then sent to. The default is Graph's other hosts for Graph's
    /// own origin, and none for another origin.
    #[serde(deserialize_with = "texts::<_, Host>")]
    pub hosts: Vec<String>,
    /// PEM certificates to trust besides the public ones.
    #[serde(deserialize_with = "optional::<_, FilePath>")]
    pub ca_file: Option<PathBuf>,
    /// The version of HTTP towards Graph.
    pub http: HttpVersion,
    /// The number of independent connection pools, 1 to 64.
    #[serde(deserialize_with = "connections")]
    pub connections: NonZeroUsize,
    /// Whether requests to Graph get a `Via` header, and Max-Forwards is obeyed.
    pub via: bool,
    /// The limit for name resolution, TCP and TLS together, 1ms to 1d.
    #[serde(deserialize_with = "duration::<_, 1, DAY>")]
    pub connect_timeout: Duration,
    /// The limit from the end of the request's body to the head of the response, 1ms to 1d.
    #[serde(deserialize_with = "duration::<_, 1, DAY>")]
    pub head_timeout: Duration,
    /// The limit between two frames of a body, in either direction, 1ms to 1d.
    #[serde(deserialize_with = "duration::<_, 1, DAY>")]
    pub idle_timeout: Duration,
    /// Hosts to dial elsewhere: host name to `host:port`. TLS and Host keep the name.
    #[serde(deserialize_with = "connect_to")]
    pub connect_to: HashMap<String, String>,
}

/// The Meta app.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct AppConfig {
    /// The app's id: digits.
    #[serde(deserialize_with = "optional::<_, Id>")]
    pub id: Option<String>,
    /// Where the app's secret is, for proofs and renewals.
    pub secret: Option<SecretRef>,
    /// Which proofs are made if there is a secret.
    #[serde(deserialize_with = "proof")]
    #[schemars(with = "Proof")]
    pub proof: Option<ProofMode>,
}

/// How rejected requests are healed.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct HealConfig {
    /// The longest time that a request waits for a token; at most 10m.
    #[serde(deserialize_with = "duration::<_, 0, TEN_MINUTES>")]
    pub token_wait: Duration,
    /// How long requests are held after Graph first rejects a token and there is no newer one yet; at most 10m.
    #[serde(deserialize_with = "duration::<_, 0, TEN_MINUTES>")]
    pub hold_timeout: Duration,
    /// What happens to requests while the token is known to be dead and there is no newer one.
    pub dead_token: DeadTokenPolicy,
    /// How much of one request's body is kept in memory; at most 1GiB.
    #[serde(deserialize_with = "size::<_, GIB>")]
    pub body_memory: u64,
    /// How much of all bodies is kept in memory; at most 1TiB.
    #[serde(deserialize_with = "size::<_, TIB>")]
    pub memory_total: u64,
    /// How much of one request's body is kept on disk; at most 1TiB.
    #[serde(deserialize_with = "size::<_, TIB>")]
    pub body_disk: u64,
    /// How much of all bodies is kept on disk; at most 1TiB.
    #[serde(deserialize_with = "size::<_, TIB>")]
    pub disk_total: u64,
    /// The directory for bodies on disk: an absolute path, "" for the system's temporary directory, or "off".
    #[serde(rename = "spool_dir", deserialize_with = "text::<_, SpoolDir>")]
    #[schemars(with = "String")]
    pub spool: Spool,
    /// What happens to a token that the app itself sends.
    pub client_credentials: ClientCredentialPolicy,
}

/// When graphward is ready.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct ReadyConfig {
    /// How many tokens have to be usable.
    pub tokens: ReadinessPolicy,
}

/// Where alerts are sent.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct AlertConfig {
    /// The webhook's URL, or a reference to it if it is a secret.
    #[serde(deserialize_with = "optional_maybe_secret::<_, WebhookUrl>")]
    pub url: Option<MaybeSecret>,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// The shape of a line.
    pub format: LogFormat,
    /// The log level.
    pub level: LogLevel,
    /// Which requests are logged.
    pub requests: AccessLogFilter,
}

/// The origin of Graph.
pub(super) const GRAPH: &str = "https://graph.facebook.com";
/// In milliseconds: beyond a day, a limit is none.
const DAY: u64 = 24 * 60 * 60 * 1000;
/// In milliseconds: an app that waits longer for a token has given up long before.
const TEN_MINUTES: u64 = 10 * 60 * 1000;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// Which proofs are made.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Proof {
    /// One for each token.
    Auto,
    /// One for each attempt, with `appsecret_time`.
    Timed,
    /// None.
    Off,
}

fn proof<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ProofMode>, D::Error> {
    Ok(match Proof::deserialize(from)? {
        Proof::Auto => Some(ProofMode::PerToken),
        Proof::Timed => Some(ProofMode::Timestamped),
        Proof::Off => None,
    })
}

fn connections<'de, D: Deserializer<'de>>(from: D) -> Result<NonZeroUsize, D::Error> {
    integer::<D, usize, 1, 64>(from).map(|count| NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN))
}

/// Both files, or neither.
fn tls_files<'de, D: Deserializer<'de>>(from: D) -> Result<Option<TlsFiles>, D::Error> {
    let files = Option::<TlsFiles>::deserialize(from)?.unwrap_or_default();
    match [&files.cert, &files.key].map(|path| path.as_os_str().is_empty()) {
        [true, true] => Ok(None),
        [false, false] => Ok(Some(files)),
        [true, false] | [false, true] => Err(D::Error::custom(
            "must have both `cert` and `key`, two PEM files (`graphward ca` makes some)",
        )),
    }
}

// === Defaults ===

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            proxy: vec![BindAddress::Tcp(([127, 0, 0, 1], 8080).into())],
            admin: BindAddress::Tcp(([127, 0, 0, 1], 9080).into()),
            allowed_hosts: Vec::new(),
            tls: None,
            tunnel_hosts: Vec::new(),
        }
    }
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            origin: GRAPH.to_owned(),
            hosts: OTHER_GRAPH_HOSTS.map(str::to_owned).to_vec(),
            ca_file: None,
            http: HttpVersion::default(),
            connections: NonZeroUsize::MIN,
            via: false,
            connect_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            connect_to: HashMap::new(),
        }
    }
}

impl Default for AppConfig {
    fn default() -> Self {
        Self {
            id: None,
            secret: None,
            proof: Some(ProofMode::PerToken),
        }
    }
}

impl Default for HealConfig {
    fn default() -> Self {
        Self {
            token_wait: Duration::from_secs(5),
            hold_timeout: Duration::from_secs(2),
            dead_token: DeadTokenPolicy::default(),
            body_memory: 1 << 20,
            memory_total: 64 << 20,
            body_disk: 128 << 20,
            disk_total: 1 << 30,
            spool: Spool::Directory(std::env::temp_dir()),
            client_credentials: ClientCredentialPolicy::default(),
        }
    }
}

// === impl UpstreamConfig ===

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
            // The text behind the last colon of `[::1]` ends in a bracket, so it is not a port.
            Some((host, port)) if !port.ends_with(']') => host,
            Some(_) | None => authority,
        }
    }
}

// === impl LogConfig ===

impl LogConfig {
    /// The settings of the logger.
    #[must_use]
    pub fn settings(&self) -> LogSettings {
        LogSettings {
            format: self.format,
            level: self.level,
        }
    }
}
