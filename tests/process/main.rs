//! graphward as users run it: a process with a configuration file, real sockets, real TLS, real time, real databases, and a
//! fake Graph that counts the requests it receives.
#![cfg(test)]

mod admin_access;
mod admin_changes;
mod admin_comparison;
mod admin_description;
mod admin_exposed;
mod admin_http2;
mod admin_load;
mod admin_sign_ups;
mod admin_tenants;
mod allowed_calls;
mod audit;
mod changed_secrets;
mod check;
mod cli;
mod colors;
mod concurrency;
mod confirmation;
#[cfg(feature = "fake")]
mod demo;
mod documentation;
mod documented_settings;
mod durability;
mod exec;
mod expiry;
mod failed_connections;
#[cfg(feature = "fake")]
mod fake_graph;
mod first_notices;
mod golden;
mod hidden_errors;
mod hidden_prompt;
mod https;
mod memory;
mod operator_commands;
mod operator_looks;
mod operators;
mod postgres;
mod print_config;
mod process_lifecycle;
mod proofs;
mod readme;
mod reloads;
mod renewals;
mod replica_alerts;
mod replicas;
mod roll_out;
mod rollback;
mod secret_leaks;
mod send_test;
mod service_manager;
mod stops;
mod support;
mod tenant_isolation;
mod tenants;
mod tenants_from;
mod token_comparison;
mod token_files;
mod token_sources;
mod token_status;
mod uids;
mod unusable_tokens;
mod uploads;
mod withdrawals;
