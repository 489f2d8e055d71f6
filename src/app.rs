//! A process: how it is put together, started and stopped.
//!
//! # Why
//!
//! [`run()`] is one function, so that the order of events can be read from top to bottom. Tests and benchmarks replace the
//! [`Dependencies`] (a clock, a connector, a token provider, listeners); everything else is the same as in production.
//!
//! # Words
//!
//! The tenants of `[tenants_from]` have words of their own, each with one meaning:
//!
//! * A *place* has the tokens of many tenants: a table of a database, a directory, a service, a command.
//! * The *table* is what one task reads the place through, whatever it is (`TenantTable`), and a *row* is one tenant in it
//!   (`TenantRow`): its ids, its app, its token.
//! * A *cell* has the row of a tenant as it was read last (`RowCell`). A tenant at rest, a *closed* one, is this and no more.
//! * An *open* tenant has a refresher. It is opened by a request, or by a *visit*, which does what is due for its token.
//! * An *entry* of the directory is what requests find: a name, ids, the tenant, and its *standing*, active or not.
//! * The *roster* has the names that reads have listed, and decides which of them are withdrawn.

mod build;
mod cache_writer;
mod configured_tenants;
mod context;
mod directory;
mod error;
mod event_sink;
mod known_rows;
mod open_rows;
mod reload;
mod row_changes;
mod row_settings;
mod row_tenants;
mod run;
mod secret_files;
mod secrets;
mod serve_config;
mod service_manager;
mod signal;
mod single_rows;
mod state;
mod table_reader;
mod table_reports;
mod table_view;
mod tenant_look_ups;
mod tenant_table;
mod tenant_visits;
mod tenants;
mod token_provider;
mod token_reports;

pub use build::{Dependencies, ProxyListener, ReloadTrigger};
pub use configured_tenants::{
    ConfiguredTenant, ConfiguredTenantError, ConfiguredTenants, GraphQuestions, ListedTenants, could_be_number_id,
};
pub use context::UpstreamError;
pub use error::StartError;
pub use run::{MissingToken, RunOutcome, ServerHandle, run};
pub use secrets::{SecretLoadError, admin_authorization, unusable_secrets};
pub use service_manager::ServiceManager;
pub use signal::{ReceivedSignal, StopSignal, has_terminal, received_signals, stop_signals};
pub use token_provider::TokenProviderError;
