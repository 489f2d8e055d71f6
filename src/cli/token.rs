//! `graphward token`: sets a token, rolls back, encrypts, and generates keys.
//!
//! # Why
//!
//! A token is never an argument: every user of the machine can read the process list, and shells write histories. It is
//! read from stdin, or from a prompt that hides it.
//!
//! A running sidecar changes its token itself, so that it is checked by what uses it, and is in use when the command ends.
//! The token is sent only to a process that has the same sources: another one may listen at the configured address.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use zeroize::Zeroizing;

use super::admin_client::{Obstacle, address_of_exec, find_sidecar, request_change};
use super::check::{compare_before_set, show};
use super::exit::{Exit, print_error, print_message};
use super::output::OutputArgs;
use super::table::printable;
use super::token_input::{InputError, TokenCommandArgs, read_token, with_tenants};
use crate::app::{ConfiguredTenantError, ConfiguredTenants, StartError, admin_authorization};
use crate::config::Config;
use crate::os::watch::read_file;
use crate::source::decode::{DecodeError, Format, decode};
use crate::source::{Fernet, FernetError};
use crate::token::{OperatorCommand, TokenChange};

/// The arguments of `graphward token`.
#[derive(Args, Debug)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Check a token, read from stdin or a hidden prompt, and store it
    ///
    /// A running sidecar of this configuration does it, through its admin listener, and uses the token at once. Without one,
    /// this command stores the token in the file or row of token.source, or in token.store. Says which of the two it was.
    ///
    /// Before that, it compares the token with the current one, as `graphward check --diff` does: a token of another kind,
    /// app or account needs --force, and so does one that could not be compared because Graph did not answer.
    #[command(
        after_help = "Examples:\n  graphward token set < token\n  graphward token set --tenant acme < token\n\nExit codes: 0 stored, 1 not changed, 2 usage or configuration."
    )]
    Set(SetArgs),
    /// Show what is known of the current token, never the token itself
    ///
    /// Exit codes: 0 good, 1 warnings, 2 bad.
    #[command(after_help = "Examples:\n  graphward token show\n  graphward token show --tenant acme --json")]
    Show(TokenCommandArgs),
    /// Roll back to the token before the last change; a second rollback undoes it
    ///
    /// Swaps the token in the token.source or token.store file with the previous one, which is kept in the state.dir
    /// directory or in the token.store file: through a running sidecar as `set` does, or without one. Exits with 1 if there
    /// is no previous token.
    #[command(
        after_help = "Example:\n  graphward token rollback --tenant acme\n\nExit codes: 0 rolled back, 1 not, 2 usage or configuration."
    )]
    Rollback(TokenCommandArgs),
    /// Encrypt a token with Fernet, read from stdin or a hidden prompt
    #[command(
        after_help = "Example:\n  graphward token seal --key-file key < token > sealed\n\nExit codes: 0 printed, 1 not, 2 usage, or the key or the token cannot be used."
    )]
    Seal(EncryptArgs),
    /// Generate a Fernet key
    #[command(
        after_help = "Example:\n  (umask 077; graphward token keygen > key)\n\nExit codes: 0 printed, 1 not, 2 usage."
    )]
    Keygen(OutputArgs),
}

#[derive(Args, Debug)]
struct SetArgs {
    #[command(flatten)]
    change: TokenCommandArgs,
    /// Put it in its place even if it is of another kind, app or account, or could not be compared
    #[arg(long)]
    force: bool,
}

#[derive(Args, Debug)]
struct EncryptArgs {
    /// Key file, as printed by `graphward token keygen`
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

/// What has changed, and what changed it.
#[derive(Serialize)]
struct ChangeReport {
    #[serde(flatten)]
    change: TokenChange,
    #[serde(flatten)]
    by: Changer,
}

#[derive(Serialize)]
#[serde(tag = "changed_by", rename_all = "lowercase")]
enum Changer {
    /// A sidecar at this address, which uses the token now.
    Sidecar { address: String },
    /// This command, for this reason.
    Command { reason: String },
}

/// The reason why nothing was done.
#[derive(Debug, thiserror::Error)]
enum TokenCommandError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(
        "the token was not changed, because it is not known to be like the current one ({0}); --force puts it in its place"
    )]
    Different(String),
    #[error("the token was not changed: {0}")]
    Refused(String),
    #[error("cannot read the key from `{}`", .0.display())]
    KeyFile(PathBuf, #[source] io::Error),
    #[error("`{}` does not contain a valid key", .0.display())]
    InvalidKey(PathBuf, #[source] DecodeError),
    #[error("cannot use the key")]
    Key(#[from] FernetError),
}

impl From<ConfiguredTenantError> for TokenCommandError {
    fn from(error: ConfiguredTenantError) -> Self {
        Self::Input(error.into())
    }
}

/// Runs the command and prints its result.
pub(super) fn run(args: TokenArgs) -> Exit {
    let result = match args.command {
        Subcommands::Set(args) => set(&args),
        Subcommands::Show(args) => return show(&args),
        Subcommands::Rollback(args) => change(&args, OperatorCommand::RollBack),
        Subcommands::Seal(args) => encrypt(&args),
        Subcommands::Keygen(output) => keygen(output),
    };
    let error = match result {
        Ok(exit) => return exit,
        Err(error) => error,
    };
    let exit = match &error {
        TokenCommandError::Input(error) => error.exit(),
        TokenCommandError::KeyFile(..) | TokenCommandError::InvalidKey(..) | TokenCommandError::Key(_) => Exit::Usage,
        TokenCommandError::Different(_) | TokenCommandError::Refused(_) => Exit::Failed,
    };
    print_error(&error, exit)
}

/// Puts a token in its place, unless it would break what works with the current one.
fn set(args: &SetArgs) -> Result<Exit, TokenCommandError> {
    let token = read_token()?;
    if !args.force && !args.change.offline {
        let compared = compare_before_set(&args.change.place, token.clone())?;
        let warnings = compared.map_err(TokenCommandError::Different)?;
        if !warnings.is_empty() {
            print_message(&format!("warning: {warnings}"));
        }
    }
    change(&args.change, OperatorCommand::Set(token))
}

/// Changes the token through a sidecar of this configuration, or in its source if none runs.
fn change(args: &TokenCommandArgs, command: OperatorCommand) -> Result<Exit, TokenCommandError> {
    let mut config = args.place.load()?.config;
    if args.offline {
        forget_graph(&mut config);
    }
    let given = address_of_exec().map_err(TokenCommandError::Refused)?;
    let admin = given.unwrap_or_else(|| config.listen.admin.clone());
    let authorization = admin_authorization(&config).map_err(StartError::from);
    let authorization = authorization.map_err(ConfiguredTenantError::from)?;
    let done = match command {
        OperatorCommand::Set(_) => "stored",
        OperatorCommand::RollBack => "rolled back to",
    };
    let changed: Result<ChangeReport, TokenCommandError> = with_tenants(config, async |tenants: ConfiguredTenants| {
        let tenant = tenants.find(args.place.tenant.as_ref()).await?;
        let identity = tenants.source_identity().map_err(ConfiguredTenantError::from)?;
        match find_sidecar(&admin, authorization.clone(), &identity).await {
            Ok(()) => {
                let answer = request_change(&admin, authorization, args.place.tenant.as_ref(), &command).await;
                let change = answer.map_err(TokenCommandError::Refused)?;
                let address = admin.to_string();
                let by = Changer::Sidecar { address };
                Ok(ChangeReport { change, by })
            }
            Err(Obstacle::WrongKey(reason)) if !args.offline => {
                let advice = "or pass --offline, which needs no key";
                Err(TokenCommandError::Refused(format!("{reason}, {advice}")))
            }
            Err(obstacle) => {
                if let Obstacle::ReadOnly(reason) = &obstacle {
                    print_message(&format!("warning: {reason}"));
                }
                let (Obstacle::Absent(reason) | Obstacle::ReadOnly(reason) | Obstacle::WrongKey(reason)) = obstacle;
                let change = tenants.change(&tenant, command).await?;
                let by = Changer::Command { reason };
                Ok(ChangeReport { change, by })
            }
        }
    });
    let changed = changed?;
    Ok(args.output.print(&changed, &changed.to_line(done)))
}

/// Lets no tenant ask Graph about its token.
fn forget_graph(config: &mut Config) {
    (config.token.verify, config.app.secret) = (false, None);
    for tenant in config.tenants.values_mut() {
        (tenant.token.verify, tenant.app.secret) = (false, None);
    }
}

fn encrypt(args: &EncryptArgs) -> Result<Exit, TokenCommandError> {
    let path = &args.key_file;
    let key = read_file(path).map_err(|source| TokenCommandError::KeyFile(path.clone(), source))?;
    let key = decode(&key, &Format::Raw).map_err(|source| TokenCommandError::InvalidKey(path.clone(), source))?;
    let keys = Fernet::new(vec![key])?;
    let sealed = Zeroizing::new(keys.encrypt(&read_token()?.secret));
    Ok(args.output.print(&BTreeMap::from([("sealed", &*sealed)]), &sealed))
}

fn keygen(output: OutputArgs) -> Result<Exit, TokenCommandError> {
    // The one secret that the operator asks to see. Nothing is encrypted with it yet.
    let key = Fernet::generate()?;
    let key = Fernet::expose_key(&key);
    Ok(output.print(&BTreeMap::from([("key", &*key)]), &key))
}

// === impl ChangeReport ===

impl ChangeReport {
    fn to_line(&self, done: &str) -> String {
        let TokenChange {
            token,
            previous,
            stored_in,
            inspected,
        } = &self.change;
        let by = match &self.by {
            Changer::Sidecar { address } => format!("by the sidecar at {address}, which uses it now"),
            Changer::Command { reason } => format!("by this command, as {reason}"),
        };
        let previous = previous.as_deref().unwrap_or("no valid token");
        let asked = if *inspected {
            ""
        } else {
            "; Graph was not asked about it"
        };
        printable(&format!(
            "{stored_in}: {done} {token}, {by}; {previous} was there before{asked}"
        ))
    }
}
