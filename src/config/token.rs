//! `[token]`: where the token is, what renews it, and where a renewed one is stored.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, Uri};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::Deserializer;

use super::rules::{
    Channel, EnvName, FilePath, Id, LineKey, PassedEnv, Pointer, PostgresUrl, ServiceUrl, Statement, Update, argv,
    one_or_many, optional, scopes, text, texts,
};
use super::secret::{MaybeSecret, SecretRef, headers, maybe_secret};
use super::units::{duration, optional_duration};
use crate::renew::TokenLifetime;
use crate::source::decode::Format;

/// The life of a token.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct TokenConfig {
    /// Where the token is read from: one source, or a list of them, searched in order.
    #[serde(rename = "source", deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<TokenSource>")]
    pub sources: Vec<TokenSource>,
    /// What renews the token, if anything does.
    pub renew: Option<RenewerConfig>,
    /// Where renewed tokens are stored if the source cannot be written to.
    pub store: Option<StoreConfig>,
    /// Whether Graph is asked about a token before it is used, and daily after that.
    pub verify: bool,
    /// How long before its expiry a token is renewed, at the least; at most 60d.
    #[serde(deserialize_with = "duration::<_, 0, 5_184_000_000>")]
    pub renew_before: Duration,
}

/// Where a token is read from.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(
    rename = "keyed",
    rename_all = "lowercase",
    expecting = "a source: { file = \"/run/graphward/token\" }, { env = \"NAME\" }, or one with http, exec or postgres; \
                 or a list of sources"
)]
#[schemars(rename = "TokenSource", untagged)]
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
pub struct FileSourceConfig {
    /// The file's path.
    #[serde(rename = "file", deserialize_with = "text::<_, FilePath>")]
    pub path: PathBuf,
    /// The key of the KEY=value line that holds the token.
    #[serde(default, deserialize_with = "optional::<_, LineKey>")]
    pub key: Option<String>,
    /// The JSON pointer to the token.
    #[serde(default, deserialize_with = "optional::<_, Pointer>")]
    pub pointer: Option<String>,
    /// The Fernet keys that the token is encrypted with; the first one encrypts, all decrypt.
    #[serde(default, rename = "fernet_key", deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<SecretRef>")]
    pub fernet_keys: Vec<SecretRef>,
}

/// An environment variable that holds the token.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct EnvSourceConfig {
    /// The variable's name.
    #[serde(rename = "env", deserialize_with = "text::<_, EnvName>")]
    pub name: String,
}

/// A credential service that is asked for the token.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct HttpSourceConfig {
    /// The service's URL, `http` or `https`.
    #[serde(rename = "http", deserialize_with = "text::<_, ServiceUrl>")]
    #[schemars(with = "String")]
    pub url: Uri,
    /// The JSON pointer to the token in the response.
    #[serde(default, deserialize_with = "optional::<_, Pointer>")]
    pub pointer: Option<String>,
    /// The request's headers.
    #[serde(default, deserialize_with = "headers")]
    #[schemars(with = "std::collections::BTreeMap<String, MaybeSecret>")]
    pub headers: Vec<(HeaderName, MaybeSecret)>,
    /// The limit for the whole call; at most 15s.
    #[serde(default = "service_timeout", deserialize_with = "duration::<_, 1, CALL_TIMEOUT>")]
    pub timeout: Duration,
    /// How often the service is asked, 100ms to 1d.
    #[serde(default = "minute", deserialize_with = "duration::<_, 100, DAY>")]
    pub poll_interval: Duration,
}

/// A command that prints the token.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ExecSourceConfig {
    /// The program, which is searched for in `PATH`, and its arguments. There is no shell.
    #[serde(rename = "exec", deserialize_with = "argv")]
    pub argv: Vec<String>,
    /// The key of the KEY=value line that holds the token.
    #[serde(default, deserialize_with = "optional::<_, LineKey>")]
    pub key: Option<String>,
    /// The JSON pointer to the token.
    #[serde(default, deserialize_with = "optional::<_, Pointer>")]
    pub pointer: Option<String>,
    /// The limit for the whole run; at most 15s.
    #[serde(default = "command_timeout", deserialize_with = "duration::<_, 1, CALL_TIMEOUT>")]
    pub timeout: Duration,
    /// How often the command runs, 100ms to 1d; without it, only when a token is wanted.
    #[serde(default, deserialize_with = "optional_duration::<_, 100, DAY>")]
    pub poll_interval: Option<Duration>,
    /// The variables that the command gets besides `PATH` and the like.
    #[serde(default, deserialize_with = "texts::<_, PassedEnv>")]
    pub keep_env: Vec<String>,
}

/// A row of a PostgreSQL database.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct PostgresSourceConfig {
    /// The database's URL, `postgres://…`.
    #[serde(rename = "postgres", deserialize_with = "maybe_secret::<_, PostgresUrl>")]
    pub url: MaybeSecret,
    /// The statement that selects the token.
    #[serde(deserialize_with = "text::<_, Statement>")]
    pub query: String,
    /// The query's `$1`, `$2`, …
    #[serde(default)]
    pub params: Vec<String>,
    /// The statement that stores a renewed token, if one does; the token is `$1`.
    #[serde(default, deserialize_with = "optional::<_, Update>")]
    pub update: Option<String>,
    /// The channel that is notified of changes, if there is one.
    #[serde(default, deserialize_with = "optional::<_, Channel>")]
    pub listen: Option<String>,
    /// How often the row is read besides, 100ms to 1d.
    #[serde(default = "minute", deserialize_with = "duration::<_, 100, DAY>")]
    pub poll_interval: Duration,
    /// The Fernet keys that the column is encrypted with; the first one encrypts, all decrypt.
    #[serde(default, rename = "fernet_key", deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<SecretRef>")]
    pub fernet_keys: Vec<SecretRef>,
    /// PEM certificates to trust besides the public ones.
    #[serde(default, deserialize_with = "optional::<_, FilePath>")]
    pub ca_file: Option<PathBuf>,
}

/// What renews a token.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(
    rename = "keyed",
    rename_all = "lowercase",
    deny_unknown_fields,
    expecting = "one of { exchange = {} }, { mint = { … } }, { instagram = {} }, { threads = {} }, \
                 { http = \"https://…\" } and { exec = [\"…\"] }"
)]
#[schemars(rename = "RenewerConfig")]
pub enum RenewerConfig {
    /// Graph's `fb_exchange_token`.
    Exchange {
        /// Whether to ask for 60 days, which has to be done for a system user's token.
        #[serde(default, rename = "set_token_expires_in_60_days", deserialize_with = "lifetime")]
        #[schemars(with = "bool")]
        lifetime: TokenLifetime,
    },
    /// A system user's `access_tokens`.
    Mint {
        /// The id of the system user whose token it is.
        #[serde(deserialize_with = "text::<_, Id>")]
        system_user: String,
        /// The token of an admin system user.
        token: SecretRef,
        /// The permissions of the new token.
        #[serde(deserialize_with = "scopes")]
        scopes: Vec<String>,
        /// Whether the new token expires after 60 days.
        #[serde(default, rename = "set_token_expires_in_60_days", deserialize_with = "lifetime")]
        #[schemars(with = "bool")]
        lifetime: TokenLifetime,
    },
    /// Instagram's `refresh_access_token`.
    Instagram {},
    /// Threads' `refresh_access_token`.
    Threads {},
    /// An internal credential service.
    #[schemars(untagged)]
    Http(HttpRenewerConfig),
    /// A command's output.
    #[schemars(untagged)]
    Exec(ExecRenewerConfig),
}

/// A call of a service that renews the token.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct HttpRenewerConfig {
    /// The service's URL, `http` or `https`.
    #[serde(rename = "http", deserialize_with = "text::<_, ServiceUrl>")]
    #[schemars(with = "String")]
    pub url: Uri,
    /// The JSON pointer to the token in the response.
    #[serde(default, deserialize_with = "optional::<_, Pointer>")]
    pub pointer: Option<String>,
    /// The request's headers.
    #[serde(default, deserialize_with = "headers")]
    #[schemars(with = "std::collections::BTreeMap<String, MaybeSecret>")]
    pub headers: Vec<(HeaderName, MaybeSecret)>,
    /// The limit for the whole call; at most 15s.
    #[serde(default = "service_timeout", deserialize_with = "duration::<_, 1, CALL_TIMEOUT>")]
    pub timeout: Duration,
}

/// A command that renews the token and prints it.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ExecRenewerConfig {
    /// The program, which is searched for in `PATH`, and its arguments. There is no shell.
    #[serde(rename = "exec", deserialize_with = "argv")]
    pub argv: Vec<String>,
    /// The key of the KEY=value line that holds the token.
    #[serde(default, deserialize_with = "optional::<_, LineKey>")]
    pub key: Option<String>,
    /// The JSON pointer to the token.
    #[serde(default, deserialize_with = "optional::<_, Pointer>")]
    pub pointer: Option<String>,
    /// The limit for the whole run; at most 15s.
    #[serde(default = "command_timeout", deserialize_with = "duration::<_, 1, CALL_TIMEOUT>")]
    pub timeout: Duration,
    /// The variables that the command gets besides `PATH` and the like.
    #[serde(default, deserialize_with = "texts::<_, PassedEnv>")]
    pub keep_env: Vec<String>,
}

/// Where renewed tokens are stored.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, expecting = "{ file = \"/var/lib/graphward/token\" }")]
pub struct StoreConfig {
    /// The file's path.
    #[serde(rename = "file", deserialize_with = "text::<_, FilePath>")]
    pub path: PathBuf,
    /// The Fernet keys that the token is encrypted with; the first one encrypts, all decrypt.
    #[serde(default, rename = "fernet_key", deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<SecretRef>")]
    pub fernet_keys: Vec<SecretRef>,
}

/// The JSON Schema of one value or a list of them.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// In milliseconds.
const DAY: u64 = 24 * 60 * 60 * 1000;
/// The token provider waits for 20 s at most, and a renewal under a lock has 25 s.
const CALL_TIMEOUT: u64 = 15_000;

fn minute() -> Duration {
    Duration::from_secs(60)
}

fn service_timeout() -> Duration {
    Duration::from_secs(5)
}

fn command_timeout() -> Duration {
    Duration::from_secs(10)
}

fn lifetime<'de, D: Deserializer<'de>>(from: D) -> Result<TokenLifetime, D::Error> {
    Ok(if bool::deserialize(from)? {
        TokenLifetime::SixtyDays
    } else {
        TokenLifetime::Default
    })
}

impl Default for TokenConfig {
    fn default() -> Self {
        let file = FileSourceConfig {
            path: PathBuf::from("/run/graphward/token"),
            key: None,
            pointer: None,
            fernet_keys: Vec::new(),
        };
        Self {
            sources: vec![TokenSource::File(file)],
            renew: None,
            store: None,
            verify: true,
            renew_before: Duration::from_secs(10 * 24 * 60 * 60),
        }
    }
}

/// Where the token is in a text; at most one of the two is given.
#[must_use]
pub fn format(key: Option<&String>, pointer: Option<&String>) -> Format {
    match (key, pointer) {
        (Some(key), _) => Format::Key(key.clone()),
        (None, Some(pointer)) => Format::Pointer(pointer.clone()),
        (None, None) => Format::Raw,
    }
}
