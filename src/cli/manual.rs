//! `graphward completions` and `graphward man`: what the command line says of itself.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, Command, ValueHint};
use clap_complete::Shell;

use super::exit::{Exit, exit_of};

/// The argument of `graphward completions`.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// The flags of `graphward man`.
#[derive(Args, Clone, Debug)]
pub(super) struct ManArgs {
    /// Write the pages of all commands to this directory instead
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: Option<PathBuf>,
}

/// Prints a script for the shell.
pub(super) fn print_completions(args: &CompletionsArgs, mut command: Command) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "graphward", &mut script);
    exit_of(io::stdout().write_all(&script))
}

/// Prints the page of the program, or writes that of each command.
pub(super) fn print_man(args: &ManArgs, command: Command) -> Exit {
    exit_of(match &args.out {
        Some(dir) => {
            let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command, dir));
            written.map_err(|error| io::Error::new(error.kind(), format!("`{}`: {error}", dir.display())))
        }
        None => clap_mangen::Man::new(command).render(&mut io::stdout()),
    })
}
