//! The lines on the screen: one for each event, never one for each message.

use std::io::{self, Write as _};

use tokio::time::Instant;

/// The color of a line on a terminal, as an ANSI code.
#[derive(Clone, Copy)]
pub(super) enum Color {
    Default = 0,
    Red = 31,
    Green = 32,
    Yellow = 33,
}

/// Writes a line about something that has just happened.
pub(super) fn event(started_at: Instant, color: Color, text: &str) -> io::Result<()> {
    let seconds = started_at.elapsed().as_secs_f64();
    line(color, &format!("{seconds:5.1} s  {text}"))
}

/// Writes a line. Its color is left out where standard output is not a terminal, or where `NO_COLOR` is set.
pub(super) fn line(color: Color, text: &str) -> io::Result<()> {
    writeln!(anstream::stdout(), "\x1b[{}m{text}\x1b[0m", color as u8)
}
