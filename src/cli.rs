//! The commands: one line each here, one file each below.

mod ca;
#[cfg(feature = "fake")]
mod demo;
mod exit;
mod explain;
#[cfg(feature = "fake")]
mod fake_graph;
mod healthcheck;
mod serve;
mod token;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use ca::CaArgs;
#[cfg(feature = "fake")]
pub use demo::DemoArgs;
pub use exit::Exit;
pub use explain::ExplainArgs;
#[cfg(feature = "fake")]
pub use fake_graph::FakeGraphArgs;
pub use healthcheck::HealthcheckArgs;
pub use serve::ServeArgs;
pub use token::TokenArgs;

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => run(cli),
        Err(error) => {
            // `--help` and `--version` come this way too. There is nobody to tell that nobody can be told.
            drop(error.print());
            let code = u8::try_from(error.exit_code());
            code.map_or_else(|_negative| Exit::Usage.into(), ExitCode::from)
        }
    }
}

fn run(cli: Cli) -> ExitCode {
    match cli.command {
        None => serve::run(cli.serve),
        Some(CliCommand::Serve(args)) => serve::run(args),
        #[cfg(feature = "fake")]
        Some(CliCommand::Demo(args)) => demo::run(&args),
        #[cfg(feature = "fake")]
        Some(CliCommand::FakeGraph(args)) => args.run(),
        Some(CliCommand::Ca(args)) => ca::run(&args),
        Some(CliCommand::Healthcheck(args)) => healthcheck::run(args),
        Some(CliCommand::Explain(args)) => explain::run(&args),
        Some(CliCommand::Token(args)) => token::run(args),
        Some(CliCommand::Version) => version(),
    }
}

fn version() -> ExitCode {
    match writeln!(std::io::stdout(), "graphward {}", env!("CARGO_PKG_VERSION")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_closed) => Exit::Failed.into(),
    }
}

/// A sidecar that keeps Meta Graph API tokens out of your app, and alive.
///
/// The app sends Graph requests without a token to a local address; graphward adds the current one, notices when Graph
/// rejects it, and replays the request once with a newer one. Without a command, it serves.
#[derive(Debug, Parser)]
#[command(
    name = "graphward",
    version,
    args_conflicts_with_subcommands = true,
    after_help = AFTER_HELP
)]
struct Cli {
    #[command(subcommand)]
    command: Option<CliCommand>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Run the sidecar (also: no command)
    #[command(after_help = AFTER_HELP)]
    Serve(ServeArgs),
    #[cfg(feature = "fake")]
    /// See it work: sidecar, fake Graph and load in one process; needs no network, account or file
    Demo(DemoArgs),
    #[cfg(feature = "fake")]
    /// Run only the fake Graph, for your own tests
    FakeGraph(FakeGraphArgs),
    /// Make a certificate for Graph's host names, for clients that insist on https
    Ca(CaArgs),
    /// Exit 0 if the sidecar of this configuration is ready, 1 if not, within 2 seconds
    Healthcheck(HealthcheckArgs),
    /// Say in words what one of Graph's errors means, and who must do what
    #[command(after_help = EXPLAIN_HELP)]
    Explain(ExplainArgs),
    /// Go back to the token before, or encrypt one with Fernet
    Token(TokenArgs),
    /// Print the version
    Version,
}

const EXPLAIN_HELP: &str = "\
Two lines: what happened, and who must do what. Nothing of the input is printed, since Graph's
message may repeat the token.

Examples:
  graphward explain '{\"error\":{\"message\":\"...\",\"code\":190,\"error_subcode\":463}}'
  graphward explain < answer.json

Exit codes: 0 explained, 1 there is no error of Graph's in it, 2 usage.";

const AFTER_HELP: &str = "\
Configuration: flags > environment > file > defaults. The file is the one named by --config, else by
GRAPHWARD_CONFIG, else ./graphward.toml, else /etc/graphward/graphward.toml; there need not be any.

Environment:
  GRAPHWARD_CONFIG           the configuration file
  GRAPHWARD_LISTEN           where the app connects, separated by commas
  GRAPHWARD_ADMIN            where operators connect
  GRAPHWARD_ORIGIN           Graph's address
  GRAPHWARD_CA_FILE          PEM certificates to trust besides the usual ones
  GRAPHWARD_TOKEN_FILE       the file that the token is in
  GRAPHWARD_TOKEN            the token itself (a file is better: it can change)
  GRAPHWARD_APP_ID           the app's id, for renewals
  GRAPHWARD_APP_SECRET_FILE  the file that the app's secret is in, for renewals and appsecret_proof
  GRAPHWARD_APP_SECRET       the secret itself
  GRAPHWARD_LOG              error, warn, info, debug or trace

Example:
  graphward serve --token-file /run/graphward/token
  curl http://127.0.0.1:8080/v25.0/me

Exit codes: 0 stopped when asked, 2 usage or configuration, 3 cannot bind, 4 no usable token with
--require-token, 1 anything else.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_serves_with_the_same_flags() {
        let flags = [
            "--listen",
            "127.0.0.1:1",
            "--listen",
            "unix:/a",
            "--admin",
            "127.0.0.1:2",
            "--origin",
            "https://a",
            "--ca-file",
            "ca.pem",
            "--token-file",
            "token",
            "--log",
            "debug",
            "--config",
            "a.toml",
            "--require-token",
        ];
        let bare = Cli::try_parse_from([&["graphward"], &flags[..]].concat()).unwrap();
        let named = Cli::try_parse_from([&["graphward", "serve"], &flags[..]].concat()).unwrap();
        let Some(CliCommand::Serve(args)) = named.command else {
            panic!("not serve");
        };
        assert!(bare.command.is_none());
        assert_eq!(args, bare.serve);
        assert!(args.require_token);
        assert_eq!(args.overrides().listen, ["127.0.0.1:1", "unix:/a"]);
    }

    #[cfg(feature = "fake")]
    #[test]
    fn a_demo_lasts_half_a_minute_unless_told_otherwise() {
        for (args, seconds) in [
            (&["graphward", "demo"][..], 30),
            (&["graphward", "demo", "--for", "9s"], 9),
        ] {
            let Some(CliCommand::Demo(args)) = Cli::try_parse_from(args).unwrap().command else {
                panic!("not demo");
            };
            assert_eq!(args.length, std::time::Duration::from_secs(seconds));
        }
        assert!(Cli::try_parse_from(["graphward", "demo", "--for", "9"]).is_err());
    }

    #[test]
    fn no_flag_takes_a_secret() {
        assert!(Cli::try_parse_from(["graphward", "--token", "x"]).is_err());
    }

    #[test]
    fn help_names_every_variable_and_every_file() {
        for name in crate::config::ENV_VARS {
            assert!(AFTER_HELP.contains(name), "{name}");
        }
        for file in crate::config::DEFAULT_CONFIG_PATHS {
            assert!(AFTER_HELP.contains(file), "{file}");
        }
    }
}
