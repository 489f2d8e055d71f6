//! The calls for single tenants: how many at the same time, and what their results mean.

use std::fmt;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::super::tenant_table::TenantRow;
use crate::token::{ObtainError, Token};
use crate::types::TenantId;

/// Bounds the calls that run at the same time.
#[derive(Debug)]
pub(super) struct Calls {
    running: Semaphore,
    limit: usize,
    /// The longest wait for the end of another call.
    patience: Duration,
}

impl Calls {
    pub(super) const fn new(limit: usize, patience: Duration) -> Self {
        Self {
            running: Semaphore::const_new(limit),
            limit,
            patience,
        }
    }

    /// Waits until a call may begin; it runs until the permit is dropped. Cancel-safe.
    pub(super) async fn begin(&self, callee: &impl fmt::Display) -> Result<SemaphorePermit<'_>, ObtainError> {
        match timeout(self.patience, self.running.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => {
                let (limit, patience) = (self.limit, self.patience);
                let what =
                    format!("{callee} is busy: of {limit} calls at the same time, too few ended within {patience:?}");
                Err(ObtainError::transient("timeout", what))
            }
        }
    }
}

/// Converts the result of a call. A tenant whose token is `null` exists, and has none.
pub(super) fn to_row(
    tenant: &TenantId,
    asked: Result<Option<Token>, ObtainError>,
) -> Result<Option<TenantRow>, ObtainError> {
    let row = |token| Some(TenantRow::of_token(tenant.clone(), token));
    match asked {
        Ok(token) => Ok(token.and_then(|token| row(Ok(token)))),
        Err(error) if error.is_absence() => Ok(row(Err(error))),
        Err(error) => Err(error),
    }
}
