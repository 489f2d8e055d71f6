//! What a change of the operator to the tenants of a table needs: Graph's word on a token, and a read of the row.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::row_tenants::RowTenants;
use super::tenant_look_ups::LookUpReason;
use super::token_provider::TokenProviderError;
use crate::admin::StoredAt;
use crate::graph::Inspection;
use crate::renew::CodeExchange;
use crate::source::TenantRow;
use crate::tenants::{RowCell, RowSource};
use crate::token::{ObtainError, Token};
use crate::types::{TenantId, error_chain};

impl RowTenants {
    /// Returns what exchanges codes.
    pub(super) fn code_exchange(&self) -> Result<CodeExchange, ObtainError> {
        let settings = self.settings();
        let app = settings.app_or_own(None);
        let exchange = self.context.code_exchange(&app.config, app.secret.clone());
        exchange.map_err(|error| {
            let reason = if matches!(error, TokenProviderError::NoAppCredentials) {
                "the exchange of a code needs app.id and app.secret".to_owned()
            } else {
                error_chain(&error)
            };
            ObtainError::permanent("app_refused", reason)
        })
    }

    /// Asks Graph about the token of a tenant that may not be there yet; `None` if Graph is not asked.
    pub(super) async fn check_token(
        &self,
        tenant: &TenantId,
        token: &Token,
    ) -> Result<Option<Inspection>, ObtainError> {
        let settings = self.settings();
        let app = settings.app_or_own(None);
        if !app.config.token.verify {
            return Ok(None);
        }
        let row = TenantRow::of_token(tenant.clone(), Ok(token.clone()));
        let source = RowSource::new(Arc::new(RowCell::new(row, Instant::now())), self.rows());
        // The operator waits for it, so it takes no turn with the inspections of others.
        let turn = Arc::new(Semaphore::new(1));
        let provider = self
            .context
            .row_provider(&app.config, source, app.secret.clone(), &turn);
        let provider = provider.map_err(|error| ObtainError::permanent("not_checked", error_chain(&error)));
        provider?.check_token(token, self.now()).await
    }

    /// Uses a tenant that was put, with a token about which Graph was not asked.
    pub(super) async fn use_put(&self, tenant: &TenantId) -> StoredAt {
        StoredAt {
            inspected: false,
            place: self.rows().describe(tenant),
            unread: self.requests.rows.request(tenant, LookUpReason::Put).await.err(),
        }
    }
}
