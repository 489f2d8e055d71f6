//! Renewals and questions against the fake Graph, over real sockets and TLS; and against servers that say anything, in
//! memory, where time is paused.

mod debug_token;
mod exchange;
mod failures;
mod mint;
mod refresh;
mod secrets;
mod support;
