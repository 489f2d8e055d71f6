//! The order in which a process starts and stops.
//!
//! # Why
//!
//! Everything is put together in one place, top to bottom, so that "what happens first" has a file to open. All
//! fakes enter by [`Seams`]: a clock, a connector, a supply, listeners. What tests run is what runs.

mod build;
mod observer;
mod rollback;
mod running;
mod secrets;
mod signal;
mod supply;

pub use build::{Seams, StartError, build};
pub use rollback::{RollbackError, roll_back};
pub use running::{Exit, Running};
pub use secrets::SecretFault;
pub use signal::{Stop, stops};
pub use supply::SupplyError;
