//! What graphward itself asks of Graph and of others: renewals, and what a token is worth.
//!
//! All of them promise what [`crate::token::Renewer`] asks: bounded in time, and no secret in an error, though app
//! secrets and tokens travel in the queries of these calls.

mod answer;
mod app;
mod ask;
mod debug_token;
mod exchange;
mod exec;
mod mint;
mod service;
mod sibling;

pub use app::AppKey;
pub use debug_token::DebugToken;
pub use exchange::{Exchange, Lasting};
pub use exec::ExecRenewer;
pub use mint::{Mint, MintSettings};
pub use service::Service;
pub use sibling::Sibling;

#[cfg(test)]
mod tests;
