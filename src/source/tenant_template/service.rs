//! A credential service that is asked for the token of one tenant.

use std::time::Duration;

use http::HeaderMap;

use super::super::absent::AbsentPolicy;
use super::super::decode::Format;
use super::super::http::{HttpSourceConfig, TokenService};
use super::super::tenant_pattern::{TenantUrl, headers_of_tenant};
use super::super::tenant_table::{TenantRow, TenantRows};
use super::calls::{Calls, to_row};
use crate::net::{HttpClient, HttpEndpoint};
use crate::token::{BoxFuture, ObtainError, Token};
use crate::types::{Clock, TenantId};

/// The service.
#[derive(derive_more::Debug, derive_more::Display)]
#[display("{}", calls.callee)]
#[debug("TenantService({self})")]
pub(super) struct TenantService {
    url: TenantUrl,
    headers: HeaderMap,
    client: HttpClient,
    format: Format,
    clock: Clock,
    poll_interval: Duration,
    calls: Calls,
}

/// The most calls at the same time, in each lane.
const MAX_CALLS: usize = 16;

impl TenantService {
    pub(super) fn new(
        config: &HttpSourceConfig<TenantUrl>,
        headers: HeaderMap,
        client: HttpClient,
        clock: Clock,
    ) -> Self {
        let call = &config.call;
        // Its scheme, host and port are those of all tenants.
        let sample = HttpEndpoint::new(call.url.sample().clone(), HeaderMap::new(), client.clone());
        Self {
            url: call.url.clone(),
            headers,
            client,
            format: call.pointer.clone().map_or(Format::Raw, Format::Pointer),
            clock,
            poll_interval: config.poll_interval,
            calls: Calls::new(MAX_CALLS, call.timeout, format!("service {sample}")),
        }
    }

    async fn ask(&self, tenant: &TenantId) -> Result<Option<Token>, ObtainError> {
        let url = self.url.of_tenant(tenant).map_err(|error| {
            let what = format!("the URL of the tenant at {self} cannot be used");
            ObtainError::permanent("invalid_url", what).with_source(error)
        })?;
        let headers = headers_of_tenant(&self.headers, tenant);
        let endpoint = HttpEndpoint::of_known_service(url, headers, self.client.clone());
        let service = TokenService::new(endpoint, self.format.clone(), self.clock);
        let service = service.with_absent(AbsentPolicy::Withdraw);
        self.calls.run(tenant, || service.look_up()).await
    }
}

impl TenantRows for TenantService {
    fn describe(&self, tenant: &TenantId) -> String {
        format!("{self}, tenant {tenant}")
    }

    fn read_row<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Option<TenantRow>, ObtainError>> {
        Box::pin(async { to_row(tenant, self.ask(tenant).await) })
    }

    fn poll_interval(&self) -> Option<Duration> {
        Some(self.poll_interval)
    }
}
