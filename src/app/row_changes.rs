//! Changes of the operator to the tenants of a table.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::row_tenants::RowTenants;
use super::tenant_look_ups::LookUpReason;
use super::token_provider::TokenProviderError;
use crate::admin::StoredAt;
use crate::graph::Inspection;
use crate::renew::{CodeExchange, SignedUp};
use crate::source::{NewTenant, Removal, TenantRow};
use crate::tenants::{RowCell, RowSource};
use crate::token::{ObtainError, Token};
use crate::types::{TenantId, error_chain};

/// How often the token of a code is stored again if that fails for the moment.
const STORE_RETRIES: u32 = 3;
/// The time between two attempts.
const STORE_RETRY_PAUSE: Duration = Duration::from_secs(1);

impl RowTenants {
    /// Checks a tenant's token, puts the tenant into the table, and uses it; returns where it is stored.
    pub(super) async fn put_row(&self, tenant: &TenantId, new: NewTenant<'_>) -> Result<StoredAt, ObtainError> {
        let rows = self.rows();
        rows.check_ids(tenant, &new)?;
        let inspection = self.check_token(tenant, new.token).await?;
        let reported = inspection.as_ref().and_then(|it| it.expires_at.as_system_time());
        let token = &Token {
            expires_at: reported.or(new.token.expires_at),
            ..new.token.clone()
        };
        rows.put(tenant, NewTenant { token, ..new }).await?;
        Ok(StoredAt {
            inspected: inspection.is_some(),
            ..self.use_put(tenant).await
        })
    }

    /// Checks whether a code can be exchanged, and its token stored: a token that cannot be stored is lost with its code.
    pub(super) fn check_sign_up_row(&self, tenant: &TenantId) -> Result<(), ObtainError> {
        self.rows().check_put(tenant)?;
        self.code_exchange().map(drop)
    }

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

    /// Puts the tenant of a code's token into the table, which is asked again if it fails for the moment.
    pub(super) async fn put_signed_up_row(
        &self,
        tenant: &TenantId,
        signed_up: &SignedUp,
    ) -> Result<StoredAt, ObtainError> {
        let rows = self.rows();
        let new = NewTenant {
            token: &signed_up.token,
            waba_id: signed_up.waba_id.as_deref(),
            phone_number_id: signed_up.phone_number_ids.first().map(String::as_str),
        };
        let mut stored = rows.put(tenant, new).await;
        for _ in 0..STORE_RETRIES {
            if !stored.as_ref().is_err_and(ObtainError::is_transient) {
                break;
            }
            sleep(STORE_RETRY_PAUSE).await;
            stored = rows.put(tenant, new).await;
        }
        stored?;
        // Graph names the account of a valid token alone.
        Ok(StoredAt {
            inspected: signed_up.waba_id.is_some(),
            ..self.use_put(tenant).await
        })
    }

    /// Removes a tenant from the table, and refuses its requests.
    pub(super) async fn remove_row(&self, tenant: &TenantId) -> Result<Removal, ObtainError> {
        let removal = self.rows().remove(tenant).await?;
        // It is withdrawn even if it cannot be read once more.
        drop(self.requests.rows.request(tenant, LookUpReason::Removed).await);
        Ok(removal)
    }

    /// Asks Graph about the token of a tenant that may not be there yet; `None` if Graph is not asked.
    async fn check_token(&self, tenant: &TenantId, token: &Token) -> Result<Option<Inspection>, ObtainError> {
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
    async fn use_put(&self, tenant: &TenantId) -> StoredAt {
        StoredAt {
            inspected: false,
            place: self.rows().describe(tenant),
            unread: self.requests.rows.request(tenant, LookUpReason::Put).await.err(),
        }
    }
}
