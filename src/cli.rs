//! The command line: its commands, each in a file of its own.

mod admin_client;
mod banner;
mod ca;
mod check;
#[cfg(feature = "fake")]
mod demo;
mod exec;
mod exit;
mod explain;
mod exposure;
#[cfg(feature = "fake")]
mod fake_graph;
mod file;
mod healthcheck;
mod local_client;
mod manual;
mod print_config;
mod runtime;
mod send_test;
mod serve;
mod status;
mod table;
mod token;
mod token_input;
mod usage;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use exit::print_lines;

pub use admin_client::AdminArgs;
pub use ca::CaArgs;
pub use check::CheckArgs;
#[cfg(feature = "fake")]
pub use demo::DemoArgs;
pub use exec::ExecArgs;
pub use exit::Exit;
pub use explain::ExplainArgs;
#[cfg(feature = "fake")]
pub use fake_graph::FakeGraphArgs;
pub use manual::{CompletionsArgs, ManArgs};
pub use print_config::PrintConfigArgs;
pub use send_test::SendTestArgs;
pub use serve::ServeArgs;
pub use status::{RefreshArgs, StatusArgs};
pub use token::TokenArgs;

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => run(cli),
        Err(error) => {
            // `--help` and `--version` arrive here, too.
            usage::print(&error);
            let code = u8::try_from(error.exit_code());
            code.map_or_else(|_negative| Exit::Usage.into(), ExitCode::from)
        }
    }
}

fn run(cli: Cli) -> ExitCode {
    let exit = match cli.command.unwrap_or(CliCommand::Serve(cli.serve)) {
        CliCommand::Serve(args) => serve::run(&args),
        CliCommand::Exec(args) => return exec::run(&args),
        #[cfg(feature = "fake")]
        CliCommand::Demo(args) => demo::run(&args),
        #[cfg(feature = "fake")]
        CliCommand::FakeGraph(args) => fake_graph::run(&args),
        CliCommand::Ca(args) => ca::run(&args),
        CliCommand::Check(args) => check::run(&args),
        CliCommand::Healthcheck(args) => healthcheck::run(&args),
        CliCommand::Status(args) => status::run(&args),
        CliCommand::Refresh(args) => status::refresh(&args),
        CliCommand::SendTest(args) => send_test::run(&args),
        CliCommand::Explain(args) => explain::run(&args),
        CliCommand::Token(args) => token::run(args),
        CliCommand::PrintConfig(args) => print_config::run(args),
        CliCommand::Completions(args) => manual::print_completions(&args, Cli::command()),
        CliCommand::Man(args) => manual::print_man(&args, Cli::command()),
        CliCommand::Version => print_lines(concat!("graphward ", env!("CARGO_PKG_VERSION"))),
    };
    exit.into()
}

/// A sidecar that keeps Meta Graph API tokens out of your app, and valid.
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
    /// Run the sidecar (the default command)
    #[command(after_help = AFTER_HELP)]
    Serve(ServeArgs),
    /// Run a command with a sidecar beside it: `graphward exec -- npm run dev`
    #[command(after_help = EXEC_HELP)]
    Exec(ExecArgs),
    /// Run a demo: sidecar, fake Graph and load in one process; needs no network, account or file
    #[cfg(feature = "fake")]
    Demo(DemoArgs),
    /// Run only the fake Graph, for your own tests
    #[cfg(feature = "fake")]
    FakeGraph(FakeGraphArgs),
    /// Create a certificate for Graph's host names, for clients that require https
    Ca(CaArgs),
    /// Check the configuration: sources, tokens, app, phone numbers and the way to Graph
    #[command(after_help = CHECK_HELP)]
    Check(CheckArgs),
    /// Check readiness: exit 0 if the sidecar is ready, 1 if not, within 2 seconds
    Healthcheck(AdminArgs),
    /// Show the tokens of a running sidecar: state, expiry, source, and what to do
    #[command(after_help = STATUS_HELP)]
    Status(StatusArgs),
    /// Let a running sidecar look at its token sources now, and renew what is due
    #[command(after_help = REFRESH_HELP)]
    Refresh(RefreshArgs),
    /// Send a WhatsApp message through a running sidecar and print its id
    #[command(after_help = SEND_TEST_HELP)]
    SendTest(SendTestArgs),
    /// Explain a Graph API error and how to fix it
    #[command(after_help = EXPLAIN_HELP)]
    Explain(ExplainArgs),
    /// Set or show the token, roll back to the previous one, or encrypt one with Fernet
    Token(TokenArgs),
    /// Print the configuration that applies, and where each value comes from
    #[command(after_help = PRINT_CONFIG_HELP)]
    PrintConfig(PrintConfigArgs),
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS_HELP)]
    Completions(CompletionsArgs),
    /// Print the manual page, or write those of all commands
    #[command(after_help = MAN_HELP)]
    Man(ManArgs),
    /// Print the version
    Version,
}

const EXPLAIN_HELP: &str = "\
Prints the cause, the fix, and where to create a token if one is needed. The input is never
printed, because Graph's message may contain the token.

Examples:
  graphward explain 190 463
  graphward explain '{\"error\":{\"message\":\"...\",\"code\":190,\"error_subcode\":463}}'
  graphward explain < answer.json

Exit codes: 0 explained, 1 no Graph error found, 2 usage.";

const EXEC_HELP: &str = "\
Starts the sidecar on a free port (or on listen.proxy), then the command, with these variables:

  GRAPHWARD_URL, --url-env      the base URL, instead of https://graph.facebook.com
  HTTPS_PROXY, NO_PROXY         the sidecar as a proxy; tunnels to other hosts pass through it
  NODE_EXTRA_CA_CERTS, DENO_CERT, REQUESTS_CA_BUNDLE, SSL_CERT_FILE, CURL_CA_BUNDLE
                                the CA of a certificate for this run, with the certificates that
                                the variable named before, or else the system's
  NODE_USE_ENV_PROXY            1: Node's fetch uses the proxy

The command does not get variables that begin with GRAPHWARD_, nor those that the configuration
names as the places of secrets. Its standard streams are its own; the sidecar logs to standard error.

Examples:
  graphward exec -- npm run dev
  graphward exec --token-file token -- python run_server.py
  graphward exec --url-env WHATSAPP_API_URL=/v25.0 -- env WHATSAPP_TOKEN=unused gunicorn app:app

Signals: the command gets SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1 and SIGUSR2. SIGHUP also reloads
the configuration.

Exit codes: that of the command, or 128 plus the signal that ended it; 126 the command cannot be
executed, 127 it does not exist. Before the command starts, as `serve`: 1, 2, 3, 4.";

const STATUS_HELP: &str = "\
Examples:
  graphward status
  graphward status --tenant acme --json
  graphward status --state expired

Exit codes: 0 the sidecar is ready and all tokens shown are usable, 1 not so, or no answer, 2 usage
or configuration.";

const REFRESH_HELP: &str = "\
Answers when the sidecar is done, and shows the new status.

Examples:
  graphward refresh
  graphward refresh --tenant acme

Exit codes: as of `status`.";

const SEND_TEST_HELP: &str = "\
Examples:
  graphward send-test --to +15550100 --phone-number-id 106540352242922
  graphward send-test --to +15550100 --phone-number-id 106540352242922 --text 'Hello'

A text arrives only within 24 hours of the recipient's last message; outside of them Graph accepts
it, and it never arrives. Exit codes: 0 accepted, 1 not accepted, 2 usage or configuration.";

const PRINT_CONFIG_HELP: &str = "\
Takes the flags of `serve`. Secrets are never in the configuration: it names where they are.

Examples:
  graphward print-config
  graphward print-config --config /etc/graphward/graphward.toml --json

Exit codes: 0 valid, 2 usage or invalid configuration.";

const COMPLETIONS_HELP: &str = "\
Examples:
  graphward completions bash > /etc/bash_completion.d/graphward
  graphward completions zsh > \"${fpath[1]}/_graphward\"
  graphward completions fish > ~/.config/fish/completions/graphward.fish";

const MAN_HELP: &str = "\
Examples:
  graphward man | man -l -
  graphward man --out /usr/share/man/man1";

const CHECK_HELP: &str = "\
Reads every source once and asks Graph: what kind of token it is and when it ends, whether it has
the permissions that WhatsApp needs, whether app.id and app.secret belong together, whether the
phone number ids are right. Says what is wrong and what to do. Never prints a token.

Of tenants_from it counts the tenants, asks Graph about their tokens, and lists the first twenty
bad ones; --tenant checks one of them in full.

Examples:
  graphward check
  graphward check --phone-number-id 106540352242922 --json
  graphward check --tenant acme
  graphward check --diff < new-token

Exit codes: 0 good, 1 warnings, 2 bad.";

const AFTER_HELP: &str = "\
Configuration: flags > environment > file > defaults. The file is --config, else GRAPHWARD_CONFIG,
else ./graphward.toml, else /etc/graphward/graphward.toml; it is optional.

Environment:
  GRAPHWARD_CONFIG           the configuration file
  GRAPHWARD_LISTEN           proxy listen addresses, comma-separated
  GRAPHWARD_ADMIN            admin listen address
  GRAPHWARD_ORIGIN           Graph's origin
  GRAPHWARD_CA_FILE          additional CA certificates (PEM) to trust
  GRAPHWARD_TOKEN_FILE       token file
  GRAPHWARD_TOKEN            the token (prefer a file, which can be updated)
  GRAPHWARD_APP_ID           the app's id, for renewals
  GRAPHWARD_APP_SECRET_FILE  app secret file, for renewals and appsecret_proof
  GRAPHWARD_APP_SECRET       the app secret
  GRAPHWARD_LOG              log level: error, warn, info, debug or trace
  GRAPHWARD_LOG_REQUESTS     logged requests: none, problems or all
Every other key, such as [heal] hold_timeout: GRAPHWARD_HEAL_HOLD_TIMEOUT.

Example:
  graphward serve --token-file /run/graphward/token
  curl http://127.0.0.1:8080/v25.0/me

Signals: SIGTERM, SIGINT and SIGQUIT complete the requests in flight; a second one, at least a second
later, closes them. SIGHUP reloads the configuration and its secrets, except in a terminal.

Exit codes: 0 clean shutdown, 1 other failure, 2 usage or configuration, 3 cannot bind, 4 no valid
token with --require-token.";

#[cfg(test)]
mod tests {
    use super::*;

    mod documented;

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
            "--log-requests",
            "all",
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
        assert_eq!(args.overrides.listen, ["127.0.0.1:1", "unix:/a"]);
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
        for name in crate::config::common_env_vars() {
            assert!(AFTER_HELP.contains(name), "{name}");
        }
        for file in crate::config::DEFAULT_CONFIG_PATHS {
            assert!(AFTER_HELP.contains(file), "{file}");
        }
    }
}
