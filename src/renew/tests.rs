//! Renewals and inspections against the fake Graph and against servers that send given bytes, over real sockets and TLS;
//! what depends on a response alone is tested without a socket.

mod debug_token;
mod exchange;
mod failures;
mod log;
mod mint;
mod refresh;
mod secrets;
mod sign_up;
mod support;
