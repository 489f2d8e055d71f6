//! Tests of the fake Graph over real sockets with TLS, as users' CI uses it. Where time matters, it is called in-process
//! and time is paused.

mod support;

mod batches;
mod codes;
mod control;
mod debug_token;
mod faults;
mod hosts;
mod media;
mod messages;
mod oauth;
mod object_uses;
mod paging;
mod proofs;
mod recorded_calls;
mod responses;
mod targets;
mod token_renewal;
mod tokens;
mod uploads;
