//! Writes log lines to a standard stream without ever waiting for its reader.
//!
//! # Why
//!
//! Standard output is often a pipe, and a full pipe blocks its writer: with one thread for everything, a stuck log collector
//! would hold up every request. So each line is written only if there is room for it. Making the descriptor non-blocking
//! would make it non-blocking for all processes that share it, such as a shell.
//!
//! This is written by hand. `tracing-appender` writes on a thread of its own, which costs an allocation and a wake-up per line,
//! and its guard prints to stdout when it cannot flush at exit: with a blocked stdout, the process could not stop.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing_subscriber::fmt::format;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

/// A writer that drops a line if there is no room for it, and later reports how many it dropped.
#[derive(Debug)]
pub(super) struct LossyWriter<W> {
    inner: W,
    encoding: LineEncoding,
    /// All lines that were dropped.
    dropped: Counter,
    /// Those that no line has reported yet.
    unreported: Arc<AtomicU64>,
}

/// The encoding of a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LineEncoding {
    Json,
    Text,
    /// Text, in color unless `NO_COLOR` is set.
    ColoredText,
}

/// The size that a pipe with room accepts without blocking (`PIPE_BUF`); log lines are a tenth of that.
const PIPE_BUF: usize = 4096;

impl<W: Write + AsFd> LossyWriter<W> {
    pub(super) const fn new(inner: W, encoding: LineEncoding, dropped: Counter, unreported: Arc<AtomicU64>) -> Self {
        Self {
            inner,
            encoding,
            dropped,
            unreported,
        }
    }

    fn has_room_for(&self, line: &[u8]) -> bool {
        let mut poll_fds = [PollFd::new(&self.inner, PollFlags::OUT)];
        // If the pipe is broken rather than full, the write reports it.
        let is_full = matches!(poll(&mut poll_fds, Some(&Timespec::default())), Ok(0));
        !is_full && line.len() <= PIPE_BUF
    }

    fn report_dropped(&mut self) -> io::Result<()> {
        let dropped_lines = self.unreported.load(Ordering::Relaxed);
        if dropped_lines == 0 {
            return Ok(());
        }
        let mut timestamp = String::new();
        let formatted = SystemTime.format_time(&mut format::Writer::new(&mut timestamp));
        formatted.map_err(io::Error::other)?;
        let line = match self.encoding {
            LineEncoding::Json => format!(
                "{{\"timestamp\":\"{timestamp}\",\"level\":\"WARN\",\"message\":\"log output was blocked; lines were dropped\",\
                 \"lines\":{dropped_lines},\"target\":\"graphward\"}}\n"
            ),
            LineEncoding::Text | LineEncoding::ColoredText => format!(
                "{timestamp}  WARN graphward: log output was blocked; lines were dropped lines={dropped_lines}\n"
            ),
        };
        if self.has_room_for(line.as_bytes()) {
            self.inner.write_all(line.as_bytes())?;
            self.unreported.fetch_sub(dropped_lines, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl<W: Write + AsFd> Write for LossyWriter<W> {
    /// Writes a whole line, as the subscriber passes them.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.report_dropped()?;
        if self.has_room_for(line) {
            self.inner.write_all(line)?;
        } else {
            self.dropped.inc();
            self.unreported.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_blocked_pipe_drops_lines_and_never_blocks_the_writer() {
        for encoding in [LineEncoding::Json, LineEncoding::Text] {
            let (mut reader, writer) = io::pipe().unwrap();
            let (dropped, unreported) = (Counter::default(), Arc::new(AtomicU64::new(0)));
            let mut lossy = LossyWriter::new(writer, encoding, dropped.clone(), Arc::clone(&unreported));
            let line = [b'x'; 99].into_iter().chain([b'\n']).collect::<Vec<_>>();
            for _ in 0..10_000 {
                lossy.write_all(&line).unwrap();
            }
            let dropped_before = unreported.load(Ordering::Relaxed);
            assert!(dropped_before > 0);
            assert_eq!(dropped.get(), dropped_before);
            // Once the pipe is emptied, the number of dropped lines is reported first.
            let mut buffer = vec![0; 32 * 1024];
            reader.read_exact(&mut buffer).unwrap();
            lossy.write_all(b"the last\n").unwrap();
            drop(lossy);
            let mut rest = String::new();
            reader.read_to_string(&mut rest).unwrap();
            let report = rest.lines().rev().nth(1).unwrap();
            assert!(report.contains("lines were dropped"), "{report}");
            assert!(report.contains(&dropped_before.to_string()), "{report}");
            assert!(rest.ends_with("\nthe last\n"));
            assert_eq!(unreported.load(Ordering::Relaxed), 0);
            assert_eq!(dropped.get(), dropped_before, "a counter never falls");
            if encoding == LineEncoding::Json {
                let report: serde_json::Value = serde_json::from_str(report).unwrap();
                assert_eq!(report["lines"], dropped_before);
            }
        }
    }
}
