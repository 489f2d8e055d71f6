//! The tenants of a table, as the operator sees and changes them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::row_tenants::{RowTenants, TableRequest};
use super::tenant_look_ups::LookUpReason;
use crate::admin::{AdminTenant, ListedTenant, ListedToken, StoredAt, TableState, TenantRegistry};
use crate::renew::{SignUpCode, SignedUp};
use crate::source::{NewTenant, Removal};
use crate::tenants::Standing;
use crate::token::{BoxFuture, ObtainError, Token};
use crate::types::TenantId;

/// How often the token of a code is stored again if that fails for the moment.
const STORE_RETRIES: u32 = 3;
/// The time between two attempts.
const STORE_RETRY_PAUSE: Duration = Duration::from_secs(1);

impl TenantRegistry for RowTenants {
    fn all(&self) -> Vec<ListedTenant> {
        let open = self.open_tenants();
        let cells = self.cells.load();
        let tenants = cells.iter().map(|cell| ListedTenant {
            id: cell.id().clone(),
            token: match (open.get(cell.id()), &*cell.row()) {
                (_, None) => ListedToken::Withdrawn,
                (Some(tenant), Some(_)) => ListedToken::Open(Arc::clone(tenant)),
                (None, Some(row)) => match &row.token {
                    Ok(token) => ListedToken::InRow {
                        expires_at: token.expires_at.or(row.reported_expires_at),
                        first_seen_at: token.modified_at,
                    },
                    Err(error) => ListedToken::Faulty(Arc::clone(error)),
                },
            },
        });
        tenants.collect()
    }

    fn state(&self) -> Arc<TableState> {
        self.table_state()
    }

    fn read_again(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let (reply, done) = oneshot::channel();
            // If graphward stops, the send fails and drops the reply.
            drop(self.requests.table.send(TableRequest::ReadAgain(reply)).await);
            drop(done.await);
        })
    }

    fn put<'a>(&'a self, tenant: &'a TenantId, new: NewTenant<'a>) -> BoxFuture<'a, Result<StoredAt, ObtainError>> {
        Box::pin(async move {
            let rows = self.rows();
            rows.check_ids(tenant, &new)?;
            let inspection = self.check_token(new.token).await?;
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
        })
    }

    fn check_sign_up(&self, tenant: &TenantId) -> Result<(), ObtainError> {
        // A token that cannot be stored is lost with its code.
        self.rows().check_put(tenant)?;
        self.code_exchange().map(drop)
    }

    fn exchange<'a>(&'a self, code: SignUpCode<'a>) -> BoxFuture<'a, Result<SignedUp, ObtainError>> {
        Box::pin(async move { self.code_exchange()?.exchange(code).await })
    }

    fn put_signed_up<'a>(
        &'a self,
        tenant: &'a TenantId,
        signed_up: &'a SignedUp,
    ) -> BoxFuture<'a, Result<StoredAt, ObtainError>> {
        Box::pin(async move {
            let rows = self.rows();
            let new = NewTenant {
                token: &signed_up.token,
                waba_id: signed_up.waba_id.as_deref(),
                phone_number_id: signed_up.phone_number_ids.first().map(String::as_str),
            };
            let mut retries = 0..STORE_RETRIES;
            while let Err(error) = rows.put(tenant, new).await {
                if !error.is_transient() || retries.next().is_none() {
                    return Err(error);
                }
                sleep(STORE_RETRY_PAUSE).await;
            }
            // Graph names the account of a valid token alone.
            Ok(StoredAt {
                inspected: signed_up.waba_id.is_some(),
                ..self.use_put(tenant).await
            })
        })
    }

    fn remove<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Removal, ObtainError>> {
        Box::pin(async move {
            let removal = self.rows().remove(tenant).await?;
            // It is withdrawn even if it cannot be read once more.
            drop(self.requests.rows.request(tenant, LookUpReason::Removed).await);
            Ok(removal)
        })
    }

    fn open(&self, name: &str) -> Option<Arc<AdminTenant>> {
        let tenants = self.proxy.upgrade()?.tenants.load_full();
        let entry = tenants.directory.find(name)?;
        if entry.standing == Standing::Inactive || !entry.tenant.is_row() {
            return None;
        }
        entry.tenant.get();
        self.open_tenants().remove(name)
    }
}
