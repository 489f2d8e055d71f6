//! The form in which a command prints its result: text for people, or JSON for programs.

use clap::Args;
use serde::Serialize;
use zeroize::Zeroizing;

use super::exit::{Exit, print_error, print_lines};

/// The flag that chooses the form.
#[derive(Args, Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct OutputArgs {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl OutputArgs {
    /// Prints a result as JSON, or the text that says the same.
    pub(super) fn print(self, result: &impl Serialize, text: &str) -> Exit {
        if !self.json {
            return print_lines(text);
        }
        // The result may be a key.
        match serde_json::to_string_pretty(result).map(Zeroizing::new) {
            Ok(json) => print_lines(&json),
            Err(error) => print_error(&error, Exit::Failed),
        }
    }
}
