//! The tenants of a table, as the operator sees them.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::row_tenants::{RowTenants, TableRequest};
use crate::admin::{AdminTenant, ListedTenant, ListedToken, StoredAt, TableState, TenantRegistry};
use crate::renew::{SignUpCode, SignedUp};
use crate::source::{NewTenant, Removal};
use crate::tenants::Standing;
use crate::token::{BoxFuture, ObtainError};
use crate::types::TenantId;

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
        Box::pin(self.put_row(tenant, new))
    }

    fn check_sign_up(&self, tenant: &TenantId) -> Result<(), ObtainError> {
        self.check_sign_up_row(tenant)
    }

    fn exchange<'a>(&'a self, code: SignUpCode<'a>) -> BoxFuture<'a, Result<SignedUp, ObtainError>> {
        Box::pin(async move { self.code_exchange()?.exchange(code).await })
    }

    fn put_signed_up<'a>(
        &'a self,
        tenant: &'a TenantId,
        signed_up: &'a SignedUp,
    ) -> BoxFuture<'a, Result<StoredAt, ObtainError>> {
        Box::pin(self.put_signed_up_row(tenant, signed_up))
    }

    fn remove<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Removal, ObtainError>> {
        Box::pin(self.remove_row(tenant))
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
