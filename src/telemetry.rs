//! Logs and metrics: what operators see without asking.

mod log;
pub mod metrics;

pub use log::{LogError, LogFormat, LogHandle, LogLevel, LogSettings, install_stdout_logger, log_subscriber};
