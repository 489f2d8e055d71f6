//! Logs and metrics: what operators see without asking.

mod audit;
mod events;
mod line_limit;
mod log;
pub mod metrics;

pub use audit::{AuditAction, AuditConfig, AuditError, AuditFile, AuditLog, AuditRecord, InLog};
pub use events::{Event, EventLog};
pub(crate) use line_limit::LineLimit;
pub use log::{LogError, LogFormat, LogHandle, LogLevel, LogOutput, LogSettings, install_logger, log_subscriber};
