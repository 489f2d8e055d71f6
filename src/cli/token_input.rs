//! The token that a command is about: where it is configured, and the one that the operator types or pipes.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::path::PathBuf;

use clap::Args;
use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
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

/// What is typed at a terminal that does not show it. It is as it was before when this is dropped, or when the operator interrupts:
/// rpassword, which reads the line from here, would end the process and leave it hidden.
struct HiddenKeys {
    terminal: File,
    shown: Termios,
}

/// What Ctrl-C types.
const INTERRUPT: u8 = 3;
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
        let keys = HiddenKeys::new().map_err(InputError::Read)?;
        let input = rpassword::ConfigBuilder::new().input_reader(keys).build();
        let line = rpassword::prompt_password_with_config("Token (hidden): ", input).map_err(InputError::Read)?;
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

// === impl HiddenKeys ===

impl HiddenKeys {
    fn new() -> io::Result<Self> {
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        let shown = tcgetattr(&terminal)?;
        let mut hidden = shown.clone();
        // Key by key: a line that the terminal collects has 4,095 bytes at most.
        hidden.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
        hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
        hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&terminal, OptionalActions::Now, &hidden)?;
        Ok(Self { terminal, shown })
    }

    /// Ends the line, and shows what is typed again.
    fn show(&mut self) -> io::Result<()> {
        tcsetattr(&self.terminal, OptionalActions::Now, &self.shown)?;
        writeln!(self.terminal)
    }
}

impl Read for HiddenKeys {
    fn read(&mut self, keys: &mut [u8]) -> io::Result<usize> {
        let length = self.terminal.read(keys)?;
        if keys.iter().take(length).any(|key| *key == INTERRUPT) {
            self.show()?;
            kill_process(getpid(), Signal::INT)?;
        }
        Ok(length)
    }
}

impl Drop for HiddenKeys {
    fn drop(&mut self) {
        // The terminal may be gone.
        self.show().unwrap_or_default();
    }
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
