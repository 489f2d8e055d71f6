//! The shape of the configuration, section by section.
//!
//! # Why
//!
//! A setting has one shape: the type that is deserialized is the type that its module takes. Where a module can own that
//! type (`LogLevel`, `DeadTokenPolicy`), it derives `Deserialize` there. The comments of the fields are what the JSON
//! Schema says about them.
//!
//! The defaults are in `config/sidecar.toml`, which is the lowest layer: what operators copy from cannot differ from what
//! applies, and a key without a default cannot be built.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::admin::{AdminConfig, ReadyConfig};
use crate::alert::AlertConfig;
use crate::graph::ProofMode;
use crate::net::{EgressVariables, ListenAddr, ListenConfig};
use crate::proxy::{AccessLogFilter, HealConfig, LinkRewriteConfig};
use crate::renew::RenewerConfig;
use crate::source::{AbsentPolicy, StoreConfig, TenantsFrom, TokenSource};
use crate::telemetry::metrics::MetricsConfig;
use crate::telemetry::{AuditConfig, LogSettings};
use crate::tenants::AllowRule;
use crate::types::{MaybeSecret, OneOrMany, SecretRef, TenantId, TokenFamily};
use crate::upstream::UpstreamSettings;

/// The configuration of graphward.
#[derive(Clone, Deserialize, Eq, JsonSchema, PartialEq, derive_more::Debug)]
#[serde(deny_unknown_fields)]
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
    /// The tenants besides the one of `[token]`: a name, and its settings.
    #[schemars(extend("propertyNames" = { "format": "tenant" }))]
    pub tenants: BTreeMap<TenantId, TenantConfig>,
    /// Where the tokens of further tenants are read: a directory, a service or a command.
    pub tenants_from: Option<TenantsFrom>,
    /// How a request names its tenant.
    pub routing: RoutingConfig,
    /// How rejected requests are healed.
    pub heal: HealConfig,
    /// Which links in responses point at graphward.
    pub links: LinkRewriteConfig,
    /// What graphward remembers across restarts.
    pub state: StateConfig,
    /// When graphward is ready.
    pub ready: ReadyConfig,
    /// Who may use the admin listener, and for what.
    pub admin: AdminConfig,
    /// Where alerts are sent.
    pub alerts: AlertConfig,
    /// What is logged, and how.
    pub log: LogConfig,
    /// Where the uses of secrets outside requests are recorded.
    pub audit: AuditConfig,
    /// What metrics say about tenants.
    pub metrics: MetricsConfig,
    /// What `graphward check` looks at.
    pub check: CheckConfig,
    /// How long connections are still accepted after a stop was asked for, so that routers have noticed. It is not a key:
    /// a sidecar's only client stops with it.
    #[serde(skip)]
    pub drain_delay: Duration,
    /// Whether there is a default tenant: that of `[token]`, or of `[tenants.default]`.
    #[serde(skip)]
    pub has_default_tenant: bool,
    /// The settings of `[listen]`, `[state]` and `[upstream]`, which stay until a restart, as they were read.
    // With texts in which the operator may have written a secret.
    #[debug(skip)]
    #[serde(skip)]
    pub(super) until_restart: BTreeMap<String, Value>,
    /// The egress proxy of the environment.
    #[serde(skip)]
    pub egress_variables: EgressVariables,
    /// The files of the secrets that the configuration refers to, which are read again when they change.
    #[serde(skip)]
    pub secret_files: BTreeSet<PathBuf>,
    /// The environment variables of secrets and tokens that the configuration refers to.
    #[serde(skip)]
    pub secret_vars: BTreeSet<String>,
}

/// How Graph is reached.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[schemars(extend("additionalProperties" = false))]
pub struct UpstreamConfig {
    /// Graph's address, `https://host` or `https://host:port`, without a path.
    #[schemars(extend("format" = "origin"))]
    pub origin: String,
    /// Further hosts that a request may name and that it is then sent to. The default is Graph's other hosts for Graph's
    /// own origin, and none for another origin.
    #[schemars(extend("format" = "host"))]
    pub hosts: Vec<String>,
    /// PEM certificates to trust besides the public ones.
    #[schemars(extend("format" = "path"))]
    pub ca_file: Option<PathBuf>,
    /// The egress proxy for https, `http://host:port` or `https://host:port`, or a reference to its URL if that has a
    /// password; "none" for none. The default is that of the environment, HTTPS_PROXY.
    #[schemars(extend("format" = "proxy-url"))]
    pub proxy: Option<MaybeSecret>,
    /// The connections.
    #[serde(flatten)]
    pub settings: UpstreamSettings,
    /// The headers of the app that do not reach Graph, besides those that no proxy forwards.
    #[schemars(extend("format" = "header-name"))]
    pub remove_headers: Vec<String>,
    /// Whether requests to Graph get a `Via` header, and Max-Forwards is obeyed.
    pub via: bool,
    /// The limit for name resolution, TCP and TLS together, 1ms to 1d.
    #[schemars(extend("formatMinimum" = "1ms", "formatMaximum" = "1d"))]
    pub connect_timeout: Duration,
    /// The limit between two frames of a body, in either direction, 1ms to 1d.
    #[schemars(extend("formatMinimum" = "1ms", "formatMaximum" = "1d"))]
    pub idle_timeout: Duration,
    /// Hosts to dial elsewhere: host name to `host:port`. TLS and Host keep the name.
    #[schemars(extend("propertyNames" = { "format": "dialed-host" }, "format" = "host-port"))]
    pub connect_to: HashMap<String, String>,
}

/// The Meta app.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct AppConfig {
    /// The app's id: digits.
    #[schemars(extend("pattern" = r"^[0-9]{1,32}$", "patternErrorMessage" = "must be a numeric id in quotes"))]
    pub id: Option<String>,
    /// Where the app's secret is, for proofs and renewals.
    pub secret: Option<SecretRef>,
    /// Which proofs are made if there is a secret.
    pub proof: ProofMode,
}

/// The life of a token.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// Where the token is read from: one source, or a list of them, searched in order.
    #[serde(rename = "source")]
    #[schemars(with = "OneOrMany<TokenSource>")]
    pub sources: Vec<TokenSource>,
    /// What renews the token, if anything does.
    pub renew: Option<RenewerConfig>,
    /// Where renewed tokens are stored if the source cannot be written to.
    pub store: Option<StoreConfig>,
    /// The family of a token whose first letters do not tell it.
    pub family: Option<TokenFamily>,
    /// Which calls the app may make: rules such as "POST /{id}/messages", or "everything", "send-only", "read-only".
    #[schemars(with = "OneOrMany<AllowRule>")]
    pub allow: Vec<AllowRule>,
    /// The user ids of the processes that may use the token, over Unix sockets; without it, all that reach a listener may.
    #[schemars(length(min = 1), inner(range(max = 4_294_967_294_u32)))]
    pub uids: Option<Vec<u32>>,
    /// Where the last token that Graph accepted is cached, for a start at which every source fails.
    #[schemars(extend("required" = ["file", "fernet_key"]))]
    pub cache: Option<StoreConfig>,
    /// What happens to the token if its source says that it has none.
    pub absent: AbsentPolicy,
    /// Whether Graph is asked about a token before it is used, and daily after that.
    pub verify: bool,
    /// How long before its expiry a token is renewed, at the least; at most 60d.
    #[schemars(extend("formatMaximum" = "60d"))]
    pub renew_before: Duration,
}

/// A tenant: what it lacks of `[app]` and `[token]` is as there, except the places where tokens are.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[schemars(extend("additionalProperties" = false))]
pub struct TenantConfig {
    /// The ids of the objects that belong to it: phone numbers, business accounts, pages. A request for one of them is for this
    /// tenant.
    #[schemars(extend("pattern" = r"^[0-9A-Za-z_]{1,64}$", "patternErrorMessage" = "must be the id of an object, in quotes"))]
    pub ids: Vec<String>,
    /// Addresses that are its own: `IP:PORT` or `unix:/path`. What arrives there is for this tenant.
    #[schemars(with = "OneOrMany<ListenAddr>")]
    pub listen: Vec<ListenAddr>,
    /// Its Meta app.
    pub app: AppConfig,
    /// Its token.
    #[serde(flatten)]
    pub token: TokenConfig,
}

/// How a request names its tenant.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RoutingConfig {
    /// A header with the name of the tenant, which is not forwarded.
    #[schemars(extend("format" = "tenant-header"))]
    pub header: Option<String>,
}

/// What graphward remembers across restarts.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct StateConfig {
    /// The directory; without it `$STATE_DIRECTORY`, else `$XDG_STATE_HOME/graphward`, else nothing is remembered.
    #[schemars(extend("format" = "path"))]
    pub dir: Option<PathBuf>,
}

/// What `graphward check` looks at.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct CheckConfig {
    /// The id of the phone number that messages are sent with, or a reference to it, such as a line of a `.env` file.
    pub phone_number_id: Option<MaybeSecret>,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[schemars(extend("additionalProperties" = false))]
pub struct LogConfig {
    /// How lines are written.
    #[serde(flatten)]
    pub output: LogSettings,
    /// Which requests are logged.
    pub requests: AccessLogFilter,
}

impl Config {
    /// The tenants, each with the configuration as it is for that one: with its own `[app]` and `[token]`.
    #[must_use]
    pub fn of_tenants(&self) -> Vec<(TenantId, Self)> {
        let with = |app: &AppConfig, token: &TokenConfig| Self {
            app: app.clone(),
            token: token.clone(),
            tenants: BTreeMap::new(),
            ..self.clone()
        };
        let is_default_apart = self.has_default_tenant && !self.tenants.contains_key(&TenantId::default());
        let default = is_default_apart.then(|| (TenantId::default(), with(&self.app, &self.token)));
        let others = self.tenants.iter();
        let others = others.map(|(id, tenant)| (id.clone(), with(&tenant.app, &tenant.token)));
        default.into_iter().chain(others).collect()
    }

    /// The ids of the objects that belong to a tenant, if the configuration says so.
    #[must_use]
    pub fn ids_of(&self, tenant: &TenantId) -> &[String] {
        self.tenants.get(tenant).map_or(&[], |tenant| &tenant.ids)
    }

    /// The names of the tenants, for a message.
    #[must_use]
    pub fn tenant_names(&self) -> String {
        let named = self.of_tenants().into_iter().map(|(id, _)| id.to_string());
        let rows = self.tenants_from.iter().map(|_| "those of [tenants_from]".to_owned());
        named.chain(rows).collect::<Vec<_>>().join(", ")
    }

    /// The configuration as it is for a tenant of a table whose token is of this app.
    #[must_use]
    pub fn of_row(&self, app: &AppConfig) -> Self {
        let mut config = self.clone();
        config.app = app.clone();
        config.tenants = BTreeMap::new();
        (config.token.sources, config.token.store, config.token.cache) = (Vec::new(), None, None);
        config
    }
}

/// The origin of Graph.
pub(super) const GRAPH: &str = "https://graph.facebook.com";
