//! Builds what reads the tenants of `[tenants_from]`.

use super::context::BuildContext;
use super::secrets::{load_fernet, load_headers, resolve_text};
use super::token_provider::TokenProviderError;
use crate::source::{PostgresTable, PostgresTableSettings, TenantFiles, TenantTable, TenantTemplate, TenantsFrom};

impl BuildContext {
    /// Builds what reads the tenants of `[tenants_from]`.
    pub(super) fn tenant_table(&self, from: &TenantsFrom) -> Result<Box<dyn TenantTable>, TokenProviderError> {
        const SECTION: &str = "tenants_from";
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
                Box::new(PostgresTable::new(&url, settings, keys, encryption.plain, tasks)?)
            }
            TenantsFrom::Files(files) => {
                let keys = load_fernet(SECTION, &files.place.encryption.fernet_keys)?;
                Box::new(TenantFiles::new(&files.place, keys))
            }
            TenantsFrom::Http(service) => {
                let call = &service.place.call;
                let headers = load_headers(SECTION, &call.headers)?;
                let client = self.internal_client.with_timeout(call.timeout);
                Box::new(TenantTemplate::http(&service.place, headers, client, self.clock)?)
            }
            TenantsFrom::Exec(command) => Box::new(TenantTemplate::exec(&command.place, self.clock)?),
        })
    }
}
