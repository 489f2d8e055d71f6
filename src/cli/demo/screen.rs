//! The lines on the screen: one for each event, never one for each message.

use std::io::{self, Write as _};

use tokio::time::Instant;

use super::super::table::Tone;

/// Writes a line about something that has just happened.
pub(super) fn event(started_at: Instant, tone: Tone, text: &str) -> io::Result<()> {
    let seconds = started_at.elapsed().as_secs_f64();
    line(tone, &format!("{seconds:5.1} s  {text}"))
}

/// Writes a line. Its color is left out where standard output is not a terminal, or where `NO_COLOR` is set.
pub(super) fn line(tone: Tone, text: &str) -> io::Result<()> {
    writeln!(anstream::stdout(), "{}", tone.paint(text))
}
