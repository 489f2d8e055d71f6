//! The reason why a process cannot start.

use std::io;

use super::context::UpstreamError;
use super::secrets::SecretLoadError;
use super::token_provider::TokenProviderError;
use crate::alert::WebhookUrlError;
use crate::net::{ServerCertError, bind_advice};
use crate::telemetry::AuditError;
use crate::types::TenantId;

/// The reason why the process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be bound.
    #[error("cannot listen on {address} ({setting}){}", bind_advice(.source))]
    Bind {
        /// The configured address.
        address: String,
        /// What sets it.
        setting: String,
        /// The system's error.
        source: io::Error,
    },
    /// The upstream cannot be used as configured.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// A tenant besides that of `[token]` cannot be started as configured. What the error calls `app` and `token` is in its
    /// section.
    #[error("the tenant {id}")]
    Tenant {
        /// Its name.
        id: TenantId,
        /// What is wrong with it.
        source: Box<Self>,
    },
    /// A secret cannot be loaded.
    #[error(transparent)]
    Secret(#[from] SecretLoadError),
    /// `[token]` cannot be used.
    #[error(transparent)]
    TokenProvider(#[from] TokenProviderError),
    /// The webhook's URL is invalid.
    #[error("cannot use alerts.url")]
    Webhook(#[from] WebhookUrlError),
    /// The file of the audit cannot be written.
    #[error("cannot use audit.file")]
    Audit(#[from] AuditError),
    /// TLS to the app cannot be configured.
    #[error("cannot use listen.tls")]
    ServerTls(#[from] ServerCertError),
}

// === impl StartError ===

impl StartError {
    /// Says which tenant it is about.
    pub(super) fn of_tenant(self, id: &TenantId) -> Self {
        if *id == TenantId::default() {
            return self;
        }
        let (id, source) = (id.clone(), Box::new(self));
        Self::Tenant { id, source }
    }
}
