//! `graphward token`: sets a token, rolls back, encrypts, and generates keys.
//!
//! # Why
//!
//! A token is never an argument: every user of the machine can read the process list, and shells write histories. It is
//! read from stdin, or from a prompt that hides it.
//!
//! A running sidecar changes its token itself, so that it is checked by what uses it, and is in use when the command ends.
//! The token is sent only to a process that has the same sources: another one may listen at the configured address.

use std::io::{self, IsTerminal as _, Read as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::admin_client::{find_sidecar, request_change};
use super::exit::{Exit, print_error, print_lines, print_message};
use super::serve::build_runtime;
use crate::app::{ConfiguredToken, StartError};
use crate::config::{Config, ConfigError, Overrides, env_vars};
use crate::net::ListenAddr;
use crate::os::watch::read_file;
use crate::source::decode::{DecodeError, Format, MAX_DOCUMENT_BYTES, decode, decode_token};
use crate::source::{Fernet, FernetError};
use crate::token::{ObtainError, OperatorCommand, Token, TokenChange};
use crate::types::Clock;

/// The arguments of `graphward token`.
#[derive(Args, Debug)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Check a token, read from stdin or a hidden prompt, and store it
    ///
    /// A running sidecar of this configuration does it, through its admin listener, and uses the token at once. Without one,
    /// this command stores the token in the file or row of token.source, or in token.store. Says which of the two it was.
    Set(ChangeArgs),
    /// Roll back to the token before the last change; a second rollback undoes it
    ///
    /// Swaps the token in the token.source or token.store file with the previous one, which is kept in the state.dir
    /// directory or in the token.store file: through a running sidecar as `set` does, or without one. Exits with 1 if there
    /// is no previous token.
    Rollback(ChangeArgs),
    /// Encrypt a token with Fernet, read from stdin or a hidden prompt
    Seal(EncryptArgs),
    /// Generate a Fernet key
    Keygen,
}

#[derive(Args, Debug)]
struct ChangeArgs {
    /// The sidecar's configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Token file, as configured for the sidecar [default: /run/graphward/token]
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// Do not ask Graph about the token; a running sidecar asks as its configuration says
    #[arg(long)]
    offline: bool,
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
    #[error(transparent)]
    Build(#[from] StartError),
    #[error("the token was not changed")]
    Change(#[from] ObtainError),
    #[error("the sidecar at {0} did not change the token: {1}")]
    Refused(ListenAddr, String),
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

/// Graph has issued no shorter token.
const SHORTEST_TOKEN: usize = 100;

/// Runs the command and prints its result.
pub(super) fn run(args: TokenArgs) -> Exit {
    let result = match args.command {
        Subcommands::Set(args) => read_token().and_then(|token| change(args, OperatorCommand::Set(token))),
        Subcommands::Rollback(args) => change(args, OperatorCommand::RollBack),
        Subcommands::Seal(args) => encrypt(&args),
        Subcommands::Keygen => keygen(),
    };
    let error = match result {
        Ok(line) => return print_lines(&line),
        Err(error) => error,
    };
    let exit = match &error {
        TokenCommandError::Change(error) if error.reason() == "not_writable" => Exit::Usage,
        TokenCommandError::Config(_)
        | TokenCommandError::Build(_)
        | TokenCommandError::KeyFile(..)
        | TokenCommandError::InvalidKey(..)
        | TokenCommandError::Key(_) => Exit::Usage,
        TokenCommandError::Change(_)
        | TokenCommandError::Refused(..)
        | TokenCommandError::Read(_)
        | TokenCommandError::Token(_)
        | TokenCommandError::Process(_) => Exit::Failed,
    };
    print_error(&error, exit)
}

/// Changes the token through a sidecar of this configuration, or in its source if none runs.
fn change(args: ChangeArgs, command: OperatorCommand) -> Result<Zeroizing<String>, TokenCommandError> {
    let flags = Overrides {
        config: args.config,
        token_file: args.token_file,
        ..Overrides::default()
    };
    let mut config = Config::load(flags, &env_vars())?.config;
    if args.offline {
        (config.token.verify, config.app.secret) = (false, None);
    }
    let admin = config.listen.admin.clone();
    let mut token = ConfiguredToken::new(config, Clock::system())?;
    let done = match command {
        OperatorCommand::Set(_) => "stored",
        OperatorCommand::RollBack => "rolled back to",
    };
    let runtime = build_runtime().map_err(TokenCommandError::Process)?;
    let (answer, by) = runtime.block_on(async {
        match find_sidecar(&admin, &token.source_identity).await {
            Ok(()) => {
                let answer = request_change(&admin, &command).await;
                let answer = answer.map_err(|error| TokenCommandError::Refused(admin.clone(), error));
                answer.map(|answer| (answer, format!("by the sidecar at {admin}, which uses it now")))
            }
            Err(reason) => {
                let answer = token.change(command).await?;
                Ok((answer, format!("by this command, as {reason}")))
            }
        }
    })?;
    let TokenChange {
        token,
        previous,
        stored_in,
    } = answer;
    let previous = previous.as_deref().unwrap_or("no valid token");
    let line = format!("{stored_in}: {done} {token}, {by}; {previous} was there before");
    Ok(Zeroizing::new(line))
}

fn encrypt(args: &EncryptArgs) -> Result<Zeroizing<String>, TokenCommandError> {
    let path = &args.key_file;
    let key = read_file(path).map_err(|source| TokenCommandError::KeyFile(path.clone(), source))?;
    let key = decode(&key, &Format::Raw).map_err(|source| TokenCommandError::InvalidKey(path.clone(), source))?;
    let keys = Fernet::new(vec![key])?;
    Ok(Zeroizing::new(keys.encrypt(&read_token()?.secret)))
}

fn keygen() -> Result<Zeroizing<String>, TokenCommandError> {
    // The one secret that the operator asks to see. Nothing is encrypted with it yet.
    let key = Fernet::generate()?;
    Ok(Fernet::expose_key(&key))
}

/// Reads the token from a prompt that hides it, or from stdin if that is not a terminal.
fn read_token() -> Result<Token, TokenCommandError> {
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
    let token = decode_token(&bytes, &Format::Raw, None)?;
    if bytes.len() < SHORTEST_TOKEN {
        print_message("warning: tokens of Graph are longer; check that it was copied to its end");
    }
    Ok(token)
}
