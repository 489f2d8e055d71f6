//! The log: its destination, its format, and its levels.
//!
//! # Why
//!
//! All events of `serve` go to stdout, in both formats: containers collect it from there, and the level is a field, not a
//! file descriptor. Commands that print for a person (`demo`) do not log, so the two do not mix. The stdout of `exec` is
//! that of its command, so its log goes to stderr.
//!
//! A line on a terminal is short: the time without the day, and no target. The reader is there while it is written.
//!
//! graphward's own events follow the configured level. Those of other crates are at most `info`, whatever is configured: at
//! `debug` and `trace`, HTTP and TLS libraries log headers and frames, which contain the token.

mod lossy_writer;
mod output;
mod tenant_json;
mod time_of_day;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;

use lossy_writer::{LineEncoding, LossyWriter};
pub use output::LogOutput;
use tenant_json::TenantJson;
use time_of_day::TimeOfDay;

/// The format and the level of the log (`[log]`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
pub struct LogSettings {
    /// The shape of a line.
    pub format: LogFormat,
    /// The log level.
    pub level: LogLevel,
}

/// The format of a line.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, otherwise JSON.
    #[default]
    Auto,
    /// A JSON object per line: `timestamp`, `level`, `target`, `message`, and the fields of the event.
    Json,
    /// Text for people.
    Text,
}

/// The severity of an event.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, schemars::JsonSchema, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// A request or a token was lost.
    Error,
    /// graphward recovered.
    Warn,
    /// The state changed; the access log.
    #[default]
    Info,
    /// Why graphward does what it does.
    Debug,
    /// Each step of it.
    Trace,
}

/// Logging is already configured in this process.
#[derive(Debug, thiserror::Error)]
#[error("logging is already configured")]
pub struct LogError(#[from] tracing::subscriber::SetGlobalDefaultError);

/// Changes the format and the level of the log while the process runs.
#[derive(Clone, derive_more::Debug)]
#[debug("LogHandle")]
pub struct LogHandle {
    layer: reload::Handle<BoxedLayer, Registry>,
    filter: reload::Handle<Targets, Registry>,
    make_layer: Arc<dyn Fn(LogFormat) -> BoxedLayer + Send + Sync>,
}

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Sends the events of this process to stdout or stderr from now on, without ever waiting for its reader. Lines that are
/// dropped instead are counted in `dropped`.
///
/// # Errors
///
/// [`LogError`] if logging is already configured.
pub fn install_logger(settings: LogSettings, output: LogOutput, dropped: Counter) -> Result<LogHandle, LogError> {
    let unreported = Arc::new(AtomicU64::new(0));
    let make_layer = Arc::new(move |format| {
        let encoding = match (format, output.is_terminal()) {
            (LogFormat::Json, _) | (LogFormat::Auto, false) => LineEncoding::Json,
            (LogFormat::Text, false) => LineEncoding::Text,
            (LogFormat::Text | LogFormat::Auto, true) => LineEncoding::ColoredText,
        };
        let (dropped, unreported) = (dropped.clone(), Arc::clone(&unreported));
        let make_writer = move || LossyWriter::new(output.open(), encoding, dropped.clone(), Arc::clone(&unreported));
        line_layer(encoding, make_writer)
    });
    let (layer, layer_handle) = reload::Layer::new(make_layer(settings.format));
    let (filter, filter_handle) = reload::Layer::new(settings.level.target_filter());
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer.with_filter(filter)))?;
    Ok(LogHandle {
        layer: layer_handle,
        filter: filter_handle,
        make_layer,
    })
}

/// Sends events in the same format to another writer.
pub fn log_subscriber<W>(settings: LogSettings, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let encoding = match settings.format {
        LogFormat::Json | LogFormat::Auto => LineEncoding::Json,
        LogFormat::Text => LineEncoding::Text,
    };
    subscriber(settings.level, encoding, writer)
}

fn subscriber<W>(level: LogLevel, encoding: LineEncoding, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::registry().with(line_layer(encoding, writer).with_filter(level.target_filter()))
}

fn line_layer<W>(encoding: LineEncoding, writer: W) -> BoxedLayer
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    match encoding {
        LineEncoding::Json => Box::new(
            fmt::layer()
                .fmt_fields(JsonFields::new())
                .event_format(TenantJson::new())
                .with_writer(writer),
        ),
        LineEncoding::Text => Box::new(fmt::layer().with_ansi(false).with_writer(writer)),
        LineEncoding::ColoredText => Box::new(
            fmt::layer()
                .with_target(false)
                .with_timer(TimeOfDay)
                .with_writer(writer),
        ),
    }
}

// === impl LogHandle ===

impl LogHandle {
    /// Logs in this format and at this level from now on.
    pub fn apply(&self, settings: LogSettings) {
        // Both fail only if the log is gone.
        drop(self.layer.reload((self.make_layer)(settings.format)));
        drop(self.filter.reload(settings.level.target_filter()));
    }
}

// === impl LogLevel ===

impl LogLevel {
    fn target_filter(self) -> Targets {
        let (own_level, other_level) = match self {
            Self::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
            Self::Warn => (LevelFilter::WARN, LevelFilter::WARN),
            Self::Info => (LevelFilter::INFO, LevelFilter::WARN),
            Self::Debug => (LevelFilter::DEBUG, LevelFilter::INFO),
            Self::Trace => (LevelFilter::TRACE, LevelFilter::INFO),
        };
        Targets::new()
            .with_default(other_level)
            .with_target("graphward", own_level)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    #[derive(Clone, Default)]
    struct CapturedLog(Arc<Mutex<Vec<u8>>>);

    impl Write for CapturedLog {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let mut captured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            captured.write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: LogLevel, encoding: LineEncoding, events: impl FnOnce()) -> String {
        let captured = CapturedLog::default();
        let writer = captured.clone();
        let subscriber = subscriber(level, encoding, move || writer.clone());
        tracing::subscriber::with_default(subscriber, events);
        String::from_utf8(captured.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_json_line_has_its_fields_beside_the_message() {
        let line = logged(LogLevel::Info, LineEncoding::Json, || {
            tracing::info!(tenant = "default", generation = 2, "a new token");
        });
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        for (field, value) in [
            ("level", "INFO"),
            ("target", "graphward::telemetry::log::tests"),
            ("message", "a new token"),
            ("tenant", "default"),
        ] {
            assert_eq!(line[field], value);
        }
        assert_eq!(line["generation"], 2);
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn a_json_line_of_a_tenants_task_has_the_tenant_once() {
        let lines = logged(LogLevel::Warn, LineEncoding::Json, || {
            let span = tracing::error_span!("tenant", tenant = "acme");
            let _entered = span.enter();
            tracing::warn!(path = "a \"tenant\": b", "one of a source");
            tracing::warn!(tenant = "shop", "one that has it");
        });
        let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let tenants: Vec<_> = lines.iter().map(|line| line["tenant"].as_str().unwrap()).collect();
        assert_eq!(tenants, ["acme", "shop"]);
        assert_eq!(lines[0]["message"], "one of a source");
        assert!(lines.iter().all(|line| line.get("span").is_none()), "{lines:?}");
        let outside = logged(LogLevel::Info, LineEncoding::Json, || tracing::info!("up"));
        assert!(!outside.contains("tenant"), "{outside}");
    }

    #[test]
    fn text_has_no_colors_unless_it_is_for_a_terminal() {
        let line = logged(LogLevel::Info, LineEncoding::Text, || tracing::info!("up"));
        assert!(line.contains("INFO graphward") && line.contains("up"));
        assert!(!line.contains('\u{1b}'));
    }

    #[test]
    fn other_crates_never_log_more_than_info_as_their_details_hold_the_token() {
        let events = || {
            tracing::trace!(target: "graphward", "ours");
            tracing::info!(target: "hyper_util::client", "state");
            tracing::debug!(target: "h2::codec", "frame");
            tracing::trace!(target: "rustls", "bytes");
        };
        let verbose = logged(LogLevel::Trace, LineEncoding::Text, events);
        assert!(verbose.contains("ours") && verbose.contains("state"));
        assert!(!verbose.contains("frame") && !verbose.contains("bytes"));
        assert_eq!(logged(LogLevel::Info, LineEncoding::Text, events), "");
    }
}
