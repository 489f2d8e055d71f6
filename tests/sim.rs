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

#[path = "sim/answers.rs"]
mod answers;
#[path = "sim/batches.rs"]
mod batches;
#[path = "sim/calls.rs"]
mod calls;
#[path = "sim/control.rs"]
mod control;
#[path = "sim/grants.rs"]
mod grants;
#[path = "sim/hosts.rs"]
mod hosts;
#[path = "sim/inspections.rs"]
mod inspections;
#[path = "sim/media.rs"]
mod media;
#[path = "sim/messages.rs"]
mod messages;
#[path = "sim/oauth.rs"]
mod oauth;
#[path = "sim/pages.rs"]
mod pages;
#[path = "sim/proofs.rs"]
mod proofs;
#[path = "sim/tls.rs"]
mod tls;
#[path = "sim/tokens.rs"]
mod tokens;
#[path = "sim/trouble.rs"]
mod trouble;
#[path = "sim/uploads.rs"]
mod uploads;
