//! The order in which a process starts and stops.
//!
//! # Why
//!
//! Everything is put together in one place, top to bottom, so that "what happens first" has a file to open. All
//! fakes enter by [`Dependencies`]: a clock, a connector, a supply, listeners. What tests run is what runs.

mod build;
mod event_sink;
mod rollback;
mod secrets;
mod server;
mod signal;
mod token_provider;

pub use build::{Dependencies, StartError, build};
pub use rollback::{RollbackError, roll_back};
pub use secrets::SecretLoadError;
pub use server::{RunOutcome, Server};
pub use signal::{StopSignal, stop_signals};
pub use token_provider::TokenProviderError;
