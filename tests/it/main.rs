//! The whole proxy between a scripted Graph and an app: real HTTP/1.1 and HTTP/2 framing over in-memory pipes, in
//! paused time. Nothing here touches a socket, and nothing waits: a minute of timeouts takes a millisecond.
#![cfg(test)]

mod admin;
mod alerts;
mod answers;
mod arrival;
mod batch_items;
mod batches;
mod bodies;
mod bodies_cleaned;
mod budget;
mod codes;
mod dead_tokens;
mod drain;
mod healing;
mod hosts;
mod identity;
mod injection;
mod last_rejections;
mod media;
mod paging;
mod proofs;
mod records;
mod redaction;
mod secrets;
mod support;
mod timeouts;
mod usage;
