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
use super::serve::{complain, runtime};
use crate::app::{RollbackError, roll_back};
use crate::config::{Config, ConfigError, Overrides, environment};
use crate::net::watch::contents;
use crate::source::decode::{DecodeError, Format, MAX_DOCUMENT_BYTES, decode};
use crate::source::{Fernet, FernetError};
use crate::types::{Clock, Secret};

/// `graphward token`
#[derive(Args, Debug)]
pub struct TokenArgs {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Go back to the token that was there before the last renewal; once more undoes it
    ///
    /// It exchanges the token in the file of token.source, or of token.store, for the one that the last renewal kept
    /// beside it. A running sidecar notices. Exits with 1 if there is nothing to go back to.
    Rollback(Rollback),
    /// Encrypt a token with Fernet: from stdin, or from a prompt that shows nothing
    Seal(Seal),
    /// Make a key for Fernet
    Keygen,
}

#[derive(Args, Debug)]
struct Rollback {
    /// The configuration file of the sidecar
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The file that the token is in, as the sidecar was told [default: /run/graphward/token]
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
}

#[derive(Args, Debug)]
struct Seal {
    /// The file that the key is in, as `graphward token keygen` prints it
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot roll back")]
    Rollback(#[from] RollbackError),
    #[error("cannot read the key from {}", path.display())]
    KeyFile { path: PathBuf, source: io::Error },
    #[error("there is no key in {}", path.display())]
    KeyText { path: PathBuf, source: DecodeError },
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
    let done = match args.act {
        Act::Rollback(args) => rolled_back(args),
        Act::Seal(args) => sealed(&args),
        Act::Keygen => keygen(),
    };
    let trouble = match done {
        Ok(()) => return Exit::Done.into(),
        Err(trouble) => trouble,
    };
    let exit = match &trouble {
        Trouble::Config(_)
        | Trouble::Rollback(
            RollbackError::Supply(_) | RollbackError::Tls(_) | RollbackError::NoFile,
        )
        | Trouble::KeyFile { .. }
        | Trouble::KeyText { .. }
        | Trouble::Key(_) => Exit::Usage,
        Trouble::Rollback(RollbackError::Place(_) | RollbackError::Busy)
        | Trouble::Read(_)
        | Trouble::Token(_)
        | Trouble::Process(_) => Exit::Failed,
    };
    complain(&trouble, exit).into()
}

fn rolled_back(args: Rollback) -> Result<(), Trouble> {
    let flags = Overrides {
        config: args.config,
        token_file: args.token_file,
        ..Overrides::default()
    };
    let config = Config::load(flags, &environment)?.config;
    let runtime = runtime().map_err(Trouble::Process)?;
    let (place, done) = runtime.block_on(roll_back(&config, Clock::system()))?;
    let from = match done.from {
        Some(from) => format!("{from} is kept, so that a second rollback undoes this one"),
        None => "what was there was no usable token".to_owned(),
    };
    let to = done.to;
    say(&format!("{place}: the token is {to} again; {from}"))
}

fn sealed(args: &Seal) -> Result<(), Trouble> {
    let path = &args.key_file;
    let key = contents(path).map_err(|source| Trouble::KeyFile {
        path: path.clone(),
        source,
    })?;
    let key = decode(&key, &Format::Raw).map_err(|source| Trouble::KeyText {
        path: path.clone(),
        source,
    })?;
    let keys = Fernet::new(vec![key])?;
    say(&keys.seal(&token()?))
}

fn keygen() -> Result<(), Trouble> {
    // The one secret that is asked for to be shown. It is sealed with nothing, and opens nothing yet.
    let key = Fernet::generate()?;
    say(&Fernet::shown(&key))
}

/// The token from stdin. At a terminal, nothing of it is shown.
fn token() -> Result<Secret, Trouble> {
    let stdin = io::stdin();
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_DOCUMENT_BYTES));
    if stdin.is_terminal() {
        let hidden = Hidden::of(&stdin).map_err(Trouble::Read)?;
        // If nobody sees the prompt, the token is still read.
        drop(io::stderr().write_all(b"Token (not shown): "));
        let mut line = Zeroizing::new(String::with_capacity(MAX_DOCUMENT_BYTES));
        stdin.read_line(&mut line).map_err(Trouble::Read)?;
        drop(hidden);
        bytes.extend_from_slice(line.as_bytes());
    } else {
        let most = u64::try_from(MAX_DOCUMENT_BYTES).unwrap_or(u64::MAX);
        let mut stdin = stdin.lock().take(most);
        stdin.read_to_end(&mut bytes).map_err(Trouble::Read)?;
    }
    Ok(decode(&bytes, &Format::Raw)?)
}

/// A terminal that shows nothing of what is typed, until it is dropped.
struct Hidden<'a> {
    terminal: &'a io::Stdin,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn of(terminal: &'a io::Stdin) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        hidden.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        let shown = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
        if let Err(error) = shown {
            // It may be gone. If not, its owner should know why it is dumb.
            drop(writeln!(
                io::stderr(),
                "the terminal stays as it is: {error}"
            ));
        }
    }
}

fn say(line: &str) -> Result<(), Trouble> {
    writeln!(io::stdout(), "{line}").map_err(Trouble::Process)
}
