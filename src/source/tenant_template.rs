//! A credential service or a command that is asked for the token of one tenant, whose name is put in the place of `{tenant}`.
//!
//! # Why
//!
//! Neither can list its tenants, so nothing is read ahead: a tenant is asked for when a request names it, and again from time
//! to time while it is used. A storm of names must not become a storm at the service, so only a few calls run at the same
//! time, and slow ones leave places for others.

mod calls;
mod command;
mod lane;
mod service;

use std::future::{pending, ready};
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

pub use command::TenantExecConfig;

use super::http::HttpSourceConfig;
use super::tenant_pattern::{PLACEHOLDER, TenantUrl};
use super::tenant_table::{TableContents, TenantRows, TenantTable};
use crate::net::HttpClient;
use crate::token::{BoxFuture, ObtainError};
use crate::types::Clock;
use command::TenantCommand;
use service::TenantService;

/// A credential service that is asked for the token of each tenant.
pub type TenantHttpConfig = HttpSourceConfig<TenantUrl>;

/// The reason why a template cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TenantTemplateError {
    /// `{tenant}` is missing.
    #[error(
        "{{tenant}} is missing: each tenant would get the same token; write it where the name of the tenant belongs"
    )]
    NoPlaceholder,
    /// `{tenant}` is a part of the program.
    #[error("the program must not contain {{tenant}}; write it in an argument")]
    InProgram,
}

impl TenantUrl {
    /// Checks that `{tenant}` is a part of it.
    ///
    /// # Errors
    ///
    /// [`TenantTemplateError`] if it is not.
    pub fn check(&self) -> Result<(), TenantTemplateError> {
        self.names_tenant()
            .then_some(())
            .ok_or(TenantTemplateError::NoPlaceholder)
    }
}

impl TenantExecConfig {
    /// Checks that `{tenant}` stands in an argument, and not in the program.
    ///
    /// # Errors
    ///
    /// [`TenantTemplateError`] if it does not.
    pub fn check(&self) -> Result<(), TenantTemplateError> {
        let mut places = self.command.argv.iter().map(|part| part.contains(PLACEHOLDER));
        if places.next() == Some(true) {
            return Err(TenantTemplateError::InProgram);
        }
        let has_place = places.any(|is_place| is_place);
        has_place.then_some(()).ok_or(TenantTemplateError::NoPlaceholder)
    }
}

/// A service or a command that is asked for one tenant at a time.
#[derive(Debug)]
pub struct TenantTemplate {
    rows: Arc<dyn TenantRows>,
}

// === impl TenantTemplate ===

impl TenantTemplate {
    /// Creates the template of a service. `headers` are those of the configuration, resolved; `{tenant}` may stand in them,
    /// too. The client has the time limit of a call.
    ///
    /// # Errors
    ///
    /// [`TenantTemplateError`] if `{tenant}` stands nowhere.
    pub fn http(
        config: &TenantHttpConfig,
        headers: HeaderMap,
        client: HttpClient,
        clock: Clock,
    ) -> Result<Self, TenantTemplateError> {
        let is_in_header = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.contains(PLACEHOLDER));
        if !headers.values().any(is_in_header) {
            config.call.url.check()?;
        }
        let rows = Arc::new(TenantService::new(config, headers, client, clock));
        Ok(Self { rows })
    }

    /// Creates the template of a command.
    #[must_use]
    pub fn exec(config: &TenantExecConfig, clock: Clock) -> Self {
        let rows = Arc::new(TenantCommand::new(config, clock));
        Self { rows }
    }
}

impl TenantTable for TenantTemplate {
    fn read(&mut self) -> BoxFuture<'_, Result<Option<TableContents>, ObtainError>> {
        Box::pin(ready(Ok(None)))
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(pending())
    }

    fn rows(&self) -> Arc<dyn TenantRows> {
        Arc::clone(&self.rows)
    }
}

#[cfg(test)]
mod tests;
