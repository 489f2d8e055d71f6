//! The token's side of a tenant: its sources and its renewer, and the task that refreshes its token.

use std::sync::Arc;

use tokio::task::AbortHandle;

use super::context::BuildContext;
use super::error::StartError;
use super::event_sink::EventReceivers;
use super::token_reports::{SharedAlertSender, TokenReports};
use crate::admin::{AdminTenant, TokenHistory};
use crate::alert::NoticeMemory;
use crate::config::Config;
use crate::tenants::RowCell;
use crate::token::{
    EventSink, ObtainError, OperatorHandle, Reconfiguration, RefreshPolicy, Refresher, TokenHandle, TokenProvider,
    Withdrawal, channel,
};
use crate::types::TenantId;

/// A tenant whose refresher does not run yet.
pub(super) struct UnstartedTenant {
    pub(super) running: RunningTenant,
    refresher: Refresher,
}

/// A tenant whose refresher runs.
pub(super) struct RunningTenant {
    pub(super) id: TenantId,
    /// The configuration as it is for this tenant.
    pub(super) config: Arc<Config>,
    pub(super) tokens: TokenHandle,
    /// The description of the token's sources.
    pub(super) sources: Arc<str>,
    pub(super) admin: Arc<AdminTenant>,
    pub(super) operator: OperatorHandle,
    /// `None` until it runs.
    #[expect(dead_code, reason = "the refresher ends with it")]
    refresher: Option<RefresherHandle>,
}

/// The task that refreshes a token, which ends with this.
struct RefresherHandle(AbortHandle);

// === impl UnstartedTenant ===

impl UnstartedTenant {
    /// Builds the token's side of a tenant; `provider` replaces that of the configuration.
    pub(super) fn build(
        context: &BuildContext,
        id: TenantId,
        config: Config,
        alert_sender: &SharedAlertSender,
        provider: Option<TokenProvider>,
    ) -> Result<Self, StartError> {
        let token_side = context.token_side(&config, &config);
        let mut token_side = token_side.map_err(|error| error.of_tenant(&id))?;
        if let Some(provider) = provider {
            token_side.provider = provider;
        }
        Ok(Self::with(
            context,
            id,
            Arc::new(config),
            token_side,
            alert_sender,
            None,
        ))
    }

    /// Builds a tenant with this token's side; that of a table has a row.
    pub(super) fn with(
        context: &BuildContext,
        id: TenantId,
        config: Arc<Config>,
        token_side: Reconfiguration,
        alert_sender: &SharedAlertSender,
        row: Option<Arc<RowCell>>,
    ) -> Self {
        let provider = token_side.provider;
        let (publisher, tokens) = channel();
        let publisher = publisher.with_proofs(token_side.proofs);
        let metrics = context.metrics.token_metrics(&id);
        let history = Arc::new(TokenHistory::default());
        let receivers = EventReceivers {
            tenant: id.clone(),
            metrics: metrics.clone(),
            reports: TokenReports::new(context, alert_sender),
            history: Arc::clone(&history),
            row,
            clock: context.clock,
        };
        let sink: EventSink = Box::new(move |event| receivers.receive(event));
        let policy = RefreshPolicy {
            renew_before: token_side.renew_before,
            ..RefreshPolicy::default()
        };
        let mut refresher = Refresher::new(id.clone(), provider, publisher, policy, context.clock, sink);
        let memory = context.alert_memory.clone();
        let memory = memory.map(|memory| NoticeMemory::new(memory, Arc::clone(alert_sender)));
        refresher.set_notice_memory(memory);
        let operator = refresher.operator();
        let admin = AdminTenant {
            id: id.clone(),
            tokens: tokens.clone(),
            operator: operator.clone(),
            metrics,
            history,
        };
        let running = RunningTenant {
            admin: Arc::new(admin),
            id,
            config,
            tokens,
            sources: refresher.sources(),
            operator,
            refresher: None,
        };
        Self { running, refresher }
    }

    /// Starts the refresher.
    pub(super) fn start(self, context: &BuildContext) -> RunningTenant {
        let refresher = context.tasks.spawn(self.refresher.run());
        RunningTenant {
            refresher: Some(RefresherHandle(refresher)),
            ..self.running
        }
    }
}

// === impl RunningTenant ===

impl RunningTenant {
    /// Returns what is to be reported when its place says that it is gone; `None` if its refresher has reported it.
    pub(super) fn withdrawal(&self, statement: ObtainError) -> Option<Withdrawal> {
        let current = self.tokens.current();
        self.tokens.progress().withdrawal.is_none().then(|| Withdrawal {
            tenant: self.id.clone(),
            source: self.sources.to_string(),
            token: current.as_ref().map(|current| current.fingerprint()),
            generation: current.map(|current| current.generation()),
            statement,
        })
    }

    /// Continues with another configuration, once the returned future is run.
    pub(super) fn reconfigure(
        &mut self,
        config: Config,
        reconfiguration: Reconfiguration,
    ) -> impl Future<Output = ()> + use<> {
        self.sources = reconfiguration.provider.describe_sources().into();
        self.config = Arc::new(config);
        let operator = self.operator.clone();
        // The refresher has ended only if it panicked, which readiness reports.
        async move { operator.reconfigure(reconfiguration) }
    }
}

/// A tenant that is dropped refreshes its token no more.
impl Drop for RefresherHandle {
    fn drop(&mut self) {
        self.0.abort();
    }
}
