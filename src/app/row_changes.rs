//! What a change of the operator to the tenants of a table needs: Graph's word on a token, and a read of the row.

use super::row_tenants::RowTenants;
use super::tenant_look_ups::LookUpReason;
use crate::admin::StoredAt;
use crate::graph::Inspection;
use crate::renew::CodeExchange;
use crate::token::{ObtainError, Token, TokenProvider};
use crate::types::{TenantId, error_chain};

impl RowTenants {
    /// Returns what exchanges codes.
    pub(super) fn code_exchange(&self) -> Result<CodeExchange, ObtainError> {
        let settings = self.settings();
        let app = settings.app_or_own(None);
        let exchange = self.context.code_exchange(&app.config, app.secret.clone());
        exchange.map_err(|error| ObtainError::permanent("app_refused", error_chain(&error)))
    }

    /// Asks Graph about the token of a tenant that may not be there yet; `None` if Graph is not asked.
    pub(super) async fn check_token(&self, token: &Token) -> Result<Option<Inspection>, ObtainError> {
        let settings = self.settings();
        let app = settings.app_or_own(None);
        if !app.config.token.verify {
            return Ok(None);
        }
        // It needs no source. The operator waits for it, so it takes no turn with the inspections of others.
        let provider = TokenProvider::from_sources(Vec::new());
        let provider = self
            .context
            .complete_provider(provider, &app.config, app.secret.clone());
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
