//! The proxy over real sockets: real TLS, real time, and bytes that no library would send.
//!
//! Rows number fifty requirements of RFC 9110, 9112 and 9113 for a proxy that adds a credential, from the request line to the
//! pseudo-fields of HTTP/2. The name or data of a test has the number of its row, so that a failure names it. "Refused" means
//! a 4xx response or a closed connection, and nothing of the request at the origin.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on has failed"
)]

mod advisories;
mod alerts;
mod certificates;
mod client_connections;
mod connection_failures;
mod credential;
mod credential_services;
mod dependency_versions;
mod egress;
mod fault_injection;
mod framing;
mod http2;
mod http2_floods;
mod listener_tls;
mod listeners;
mod orphan_reaping;
mod outgoing_calls;
mod pipelined_heads;
mod process;
mod request_bodies;
mod request_heads;
mod request_targets;
mod shutdown;
mod support;
mod tenant_services;
mod tunnels;
mod uploads;
mod upstream_connections;
mod upstream_http2;
mod upstream_responses;
mod upstream_tls;
