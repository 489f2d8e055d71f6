//! The task that keeps a tenant's credential live: the thin async shell around [`RefreshPlanner`].

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::channel::TokenPublisher;
use super::credential::{Credential, Token};
use super::current::{CurrentToken, Maintenance};
use super::planner::{Action, PlannerEvent, RefreshPlanner};
use super::policy::RefreshPolicy;
use super::provider::{ObtainedToken, RefreshContext, TokenProvider};
use super::rejections::RejectionState;
use super::reporter::{EventSink, Operation, OperationReport, Reporter};
use super::traits::ObtainError;
use crate::graph::Expiry;
use crate::types::{Clock, TenantId};

/// Owns a tenant's supply, and is the only one who publishes its credentials.
pub struct Refresher {
    provider: TokenProvider,
    publisher: TokenPublisher,
    planner: RefreshPlanner,
    policy: RefreshPolicy,
    clock: Clock,
    rejection_state: RejectionState,
    current: CurrentToken,
    reporter: Reporter,
}

/// The longest sleep, after which dates are derived anew from wall time.
const MAX_SLEEP: Duration = Duration::from_secs(60 * 60);

// === impl Refresher ===

impl Refresher {
    /// A refresher for one tenant.
    #[must_use]
    pub fn new(
        tenant: TenantId,
        provider: TokenProvider,
        publisher: TokenPublisher,
        policy: RefreshPolicy,
        clock: Clock,
        event_sink: EventSink,
    ) -> Self {
        let reporter = Reporter::new(tenant, event_sink, provider.describe(), provider.describe_renewer());
        Self {
            provider,
            publisher,
            planner: RefreshPlanner::new(policy),
            policy,
            clock,
            rejection_state: RejectionState::default(),
            current: CurrentToken::default(),
            reporter,
        }
    }

    /// Runs until it is dropped. It ends with the last request, not before: a request that drains may still
    /// need a new token.
    pub async fn run(mut self) {
        if let Err(reasons) = self.provider.check_writable() {
            let is_every_source = reasons.len() == self.provider.sources.len();
            self.reporter.report_no_writable_store(&reasons, is_every_source);
        }
        let mut action = self.planner.next_action(Instant::now());
        loop {
            let event = match action {
                Action::Check => self.run_operation(Operation::Check).await,
                Action::Refresh => self.run_operation(Operation::Refresh).await,
                Action::Wait {
                    until,
                    is_backing_off: resting,
                } => self.wait(until, resting).await,
            };
            action = self.planner.on(event, Instant::now());
        }
    }

    async fn run_operation(&mut self, errand: Operation) -> PlannerEvent {
        let began = Instant::now();
        if errand == Operation::Refresh {
            self.publisher.set_backing_off(false);
        }
        let may_renew = errand == Operation::Refresh && self.provider.describe_renewer().is_some();
        self.publisher.begin_attempt(may_renew);
        let (live, now) = (self.publisher.current(), self.clock.now());
        let context = RefreshContext {
            current: live.as_deref(),
            current_is_dead: live.as_deref().is_none_or(|live| self.is_dead(live)),
            now,
        };
        let found = match errand {
            Operation::Check => self.provider.check_sources(context).await,
            Operation::Refresh => self.provider.refresh(context).await.map(Some),
        };
        match found {
            Ok(Some(found)) => self.publish(errand, began, found),
            Ok(None) => {
                self.publisher.finish_unchanged();
                self.report_operation(errand, began, Ok(None), false);
                PlannerEvent::Unchanged
            }
            Err(error) => self.finish_failed(errand, began, error),
        }
    }

    /// Every branch is cancel-safe: nothing is lost when another one wins.
    async fn wait(&mut self, until: Option<Instant>, is_backing_off: bool) -> PlannerEvent {
        self.publisher.set_backing_off(is_backing_off);
        let maintenance = self.current.next_maintenance(self.provider.has_pending_store());
        let latest = Instant::now() + MAX_SLEEP;
        let until = until.map_or(latest, |until| until.min(latest));
        let (wake, maintenance) = match maintenance {
            Some((at, chore)) if at <= until => (at, Some(chore)),
            _ => (until, None),
        };
        tokio::select! {
            rejections = self.publisher.wait_for_rejection_change(self.rejection_state) => return self.on_rejection_change(rejections),
            () = self.provider.changed() => return PlannerEvent::SourceChanged,
            () = sleep_until(wake) => {}
        }
        match maintenance {
            Some(Maintenance::Inspect) => self.inspect().await,
            Some(Maintenance::RetryStore) => self.retry_store().await,
            None => {}
        }
        self.warn_of_expiry();
        PlannerEvent::TimerFired(self.current.deadlines(&self.clock))
    }

    fn on_rejection_change(&mut self, state: RejectionState) -> PlannerEvent {
        self.rejection_state = state;
        let Some(generation) = state.rejected else {
            return PlannerEvent::Unchanged;
        };
        let live = self.publisher.current();
        let live = live.filter(|live| live.generation() == generation);
        if state.is_rejected(generation) {
            if let Some(live) = live {
                self.provider.deny(live.fingerprint());
                let error = self.publisher.rejection_reason(generation);
                self.reporter.report_rejected(&live, error.as_ref());
            }
            PlannerEvent::Rejected(generation)
        } else {
            if let Some(live) = live {
                self.provider.reinstate(live.fingerprint());
            }
            PlannerEvent::Accepted(generation)
        }
    }

    fn publish(&mut self, operation: Operation, began: Instant, found: ObtainedToken) -> PlannerEvent {
        let ObtainedToken {
            token,
            inspection,
            renewed: minted,
            from,
            store_error: not_stored,
            skipped_error: passed_over,
        } = found;
        if let Some(error) = passed_over {
            self.reporter.report_failure((operation, false), &error, None);
        }
        let reported = inspection.as_ref().map_or(Expiry::Unknown, |it| it.expires_at);
        let token = Token {
            expires_at: reported.as_system_time().or(token.expires_at),
            ..token
        };
        let expiry = token.expires_at.map_or(reported, Expiry::At);
        let credential = match self.publisher.publish(token) {
            Ok(credential) => credential,
            Err(error) => {
                let what = format!("the token from {from} cannot be used");
                let why = ObtainError::permanent("unusable", what).with_source(error);
                return self.finish_failed(operation, began, why);
            }
        };
        self.reporter.report_published(&credential, &from, expiry);
        self.report_operation(operation, began, Ok(Some(&credential)), minted);
        if let Some(error) = not_stored {
            self.reporter.report_store_failed(&error);
        }
        let now = self.clock.now();
        self.current = CurrentToken::new(&credential, inspection, now, &self.policy);
        self.update_status();
        PlannerEvent::Obtained {
            generation: credential.generation(),
            deadlines: self.current.deadlines(&self.clock),
            renewed: minted,
        }
    }

    fn finish_failed(&mut self, operation: Operation, began: Instant, error: ObtainError) -> PlannerEvent {
        let renewer_called = self.provider.renewer_called;
        self.report_operation(operation, began, Err(&error), renewer_called);
        let live = self.publisher.current();
        self.reporter
            .report_failure((operation, renewer_called), &error, live.as_deref());
        if operation == Operation::Refresh {
            self.current.is_renewal_overdue = true;
            self.warn_of_expiry();
        }
        let transient = error.is_transient();
        self.publisher.finish_failed(Arc::new(error));
        PlannerEvent::Failed {
            transient,
            jitter: fastrand::f64(),
        }
    }

    /// Asks Graph about the live token. What it calls dead is rejected, as if a request had found out.
    async fn inspect(&mut self) {
        let Some(live) = self.publisher.current() else {
            return self.current.postpone(Maintenance::Inspect);
        };
        match self.provider.inspect(live.token()).await {
            Ok(Some(inspection)) => {
                let dead = inspection.error.clone();
                let now = self.clock.now();
                self.current.record_inspection(inspection, now, &self.policy);
                self.update_status();
                if let Some(error) = dead {
                    self.publisher.mark_rejected(live.generation(), &error);
                }
            }
            Ok(None) => self.current.postpone(Maintenance::Inspect),
            Err(error) => {
                let tenant = &self.reporter.tenant;
                tracing::info!(%tenant, %error, "Graph could not be asked about the token in use; asking again in an hour");
                self.current.postpone(Maintenance::Inspect);
            }
        }
    }

    /// Tries once more to store what could not be stored, which was told when it was.
    async fn retry_store(&mut self) {
        let tenant = &self.reporter.tenant;
        match self.provider.retry_store().await {
            Ok(()) => tracing::info!(%tenant, "the renewed token is stored now"),
            Err(error) => {
                tracing::debug!(%tenant, %error, "the renewed token still cannot be stored");
                self.current.postpone(Maintenance::RetryStore);
            }
        }
    }

    /// What follows from what is known of the live token.
    fn update_status(&mut self) {
        self.current.schedule_renewal(&self.policy, &self.provider);
        let missing = self.current.take_newly_missing_scopes();
        self.reporter.status_changed(&self.current);
        if !missing.is_empty() {
            self.reporter.report_missing_scopes(&missing);
        }
        self.warn_of_expiry();
    }

    /// Warns of the ends that come near. What is renewed in time needs no warning.
    fn warn_of_expiry(&mut self) {
        let now = self.clock.now();
        let status = self.current.status();
        if let Some(expires_at) = status.expires_at.filter(|_| !self.current.is_auto_renewed())
            && let Some(days) = self.current.expiry_warnings.take_due(expires_at, now)
        {
            self.reporter.warn_expiry(days, expires_at, now, &self.current);
        }
        if let Some(expires_at) = status.data_access_expires_at
            && let Some(days) = self.current.data_access_warnings.take_due(expires_at, now)
        {
            self.reporter.warn_data_access_expiry(days, expires_at, now);
        }
    }

    fn is_dead(&self, live: &Credential) -> bool {
        self.rejection_state.is_rejected(live.generation()) || self.current.has_expired(self.clock.now())
    }

    fn report_operation(
        &self,
        operation: Operation,
        began: Instant,
        outcome: Result<Option<&Credential>, &ObtainError>,
        renewer_called: bool,
    ) {
        self.reporter.operation_finished(OperationReport {
            operation,
            took: began.elapsed(),
            outcome,
            renewer_called,
        });
    }
}

impl std::fmt::Debug for Refresher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Refresher")
            .field("tenant", &self.reporter.tenant)
            .field("plan", &self.planner)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
