//! The sources of tokens.
//!
//! All of them keep the contract of [`crate::token::Source`]: a bounded read, no secret in an error, and a `changed` that may
//! be dropped at any moment. When a read fails, the current token stays in use.

mod absent;
mod config;
pub mod decode;
mod encoding;
mod env;
mod exec;
mod fernet;
mod file;
mod http;
mod polled;
mod postgres;
mod previous_tokens;
mod renewed_store;
mod tenant_files;
mod tenant_pattern;
mod tenant_table;
mod tenant_template;
mod tenants_cache;
mod token_cache;
mod token_file;

pub use absent::AbsentPolicy;
pub use config::{TenantsFrom, TenantsFromCommon, TenantsIn, TokenSource};
pub use encoding::{EncryptionConfig, PlainTokens, encode_token};
pub use env::EnvSource;
pub use exec::{CommandConfig, ExecSourceConfig, TokenCommand};
pub use fernet::{Fernet, FernetError};
pub use file::{FileSource, FileSourceConfig};
pub use http::{HttpCallConfig, HttpSourceConfig, ServiceTextError, ServiceUrl, TokenService, service_header};
pub use polled::{PolledSource, TokenCall};
pub use postgres::{
    DatabaseUrlError, PostgresConfig, PostgresDeliveries, PostgresError, PostgresSettings, PostgresSource,
    PostgresTable, PostgresTableSettings,
};
pub use renewed_store::RenewedTokenStore;
pub use tenant_files::{TenantFiles, TenantFilesConfig};
pub use tenant_pattern::{TenantPath, TenantPatternError, TenantUrl};
pub use tenant_table::{
    NewTenant, PlaceWords, Removal, StoredToken, TableContents, TenantRow, TenantRows, TenantTable,
};
pub use tenant_template::{TenantExecConfig, TenantHttpConfig, TenantTemplate, TenantTemplateError};
pub use tenants_cache::{CachedTable, FormerIds, TenantsCache};
pub use token_cache::FileTokenCache;
pub use token_file::StoreConfig;
