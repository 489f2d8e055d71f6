//! The task that keeps a tenant's credential valid: the thin async shell around [`RefreshPlanner`].

use std::sync::Arc;
use std::time::Duration;

use futures_channel::mpsc::UnboundedReceiver;
use futures_util::future::join;
use futures_util::stream::Peekable;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tracing::{Instrument as _, Span};

use super::admin_token::AdminToken;
use super::alert::DeliveryMemory;
use super::channel::TokenPublisher;
use super::check::ObtainedToken;
use super::confirmation::{Confirmation, LivenessCheckSlot};
use super::credential::{Credential, Generation, Token};
use super::current::CurrentToken;
use super::error::ObtainError;
use super::operator::{OperatorHandle, OperatorRequest, VisitReport};
use super::planner::{Action, CurrentGeneration, Failure, PlannerEvent, RefreshPlanner};
use super::policy::RefreshPolicy;
use super::provider::TokenProvider;
use super::rejection::TokenHealth;
use super::rejections::RejectionState;
use super::reporter::{EventSink, Operation, OperationOutcome, Reporter};
use super::sources::WITHDRAWAL_INTERVAL;
use super::traits::{BoxFuture, RefreshContext, Renewer};
use crate::graph::Expiry;
use crate::telemetry::AuditAction;
use crate::types::{Clock, TenantId};

/// Owns a tenant's token provider, and is the only one that publishes its credentials.
#[derive(derive_more::Debug)]
#[debug("Refresher({}, {planner:?})", reporter.tenant)]
pub struct Refresher {
    pub(super) provider: TokenProvider,
    pub(super) publisher: TokenPublisher,
    pub(super) planner: RefreshPlanner,
    pub(super) clock: Clock,
    rejection_state: RejectionState,
    pub(super) current: CurrentToken,
    pub(super) reporter: Reporter,
    operator: OperatorHandle,
    pub(super) operator_requests: Peekable<UnboundedReceiver<OperatorRequest>>,
    pub(super) liveness_check: LivenessCheckSlot,
    /// The generation whose rejected proof was explained last.
    pub(super) explained_proof: Option<Generation>,
    pub(super) admin_token: AdminToken,
    /// Remembers the last notice that the expiry is unknown.
    pub(super) notice_memory: Option<Box<dyn DeliveryMemory>>,
    /// Waits until nothing is due any more.
    pub(super) visitor: Option<oneshot::Sender<VisitReport>>,
}

/// The longest sleep, after which deadlines are computed again from wall time.
const MAX_SLEEP: Duration = Duration::from_secs(60 * 60);

// === impl Refresher ===

impl Refresher {
    /// Creates the refresher of one tenant.
    #[must_use]
    pub fn new(
        tenant: TenantId,
        mut provider: TokenProvider,
        publisher: TokenPublisher,
        policy: RefreshPolicy,
        clock: Clock,
        event_sink: EventSink,
    ) -> Self {
        let liveness_check = LivenessCheckSlot::default();
        liveness_check.put(provider.liveness_check.take());
        let mut admin_token = AdminToken::default();
        admin_token.set_renewer(provider.renewer());
        let renewer = provider.renewer().map(Renewer::describe);
        let reporter = Reporter::new(tenant, event_sink, provider.sources.describe().into(), renewer);
        let (operator, operator_requests) = OperatorHandle::channel();
        let mut planner = RefreshPlanner::new(policy);
        planner.look_interval = provider.jittered_look_interval();
        Self {
            planner,
            provider,
            publisher,
            clock,
            rejection_state: RejectionState::default(),
            current: CurrentToken::default(),
            reporter,
            liveness_check,
            operator,
            operator_requests: operator_requests.peekable(),
            explained_proof: None,
            admin_token,
            notice_memory: None,
            visitor: None,
        }
    }

    /// Sets the memory of the last notice that the expiry is unknown, from before this start or of another process.
    pub fn set_notice_memory(&mut self, memory: Option<impl DeliveryMemory>) {
        self.notice_memory = memory.map(|memory| Box::new(memory) as Box<dyn DeliveryMemory>);
    }

    /// The description of its sources.
    #[must_use]
    pub fn sources(&self) -> Arc<str> {
        Arc::clone(&self.reporter.sources)
    }

    /// Returns what requests changes from it.
    #[must_use]
    pub fn operator(&self) -> OperatorHandle {
        self.operator.clone()
    }

    /// Runs until it is dropped, which must be after the last request: a draining request may still need a new token.
    ///
    /// Operations are boxed: at rest, which is nearly always, their state is not there.
    pub fn run(mut self) -> impl Future<Output = ()> + Send {
        let (tenant, tokens) = (self.reporter.tenant.clone(), self.publisher.handle.clone());
        let confirmation = Confirmation::new(tenant, tokens, self.liveness_check.clone());
        // One task, so that the end of one is the end of both.
        let refresh = async move { self.refresh().await };
        join(refresh, confirmation.run()).map(drop)
    }

    async fn refresh(&mut self) {
        self.reporter.report_read_only_sources(&self.provider);
        let mut action = self.planner.next_action(Instant::now());
        loop {
            let event = match action {
                Action::Check => self.run_in_span(Operation::Check).await,
                Action::Refresh => self.run_in_span(Operation::Refresh).await,
                Action::Wait(until) => {
                    self.publisher.end_backoff();
                    self.wait(until).await
                }
                Action::BackOff(until) => {
                    self.publisher.begin_backoff();
                    self.wait(Some(until)).await
                }
            };
            action = self.planner.on_event(event, Instant::now());
        }
    }

    /// The span of an operation: what it logs has the tenant. That of the only tenant of most processes goes without saying, and
    /// a refresher at rest is in no span, since a subscriber keeps room for each.
    pub(super) fn span(&self) -> Span {
        let tenant = &self.reporter.tenant;
        if *tenant == TenantId::default() {
            return Span::none();
        }
        tracing::error_span!("tenant", %tenant)
    }

    fn run_in_span(&mut self, operation: Operation) -> BoxFuture<'_, PlannerEvent> {
        let span = self.span();
        Box::pin(self.run_operation(operation).instrument(span))
    }

    async fn run_operation(&mut self, operation: Operation) -> PlannerEvent {
        self.reporter.operation_started(operation);
        // A request that comes during a look may not profit from it.
        self.publisher.handle.observations().await_next_wait();
        if self.current.take_expiry_question(self.clock.now()) {
            self.inspect().await;
            let is_alive = !self.current.has_expired(self.clock.now()) && !self.is_current_rejected();
            if is_alive && operation == Operation::Refresh {
                return PlannerEvent::TimerFired(self.current.deadlines(&self.clock));
            }
        }
        if operation == Operation::Refresh {
            self.publisher.end_backoff();
        }
        match self.provider.renewer() {
            Some(_) if operation == Operation::Refresh => self.publisher.begin_renewal(),
            _ => self.publisher.begin_check(),
        }
        let current = self.publisher.current();
        let context = self.refresh_context(current.as_deref());
        let Some(check) = self.read_sources(operation, context).await else {
            self.publisher.finish_unchanged();
            // Before a backoff, in which requests that wait would get the failure of the sources that a reload replaces.
            return match self.operator_requests.next().now_or_never().flatten() {
                Some(request) => self.on_operator_request(request).await,
                None => PlannerEvent::Unchanged,
            };
        };
        let found = match operation {
            Operation::Check => check.found,
            Operation::Refresh => self.provider.refresh(check, context).await.map(Some),
        };
        let event = match found {
            Ok(Some(found)) => self.publish(operation, found),
            Ok(None) => {
                self.publisher.finish_unchanged();
                self.reporter.operation_finished(OperationOutcome::Unchanged);
                PlannerEvent::Unchanged
            }
            Err(error) => match current {
                Some(current) if self.provider.take_withdrawal(&error) => self.withdraw(&current, error),
                _ => self.finish_failed(operation, error),
            },
        };
        if self.publisher.current().is_some() && self.provider.is_unsettled() {
            self.planner.next_look = Some(Instant::now() + WITHDRAWAL_INTERVAL);
        }
        event
    }

    fn withdraw(&mut self, current: &Credential, statement: ObtainError) -> PlannerEvent {
        self.reporter.report_withdrawn(current, &statement);
        self.reporter.operation_finished(OperationOutcome::Failed(&statement));
        self.publisher.withdraw(Arc::new(statement));
        self.current = CurrentToken::default();
        self.reporter.status_changed(&self.current);
        PlannerEvent::Withdrawn
    }

    /// Returns whether Graph has rejected the current token, or no token is there.
    fn is_current_rejected(&self) -> bool {
        let current = self.publisher.current();
        current.is_none_or(|current| self.rejection_state.is_dead(current.generation()))
    }

    /// Waits for the next event. Every branch is cancel-safe: nothing is lost when another one completes first.
    async fn wait(&mut self, until: Option<Instant>) -> PlannerEvent {
        let maintenance = self.next_maintenance();
        let latest = Instant::now() + MAX_SLEEP;
        let until = until.map_or(latest, |until| until.min(latest));
        let (wake, maintenance) = match maintenance {
            Some((at, task)) if at <= until => (at, Some(task)),
            _ => (until, None),
        };
        self.prepare_to_wait(wake);
        tokio::select! {
            state = self.publisher.handle.rejections().wait_for_change(&self.rejection_state) => return self.on_rejection_change(state),
            () = self.publisher.handle.rejections().wait_until_accepted(self.provider.last_known_good.candidate()) => {
                self.on_accepted();
                return PlannerEvent::Unchanged;
            }
            () = self.provider.sources.changed() => return PlannerEvent::SourceChanged,
            Some(request) = self.operator_requests.next() => {
                let span = self.span();
                return Box::pin(self.on_operator_request(request).instrument(span)).await;
            }
            () = self.publisher.handle.observations().changed() => return Box::pin(self.on_observation()).await,
            () = sleep_until(wake) => {}
        }
        if let Some(task) = maintenance {
            let span = self.span();
            Box::pin(self.maintain(task).instrument(span)).await;
        }
        self.warn_of_expiry();
        PlannerEvent::TimerFired(self.current.deadlines(&self.clock))
    }

    pub(super) fn refresh_context<'a>(&self, current: Option<&'a Credential>) -> RefreshContext<'a> {
        let now = self.clock.now();
        RefreshContext {
            current,
            current_is_dead: self.is_current_rejected() || self.current.has_expired(now),
            now,
        }
    }

    fn on_rejection_change(&mut self, state: RejectionState) -> PlannerEvent {
        let before = std::mem::replace(&mut self.rejection_state, state);
        let state = &self.rejection_state;
        let Some(generation) = state.generation else {
            return PlannerEvent::Unchanged;
        };
        let current = self.publisher.current();
        let current = current.filter(|current| current.generation() == generation);
        let was_dead = before.is_dead(generation);
        match (state.health, current) {
            (TokenHealth::Dead, current) => {
                let is_known = was_dead && before.episode == state.episode;
                if let Some(current) = current {
                    // A token that only counts as dead, because Graph cannot be asked, stays where it is.
                    if state.is_proven && !(is_known && before.is_proven) {
                        self.provider.vetting.deny(current.fingerprint());
                        self.provider.last_known_good.on_rejected(&current);
                    }
                    if !is_known {
                        self.reporter.report_rejected(&current, state.error.as_deref());
                    }
                }
                if is_known {
                    PlannerEvent::Unchanged
                } else {
                    PlannerEvent::Rejected(generation)
                }
            }
            (TokenHealth::Trusted | TokenHealth::Doubted, Some(current)) if was_dead => {
                self.provider.vetting.reinstate(current.fingerprint());
                self.on_accepted();
                PlannerEvent::Accepted(generation)
            }
            (TokenHealth::Doubted, Some(_)) => PlannerEvent::Doubted,
            (TokenHealth::Trusted | TokenHealth::Doubted, _) => PlannerEvent::Unchanged,
        }
    }

    pub(super) fn publish(&mut self, operation: Operation, found: ObtainedToken) -> PlannerEvent {
        // What Graph says counts more than what the source says, and a token that Graph accepts has not expired.
        let now = self.clock.now();
        let hint = found.token.expires_at.filter(|at| *at > now);
        let expiry = match found.inspection.as_ref().map(|it| it.expires_at) {
            None | Some(Expiry::Unknown) => hint.map_or(Expiry::Unknown, Expiry::At),
            Some(reported) => reported,
        };
        let token = Token {
            expires_at: expiry.as_system_time(),
            ..found.token
        };
        let family = found.inspection.as_ref().and_then(|it| it.family);
        let credential = match self.publisher.publish(token, family) {
            Ok(credential) => credential,
            Err(error) => {
                let message = format!(
                    "the token from {} is not valid in an HTTP header; replace it",
                    found.source
                );
                let error = ObtainError::permanent("invalid_header_value", message).with_source(error);
                let error = if found.renewed { error.by_renewer() } else { error };
                return self.finish_failed(operation, error);
            }
        };
        self.reporter.report_published(&credential, &found.source, expiry);
        let (outcome, action) = if found.renewed {
            (OperationOutcome::Renewed(&credential), AuditAction::Renewed)
        } else {
            (OperationOutcome::Found(&credential), AuditAction::Loaded)
        };
        self.reporter.audit(action, &credential, Some(&found.source));
        self.reporter.operation_finished(outcome);
        if let Some(error) = &found.skipped_error {
            self.reporter.report_failure(error, Some(&credential));
        }
        match found.store_error {
            Some(error) => self.reporter.report_store_failed(&error),
            None if found.renewed => self.reporter.audit(AuditAction::Stored, &credential, None),
            None => {}
        }
        self.provider.last_known_good.on_published(credential.generation());
        if found.inspection.is_some() {
            self.on_accepted();
        }
        self.current = CurrentToken::new(&credential, found.inspection, self.clock.now(), &self.planner.policy);
        self.update_status();
        PlannerEvent::Obtained(CurrentGeneration {
            generation: credential.generation(),
            deadlines: self.current.deadlines(&self.clock),
            renewed: found.renewed,
        })
    }

    /// Lets the current token be cached: Graph has accepted it.
    fn on_accepted(&mut self) {
        let source = self.provider.sources.describe_current();
        let current = self.publisher.current();
        self.provider.last_known_good.on_accepted(current.as_deref(), source);
    }

    fn finish_failed(&mut self, operation: Operation, error: ObtainError) -> PlannerEvent {
        self.reporter
            .report_failure(&error, self.publisher.current().as_deref());
        self.reporter.operation_finished(OperationOutcome::Failed(&error));
        if error.is_locked() {
            // Requests wait for the token of the other replica.
            self.publisher.finish_unchanged();
            let jitter = fastrand::f64();
            return PlannerEvent::Locked { jitter };
        }
        if operation == Operation::Refresh {
            self.current.is_renewal_overdue = true;
            self.warn_of_expiry();
        }
        let transient = error.is_transient();
        self.publisher.finish_failed(Arc::new(error));
        PlannerEvent::Failed(Failure {
            transient,
            jitter: fastrand::f64(),
        })
    }
}

#[cfg(test)]
mod tests;
