//! The log of a test: what the process would write to stdout.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock};

use tracing::Dispatch;
use tracing::subscriber::{DefaultGuard, set_default};

use super::lock;
use graphward::telemetry::{LogFormat, LogLevel, LogSettings, log_to};

/// The events of this thread, which is where a test's whole house is, from now until this is dropped.
pub(crate) struct Logged {
    kept: Kept,
    _until: DefaultGuard,
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Logged {
    pub(crate) fn at_info() -> Self {
        Self::at(LogLevel::Info)
    }

    pub(crate) fn at_trace() -> Self {
        Self::at(LogLevel::Trace)
    }

    fn at(level: LogLevel) -> Self {
        // While there is one subscriber in the process, tracing asks the thread that first comes by an event whether
        // anybody wants it, and remembers a no of a thread without a subscriber for all. So there are always two.
        static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
        ANOTHER.get_or_init(|| Dispatch::new(tracing_subscriber::registry()));
        let kept = Kept::default();
        let writer = kept.clone();
        let settings = LogSettings {
            format: LogFormat::Json,
            level,
        };
        Self {
            kept,
            _until: set_default(log_to(settings, move || writer.clone())),
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(lock(&self.kept.0).clone()).unwrap()
    }

    pub(crate) fn lines_with(&self, part: &str) -> Vec<String> {
        let text = self.text();
        let lines = text.lines().filter(|line| line.contains(part));
        lines.map(str::to_owned).collect()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
