//! The sources that can be configured.

use schemars::JsonSchema;
use serde::Deserialize;

use super::env::EnvSource;
use super::exec::ExecSourceConfig;
use super::file::FileSourceConfig;
use super::http::HttpSourceConfig;
use super::postgres::PostgresSourceConfig;

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
    Postgres(Box<PostgresSourceConfig>),
}
