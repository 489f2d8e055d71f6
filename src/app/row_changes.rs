//! Changes of the operator to the tenants of a table.

use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use super::row_tenants::{RowTenants, TableRequest};
use crate::source::{NewTenant, Removal, TenantRow};
use crate::tenants::{RowCell, RowSource};
use crate::token::{InspectionScope, ObtainError, Token};
use crate::types::{TenantId, error_chain};

impl RowTenants {
    /// Checks a tenant's token, puts the tenant into the table, and uses it; returns where it is stored.
    pub(super) async fn put_row(&self, tenant: &TenantId, new: NewTenant<'_>) -> Result<String, ObtainError> {
        let rows = self.rows();
        self.check_token(tenant, new.token).await?;
        rows.put(tenant, new).await?;
        self.read_row(tenant).await;
        Ok(rows.describe(tenant))
    }

    /// Removes a tenant from the table, and refuses its requests.
    pub(super) async fn remove_row(&self, tenant: &TenantId) -> Result<Removal, ObtainError> {
        let removal = self.rows().remove(tenant).await?;
        self.read_row(tenant).await;
        Ok(removal)
    }

    /// Asks Graph about the token of a tenant that may not be there yet.
    async fn check_token(&self, tenant: &TenantId, token: &Token) -> Result<(), ObtainError> {
        let settings = self.settings();
        let app = settings.app_or_own(None);
        if !app.config.token.verify {
            return Ok(());
        }
        let row = TenantRow::of_token(tenant.clone(), Ok(token.clone()));
        let source = RowSource::new(Arc::new(RowCell::new(row, Instant::now())), self.rows());
        // The operator waits for it, so it takes no turn with the inspections of others.
        let turn = Arc::new(Semaphore::new(1));
        let provider = self
            .context
            .row_provider(&app.config, source, app.secret.clone(), &turn);
        let provider = provider.map_err(|error| ObtainError::permanent("not_checked", error_chain(&error)))?;
        let mut provider = provider.with_inspection_scope(InspectionScope::AllTokens);
        provider.check_token(token, self.now()).await
    }

    /// Lets the row of a tenant be read now.
    async fn read_row(&self, tenant: &TenantId) {
        let (reply, done) = oneshot::channel();
        // If graphward stops, the send fails and drops the reply.
        drop(self.requests.send(TableRequest::ReadRow(tenant.clone(), reply)).await);
        drop(done.await);
    }
}
