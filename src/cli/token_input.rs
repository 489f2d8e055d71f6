//! The token that a command is about: where it is configured, and the one that the operator types or pipes.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use arc_swap::ArcSwapOption;
use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use zeroize::Zeroizing;

use super::exit::{Exit, print_message};
use super::output::OutputArgs;
use super::runtime::{build_runtime, forbid_core_dumps};
use crate::app::{ConfiguredTenantError, ConfiguredTenants};
use crate::config::{Config, ConfigError, GraphOverrides, LoadedConfig, Overrides, env_vars};
use crate::source::decode::{DecodeError, Format, MAX_DOCUMENT_BYTES, decode_token};
use crate::token::Token;
use crate::types::{Clock, TenantId};

/// The arguments of a command about a token, which may ask Graph about it.
#[derive(Args, Debug)]
pub(super) struct TokenCommandArgs {
    #[command(flatten)]
    pub(super) place: TokenPlace,
    /// Do not ask Graph; a running sidecar that changes the token asks as its configuration says
    #[arg(long)]
    pub(super) offline: bool,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Where the token is configured.
#[derive(Args, Debug)]
pub(super) struct TokenPlace {
    /// The sidecar's configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    graph: GraphOverrides,
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

/// What is typed at a terminal that does not show it. The terminal is as it was before when this is dropped, and when Ctrl-C or
/// a signal ends the process: rpassword, which reads the line from here, would leave the keys hidden.
struct HiddenKeys(Arc<Terminal>);

struct Terminal {
    file: File,
    /// Its settings from before, until they apply again.
    shown: ArcSwapOption<Termios>,
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
            graph: self.graph.clone(),
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
        let file = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        let shown = tcgetattr(&file)?;
        let mut hidden = shown.clone();
        // Key by key: a line that the terminal collects has 4,095 bytes at most.
        hidden.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
        hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
        hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
        let shown = ArcSwapOption::from_pointee(shown);
        let keys = Self(Arc::new(Terminal { file, shown }));
        // Before the keys are hidden.
        let (terminal, mut signals) = (Arc::clone(&keys.0), Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?);
        let end = move || signals.forever().try_for_each(|signal| terminal.end_process(signal));
        thread::Builder::new().spawn(end)?;
        tcsetattr(&keys.0.file, OptionalActions::Now, &hidden)?;
        Ok(keys)
    }
}

// === impl Terminal ===

impl Terminal {
    /// Ends the line, and shows what is typed again.
    fn show(&self, actions: OptionalActions) {
        if let Some(shown) = self.shown.swap(None)
            && tcsetattr(&self.file, actions, &shown).is_ok()
        {
            // The terminal may be gone.
            writeln!(&self.file).unwrap_or_default();
        }
    }

    /// Ends the process as a signal does, and leaves what was typed neither to the shell nor in a core dump.
    fn end_process(&self, signal: i32) -> io::Result<()> {
        self.show(OptionalActions::Flush);
        forbid_core_dumps();
        emulate_default_handler(signal)
    }
}

impl Read for HiddenKeys {
    fn read(&mut self, keys: &mut [u8]) -> io::Result<usize> {
        let length = (&self.0.file).read(keys)?;
        if keys.iter().take(length).any(|key| *key == INTERRUPT) {
            self.0.end_process(SIGINT)?;
        }
        Ok(length)
    }
}

impl Drop for HiddenKeys {
    fn drop(&mut self) {
        self.0.show(OptionalActions::Now);
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
