//! What graphward itself asks of Graph and of others: renewals, and what a token is worth.
//!
//! All of them promise what [`crate::token::Renewer`] asks: bounded in time, and no secret in an error, though app
//! secrets and tokens travel in the queries of these calls.

mod client_credentials;
mod debug_token;
mod exchange;
mod exec;
mod http;
mod mint;
mod refresh;
mod request;
mod response;

pub use client_credentials::ClientCredentials;
pub use debug_token::DebugTokenInspector;
pub use exchange::{ExchangeRenewer, TokenLifetime};
pub use exec::ExecRenewer;
pub use http::HttpRenewer;
pub use mint::{MintRenewer, MintSettings};
pub use refresh::RefreshRenewer;

#[cfg(test)]
mod tests;
