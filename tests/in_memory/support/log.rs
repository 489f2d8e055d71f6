//! The log of a test: what the process would write to stdout.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock};

use tracing::Dispatch;
use tracing::subscriber::{DefaultGuard, set_default};

use super::lock;
use graphward::telemetry::{LogFormat, LogLevel, LogSettings, log_subscriber};

/// The events of this thread, which runs everything of a test, from now until this is dropped.
pub(crate) struct LogCapture {
    buffer: LogBuffer,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct LogBuffer(Arc<Mutex<Vec<u8>>>);

/// Keeps two more subscribers for as long as the process runs.
///
/// While only one subscriber exists, `tracing` asks the current thread's whether it wants a new kind of event, and keeps the
/// answer for all threads. A concurrent test without a subscriber would answer no for all.
pub(crate) fn install_dispatchers() {
    static OTHERS: OnceLock<[Dispatch; 2]> = OnceLock::new();
    let settings = LogSettings {
        format: LogFormat::Json,
        level: LogLevel::Trace,
    };
    let other = || Dispatch::new(log_subscriber(settings, io::sink));
    let _kept = OTHERS.get_or_init(|| [other(), other()]);
}

impl LogCapture {
    pub(crate) fn at_info() -> Self {
        Self::at(LogLevel::Info)
    }

    pub(crate) fn at_trace() -> Self {
        Self::at(LogLevel::Trace)
    }

    fn at(level: LogLevel) -> Self {
        install_dispatchers();
        let buffer = LogBuffer::default();
        let writer = buffer.clone();
        let settings = LogSettings {
            format: LogFormat::Json,
            level,
        };
        Self {
            buffer,
            _guard: set_default(log_subscriber(settings, move || writer.clone())),
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(lock(&self.buffer.0).clone()).unwrap()
    }

    pub(crate) fn lines_containing(&self, part: &str) -> Vec<String> {
        let text = self.text();
        let lines = text.lines().filter(|line| line.contains(part));
        lines.map(str::to_owned).collect()
    }
}

impl Write for LogBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
