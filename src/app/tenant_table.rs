//! Builds what reads the tenants of `[tenants_from]`.

use sha2::{Digest as _, Sha256};

use super::cache_writer::CacheWriter;
use super::context::BuildContext;
use super::secrets::{SecretLoadError, load_fernet, load_headers, resolve_text};
use super::token_provider::TokenProviderError;
use crate::net::{HttpClient, HttpClientConfig};
use crate::source::{
    PostgresTable, PostgresTableSettings, TenantFiles, TenantTable, TenantTemplate, TenantsCache, TenantsFrom,
};

/// The section.
const SECTION: &str = "tenants_from";
/// The connections to a service that stay open: as many as a lane of its calls has places.
const MAX_IDLE: usize = 16;

impl BuildContext {
    /// Builds what reads the tenants of `[tenants_from]`.
    pub(super) fn tenant_table(&self, from: &TenantsFrom) -> Result<Box<dyn TenantTable>, TokenProviderError> {
        Ok(match from {
            TenantsFrom::Postgres(table) => {
                let url = resolve_text("tenants_from.postgres", &table.place.url)?;
                let encryption = &table.place.encryption;
                let keys = load_fernet(SECTION, &encryption.fernet_keys)?;
                let settings = PostgresTableSettings {
                    renewals: table.common.renewals,
                    ..table.place.settings.clone()
                };
                let tasks = self.tasks.clone();
                let table = PostgresTable::new(&url, settings, keys, encryption.plain, tasks);
                Box::new(table.map_err(TokenProviderError::Table)?)
            }
            TenantsFrom::Files(files) => {
                let keys = load_fernet(SECTION, &files.place.encryption.fernet_keys)?;
                Box::new(TenantFiles::new(&files.place, keys))
            }
            TenantsFrom::Http(service) => {
                let call = &service.place.call;
                let headers = load_headers(SECTION, &call.headers)?;
                let config = HttpClientConfig {
                    max_idle: MAX_IDLE,
                    ..self.internal_client_config.clone()
                };
                let client = HttpClient::new(config, call.timeout).map_err(TokenProviderError::Client)?;
                Box::new(TenantTemplate::http(&service.place, headers, client, self.clock)?)
            }
            TenantsFrom::Exec(command) => Box::new(TenantTemplate::exec(&command.place, self.clock)),
        })
    }

    /// Builds the cache of these tenants, if one is configured.
    pub(super) fn tenants_cache(&self, from: &TenantsFrom) -> Result<Option<CacheWriter>, SecretLoadError> {
        let Some(cache) = &from.common().cache else {
            return Ok(None);
        };
        let keys = load_fernet("tenants_from.cache", &cache.fernet_keys)?;
        let cache = keys.map(|keys| TenantsCache::new(cache.path.clone(), keys, identity(from)));
        Ok(cache.map(|cache| CacheWriter::start(cache, &self.tasks)))
    }
}

/// Returns a hash of the place of the tenants: the cache of another one is not used.
fn identity(from: &TenantsFrom) -> String {
    let mut hash = Sha256::new();
    match from {
        TenantsFrom::Postgres(table) => hash.update(format!("{:?} {}", table.place.url, table.place.settings.query)),
        TenantsFrom::Files(files) => hash.update(format!("{:?}", files.place.path)),
        TenantsFrom::Http(service) => hash.update(format!("{:?}", service.place.call.url)),
        // Its `Debug` leaves the arguments out.
        TenantsFrom::Exec(command) => hash.update(command.place.command.argv.join("\0")),
    }
    let digits = hash.finalize().into_iter().take(8).map(|byte| format!("{byte:02x}"));
    digits.collect()
}
