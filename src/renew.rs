//! What graphward itself asks of Graph and of others: renewals, and what a token is worth.
//!
//! All of them promise what [`crate::token::Renewer`] asks: bounded in time, and no secret in an error, though app
//! secrets and tokens travel in the queries of these calls.

mod exec;
mod service;

pub use exec::ExecRenewer;
pub use service::Service;
