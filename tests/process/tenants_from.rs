//! Tenants whose tokens are in one place, `[tenants_from]`: real processes, a real database, and the fake Graph.

mod changes;
mod connections;
mod ends;
mod known_ends;
mod outages;
mod places;
mod replicas;
mod reserved_ids;
pub(crate) mod support;
mod table;
mod unread;
