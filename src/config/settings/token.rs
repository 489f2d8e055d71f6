//! `[token]`: where the token is, what renews it, and where a renewed one goes.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, Uri};

use crate::renew::TokenLifetime;
use crate::source::decode::Format;

/// The life of a token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenConfig {
    /// Where it is shown: at least one place, searched in this order.
    pub sources: Vec<TokenSource>,
    /// What mints its successor, if anything does.
    pub renew: Option<RenewerConfig>,
    /// Where a minted one is kept besides its source.
    pub store: Option<StoreConfig>,
    /// Whether Graph is asked about a token before it is used, and daily after that.
    pub verify: bool,
    /// How long before its end a token is renewed, at the least.
    pub renew_before: Duration,
}

/// Where a token is shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TokenSource {
    /// A file.
    File {
        /// Which one.
        path: PathBuf,
        /// Where the token stands in it.
        format: Format,
        /// What it is encrypted with, if it is; the first one encrypts.
        fernet_keys: Vec<SecretRef>,
    },
    /// An environment variable.
    Env {
        /// Which one.
        name: String,
    },
    /// A credential service.
    Http {
        /// How it is called.
        call: HttpCall,
        /// How often.
        poll_interval: Duration,
    },
    /// A command's output.
    Exec {
        /// Which one.
        command: ExecCommand,
        /// How often, if not only when a token is wanted.
        poll_interval: Option<Duration>,
    },
    /// A row of a PostgreSQL database.
    Postgres(Box<PostgresSourceConfig>),
}

/// A call of a service of the house.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HttpCall {
    /// `http` or `https`, without a user or a password.
    pub url: Uri,
    /// Where the token stands in the answer.
    pub format: Format,
    /// What it is sent with.
    pub headers: Vec<(HeaderName, MaybeSecret)>,
    /// Limit for the whole call.
    pub timeout: Duration,
}

/// A command, run without a shell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExecCommand {
    /// The program, which `PATH` is searched for, and its arguments.
    pub argv: Vec<String>,
    /// Where the token stands in its output.
    pub format: Format,
    /// Limit for the whole run.
    pub timeout: Duration,
    /// The variables that it gets besides `PATH` and the like.
    pub keep_env: Vec<String>,
}

/// A row of a PostgreSQL database.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PostgresSourceConfig {
    /// `postgres://…`
    pub url: MaybeSecret,
    /// What selects the token.
    pub query: String,
    /// The query's `$1`, `$2`, …
    pub params: Vec<String>,
    /// What puts a renewed token in place, if anything does.
    pub update: Option<String>,
    /// The channel that is notified of changes, if there is one.
    pub listen: Option<String>,
    /// How often the row is looked at besides.
    pub poll_interval: Duration,
    /// What the column is encrypted with, if it is; the first one encrypts.
    pub fernet_keys: Vec<SecretRef>,
    /// PEM certificates, added to the roots.
    pub ca_file: Option<PathBuf>,
}

/// What mints a token's successor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RenewerConfig {
    /// `fb_exchange_token`.
    Exchange {
        /// How long the new one lasts.
        lifetime: TokenLifetime,
    },
    /// A system user's `access_tokens`.
    Mint {
        /// Whose token: an id.
        system_user: String,
        /// Where the token is that may mint: an admin's.
        token: SecretRef,
        /// What the new one may do.
        scopes: Vec<String>,
        /// How long the new one lasts.
        lifetime: TokenLifetime,
    },
    /// Instagram's `refresh_access_token`.
    Instagram,
    /// Threads' `refresh_access_token`.
    Threads,
    /// A service of the house.
    Http(HttpCall),
    /// A command's output.
    Exec(ExecCommand),
}

/// Where renewed tokens are kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoreConfig {
    /// The file.
    pub path: PathBuf,
    /// What it is encrypted with, if it is; the first one encrypts.
    pub fernet_keys: Vec<SecretRef>,
}

/// A text that may be a secret.
#[derive(Clone, Eq, PartialEq)]
pub enum MaybeSecret {
    /// It is none, and stands in the configuration.
    Inline(String),
    /// It is one.
    Ref(SecretRef),
}

/// Where a secret is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SecretRef {
    /// In a file, alone.
    File(PathBuf),
    /// In an environment variable.
    Env(String),
}

impl fmt::Debug for MaybeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // It should be none, but whoever wrote it there may have thought less of it.
            Self::Inline(_) => f.write_str("Here(..)"),
            Self::Ref(place) => f.debug_tuple("Elsewhere").field(place).finish(),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", place(&path.to_string_lossy())),
            Self::Env(name) => write!(f, "the variable {}", place(name)),
        }
    }
}

/// A name or a path as it may be shown: not if a secret was written in its place, which is not all in capitals and has
/// neither a directory nor words.
fn place(text: &str) -> &str {
    let lower = text.bytes().any(|byte| byte.is_ascii_lowercase());
    let mut rows = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    if lower && !text.contains('/') && rows.any(|row| row.len() >= 20) {
        "(not shown, as it may be a secret)"
    } else {
        text
    }
}
