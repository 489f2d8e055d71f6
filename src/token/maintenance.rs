//! The work of the refresher besides checks and refreshes: inspections, warnings, stores that have failed, changes by the
//! operator.

use std::slice::from_ref;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::alert::{AlertCause, MAX_REPEAT_INTERVAL};
use super::credential::{Credential, ProofSettings};
use super::operator::{OperatorRequest, VisitReport};
use super::planner::PlannerEvent;
use super::reconfiguration::{self, Reconfiguration};
use super::refresher::Refresher;
use super::reporter::Operation;
use super::traits::{ProofAnswer, Renewer};
use super::warnings::{format_expiry, unknown_expiry_alert};
use crate::graph::ProofMode;
use crate::telemetry::AuditAction;
use crate::types::error_chain;

/// Work besides checks and refreshes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Maintenance {
    /// Store the renewed token that could not be stored.
    RetryStore,
    /// Inspect the current token.
    Inspect,
    /// Write the cache of the last token that Graph accepted.
    UpdateCache,
    /// Check the token that the renewer depends on.
    CheckAdminToken,
    /// Report that the expiry of the current token is unknown.
    ReportUnknownExpiry,
}

/// The longest wait for Graph's answer about a proof.
const PROOF_CHECK_TIMEOUT: Duration = Duration::from_secs(6);

/// The time until an inspection is tried again for which there was no room, at least.
const INSPECTION_TURN: Duration = Duration::from_secs(30);

/// Returns when an inspection is tried again for which there was no room. With jitter: many may have been refused at once.
fn inspection_turn() -> Instant {
    Instant::now() + INSPECTION_TURN.mul_f64(1.0 + fastrand::f64())
}

impl Refresher {
    /// Returns the next task and its time. A visitor learns what Graph says of the token.
    pub(super) fn next_maintenance(&mut self) -> Option<(Instant, Maintenance)> {
        if self.visitor.is_some() {
            self.current.hasten_first_inspection();
        }
        let is_stored = self.provider.pending_store.is_none();
        let tasks = [
            (
                self.current.retry_store_at.filter(|_| !is_stored),
                Maintenance::RetryStore,
            ),
            (self.current.inspect_at, Maintenance::Inspect),
            (self.provider.last_known_good.next_update(), Maintenance::UpdateCache),
            (self.admin_token.check_at, Maintenance::CheckAdminToken),
            (self.current.next_expiry_notice(), Maintenance::ReportUnknownExpiry),
        ];
        let tasks = tasks.into_iter().filter_map(|(at, task)| Some((at?, task)));
        tasks.min_by_key(|(at, _)| *at)
    }

    pub(super) async fn maintain(&mut self, task: Maintenance) {
        match task {
            Maintenance::Inspect | Maintenance::CheckAdminToken => self.inspect_in_background(task).await,
            Maintenance::RetryStore => self.retry_store().await,
            Maintenance::UpdateCache => self.provider.last_known_good.update().await,
            Maintenance::ReportUnknownExpiry => self.report_unknown_expiry().await,
        }
    }

    /// Before a wait: answers a visitor if nothing is due now, and lets requests hasten a look that is far away.
    pub(super) fn prepare_to_wait(&mut self, until: Instant) {
        let now = Instant::now();
        if until > now {
            self.answer_visitor();
        }
        if self.planner.earlier_look(now).is_some() {
            self.publisher.handle.observations().await_next_wait();
        }
    }

    /// Tells the visitor, if there is one, that nothing is due any more, or that another replica does it.
    fn answer_visitor(&mut self) {
        if let Some(visitor) = self.visitor.take() {
            let status = self.current.status();
            let report = VisitReport {
                renew_at: status.renew_at,
                expires_at: status.expires_at,
                is_locked: self.planner.is_locked(Instant::now()),
            };
            // It may have given up.
            let _gone = visitor.send(report);
        }
    }

    /// Inspects a token, or later if too many tenants do. It does not wait for them: a request may reject the token meanwhile. A
    /// visit has been counted when it began.
    async fn inspect_in_background(&mut self, task: Maintenance) {
        let limit = self.provider.vetting.limit.clone();
        let limit = limit.filter(|_| self.visitor.is_none());
        let permit = limit.map(Semaphore::try_acquire_owned).transpose();
        match (permit, task) {
            (Ok(_counted), Maintenance::CheckAdminToken) => self.check_admin_token().await,
            (Ok(_counted), _) => self.inspect().await,
            (Err(_busy), Maintenance::CheckAdminToken) => self.admin_token.check_at = Some(inspection_turn()),
            (Err(_busy), _) => self.current.inspect_at = Some(inspection_turn()),
        }
    }

    /// Does what the operator requests, unless the request was given up. A stop waits for it as for a renewal.
    pub(super) async fn on_operator_request(&mut self, request: OperatorRequest) -> PlannerEvent {
        let (command, reply) = match request {
            OperatorRequest::Change(command, reply) => (*command, reply),
            OperatorRequest::Reconfigure(new) => return self.reconfigure(*new),
            OperatorRequest::Refresh(reply) => {
                (self.visitor, self.reporter.is_requested) = (Some(reply), true);
                self.provider.sources.forget_loads();
                return PlannerEvent::Reconfigured(self.current.deadlines(&self.clock));
            }
            OperatorRequest::Visit(reply) => {
                self.visitor = Some(reply);
                return PlannerEvent::TimerFired(self.current.deadlines(&self.clock));
            }
        };
        if reply.is_closed() {
            return PlannerEvent::Unchanged;
        }
        self.reporter.operation_started(Operation::Refresh);
        self.publisher.begin_renewal();
        let current = self.publisher.current();
        let context = self.refresh_context(current.as_deref());
        let applied = self.provider.apply(command, context).await;
        let in_use = current.map(|current| current.fingerprint());
        let (result, found) = match applied {
            Ok(found) => (Ok(found.change_from(in_use)), Some(found)),
            Err(error) => (Err(error), None),
        };
        let event = match found {
            Some(found) if in_use != Some(found.token.secret.fingerprint()) => self.publish(Operation::Refresh, found),
            Some(_) | None => {
                self.publisher.finish_unchanged();
                PlannerEvent::Unchanged
            }
        };
        // The operator may have given up meanwhile.
        drop(reply.send(result));
        event
    }

    /// Continues with other sources, another renewer and other proofs. The current credential stays, and requests wait for what these
    /// sources have.
    pub(super) fn reconfigure(&mut self, new: Reconfiguration) -> PlannerEvent {
        self.publisher.end_backoff();
        let old = std::mem::replace(&mut self.provider, new.provider);
        reconfiguration::continue_from(&mut self.provider, old, &new.previous_sources);
        self.liveness_check.put(self.provider.liveness_check.take());
        self.publisher.set_proofs(new.proofs);
        self.explained_proof = None;
        self.publisher.handle.observations().forget_proof_rejection();
        self.admin_token.set_renewer(self.provider.renewer());
        self.planner.policy.renew_before = new.renew_before;
        let renewer = self.provider.renewer().map(Renewer::describe);
        let sources = self.provider.sources.describe().into();
        self.reporter.set_origins(sources, renewer);
        self.reporter.report_read_only_sources(&self.provider);
        self.planner.look_interval = self.provider.jittered_look_interval();
        if self.publisher.current().is_some() {
            self.current.is_renewal_overdue = false;
            self.update_status();
        }
        PlannerEvent::Reconfigured(self.current.deadlines(&self.clock))
    }

    /// Inspects the token that the renewer depends on, at the start and daily, and warns of its expiry.
    async fn check_admin_token(&mut self) {
        let token = self.provider.renewer().and_then(Renewer::own_token).cloned();
        if self.admin_token.take_inspection()
            && let Some(token) = token
        {
            match self.provider.vetting.inspect(&token).await {
                Ok(Some(inspection)) => {
                    let interval = self.planner.policy.inspect_interval;
                    if self.admin_token.record_inspection(&inspection, interval) {
                        let (cause, error) = (AlertCause::AdminTokenRejected, inspection.error.unwrap_or_default());
                        self.reporter
                            .report_admin_token(cause, &error.codes(), "is rejected by Graph");
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    let tenant = &self.reporter.tenant;
                    tracing::info!(%tenant, error = error_chain(&error), "failed to inspect the admin token; retrying in an hour");
                }
            }
        }
        let now = self.clock.now();
        if let Some((expires_at, days)) = self.admin_token.take_warning(now) {
            let what = format!("expires {}", format_expiry(expires_at, now));
            self.reporter
                .report_admin_token(AlertCause::AdminTokenExpiry(days), "", &what);
        }
    }

    /// Inspects the current token. If it is invalid, it is marked as rejected, as if a request had been rejected.
    pub(super) async fn inspect(&mut self) {
        let Some(current) = self.publisher.current() else {
            return self.current.postpone_inspection();
        };
        let vetting = &mut self.provider.vetting;
        let inspected = if self.current.has_expired(self.clock.now()) {
            vetting.ask(current.token()).await
        } else {
            vetting.inspect(current.token()).await
        };
        match inspected {
            Ok(Some(inspection)) => {
                let error = inspection.error.clone();
                self.current
                    .record_inspection(inspection, self.clock.now(), &self.planner.policy);
                self.update_status();
                if let Some(error) = error {
                    self.publisher
                        .handle
                        .rejections()
                        .mark_dead(current.generation(), &error);
                }
            }
            Ok(None) => self.current.postpone_inspection(),
            Err(error) => {
                let tenant = &self.reporter.tenant;
                tracing::info!(%tenant, error = error_chain(&error), "failed to inspect the current token; retrying in an hour");
                self.current.postpone_inspection();
            }
        }
    }

    /// Acts on what requests have observed.
    pub(super) async fn on_observation(&mut self) -> PlannerEvent {
        for error in self.publisher.handle.observations().take_account_locks() {
            self.reporter.report_account_lock(&error);
        }
        if self.publisher.handle.observations().take_proof_rejection() {
            self.on_proof_rejected().await;
        }
        // A request made it, which may need a token.
        self.planner.hasten_look(Instant::now());
        self.update_status();
        PlannerEvent::TimerFired(self.current.deadlines(&self.clock))
    }

    /// Finds out why Graph rejected a proof, and sends none any more if that helps. Says it once for each token.
    async fn on_proof_rejected(&mut self) {
        let Some(current) = self.publisher.current() else {
            return;
        };
        let is_suspended = self.publisher.proofs.as_ref().is_some_and(ProofSettings::is_suspended);
        if is_suspended || self.explained_proof == Some(current.generation()) {
            return;
        }
        let answer = match (current.proof_mode(), &mut self.provider.vetting.inspector) {
            (ProofMode::PerToken, Some(inspector)) => {
                let answer = timeout(PROOF_CHECK_TIMEOUT, inspector.check_proof(current.token())).await;
                answer.unwrap_or(ProofAnswer::Unknown)
            }
            (_, _) => ProofAnswer::Refused,
        };
        if let (ProofAnswer::OnlyWithout, Some(proofs)) = (answer, &self.publisher.proofs) {
            proofs.suspend();
        }
        if answer != ProofAnswer::Unknown {
            self.explained_proof = Some(current.generation());
        }
        self.report_proof_rejected(&current, answer);
    }

    /// Explains why Graph rejects proofs.
    fn report_proof_rejected(&self, current: &Credential, answer: ProofAnswer) {
        const OTHER_APP: &str =
            "Graph rejected the appsecret_proof: app.secret does not belong to the app that issued the token";
        let (tenant, generation) = (&self.reporter.tenant, current.generation().get());
        let message = match (current.proof_mode(), answer) {
            (_, ProofAnswer::OnlyWithout) => {
                return self.reporter.send_alert(
                    AlertCause::ProofRejected,
                    "",
                    &format!("{OTHER_APP}. It accepts requests without a proof, so graphward sends none until app.secret changes."),
                    "Set app.secret to the secret of the app that issued the token, or app.proof to \"off\".",
                );
            }
            (_, ProofAnswer::Accepted) => {
                tracing::warn!(%tenant, generation, "Graph rejected the appsecret_proof of a request, but accepts it otherwise");
                return;
            }
            (_, ProofAnswer::Unknown) => {
                "Graph rejected the appsecret_proof, and could not be asked whether it needs one"
            }
            (ProofMode::Off, ProofAnswer::Refused) => {
                "Graph requires an appsecret_proof: set app.secret to the secret of the app that issued the token"
            }
            (ProofMode::PerToken, ProofAnswer::Refused) => OTHER_APP,
            (ProofMode::Timestamped, ProofAnswer::Refused) => {
                "Graph rejected the appsecret_proof: app.secret does not belong to the app that issued the token, or the \
                 system clock is off by minutes"
            }
        };
        tracing::warn!(%tenant, generation, "{message}; requests fail until this is fixed, and a new token does not help");
    }

    /// Tries again to store the renewed token. The first failure was reported.
    pub(super) async fn retry_store(&mut self) {
        let tenant = &self.reporter.tenant;
        match self.provider.retry_store().await {
            Ok(()) => {
                tracing::info!(%tenant, "stored the renewed token");
                if let Some(current) = self.publisher.current() {
                    self.reporter.audit(AuditAction::Stored, &current, None);
                }
            }
            Err(error) => {
                tracing::debug!(%tenant, error = error_chain(&error), "failed again to store the renewed token");
                self.current.postpone_store();
            }
        }
    }

    /// Reports that the expiry of the current token is unknown, unless that was reported within a week, by this process, before
    /// its start, or by another one.
    async fn report_unknown_expiry(&mut self) {
        let (alert, now) = (unknown_expiry_alert(&self.reporter.tenant), self.clock.now());
        let reported_at = match &mut self.notice_memory {
            Some(memory) => memory.begin(from_ref(&alert.key), now).await.first().copied().flatten(),
            None => None,
        };
        let again_at = reported_at.map(|at| at + MAX_REPEAT_INTERVAL).filter(|at| *at > now);
        if again_at.is_none() {
            self.reporter.send(&alert);
        }
        if let Some(memory) = &mut self.notice_memory {
            memory
                .finish(from_ref(&alert.key), again_at.is_none().then_some(now))
                .await;
        }
        let again_at = again_at.unwrap_or(now + MAX_REPEAT_INTERVAL);
        self.current.expiry_notice_at = Some(self.clock.instant_at(again_at));
    }

    /// Derives the time of the renewal, the status and the warnings from the current token.
    pub(super) fn update_status(&mut self) {
        self.current
            .schedule_renewal(&self.planner.policy, self.provider.renewer());
        let missing = if self.publisher.handle.observations().is_whatsapp_called() {
            self.current.take_newly_missing_scopes()
        } else {
            Vec::new()
        };
        self.reporter.status_changed(&self.current);
        if !missing.is_empty() {
            self.reporter.report_missing_scopes(&missing);
        }
        self.warn_of_expiry();
    }

    /// Warns of expiries that are near, unless the token is renewed in time.
    pub(super) fn warn_of_expiry(&mut self) {
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
}
