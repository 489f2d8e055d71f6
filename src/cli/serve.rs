//! `graphward serve`: the sidecar.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::exit::Exit;
use crate::config::{Config, Loaded, Overrides, environment};

/// The flags of `serve`.
#[derive(Args, Clone, Debug, Default, Eq, PartialEq)]
pub struct ServeArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the app connects: IP:PORT or unix:/PATH; may be given several times [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<String>,
    /// Where operators connect: IP:PORT or unix:/PATH [default: 127.0.0.1:9080]
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<String>,
    /// Graph's address
    #[arg(
        long,
        value_name = "URL",
        help = "Graph's address [default: https://graph.facebook.com]"
    )]
    pub origin: Option<String>,
    /// PEM certificates to trust besides the usual ones
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<String>,
    /// The file that the token is in [default: /run/graphward/token]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<String>,
    /// The least important events to log: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
    /// Exit with 4 if there is no usable token at the start, instead of waiting for one
    #[arg(long)]
    pub require_token: bool,
}

impl ServeArgs {
    /// What they say about the configuration.
    #[must_use]
    pub fn overrides(&self) -> Overrides {
        Overrides {
            config: self.config.clone(),
            listen: self.listen.clone(),
            admin: self.admin.clone(),
            origin: self.origin.clone(),
            ca_file: self.ca_file.clone(),
            token_file: self.token_file.clone(),
            log: self.log.clone(),
        }
    }
}

/// Runs the sidecar until it is asked to stop.
#[must_use]
pub(super) fn run(args: ServeArgs) -> ExitCode {
    match Config::load(args.overrides(), &environment) {
        Ok(loaded) => serve(&args, loaded),
        Err(error) => {
            // If stderr is closed, the exit code still says it.
            drop(writeln!(std::io::stderr(), "graphward: {error}"));
            Exit::Usage.into()
        }
    }
}

/// Everything behind a valid configuration.
fn serve(_args: &ServeArgs, _loaded: Loaded) -> ExitCode {
    Exit::Done.into()
}
