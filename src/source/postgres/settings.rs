//! The keys of the source `postgres`, and of a table of tenants.

use std::num::NonZeroU8;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::encoding::EncryptionConfig;
use super::super::polled::default_poll_interval;
use crate::types::MaybeSecret;

/// A row or a table of a PostgreSQL database, and how it is reached.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[schemars(extend("additionalProperties" = false))]
pub struct PostgresConfig<Settings> {
    /// The database's URL, `postgres://…`, or libpq's `host=… dbname=…`.
    #[serde(rename = "postgres")]
    #[schemars(extend("format" = "postgres-url", "pattern" = r"^((jdbc:)?(postgres(ql)?|pgsql|psql|postgis)(\+[a-z0-9_]+)?://[!-~]*|\s*[a-z_]+\s*=.*)$", "patternErrorMessage" = "must be a URL such as \"postgres://graphward@db:5432/app\", or { file = … } or { env = … }"))]
    pub url: MaybeSecret,
    /// The encryption of the tokens.
    #[serde(flatten)]
    pub encryption: EncryptionConfig,
    /// The row or the table.
    #[serde(flatten)]
    pub settings: Settings,
}

/// The settings of a source `postgres` that are not secrets.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
pub struct PostgresSettings {
    /// The statement that selects the token.
    #[schemars(extend("pattern" = r"^[^\x00]*[^\s\x00][^\x00]*$", "patternErrorMessage" = "must be an SQL statement with parameters $1, $2, …"))]
    pub query: String,
    /// The query's `$1`, `$2`, …
    #[serde(default)]
    pub params: Vec<String>,
    /// The statement that stores a renewed token, if one does; the token is `$1`.
    #[schemars(extend("pattern" = r"^[^\x00]*\$1([^0-9\x00][^\x00]*)?$", "patternErrorMessage" = "must use $1, the new token; the parameters of query are $2 onward"))]
    pub update: Option<String>,
    /// The channel that is notified of changes, if there is one, spelled as in `pg_notify`. A store notifies it.
    #[schemars(extend("format" = "channel"))]
    pub listen: Option<String>,
    /// How often the row is read besides, 100ms to 1d.
    #[serde(default = "default_poll_interval")]
    #[schemars(extend("formatMinimum" = "100ms", "formatMaximum" = "1d"))]
    pub poll_interval: Duration,
    /// PEM certificates to trust besides the public ones.
    #[schemars(extend("format" = "path"))]
    pub ca_file: Option<PathBuf>,
}

/// The settings of a table of tenants that are not secrets.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
pub struct PostgresTableSettings {
    /// The statement that selects the columns `tenant` and `token` of all tenants, and perhaps `ids`, `app` and `expires_at`.
    #[schemars(extend("pattern" = r"^[^\x00]*[^\s\x00][^\x00]*$", "patternErrorMessage" = "must be an SQL statement that selects `tenant` and `token`"))]
    pub query: String,
    /// The statement that stores a renewed token, if one does; the token is `$1`, the tenant's name `$2`, the expiry `$3`.
    #[schemars(extend("pattern" = r"^[^\x00]*\$1([^0-9\x00][^\x00]*)?$", "patternErrorMessage" = "must use $1, the new token, and $2, the tenant's name"))]
    pub update: Option<String>,
    /// The statement that puts a tenant of the operator, or replaces it, if one does; the token is `$1`, the tenant's name `$2`, the
    /// WABA's id `$3`, the phone number's id `$4`, the expiry `$5`.
    #[schemars(extend("pattern" = r"^[^\x00]*\$2([^0-9\x00][^\x00]*)?$", "patternErrorMessage" = "must use $1, the token, and $2, the tenant's name"))]
    pub upsert: Option<String>,
    /// The statement that withdraws a tenant, if one does; its name is `$1`.
    #[schemars(extend("pattern" = r"^[^\x00]*\$1([^0-9\x00][^\x00]*)?$", "patternErrorMessage" = "must use $1, the tenant's name"))]
    pub withdraw: Option<String>,
    /// The channel that is notified of changes, if there is one, spelled as in `pg_notify`. A store notifies it.
    #[schemars(extend("format" = "channel"))]
    pub listen: Option<String>,
    /// How often the table is read besides, 100ms to 1d.
    #[serde(default = "default_poll_interval")]
    #[schemars(extend("formatMinimum" = "100ms", "formatMaximum" = "1d"))]
    pub poll_interval: Duration,
    /// PEM certificates to trust besides the public ones.
    #[schemars(extend("format" = "path"))]
    pub ca_file: Option<PathBuf>,
    /// The most tokens that are renewed at the same time. Each of these renewals has a connection. It is set by the key that all
    /// places of tenants have.
    #[serde(skip, default = "default_renewals")]
    pub renewals: NonZeroU8,
}

fn default_renewals() -> NonZeroU8 {
    const { NonZeroU8::new(4).unwrap() }
}
