//! The task that keeps a tenant's credential live: the thin async shell around [`Plan`].

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::asks::Heard;
use super::cell::Writer;
use super::credential::{Credential, Token};
use super::crier::{Crier, Errand, Observer, Report};
use super::live::{Chore, Live};
use super::plan::{Event, Order, Plan};
use super::ports::ObtainError;
use super::schedule::Schedule;
use super::supply::{Found, Standing, Supply};
use crate::graph::Ends;
use crate::types::{Clock, TenantId};

/// Owns a tenant's supply, and is the only one who publishes its credentials.
pub struct Refresher {
    supply: Supply,
    writer: Writer,
    plan: Plan,
    schedule: Schedule,
    clock: Clock,
    heard: Heard,
    live: Live,
    crier: Crier,
}

/// The longest sleep, after which dates are derived anew from wall time.
const LONGEST_SLEEP: Duration = Duration::from_secs(60 * 60);

// === impl Refresher ===

impl Refresher {
    /// A refresher for one tenant.
    #[must_use]
    pub fn new(
        tenant: TenantId,
        supply: Supply,
        writer: Writer,
        schedule: Schedule,
        clock: Clock,
        observer: Observer,
    ) -> Self {
        let crier = Crier::new(tenant, observer, supply.describe(), supply.renewal());
        Self {
            supply,
            writer,
            plan: Plan::new(schedule),
            schedule,
            clock,
            heard: Heard::default(),
            live: Live::default(),
            crier,
        }
    }

    /// Runs until it is dropped. It ends with the last request, not before: a request that drains may still
    /// need a new token.
    pub async fn run(mut self) {
        if let Err(reasons) = self.supply.keeps() {
            let all = reasons.len() == self.supply.places.len();
            self.crier.kept_nowhere(&reasons, all);
        }
        let mut order = self.plan.next(Instant::now());
        loop {
            let event = match order {
                Order::Look => self.errand(Errand::Look).await,
                Order::Replace => self.errand(Errand::Replace).await,
                Order::Wait { until, resting } => self.wait(until, resting).await,
            };
            order = self.plan.on(event, Instant::now());
        }
    }

    async fn errand(&mut self, errand: Errand) -> Event {
        let began = Instant::now();
        if errand == Errand::Replace {
            self.writer.rest(false);
        }
        let may_mint = errand == Errand::Replace && self.supply.renewal().is_some();
        self.writer.begin(may_mint);
        let (live, now) = (self.writer.live(), self.clock.wall());
        let standing = Standing {
            live: live.as_deref(),
            dead: live.as_deref().is_none_or(|live| self.is_dead(live)),
            now,
        };
        let found = match errand {
            Errand::Look => self.supply.look(standing).await,
            Errand::Replace => self.supply.replace(standing).await.map(Some),
        };
        match found {
            Ok(Some(found)) => self.publish(errand, began, found),
            Ok(None) => {
                self.writer.quiet();
                self.report(errand, began, Ok(None), false);
                Event::NothingNew
            }
            Err(why) => self.fail(errand, began, why),
        }
    }

    /// Every branch is cancel-safe: nothing is lost when another one wins.
    async fn wait(&mut self, until: Option<Instant>, resting: bool) -> Event {
        self.writer.rest(resting);
        let chore = self.live.chore(self.supply.has_in_hand());
        let latest = Instant::now() + LONGEST_SLEEP;
        let until = until.map_or(latest, |until| until.min(latest));
        let (wake, chore) = match chore {
            Some((at, chore)) if at <= until => (at, Some(chore)),
            _ => (until, None),
        };
        tokio::select! {
            heard = self.writer.heard(self.heard) => return self.hear(heard),
            () = self.supply.changed() => return Event::Changed,
            () = sleep_until(wake) => {}
        }
        match chore {
            Some(Chore::Inspect) => self.inspect().await,
            Some(Chore::Settle) => self.settle().await,
            None => {}
        }
        self.warn();
        Event::Woke(self.live.dates(&self.clock))
    }

    fn hear(&mut self, heard: Heard) -> Event {
        self.heard = heard;
        let Some(generation) = heard.rejected else {
            return Event::NothingNew;
        };
        let live = self.writer.live();
        let live = live.filter(|live| live.generation() == generation);
        if heard.is_suspect(generation) {
            if let Some(live) = live {
                self.supply.refuse(live.fingerprint());
                let why = self.writer.complaint(generation);
                self.crier.rejected(&live, why.as_ref());
            }
            Event::Rejected(generation)
        } else {
            if let Some(live) = live {
                self.supply.forgive(live.fingerprint());
            }
            Event::Absolved(generation)
        }
    }

    fn publish(&mut self, errand: Errand, began: Instant, found: Found) -> Event {
        let Found {
            token,
            inspection,
            minted,
            from,
            not_stored,
            passed_over,
        } = found;
        if let Some(why) = passed_over {
            self.crier.failed((errand, false), &why, None);
        }
        let told = inspection.as_ref().map_or(Ends::Unknown, |it| it.expires);
        let token = Token {
            expires_at: told.at().or(token.expires_at),
            ..token
        };
        let expires = token.expires_at.map_or(told, Ends::At);
        let credential = match self.writer.publish(token) {
            Ok(credential) => credential,
            Err(error) => {
                let what = format!("the token from {from} cannot be used");
                let why = ObtainError::permanent("unusable", what).because(error);
                return self.fail(errand, began, why);
            }
        };
        self.crier.published(&credential, &from, expires);
        self.report(errand, began, Ok(Some(&credential)), minted);
        if let Some(why) = not_stored {
            self.crier.not_stored(&why);
        }
        let now = self.clock.wall();
        self.live = Live::new(&credential, inspection, now, &self.schedule);
        self.reckon();
        Event::Obtained {
            generation: credential.generation(),
            dates: self.live.dates(&self.clock),
            minted,
        }
    }

    fn fail(&mut self, errand: Errand, began: Instant, why: ObtainError) -> Event {
        let minting = self.supply.asked_renewer;
        self.report(errand, began, Err(&why), minting);
        let live = self.writer.live();
        self.crier.failed((errand, minting), &why, live.as_deref());
        if errand == Errand::Replace {
            self.live.overdue = true;
            self.warn();
        }
        let transient = why.is_transient();
        self.writer.fail(Arc::new(why));
        Event::Failed {
            transient,
            jitter: fastrand::f64(),
        }
    }

    /// Asks Graph about the live token. What it calls dead is rejected, as if a request had found out.
    async fn inspect(&mut self) {
        let Some(live) = self.writer.live() else {
            return self.live.put_off(Chore::Inspect);
        };
        match self.supply.inspect(live.token()).await {
            Ok(Some(inspection)) => {
                let dead = inspection.dead.clone();
                let now = self.clock.wall();
                self.live.inspected(inspection, now, &self.schedule);
                self.reckon();
                if let Some(why) = dead {
                    self.writer.reject(live.generation(), &why);
                }
            }
            Ok(None) => self.live.put_off(Chore::Inspect),
            Err(error) => {
                let tenant = &self.crier.tenant;
                tracing::info!(%tenant, %error, "Graph could not be asked about the token in use; asking again in an hour");
                self.live.put_off(Chore::Inspect);
            }
        }
    }

    /// Tries once more to store what could not be stored, which was told when it was.
    async fn settle(&mut self) {
        let tenant = &self.crier.tenant;
        match self.supply.settle().await {
            Ok(()) => tracing::info!(%tenant, "the renewed token is stored now"),
            Err(error) => {
                tracing::debug!(%tenant, %error, "the renewed token still cannot be stored");
                self.live.put_off(Chore::Settle);
            }
        }
    }

    /// What follows from what is known of the live token.
    fn reckon(&mut self) {
        self.live.schedule(&self.schedule, &self.supply);
        let missing = self.live.newly_missing();
        self.crier.outlook(&self.live);
        if !missing.is_empty() {
            self.crier.scopes_missing(&missing);
        }
        self.warn();
    }

    /// Warns of the ends that come near. What is renewed in time needs no warning.
    fn warn(&mut self) {
        let now = self.clock.wall();
        let outlook = self.live.outlook();
        if let Some(ends) = outlook.ends.filter(|_| !self.live.is_looked_after())
            && let Some(days) = self.live.expiry.due(ends, now)
        {
            self.crier.expires_soon(days, ends, now, &self.live);
        }
        if let Some(ends) = outlook.data_access_ends
            && let Some(days) = self.live.data_access.due(ends, now)
        {
            self.crier.data_access_ends_soon(days, ends, now);
        }
    }

    fn is_dead(&self, live: &Credential) -> bool {
        self.heard.is_suspect(live.generation()) || self.live.has_ended(self.clock.wall())
    }

    fn report(
        &self,
        errand: Errand,
        began: Instant,
        outcome: Result<Option<&Credential>, &ObtainError>,
        minted: bool,
    ) {
        self.crier.report(Report {
            errand,
            took: began.elapsed(),
            outcome,
            minted,
        });
    }
}

impl std::fmt::Debug for Refresher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Refresher")
            .field("tenant", &self.crier.tenant)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
