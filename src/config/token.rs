//! `[token]`: where the token is, what renews it, and where a renewed one is stored.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, Uri};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::secret::{MaybeSecret, SecretRef};
use crate::renew::TokenLifetime;

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
    /// Whether Graph is asked about a token before it is used, and daily after that.
    pub verify: bool,
    /// How long before its expiry a token is renewed, at the least; at most 60d.
    #[schemars(extend("formatMaximum" = "60d"))]
    pub renew_before: Duration,
}

/// Where a token is read from.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum TokenSource {
    /// A file.
    File(FileSourceConfig),
    /// An environment variable.
    Env(EnvSourceConfig),
    /// A credential service.
    Http(HttpSourceConfig),
    /// A command's output.
    Exec(ExecSourceConfig),
    /// A row of a PostgreSQL database.
    Postgres(Box<PostgresSourceConfig>),
}

/// A file that holds the token.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
#[schemars(extend("not" = { "required": ["key", "pointer"] }))]
pub struct FileSourceConfig {
    /// The file's path.
    #[serde(rename = "file")]
    #[schemars(extend("format" = "path"))]
    pub path: PathBuf,
    /// The key of the KEY=value line that holds the token.
    #[schemars(extend("format" = "line-key"))]
    pub key: Option<String>,
    /// The JSON pointer to the token.
    #[schemars(extend("format" = "json-pointer"))]
    pub pointer: Option<String>,
    /// The Fernet keys that the token is encrypted with; the first one encrypts, all decrypt.
    #[serde(default, rename = "fernet_key")]
    #[schemars(with = "OneOrMany<SecretRef>")]
    pub fernet_keys: Vec<SecretRef>,
}

/// An environment variable that holds the token.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct EnvSourceConfig {
    /// The variable's name.
    #[serde(rename = "env")]
    #[schemars(extend("format" = "env-name"))]
    pub name: String,
}

/// A credential service that is asked for the token.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[schemars(extend("additionalProperties" = false))]
pub struct HttpSourceConfig {
    /// The call.
    #[serde(flatten)]
    pub call: HttpCallConfig,
    /// How often the service is asked, 100ms to 1d.
    #[serde(default = "minute")]
    #[schemars(extend("formatMinimum" = "100ms", "formatMaximum" = "1d"))]
    pub poll_interval: Duration,
}

/// A command that prints the token.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[schemars(extend("additionalProperties" = false, "not" = { "required": ["key", "pointer"] }))]
pub struct ExecSourceConfig {
    /// The command.
    #[serde(flatten)]
    pub command: CommandConfig,
    /// How often the command runs, 100ms to 1d; without it, only when a token is wanted.
    #[schemars(extend("formatMinimum" = "100ms", "formatMaximum" = "1d"))]
    pub poll_interval: Option<Duration>,
}

/// A row of a PostgreSQL database.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct PostgresSourceConfig {
    /// The database's URL, `postgres://…`.
    #[serde(rename = "postgres")]
    #[schemars(extend("format" = "postgres-url"))]
    pub url: MaybeSecret,
    /// The statement that selects the token.
    #[schemars(extend("format" = "sql"))]
    pub query: String,
    /// The query's `$1`, `$2`, …
    #[serde(default)]
    pub params: Vec<String>,
    /// The statement that stores a renewed token, if one does; the token is `$1`.
    #[schemars(extend("format" = "sql-update"))]
    pub update: Option<String>,
    /// The channel that is notified of changes, if there is one.
    #[schemars(extend("format" = "channel"))]
    pub listen: Option<String>,
    /// How often the row is read besides, 100ms to 1d.
    #[serde(default = "minute")]
    #[schemars(extend("formatMinimum" = "100ms", "formatMaximum" = "1d"))]
    pub poll_interval: Duration,
    /// The Fernet keys that the column is encrypted with; the first one encrypts, all decrypt.
    #[serde(default, rename = "fernet_key")]
    #[schemars(with = "OneOrMany<SecretRef>")]
    pub fernet_keys: Vec<SecretRef>,
    /// PEM certificates to trust besides the public ones.
    #[schemars(extend("format" = "path"))]
    pub ca_file: Option<PathBuf>,
}

/// What renews a token.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum RenewerConfig {
    /// Graph's `fb_exchange_token`.
    Exchange {
        /// Whether to ask for 60 days, which has to be done for a system user's token.
        #[serde(default, rename = "set_token_expires_in_60_days")]
        lifetime: TokenLifetime,
    },
    /// A system user's `access_tokens`.
    Mint {
        /// The id of the system user whose token it is.
        #[schemars(extend("format" = "id"))]
        system_user: String,
        /// The token of an admin system user.
        token: SecretRef,
        /// The permissions of the new token.
        #[schemars(length(min = 1), extend("format" = "scope"))]
        scopes: Vec<String>,
        /// Whether the new token expires after 60 days.
        #[serde(default, rename = "set_token_expires_in_60_days")]
        lifetime: TokenLifetime,
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

/// A call of a credential service.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct HttpCallConfig {
    /// The service's URL, `http` or `https`.
    #[serde(rename = "http", deserialize_with = "url")]
    #[schemars(with = "String", extend("format" = "service-url"))]
    pub url: Uri,
    /// The JSON pointer to the token in the response.
    #[schemars(extend("format" = "json-pointer"))]
    pub pointer: Option<String>,
    /// The request's headers.
    #[serde(default, deserialize_with = "headers")]
    #[schemars(
        with = "BTreeMap<String, MaybeSecret>",
        extend("propertyNames" = { "format": "header-name" }, "format" = "header-value")
    )]
    pub headers: Vec<(HeaderName, MaybeSecret)>,
    /// The limit for the whole call; at most 15s.
    #[serde(default = "service_timeout")]
    #[schemars(extend("formatMinimum" = "1ms", "formatMaximum" = "15s"))]
    pub timeout: Duration,
}

/// A command that prints a token.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
#[schemars(extend("not" = { "required": ["key", "pointer"] }))]
pub struct CommandConfig {
    /// The program, which is searched for in `PATH`, and its arguments. There is no shell.
    #[serde(rename = "exec")]
    #[schemars(length(min = 1), extend("format" = "argument"))]
    pub argv: Vec<String>,
    /// The key of the KEY=value line that holds the token.
    #[schemars(extend("format" = "line-key"))]
    pub key: Option<String>,
    /// The JSON pointer to the token.
    #[schemars(extend("format" = "json-pointer"))]
    pub pointer: Option<String>,
    /// The limit for the whole run; at most 15s.
    #[serde(default = "command_timeout")]
    #[schemars(extend("formatMinimum" = "1ms", "formatMaximum" = "15s"))]
    pub timeout: Duration,
    /// The variables that the command gets besides `PATH` and the like.
    #[serde(default)]
    #[schemars(extend("format" = "passed-env"))]
    pub keep_env: Vec<String>,
}

/// Where renewed tokens are stored.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// The file's path.
    #[serde(rename = "file")]
    #[schemars(extend("format" = "path"))]
    pub path: PathBuf,
    /// The Fernet keys that the token is encrypted with; the first one encrypts, all decrypt.
    #[serde(default, rename = "fernet_key")]
    #[schemars(with = "OneOrMany<SecretRef>")]
    pub fernet_keys: Vec<SecretRef>,
}

/// The JSON Schema of one value or a list of them.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum OneOrMany<T> {
    One(T),
    Many(#[schemars(length(min = 1))] Vec<T>),
}

fn minute() -> Duration {
    Duration::from_secs(60)
}

fn service_timeout() -> Duration {
    Duration::from_secs(5)
}

fn command_timeout() -> Duration {
    Duration::from_secs(10)
}

/// Deserializes a checked URL.
fn url<'de, D: Deserializer<'de>>(from: D) -> Result<Uri, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

/// Deserializes the checked headers of a call.
fn headers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(HeaderName, MaybeSecret)>, D::Error> {
    let headers = BTreeMap::<String, MaybeSecret>::deserialize(from)?.into_iter();
    let headers = headers.map(|(name, value)| Ok((name.parse().map_err(D::Error::custom)?, value)));
    headers.collect()
}
