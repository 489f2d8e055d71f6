//! `graphward token`: rolls back, encrypts, and generates keys.
//!
//! # Why
//!
//! A token is never an argument: every user of the machine can read the process list, and shells write histories. It is
//! read from stdin, or from a prompt that hides it.

use std::io::{self, IsTerminal as _, Read as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::exit::{Exit, print_error, print_lines};
use super::serve::build_runtime;
use crate::app::{RollbackError, roll_back};
use crate::config::{Config, ConfigError, Overrides, env_vars};
use crate::os::watch::read_file;
use crate::source::decode::{DecodeError, Format, MAX_DOCUMENT_BYTES, decode, decode_token};
use crate::source::{Fernet, FernetError};
use crate::types::{Clock, Secret};

/// The arguments of `graphward token`.
#[derive(Args, Debug)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Roll back to the token before the last renewal; a second rollback undoes it
    ///
    /// Swaps the token in the token.source or token.store file with the previous one, which is kept in the state.dir
    /// directory or in the token.store file. A running sidecar picks it up. Exits with 1 if there is no previous token.
    Rollback(RollbackArgs),
    /// Encrypt a token with Fernet, read from stdin or a hidden prompt
    Seal(EncryptArgs),
    /// Generate a Fernet key
    Keygen,
}

#[derive(Args, Debug)]
struct RollbackArgs {
    /// The sidecar's configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Token file, as configured for the sidecar [default: /run/graphward/token]
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
}

#[derive(Args, Debug)]
struct EncryptArgs {
    /// Key file, as printed by `graphward token keygen`
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
}

/// The reason why nothing was done.
#[derive(Debug, thiserror::Error)]
enum TokenCommandError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot roll back")]
    Rollback(#[from] RollbackError),
    #[error("cannot read the key from `{}`", .0.display())]
    KeyFile(PathBuf, #[source] io::Error),
    #[error("`{}` does not contain a valid key", .0.display())]
    InvalidKey(PathBuf, #[source] DecodeError),
    #[error("cannot use the key")]
    Key(#[from] FernetError),
    #[error("cannot read the token")]
    Read(#[source] io::Error),
    #[error("not a valid token")]
    Token(#[from] DecodeError),
    #[error("cannot start")]
    Process(#[source] io::Error),
}

/// Runs the command and prints its result.
pub(super) fn run(args: TokenArgs) -> Exit {
    let result = match args.command {
        TokenCommand::Rollback(args) => rollback(args),
        TokenCommand::Seal(args) => encrypt(&args),
        TokenCommand::Keygen => keygen(),
    };
    let error = match result {
        Ok(line) => return print_lines(&line),
        Err(error) => error,
    };
    let exit = match &error {
        TokenCommandError::Config(_)
        | TokenCommandError::Rollback(RollbackError::Sources(_) | RollbackError::Upstream(_) | RollbackError::NoFile)
        | TokenCommandError::KeyFile(..)
        | TokenCommandError::InvalidKey(..)
        | TokenCommandError::Key(_) => Exit::Usage,
        TokenCommandError::Rollback(RollbackError::Obtain(_) | RollbackError::RefreshInProgress)
        | TokenCommandError::Read(_)
        | TokenCommandError::Token(_)
        | TokenCommandError::Process(_) => Exit::Failed,
    };
    print_error(&error, exit)
}

fn rollback(args: RollbackArgs) -> Result<Zeroizing<String>, TokenCommandError> {
    let flags = Overrides {
        config: args.config,
        token_file: args.token_file,
        ..Overrides::default()
    };
    let config = Config::load(flags, &env_vars())?.config;
    let runtime = build_runtime().map_err(TokenCommandError::Process)?;
    let (location, rolled_back) = runtime.block_on(roll_back(&config, Clock::system()))?;
    let from = match rolled_back.from {
        Some(from) => format!("{from} is kept; a second rollback restores it"),
        None => "the replaced content was not a valid token".to_owned(),
    };
    let to = rolled_back.to;
    Ok(Zeroizing::new(format!("{location}: rolled back to {to}; {from}")))
}

fn encrypt(args: &EncryptArgs) -> Result<Zeroizing<String>, TokenCommandError> {
    let path = &args.key_file;
    let key = read_file(path).map_err(|source| TokenCommandError::KeyFile(path.clone(), source))?;
    let key = decode(&key, &Format::Raw).map_err(|source| TokenCommandError::InvalidKey(path.clone(), source))?;
    let keys = Fernet::new(vec![key])?;
    Ok(Zeroizing::new(keys.encrypt(&read_token()?)))
}

fn keygen() -> Result<Zeroizing<String>, TokenCommandError> {
    // The one secret that the operator asks to see. Nothing is encrypted with it yet.
    let key = Fernet::generate()?;
    Ok(Fernet::expose_key(&key))
}

/// Reads the token from a prompt that hides it, or from stdin if that is not a terminal.
fn read_token() -> Result<Secret, TokenCommandError> {
    let stdin = io::stdin();
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_DOCUMENT_BYTES));
    if stdin.is_terminal() {
        let line = rpassword::prompt_password("Token (hidden): ").map_err(TokenCommandError::Read)?;
        bytes.extend_from_slice(Zeroizing::new(line).as_bytes());
    } else {
        let max_bytes = u64::try_from(MAX_DOCUMENT_BYTES).unwrap_or(u64::MAX);
        let mut stdin = stdin.lock().take(max_bytes);
        stdin.read_to_end(&mut bytes).map_err(TokenCommandError::Read)?;
    }
    Ok(decode_token(&bytes, &Format::Raw, None)?.secret)
}
