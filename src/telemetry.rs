//! Logs and metrics: what operators see without asking.

mod log;
pub mod metrics;

pub use log::{LogError, LogFormat, LogLevel, LogSettings, log_to, log_to_stdout};
