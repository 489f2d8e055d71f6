//! A command that prints the token of one tenant.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::super::absent::AbsentPolicy;
use super::super::exec::{CommandConfig, TokenCommand};
use super::super::polled::TokenCall as _;
use super::super::tenant_pattern::argv_of_tenant;
use super::super::tenant_table::{TenantRow, TenantRows};
use super::calls::{Calls, LANES, to_row};
use crate::token::{BoxFuture, ObtainError, Token};
use crate::types::{Clock, TenantId};

/// A command that prints the token of a tenant.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[schemars(extend("additionalProperties" = false, "not" = { "required": ["key", "pointer"] }))]
pub struct TenantExecConfig {
    /// The command.
    #[serde(flatten)]
    pub command: CommandConfig,
    /// How often the command runs for a tenant that is used, 100ms to 1d.
    #[serde(default = "default_poll_interval")]
    #[schemars(extend("formatMinimum" = "100ms", "formatMaximum" = "1d"))]
    pub poll_interval: Duration,
}

/// A run costs more than a request, and a thousand tenants may be in use.
fn default_poll_interval() -> Duration {
    Duration::from_secs(300)
}

/// The command.
#[derive(derive_more::Debug)]
// Without the command line, which may contain a secret.
#[debug("TenantCommand({})", calls.callee)]
pub(super) struct TenantCommand {
    argv: Vec<String>,
    poll_interval: Duration,
    calls: Calls,
    /// One for each run at the same time. It remembers the processes that its last run left behind.
    runs: [Mutex<TokenCommand>; LANES * MAX_CALLS],
}

/// The most runs at the same time, in each lane.
const MAX_CALLS: usize = 4;

impl TenantCommand {
    pub(super) fn new(config: &TenantExecConfig, clock: Clock) -> Self {
        let command = || TokenCommand::new(config.command.clone(), clock).with_absent(AbsentPolicy::Withdraw);
        Self {
            argv: config.command.argv.clone(),
            poll_interval: config.poll_interval,
            calls: Calls::new(MAX_CALLS, config.command.timeout, command().to_string()),
            runs: std::array::from_fn(|_| Mutex::new(command())),
        }
    }

    async fn ask(&self, argv: Vec<String>) -> Result<Option<Token>, ObtainError> {
        // As many may run as there are.
        let idle = self.runs.iter().find_map(|run| run.try_lock().ok());
        let mut idle = idle.ok_or_else(ObtainError::nothing_new)?;
        idle.run_as(argv).await.map(Some)
    }
}

impl TenantRows for TenantCommand {
    fn describe(&self, tenant: &TenantId) -> String {
        format!("{}, tenant {tenant}", self.calls.callee)
    }

    fn read_row<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<Option<TenantRow>, ObtainError>> {
        Box::pin(async {
            match argv_of_tenant(&self.argv, tenant) {
                Ok(argv) => to_row(tenant, self.calls.run(tenant, || self.ask(argv.clone())).await),
                Err(unusable) => Ok(Some(TenantRow::of_token(tenant.clone(), Err(unusable)))),
            }
        })
    }

    fn look_interval(&self) -> Duration {
        TokenCommand::LOOK_INTERVAL
    }

    fn poll_interval(&self) -> Option<Duration> {
        Some(self.poll_interval)
    }
}
