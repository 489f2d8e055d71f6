//! The sources that can be configured.

use std::num::{NonZeroU8, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::env::EnvSource;
use super::exec::ExecSourceConfig;
use super::file::FileSourceConfig;
use super::http::HttpSourceConfig;
use super::postgres::{PostgresConfig, PostgresSettings, PostgresTableSettings};
use super::tenant_files::TenantFilesConfig;
use super::tenant_template::{TenantExecConfig, TenantHttpConfig};
use super::token_file::StoreConfig;

/// Where a token is read from.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum TokenSource {
    /// A file.
    File(FileSourceConfig),
    /// An environment variable.
    Env(EnvSource),
    /// A credential service.
    Http(HttpSourceConfig),
    /// A command's output.
    Exec(ExecSourceConfig),
    /// A row of a PostgreSQL database.
    Postgres(Box<PostgresConfig<PostgresSettings>>),
}

/// Where the tokens of tenants are read that are not in the configuration.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum TenantsFrom {
    /// A table of a PostgreSQL database.
    Postgres(Box<TenantsIn<PostgresConfig<PostgresTableSettings>>>),
    /// A directory with a file for each.
    Files(TenantsIn<TenantFilesConfig>),
    /// A credential service that is asked for each.
    Http(TenantsIn<TenantHttpConfig>),
    /// A command that is run for each.
    Exec(TenantsIn<TenantExecConfig>),
}

/// A place of the tokens of tenants.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[schemars(extend("additionalProperties" = false))]
pub struct TenantsIn<Place> {
    /// The place.
    #[serde(flatten)]
    pub place: Place,
    /// What is the same for every place.
    #[serde(flatten)]
    pub common: TenantsFromCommon,
}

/// What is the same for every place of the tokens of tenants.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(default)]
pub struct TenantsFromCommon {
    /// How long a tenant without requests keeps what it has in memory, 1s to 1d.
    #[schemars(extend("formatMinimum" = "1s", "formatMaximum" = "1d"))]
    pub idle: Duration,
    /// The most tenants whose tokens are renewed or inspected at the same time without a request for them, 1 to 64.
    #[schemars(range(min = 1, max = 64))]
    pub renewals: NonZeroU8,
    /// The most tenants that have something in memory at the same time, 1 to 100000. Past it, the least recently used ones without a
    /// request in flight give it up.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_open: NonZeroUsize,
    /// Where the tenants are cached, encrypted, for a start at which they cannot be read.
    #[schemars(extend("required" = ["file", "fernet_key"]))]
    pub cache: Option<StoreConfig>,
}

impl Default for TenantsFromCommon {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(10 * 60),
            renewals: const { NonZeroU8::new(4).unwrap() },
            max_open: const { NonZeroUsize::new(10_000).unwrap() },
            cache: None,
        }
    }
}

impl TenantsFrom {
    /// What is the same for every place.
    #[must_use]
    pub const fn common(&self) -> &TenantsFromCommon {
        match self {
            Self::Postgres(table) => &table.common,
            Self::Files(files) => &files.common,
            Self::Http(service) => &service.common,
            Self::Exec(command) => &command.common,
        }
    }
}

impl TokenSource {
    /// The file that holds the token, if one does.
    #[must_use]
    pub const fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::File(file) => Some(&file.path),
            Self::Env(_) | Self::Http(_) | Self::Exec(_) | Self::Postgres(_) => None,
        }
    }
}
