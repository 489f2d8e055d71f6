//! A token in PostgreSQL, against real servers: reads, notifications, writes, and the lock around a renewal.

mod notifications;
mod poolers;
mod reads;
mod replicas;
pub(crate) mod server;
mod support;
mod tables;
mod tenant_rows;
mod tenant_table;
mod tls;
mod token_set;
mod writes;
