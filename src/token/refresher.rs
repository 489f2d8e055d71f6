//! The task that keeps a tenant's credential live: the thin async shell around [`Plan`].

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until, timeout};

use super::asks::Heard;
use super::cell::Writer;
use super::credential::{Credential, Token};
use super::plan::{Event, Order, Plan, Schedule};
use super::ports::ObtainError;
use super::supply::Supply;
use crate::types::{Clock, TenantId};

/// What the refresher sets out to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Errand {
    /// Look at the source for news.
    Look,
    /// Find or mint a successor.
    Replace,
}

/// How an errand ended, for whoever keeps count.
#[derive(Debug)]
pub struct Report<'a> {
    /// What it was.
    pub errand: Errand,
    /// How long it took.
    pub took: Duration,
    /// The credential that is live now; nothing; or why not.
    pub outcome: Result<Option<&'a Credential>, &'a ObtainError>,
}

/// Who is told of each errand's end.
pub type Observer = Box<dyn Fn(&Report<'_>) + Send>;

/// Owns a tenant's supply, and is the only one who publishes its credentials.
pub struct Refresher {
    tenant: TenantId,
    supply: Supply,
    writer: Writer,
    plan: Plan,
    clock: Clock,
    observer: Observer,
    heard: Heard,
    /// When the live credential's successor should be there: a fifth of the life left before its end.
    due_at: Option<SystemTime>,
    jitter: Jitter,
    /// The failure that was written to the log last.
    told: Option<String>,
}

/// The longest errand: no source or renewer may hang the refresher.
const LONGEST_ERRAND: Duration = Duration::from_secs(30);
/// The longest sleep, after which dates are derived anew from wall time.
const LONGEST_SLEEP: Duration = Duration::from_secs(60 * 60);

// === impl Errand ===

impl Errand {
    /// The word for metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Replace => "replace",
        }
    }
}

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
        let jitter = Jitter::seeded(clock.wall());
        let plan = Plan::new(schedule);
        Self {
            tenant,
            supply,
            writer,
            plan,
            clock,
            observer,
            heard: Heard::default(),
            due_at: None,
            jitter,
            told: None,
        }
    }

    /// Runs until it is dropped. It ends with the last request, not before: a request that drains may still
    /// need a new token.
    pub async fn run(mut self) {
        let mut order = self.plan.next(Instant::now());
        loop {
            let event = match order {
                Order::Look => self.look().await,
                Order::Replace => self.replace().await,
                Order::Wait { until, resting } => self.wait(until, resting).await,
            };
            order = self.plan.on(event, Instant::now());
        }
    }

    async fn look(&mut self) -> Event {
        let began = Instant::now();
        self.writer.begin();
        let outcome = match timeout(LONGEST_ERRAND, self.supply.look()).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(self.too_slow()),
        };
        match outcome {
            Ok(None) => {
                self.writer.quiet();
                self.report(Errand::Look, began, Ok(None));
                Event::NothingNew
            }
            Ok(Some(token)) => self.publish(Errand::Look, began, token),
            Err(why) => self.fail(Errand::Look, began, why),
        }
    }

    async fn replace(&mut self) -> Event {
        let began = Instant::now();
        self.writer.rest(false);
        self.writer.begin();
        let live = self.writer.live();
        let outcome = match timeout(LONGEST_ERRAND, self.supply.replace(live.as_deref())).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(self.too_slow()),
        };
        match outcome {
            Ok(token) => self.publish(Errand::Replace, began, token),
            Err(why) => self.fail(Errand::Replace, began, why),
        }
    }

    /// Every branch is cancel-safe: nothing is lost when another one wins.
    async fn wait(&mut self, until: Option<Instant>, resting: bool) -> Event {
        self.writer.rest(resting);
        let latest = Instant::now() + LONGEST_SLEEP;
        let until = until.map_or(latest, |until| until.min(latest));
        tokio::select! {
            heard = self.writer.heard(self.heard) => self.told(heard),
            () = self.supply.changed() => Event::Changed,
            () = sleep_until(until) => Event::Woke { due: self.due() },
        }
    }

    fn told(&mut self, heard: Heard) -> Event {
        self.heard = heard;
        match heard.rejected {
            Some(generation) if heard.is_suspect(generation) => Event::Rejected(generation),
            Some(generation) => Event::Absolved(generation),
            None => Event::NothingNew,
        }
    }

    fn publish(&mut self, errand: Errand, began: Instant, token: Token) -> Event {
        let credential = match self.writer.publish(token) {
            Ok(credential) => credential,
            Err(error) => {
                let why = ObtainError::Permanent {
                    what: format!("the token from {} cannot be used", self.supply.describe()),
                    reason: "unusable",
                    source: Some(Box::new(error)),
                };
                return self.fail(errand, began, why);
            }
        };
        self.told = None;
        tracing::info!(
            tenant = %self.tenant,
            generation = credential.generation().get(),
            fingerprint = %credential.fingerprint(),
            source = self.supply.describe(),
            "a new token is in use"
        );
        self.report(errand, began, Ok(Some(&credential)));
        self.due_at = credential.expires_at().map(|ends| {
            let left = ends.duration_since(self.clock.wall()).unwrap_or_default();
            ends - left / 5
        });
        Event::Obtained {
            generation: credential.generation(),
            due: self.due(),
        }
    }

    fn fail(&mut self, errand: Errand, began: Instant, why: ObtainError) -> Event {
        let why = Arc::new(why);
        self.report(errand, began, Err(&why));
        self.tell(errand, &why);
        let transient = why.is_transient();
        self.writer.fail(why);
        Event::Failed {
            transient,
            jitter: self.jitter.draw(),
        }
    }

    /// Writes a failure to the log, once: what goes on failing for the same reason is not said again.
    fn tell(&mut self, errand: Errand, why: &ObtainError) {
        let error = why.to_string();
        let live = self.writer.live();
        let dead = live
            .as_ref()
            .filter(|live| self.heard.is_suspect(live.generation()));
        let known = self.told.as_ref() == Some(&error);
        let (tenant, errand) = (&self.tenant, errand.label());
        if known || (dead.is_none() && matches!(why, ObtainError::NothingNew)) {
            tracing::debug!(%tenant, errand, error, "no newer token");
            return;
        }
        let cause = std::error::Error::source(why).map(ToString::to_string);
        let reason = why.reason();
        if let Some(dead) = dead {
            let generation = dead.generation().get();
            let fingerprint = dead.fingerprint();
            tracing::warn!(%tenant, generation, %fingerprint, errand, reason, error, cause, "Graph rejects the token, and there is no newer one yet");
        } else if live.is_some() {
            tracing::warn!(%tenant, reason, error, cause, "no newer token; the one before stays in use");
        } else {
            tracing::warn!(%tenant, reason, error, cause, "there is no token yet");
        }
        self.told = Some(error);
    }

    fn too_slow(&self) -> ObtainError {
        ObtainError::Transient {
            what: format!("{} did not answer within 30 s", self.supply.describe()),
            reason: "timeout",
            source: None,
        }
    }

    fn report(
        &self,
        errand: Errand,
        began: Instant,
        outcome: Result<Option<&Credential>, &ObtainError>,
    ) {
        (self.observer)(&Report {
            errand,
            took: began.elapsed(),
            outcome,
        });
    }

    /// [`Self::due_at`] on the monotonic clock, by today's relation of the two.
    fn due(&self) -> Option<Instant> {
        self.due_at.map(|at| self.clock.instant_of(at))
    }
}

impl std::fmt::Debug for Refresher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Refresher")
            .field("tenant", &self.tenant)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

/// Numbers that differ between processes, which is all that a jitter needs.
#[derive(Debug)]
struct Jitter(u64);

impl Jitter {
    fn seeded(now: SystemTime) -> Self {
        let nanos = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .subsec_nanos();
        Self(u64::from(nanos) ^ (u64::from(std::process::id()) << 32) | 1)
    }

    /// In 0.0..1.0, by xorshift.
    fn draw(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        f64::from((self.0 >> 32) as u32) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests;
