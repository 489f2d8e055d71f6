//! The help of each command on a terminal of 80 columns.

use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::termios::{Winsize, tcsetwinsize};

use crate::support::place::text;
use crate::support::{graphward_command, terminal};

const COLUMNS: usize = 80;

/// The help of a command, as a terminal of 80 columns gets it.
fn help(path: &[&str], flag: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (_controller, end): (OwnedFd, _) = terminal();
    let size = Winsize {
        ws_row: 24,
        ws_col: u16::try_from(COLUMNS).unwrap(),
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&end, size).unwrap();
    // The output is read from a pipe, and its width is that of the terminal.
    let mut command: Command = graphward_command(dir.path(), &[path, &[flag]].concat());
    let output = command.stderr(end).stdout(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{path:?}");
    text(&output.stdout)
}

/// The names below `Commands:`.
fn subcommands(help: &str) -> Vec<String> {
    let (_, list) = help.split_once("\nCommands:\n").unwrap_or_default();
    let rows = list.lines().take_while(|line| !line.is_empty());
    let names = rows.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .collect()
}

/// A line after which the next word would have had room, in the middle of a sentence: a line break of the source, which the
/// terminal has broken once more.
fn ragged(help: &str) -> Option<&str> {
    let is_prose = |line: &str| {
        let words = line.trim_start();
        !words.is_empty() && !words.contains("  ") && !words.starts_with(['-', '$']) && !words.starts_with("graphward ")
    };
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<_> = help.lines().collect();
    let pairs = lines.windows(2).filter(|pair| pair.iter().all(|line| is_prose(line)));
    let mut same = pairs.filter(|pair| indent(pair[0]) == indent(pair[1]) && !pair[0].ends_with(['.', ':']));
    same.find_map(|pair| {
        let next = pair[1].split_whitespace().next().unwrap();
        (pair[0].len() + 1 + next.len() <= COLUMNS).then_some(pair[0])
    })
}

#[test]
fn a_line_that_is_broken_twice_would_be_noticed() {
    let twice =
        "Prints the cause, the fix, and where to create a token if one is needed. The\ninput is\nnever printed.\n";
    assert_eq!(ragged(twice), Some("input is"));
    let once = "Prints the cause, the fix, and where to create a token if one is needed. The\ninput is never printed.\n\nMore.";
    assert_eq!(ragged(once), None);
}

#[test]
fn the_help_of_each_command_fits_80_columns() {
    let mut commands: Vec<Vec<String>> = vec![vec![]];
    let mut seen = 0;
    while let Some(command) = commands.pop() {
        let path: Vec<_> = command.iter().map(String::as_str).collect();
        for flag in ["--help", "-h"] {
            let help = help(&path, flag);
            let long = help.lines().find(|line| line.chars().count() > COLUMNS);
            assert_eq!(long, None, "{command:?} {flag}:\n{help}");
            assert_eq!(ragged(&help), None, "{command:?} {flag}:\n{help}");
            let examples = help.lines().filter(|line| line.starts_with("  graphward "));
            assert!(
                path.is_empty() || flag == "-h" || help.contains("Usage: graphward"),
                "{help}"
            );
            seen += examples.count();
            if flag == "--help" {
                let names = subcommands(&help).into_iter().filter(|name| name != "help");
                commands.extend(names.map(|name| [command.clone(), vec![name]].concat()));
            }
        }
    }
    assert!(seen >= 30, "{seen} examples");
}
