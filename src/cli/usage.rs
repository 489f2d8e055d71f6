//! Prints errors of the command line, which repeat its words, without those that may be secrets.

use std::io::Write as _;
use std::iter;

use super::exit::{Exit, exit_of};
use crate::types::{HIDDEN, might_be_secret};

/// Prints an error, or the help that was asked for. A closed stderr is ignored.
pub(super) fn print(error: &clap::Error) -> Exit {
    let words = std::env::args_os().skip(1);
    let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    match without_secrets(&error.render().ansi().to_string(), &words) {
        Some(text) => drop(write!(anstream::stderr(), "{text}")),
        // With the colors that the terminal understands.
        None if error.use_stderr() => drop(error.print()),
        None => return exit_of(error.print()),
    }
    Exit::Usage
}

/// Returns a text without the words that may be secrets; `None` if it has none.
fn without_secrets(text: &str, words: &[String]) -> Option<String> {
    // `--flag=VALUE` is shown in two pieces, too.
    let pieces = words
        .iter()
        .flat_map(|word| iter::once(word.as_str()).chain(word.splitn(2, '=')));
    let is_secret = |piece: &&str| might_be_secret(piece.trim_start_matches('-')) && text.contains(piece);
    let mut secrets: Vec<_> = pieces.filter(is_secret).collect();
    // A longer one may contain a shorter one.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let hidden = secrets
        .iter()
        .fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN));
    (!secrets.is_empty()).then_some(hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_may_be_secrets_are_not_repeated() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (line, text, expected) in [
            (
                "serve EAAGx1",
                "unexpected argument 'EAAGx1' found",
                "unexpected argument '(not shown: may be a secret)' found",
            ),
            (
                "--token=EAAGx1",
                "unexpected argument '--token' found",
                "unexpected argument '--token' found",
            ),
            (
                "EAAGx1",
                "unrecognized subcommand 'EAAGx1'",
                "unrecognized subcommand '(not shown: may be a secret)'",
            ),
            (
                "--EAAG0123456789abcdef",
                "unexpected argument '--EAAG0123456789abcdef' found",
                "unexpected argument '(not shown: may be a secret)' found",
            ),
            (
                "--for=IGAAx 12|x",
                "invalid value 'IGAAx' for '--for', found '12|x'",
                "invalid value '(not shown: may be a secret)' for '--for', found '(not shown: may be a secret)'",
            ),
        ] {
            let shown = without_secrets(text, &words(line));
            assert_eq!(shown.as_deref().unwrap_or(text), expected, "{line}");
        }
        assert_eq!(
            without_secrets("unexpected argument '--token-fil' found", &words("--token-fil a")),
            None
        );
    }
}
