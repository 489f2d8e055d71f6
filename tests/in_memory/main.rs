//! The whole proxy between a scripted Graph and an app: real HTTP/1.1 and HTTP/2 framing over in-memory pipes, in
//! paused time. Nothing here touches a socket, and nothing waits: a minute of timeouts takes a millisecond.
#![cfg(test)]

mod access_log;
mod admin;
mod alerts;
mod allowed_calls;
mod answer_pace;
mod app_token_signs;
mod batch_items;
mod batches;
mod body_credentials;
mod client_connections;
mod confirmation;
mod dead_tokens;
mod drain;
mod error_classification;
mod graph_errors;
mod healing;
mod hidden_errors;
mod hosts;
mod known_edges;
mod last_rejections;
mod many_tenants;
mod media;
mod observe;
mod outages;
mod paging;
mod passthrough;
mod proofs;
mod rate_limit_usage;
mod redaction;
mod replay_budget;
mod request_bodies;
mod request_headers;
mod request_validation;
mod response_headers;
mod secret_leaks;
mod stalled_clients;
mod support;
mod tenant_shares;
mod tenant_tables;
mod timeouts;
mod token_injection;
mod unsearched_bodies;
mod upload_links;
mod upstream_connections;
