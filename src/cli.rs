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
mod help;
mod local_client;
mod manual;
mod output;
mod print_config;
mod progress;
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

use output::OutputArgs;
use serve::ServeArgs;

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => run(cli),
        // `--help` and `--version` arrive here, too.
        Err(error) => usage::print(&error).into(),
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
        CliCommand::Version(output) => {
            let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
            let json = serde_json::json!({ "name": name, "version": version });
            output.print(&json, &format!("{name} {version}"))
        }
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
    max_term_width = 100,
    after_help = help::SERVE
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
    #[command(after_help = help::SERVE)]
    Serve(ServeArgs),
    /// Run a command with a sidecar beside it: `graphward exec -- npm run dev`
    #[command(after_help = help::EXEC)]
    Exec(exec::ExecArgs),
    /// Run a demo: sidecar, fake Graph and load in one process; needs no network, account or file
    #[cfg(feature = "fake")]
    #[command(
        after_help = "Example:\n  graphward demo --for 10s\n\nExit codes: 0 no request failed, 1 one did, 2 usage."
    )]
    Demo(demo::DemoArgs),
    /// Run only the fake Graph, for your own tests
    #[cfg(feature = "fake")]
    #[command(after_help = help::FAKE_GRAPH)]
    FakeGraph(fake_graph::FakeGraphArgs),
    /// Create a certificate for Graph's host names, for clients that require https
    #[command(
        after_help = "Examples:\n  graphward ca --out tls\n  graphward ca --out tls --name graphward.internal\n\nExit codes: 0 written, 1 not, 2 usage, or a file exists and --force is not given."
    )]
    Ca(ca::CaArgs),
    /// Check the configuration: sources, tokens, app, phone numbers and the connection to Graph
    #[command(after_help = help::CHECK)]
    Check(check::CheckArgs),
    /// Check readiness: exit 0 if the sidecar is ready, 1 if not, within 2 seconds
    #[command(
        after_help = "Examples:\n  graphward healthcheck\n  graphward healthcheck --json\n\nExit codes: 0 ready, 1 not ready, or no answer, 2 usage."
    )]
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Show the tokens of a running sidecar: state, expiry, source, and what to do
    #[command(after_help = help::STATUS)]
    Status(status::StatusArgs),
    /// Make a running sidecar look at its token sources now, and renew what is due
    #[command(after_help = help::REFRESH)]
    Refresh(status::RefreshArgs),
    /// Send a WhatsApp message through a running sidecar and print its id
    #[command(after_help = help::SEND_TEST)]
    SendTest(send_test::SendTestArgs),
    /// Explain a Graph API error and how to fix it
    #[command(after_help = help::EXPLAIN)]
    Explain(explain::ExplainArgs),
    /// Set or show the token, roll back to the previous one, or encrypt one with Fernet
    #[command(after_help = help::TOKEN)]
    Token(token::TokenArgs),
    /// Print the configuration that applies, and where each value comes from
    #[command(after_help = help::PRINT_CONFIG)]
    PrintConfig(print_config::PrintConfigArgs),
    /// Print a completion script for a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions(manual::CompletionsArgs),
    /// Print the manual page, or write those of all commands
    #[command(after_help = help::MAN)]
    Man(manual::ManArgs),
    /// Print the version
    #[command(after_help = "Example:\n  graphward version --json\n\nExit codes: 0 printed, 1 not, 2 usage.")]
    Version(OutputArgs),
}

#[cfg(test)]
mod tests {
    use super::*;

    mod documented;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_of_each_command_shows_an_example_and_its_exit_codes() {
        let mut commands = vec![Cli::command()];
        let mut leaves = 0;
        while let Some(mut command) = commands.pop() {
            // Groups such as `token`, and `graphward` itself, have a help of their own.
            commands.extend(command.get_subcommands().cloned());
            leaves += usize::from(!command.has_subcommands());
            let help = command.render_long_help().to_string();
            let name = command.get_name();
            let (_, examples) = help.split_once("\nExample").unwrap_or_else(|| panic!("{name}: {help}"));
            let (examples, _) = examples.split_once("Exit codes: ").unwrap_or((examples, ""));
            assert!(examples.contains("graphward") && examples.contains(name), "{help}");
            assert!(help.contains("Exit codes: "), "{name}: {help}");
        }
        assert!(leaves >= 17, "{leaves}");
    }

    #[test]
    fn the_help_of_exec_says_that_it_takes_free_ports() {
        let help = Cli::command().find_subcommand_mut("exec").unwrap().render_long_help();
        let help = help.to_string().replace("\n          ", " ");
        let shown = ["listen", "admin"].map(|flag| help.split(&format!("--{flag} <")).nth(1).unwrap());
        for lines in shown.map(|rest| rest.split("\n\n").next().unwrap()) {
            assert!(lines.contains("for `exec` a free port]"), "{lines}");
        }
    }

    #[test]
    fn a_state_is_one_of_those_that_tokens_have() {
        let parse = |state| Cli::try_parse_from(["graphward", "status", "--state", state]);
        for state in ["usable", "ends_7d", "ends_1d", "dead", "undecryptable", "withdrawn"] {
            assert!(parse(state).is_ok(), "{state}");
        }
        assert!(parse("expired").is_err());
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
            assert!(help::SERVE.contains(name), "{name}");
        }
        for file in crate::config::DEFAULT_CONFIG_PATHS {
            assert!(help::SERVE.contains(file), "{file}");
        }
    }
}
