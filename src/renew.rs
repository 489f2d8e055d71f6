//! The calls by which graphward renews and inspects tokens: to Graph, to a credential service, or to a command.
//!
//! All of them keep what [`crate::token::Renewer`] promises: they are bounded in time, and no error holds a secret, although
//! app secrets and tokens travel in the queries of these calls.

mod account;
mod api;
mod config;
mod debug_token;
mod exchange;
mod exec;
mod http;
mod liveness;
mod me;
mod mint;
mod refresh;
mod request;
mod response;
mod sign_up;

pub use account::AccountReader;
pub use api::GraphApi;
pub use config::RenewerConfig;
pub use debug_token::{DebugTokenInspector, RejectedApps};
pub use exchange::{ExchangeRenewer, ExchangeSettings, UnknownExpiry};
pub use liveness::GraphLivenessCheck;
pub use me::MeRequest;
pub use mint::{MintRenewer, MintSettings};
pub use refresh::RefreshRenewer;
pub use request::{AppCredentials, TokenLifetime, token_family};
pub use sign_up::{CodeExchange, SignUpCode, SignedUp};

#[cfg(test)]
mod tests;
