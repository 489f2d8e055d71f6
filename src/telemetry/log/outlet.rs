//! Lines out of the process, without ever waiting for whoever reads them.
//!
//! # Why
//!
//! Standard output is often a pipe, and a pipe that nobody empties blocks its writer: with one thread for
//! everything, a stuck log collector would hold up every request. So each line asks first whether there is room.
//! Turning the descriptor non-blocking instead would turn it so for all who share it, a shell among them.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing_subscriber::fmt::format;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

/// A way out for lines. One that finds no room is lost, and the next one that finds some says how many were.
#[derive(Debug)]
pub(super) struct Outlet<W> {
    to: W,
    json: bool,
    lost: Arc<AtomicU64>,
}

/// What a pipe that has room takes at once (`PIPE_BUF`); our lines are a tenth of that.
const AT_ONCE: usize = 4096;

impl<W: Write + AsFd> Outlet<W> {
    pub(super) const fn new(to: W, json: bool, lost: Arc<AtomicU64>) -> Self {
        Self { to, json, lost }
    }

    fn takes(&self, line: &[u8]) -> bool {
        let mut there = [PollFd::new(&self.to, PollFlags::OUT)];
        // What is broken rather than full is for the writing to find out.
        let full = matches!(poll(&mut there, Some(&Timespec::default())), Ok(0));
        !full && line.len() <= AT_ONCE
    }

    fn confess(&mut self) -> io::Result<()> {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost == 0 {
            return Ok(());
        }
        let mut now = String::new();
        let written = SystemTime.format_time(&mut format::Writer::new(&mut now));
        written.map_err(io::Error::other)?;
        let line = if self.json {
            format!(
                "{{\"timestamp\":\"{now}\",\"level\":\"WARN\",\"message\":\"nobody read the log; lines are lost\",\
                 \"lines\":{lost},\"target\":\"graphward\"}}\n"
            )
        } else {
            format!("{now}  WARN graphward: nobody read the log; lines are lost lines={lost}\n")
        };
        if self.takes(line.as_bytes()) {
            self.to.write_all(line.as_bytes())?;
            self.lost.fetch_sub(lost, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl<W: Write + AsFd> Write for Outlet<W> {
    /// Takes a whole line, as the subscriber writes them.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.confess()?;
        if self.takes(line) {
            self.to.write_all(line)?;
        } else {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_pipe_that_nobody_empties_loses_lines_and_holds_nobody_up() {
        for json in [true, false] {
            let (mut reader, writer) = io::pipe().unwrap();
            let lost = Arc::new(AtomicU64::new(0));
            let mut outlet = Outlet::new(writer, json, Arc::clone(&lost));
            let line = [b'x'; 99].into_iter().chain([b'\n']).collect::<Vec<_>>();
            for _ in 0..10_000 {
                outlet.write_all(&line).unwrap();
            }
            let before = lost.load(Ordering::Relaxed);
            assert!(before > 0);
            // Emptied, it says what is missing before it goes on.
            let mut room = vec![0; 32 * 1024];
            reader.read_exact(&mut room).unwrap();
            outlet.write_all(b"the last\n").unwrap();
            drop(outlet);
            let mut rest = String::new();
            reader.read_to_string(&mut rest).unwrap();
            let said = rest.lines().rev().nth(1).unwrap();
            assert!(said.contains("lines are lost"), "{said}");
            assert!(said.contains(&before.to_string()), "{said}");
            assert!(rest.ends_with("\nthe last\n"));
            assert_eq!(lost.load(Ordering::Relaxed), 0);
            if json {
                let said: serde_json::Value = serde_json::from_str(said).unwrap();
                assert_eq!(said["lines"], before);
            }
        }
    }
}
