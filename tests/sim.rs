//! The fake Graph over real sockets, with TLS: what users' CI sees of it. Where time matters it is called
//! in-process, and time is paused.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

#[path = "sim/support.rs"]
mod support;

#[path = "sim/batches.rs"]
mod batches;
#[path = "sim/control.rs"]
mod control;
#[path = "sim/debug_token.rs"]
mod debug_token;
#[path = "sim/faults.rs"]
mod faults;
#[path = "sim/hosts.rs"]
mod hosts;
#[path = "sim/media.rs"]
mod media;
#[path = "sim/messages.rs"]
mod messages;
#[path = "sim/oauth.rs"]
mod oauth;
#[path = "sim/paging.rs"]
mod paging;
#[path = "sim/proofs.rs"]
mod proofs;
#[path = "sim/recorded_calls.rs"]
mod recorded_calls;
#[path = "sim/responses.rs"]
mod responses;
#[path = "sim/tls.rs"]
mod tls;
#[path = "sim/token_renewal.rs"]
mod token_renewal;
#[path = "sim/tokens.rs"]
mod tokens;
#[path = "sim/uploads.rs"]
mod uploads;
