//! What is logged during a test.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock};

use tracing::subscriber::{DefaultGuard, set_default};
use tracing::{Dispatch, Subscriber};
use tracing_subscriber::fmt::MakeWriter;

/// The events of this thread, which runs everything of a test, from now until the end of this.
pub(super) struct LogCapture {
    buffer: LogBuffer,
    guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct LogBuffer(Arc<Mutex<Vec<u8>>>);

impl LogCapture {
    pub(super) fn start() -> Self {
        install_dispatchers();
        let buffer = LogBuffer::default();
        let writer = buffer.clone();
        let guard = set_default(trace_subscriber(move || writer.clone()));
        Self { buffer, guard }
    }

    pub(super) fn end(self) -> String {
        drop(self.guard);
        String::from_utf8(self.buffer.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for LogBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Every event of every crate: more than graphward itself writes.
fn trace_subscriber(writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) -> impl Subscriber + Send + Sync {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(writer)
        .finish()
}

/// While only one subscriber exists, `tracing` asks the *current thread's* whether it wants a kind of event, and keeps the
/// answer: a test beside this one would say no for all. So there are always two more.
fn install_dispatchers() {
    static OTHERS: OnceLock<[Dispatch; 2]> = OnceLock::new();
    let other = || Dispatch::new(trace_subscriber(io::sink));
    let _kept = OTHERS.get_or_init(|| [other(), other()]);
}
