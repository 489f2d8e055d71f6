//! The token that a command is about: where it is configured, and the one that the operator types or pipes.

use std::io::{self, IsTerminal as _, Read as _};
use std::path::PathBuf;

use clap::Args;
use zeroize::Zeroizing;

use super::exit::{Exit, print_message};
use super::runtime::build_runtime;
use crate::app::{ConfiguredTenantError, ConfiguredTenants};
use crate::config::{Config, ConfigError, LoadedConfig, Overrides, env_vars};
use crate::source::decode::{DecodeError, Format, MAX_DOCUMENT_BYTES, decode_token};
use crate::token::Token;
use crate::types::{Clock, TenantId};

/// Where the token is configured.
#[derive(Args, Debug)]
pub(super) struct TokenPlace {
    /// The sidecar's configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Token file, as configured for the sidecar [default: /run/graphward/token]
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// The tenant, if there are several
    #[arg(long, value_name = "NAME", value_parser = parse_tenant)]
    pub(super) tenant: Option<TenantId>,
}

/// The reason why nothing is known of a token.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Tenant(#[from] ConfiguredTenantError),
    #[error("cannot start")]
    Process(#[source] io::Error),
    #[error("cannot read the token")]
    Read(#[source] io::Error),
    #[error("not a valid token")]
    Token(#[from] DecodeError),
}

/// Graph has issued no shorter token.
const SHORTEST_TOKEN: usize = 100;

/// Reads the name of a tenant, which errors may show.
pub(super) fn parse_tenant(name: &str) -> Result<TenantId, &'static str> {
    TenantId::new(name).map_err(|_invalid| "it is not the name of a tenant")
}

// === impl TokenPlace ===

impl TokenPlace {
    /// Reads the configuration.
    pub(super) fn load(&self) -> Result<LoadedConfig, InputError> {
        let flags = Overrides {
            config: self.config.clone(),
            token_file: self.token_file.clone(),
            ..Overrides::default()
        };
        Ok(Config::load(flags, &env_vars())?)
    }
}

/// Does something with the tenants of a configuration.
pub(super) fn with_tenants<T, E: From<InputError>>(
    config: Config,
    work: impl AsyncFnOnce(ConfiguredTenants) -> Result<T, E>,
) -> Result<T, E> {
    let runtime = build_runtime().map_err(InputError::Process)?;
    runtime.block_on(async {
        let tenants = ConfiguredTenants::new(config, Clock::system());
        work(tenants.map_err(|error| InputError::Tenant(error.into()))?).await
    })
}

/// Reads the token from a prompt that hides it, or from stdin if that is not a terminal.
pub(super) fn read_token() -> Result<Token, InputError> {
    let stdin = io::stdin();
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_DOCUMENT_BYTES));
    if stdin.is_terminal() {
        let line = rpassword::prompt_password("Token (hidden): ").map_err(InputError::Read)?;
        bytes.extend_from_slice(Zeroizing::new(line).as_bytes());
    } else {
        let max_bytes = u64::try_from(MAX_DOCUMENT_BYTES).unwrap_or(u64::MAX);
        let mut stdin = stdin.lock().take(max_bytes);
        stdin.read_to_end(&mut bytes).map_err(InputError::Read)?;
    }
    let token = decode_token(&bytes, &Format::Raw, None)?;
    if bytes.trim_ascii().len() < SHORTEST_TOKEN {
        print_message("warning: tokens of Graph are longer; check that it was copied to its end");
    }
    Ok(token)
}

// === impl InputError ===

impl InputError {
    pub(super) fn exit(&self) -> Exit {
        use ConfiguredTenantError::{Ambiguous, Build, Change, Read, Unknown};
        match self {
            Self::Tenant(Change(error)) if error.reason() == "not_writable" => Exit::Usage,
            Self::Config(_) | Self::Tenant(Build(_) | Unknown(_) | Ambiguous(_)) => Exit::Usage,
            Self::Tenant(Change(_) | Read(_)) | Self::Process(_) | Self::Read(_) | Self::Token(_) => Exit::Failed,
        }
    }
}
