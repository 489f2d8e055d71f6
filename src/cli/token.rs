//! `graphward token`: what a person does with a token.
//!
//! # Why
//!
//! A token is never an argument: the process list is open to everybody, and shells write histories. It comes from stdin,
//! or from a prompt that shows nothing.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::exit::Exit;
use super::serve::{build_runtime, print_error};
use crate::app::{RollbackError, roll_back};
use crate::config::{Config, ConfigError, Overrides, env_var};
use crate::net::watch::read_file;
use crate::source::decode::{DecodeError, Format, MAX_DOCUMENT_BYTES, decode};
use crate::source::{Fernet, FernetError};
use crate::types::{Clock, Secret};

/// `graphward token`
#[derive(Args, Debug)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Go back to the token that was there before the last renewal; once more undoes it
    ///
    /// It exchanges the token in the file of token.source, or of token.store, for the one that the last renewal kept
    /// beside it. A running sidecar notices. Exits with 1 if there is nothing to go back to.
    Rollback(RollbackArgs),
    /// Encrypt a token with Fernet: from stdin, or from a prompt that shows nothing
    Seal(EncryptArgs),
    /// Make a key for Fernet
    Keygen,
}

#[derive(Args, Debug)]
struct RollbackArgs {
    /// The configuration file of the sidecar
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The file that the token is in, as the sidecar was told [default: /run/graphward/token]
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
}

#[derive(Args, Debug)]
struct EncryptArgs {
    /// The file that the key is in, as `graphward token keygen` prints it
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
enum TokenCommandError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot roll back")]
    Rollback(#[from] RollbackError),
    #[error("cannot read the key from {}", path.display())]
    KeyFile { path: PathBuf, source: io::Error },
    #[error("there is no key in {}", path.display())]
    InvalidKey { path: PathBuf, source: DecodeError },
    #[error("cannot use the key")]
    Key(#[from] FernetError),
    #[error("cannot read the token")]
    Read(#[source] io::Error),
    #[error("that is no token")]
    Token(#[from] DecodeError),
    #[error("cannot start, or say what was done")]
    Process(#[source] io::Error),
}

/// Does it, and says what was done.
pub(super) fn run(args: TokenArgs) -> ExitCode {
    let result = match args.command {
        TokenCommand::Rollback(args) => rollback(args),
        TokenCommand::Seal(args) => encrypt(&args),
        TokenCommand::Keygen => keygen(),
    };
    let error = match result {
        Ok(()) => return Exit::Success.into(),
        Err(error) => error,
    };
    let exit = match &error {
        TokenCommandError::Config(_)
        | TokenCommandError::Rollback(RollbackError::Sources(_) | RollbackError::Tls(_) | RollbackError::NoFile)
        | TokenCommandError::KeyFile { .. }
        | TokenCommandError::InvalidKey { .. }
        | TokenCommandError::Key(_) => Exit::Usage,
        TokenCommandError::Rollback(RollbackError::Obtain(_) | RollbackError::RefreshInProgress)
        | TokenCommandError::Read(_)
        | TokenCommandError::Token(_)
        | TokenCommandError::Process(_) => Exit::Failed,
    };
    print_error(&error, exit).into()
}

fn rollback(args: RollbackArgs) -> Result<(), TokenCommandError> {
    let flags = Overrides {
        config: args.config,
        token_file: args.token_file,
        ..Overrides::default()
    };
    let config = Config::load(flags, &env_var)?.config;
    let runtime = build_runtime().map_err(TokenCommandError::Process)?;
    let (location, rolled_back) = runtime.block_on(roll_back(&config, Clock::system()))?;
    let from = match rolled_back.from {
        Some(from) => format!("{from} is kept, so that a second rollback undoes this one"),
        None => "what was there was no usable token".to_owned(),
    };
    let to = rolled_back.to;
    print_line(&format!("{location}: the token is {to} again; {from}"))
}

fn encrypt(args: &EncryptArgs) -> Result<(), TokenCommandError> {
    let path = &args.key_file;
    let key = read_file(path).map_err(|source| TokenCommandError::KeyFile {
        path: path.clone(),
        source,
    })?;
    let key = decode(&key, &Format::Raw).map_err(|source| TokenCommandError::InvalidKey {
        path: path.clone(),
        source,
    })?;
    let keys = Fernet::new(vec![key])?;
    print_line(&keys.encrypt(&read_token()?))
}

fn keygen() -> Result<(), TokenCommandError> {
    // The one secret that is asked for to be shown. It is sealed with nothing, and opens nothing yet.
    let key = Fernet::generate()?;
    print_line(&Fernet::expose_key(&key))
}

/// The token from stdin. At a terminal, nothing of it is shown.
fn read_token() -> Result<Secret, TokenCommandError> {
    let stdin = io::stdin();
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_DOCUMENT_BYTES));
    if stdin.is_terminal() {
        let echo_off = EchoOff::disable(&stdin).map_err(TokenCommandError::Read)?;
        // If nobody sees the prompt, the token is still read.
        drop(io::stderr().write_all(b"Token (not shown): "));
        let mut line = Zeroizing::new(String::with_capacity(MAX_DOCUMENT_BYTES));
        stdin.read_line(&mut line).map_err(TokenCommandError::Read)?;
        drop(echo_off);
        bytes.extend_from_slice(line.as_bytes());
    } else {
        let max_bytes = u64::try_from(MAX_DOCUMENT_BYTES).unwrap_or(u64::MAX);
        let mut stdin = stdin.lock().take(max_bytes);
        stdin.read_to_end(&mut bytes).map_err(TokenCommandError::Read)?;
    }
    Ok(decode(&bytes, &Format::Raw)?)
}

/// A terminal that shows nothing of what is typed, until it is dropped.
struct EchoOff<'a> {
    terminal: &'a io::Stdin,
    saved: Termios,
}

impl<'a> EchoOff<'a> {
    fn disable(terminal: &'a io::Stdin) -> io::Result<Self> {
        let saved = tcgetattr(terminal)?;
        let mut settings = saved.clone();
        settings.local_modes.remove(LocalModes::ECHO);
        settings.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(terminal, OptionalActions::Flush, &settings)?;
        Ok(Self { terminal, saved })
    }
}

impl Drop for EchoOff<'_> {
    fn drop(&mut self) {
        let restored = tcsetattr(self.terminal, OptionalActions::Flush, &self.saved);
        if let Err(error) = restored {
            // It may be gone. If not, its owner should know why it is dumb.
            drop(writeln!(io::stderr(), "the terminal stays as it is: {error}"));
        }
    }
}

fn print_line(line: &str) -> Result<(), TokenCommandError> {
    writeln!(io::stdout(), "{line}").map_err(TokenCommandError::Process)
}
