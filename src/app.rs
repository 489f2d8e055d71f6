//! A process: how it is put together, started and stopped.
//!
//! # Why
//!
//! [`run()`] is one function, top to bottom, so that "what happens first" has one place to read. Tests and benchmarks enter
//! by [`Dependencies`]: a clock, a connector, a token provider, listeners. What tests run is what runs.

mod build;
mod event_sink;
mod rollback;
mod run;
mod secrets;
mod signal;
mod token_provider;

pub use build::{Dependencies, StartError};
pub use rollback::{RollbackError, roll_back};
pub use run::{MissingToken, RunOutcome, ServerHandle, run};
pub use secrets::SecretLoadError;
pub use signal::{StopSignal, stop_signals};
pub use token_provider::TokenProviderError;
