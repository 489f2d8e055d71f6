//! The sources that can be configured.

use std::path::PathBuf;

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
