//! A line on a terminal that says what a command is doing.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::Instant;

/// The line, on stderr if that is a terminal. It is erased when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Progress {
    shown_at: Option<Instant>,
}

/// The time between two texts: a terminal is slower than what it shows.
const PAUSE: Duration = Duration::from_millis(100);
/// Goes to the beginning of the line, and erases it.
const ERASE: &str = "\r\u{1b}[K";

// === impl Progress ===

impl Progress {
    /// Shows a text in place of the one before, unless that is new.
    pub(super) fn show(&mut self, text: &str) {
        let is_new = self.shown_at.is_some_and(|at| at.elapsed() < PAUSE);
        if is_new || !std::io::stderr().is_terminal() {
            return;
        }
        self.shown_at = Some(Instant::now());
        let mut terminal = std::io::stderr();
        drop(write!(terminal, "{ERASE}{text} …").and_then(|()| terminal.flush()));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown_at.is_some() {
            drop(write!(std::io::stderr(), "{ERASE}"));
        }
    }
}
