//! Whether the current token is dead: a pure state machine for one generation.
//!
//! | event | consequence |
//! |---|---|
//! | a rejection that proves the end of the session | the token is dead |
//! | any other rejection | Graph is asked whether it accepts the token |
//! | answer: dead | the token is dead |
//! | answer: alive | the requests that were rejected before the question need another kind of token |
//! | a rejection by an endpoint of which this is known, while nothing contradicts it | it is taken for the same; Graph is asked again soon |
//! | no answer | the token is dead only if enough other requests are rejected as well: see [`Doubts::is_convincing`] |
//! | an acceptance | the token is trusted again, if the accepted attempt began after the last rejection had arrived |
//! | a newer generation | everything is forgotten |
//!
//! # Why
//!
//! One endpoint that rejects a valid token must not stop the others, and a hold must not end because two answers overtake
//! each other on their way. Both are questions of order, so the order is all there is here: events go in, `now` is an
//! argument, and rejections have numbers. An answer or an acceptance counts for the rejections before the question or
//! the attempt, never for a later one. A proptest tries the interleavings.
//!
//! The exception is an endpoint that needs another kind of token: its rejections are delivered at once for 30 seconds, so
//! one that follows the end of the token can be delivered, too. That ends as soon as anything contradicts it: a rejection
//! by another endpoint, or by one that has succeeded, until Graph has answered; a death; or the answer to a question that is
//! asked five seconds after the last one, unless a request that began after the rejection succeeds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::credential::Generation;
use super::doubts::{Doubts, MAX_ENDPOINTS};
use super::rejection::{
    Decision, EndpointHistory, Liveness, RejectedRequest, RejectionReport, RequestKind, TokenHealth,
};
use crate::graph::{EndpointId, GraphError, RejectionProof};

/// What is known about the token of one generation.
#[derive(Clone, Debug, Default)]
pub(super) struct Suspicion {
    pub(super) generation: Option<Generation>,
    pub(super) health: TokenHealth,
    /// The number of rejections so far, over all generations.
    pub(super) rejections: u64,
    /// The number of the first rejection since the token was trusted, and its time: the hold begins then.
    episode: Option<(u64, Instant)>,
    /// Graph's reason, if the token is dead.
    pub(super) error: Option<Arc<GraphError>>,
    /// The number of the last rejection that proves the token dead.
    proven: u64,
    /// The unproven rejections that no answer covers.
    doubts: Doubts,
    /// The endpoints that reject this living token, and until when that is taken for granted if nothing contradicts it.
    wrong_kind: VecDeque<(EndpointId, Instant)>,
    question: Question,
    /// The rejections up to this number arrived before a question that Graph answered with "alive".
    alive_through: u64,
    /// The rejections up to this number arrived before a question that has ended, with or without an answer.
    asked_through: u64,
    last_asked_at: Option<Instant>,
    /// Whether the last question had no answer.
    pub(super) is_unanswerable: bool,
    /// The number of questions that no request caused.
    repetitions: u32,
}

#[derive(Clone, Copy, Debug, Default)]
enum Question {
    #[default]
    None,
    Due(Instant),
    /// Due, unless a request succeeds before: only rejections that were delivered cause it.
    Recheck(Instant),
    /// Asked when this many rejections had arrived.
    InFlight(u64),
}

/// How long an endpoint is taken for one that needs another kind of token.
const WRONG_KIND_LIFETIME: Duration = Duration::from_secs(30);
/// The shortest time between two questions if only rejections that were delivered at once cause the second.
const RECHECK_INTERVAL: Duration = Duration::from_secs(5);
/// The shortest time between two questions that are not about a new endpoint.
const MIN_QUESTION_INTERVAL: Duration = Duration::from_secs(1);
/// The time until graphward asks again by itself, doubled each time up to the next constant.
const FIRST_REPETITION: Duration = Duration::from_secs(2);
const LONGEST_REPETITION: Duration = Duration::from_secs(5 * 60);

// === impl Suspicion ===

impl Suspicion {
    /// Forgets everything about the generation before.
    pub(super) fn begin_generation(&mut self, generation: Generation) {
        *self = Self {
            generation: Some(generation),
            rejections: self.rejections,
            alive_through: self.rejections,
            asked_through: self.rejections,
            ..Self::default()
        };
    }

    /// The number of the rejection with which the present suspicion began.
    pub(super) fn episode(&self) -> Option<u64> {
        self.episode.map(|(number, _at)| number)
    }

    /// Returns whether Graph said in the present suspicion that the token is dead.
    pub(super) fn is_proven(&self) -> bool {
        self.episode.is_some_and(|(number, _at)| self.proven >= number)
    }

    /// Records a rejection of the current generation.
    pub(super) fn on_rejected(
        &mut self,
        report: RejectionReport<'_>,
        history: EndpointHistory,
        now: Instant,
    ) -> RejectedRequest {
        let (generation, proof, endpoint) = (report.generation, report.proof, report.endpoint);
        self.wrong_kind.retain(|(_, until)| *until > now);
        let kind = match proof {
            RejectionProof::SessionEnded => RequestKind::Proven,
            RejectionProof::Unproven => RequestKind::Unproven(endpoint, history),
        };
        let request = |number, held_since| RejectedRequest {
            generation,
            held_since,
            number,
            kind,
        };
        if self.generation != Some(generation) {
            return request(self.rejections, now);
        }
        self.rejections += 1;
        let number = self.rejections;
        if proof == RejectionProof::Unproven && self.needs_other_kind(endpoint, history) {
            self.recheck_later(now);
            return request(number, now);
        }
        let (_, held_since) = *self.episode.get_or_insert((number, now));
        if proof == RejectionProof::SessionEnded {
            self.proven = number;
        }
        match (self.health, proof) {
            (TokenHealth::Dead, _) => {
                self.asked_through = number;
                // An answer that is on its way may end a death of doubt, but not what contradicts that answer.
                if proof == RejectionProof::Unproven && !self.is_proven() {
                    self.doubts.record(endpoint, history, number, report.error, now);
                }
            }
            (_, RejectionProof::SessionEnded) => {
                self.doubts.clear();
                self.die(report.error.clone(), now);
            }
            (_, RejectionProof::Unproven) => self.doubt(endpoint, history, report.error, now),
        }
        request(number, held_since)
    }

    /// Returns whether an endpoint is known to need another kind of token, and nothing contradicts it.
    fn needs_other_kind(&self, endpoint: EndpointId, history: EndpointHistory) -> bool {
        let is_contradicted = self.health != TokenHealth::Trusted || history == EndpointHistory::Succeeded;
        !is_contradicted && self.has_needed_other_kind(endpoint)
    }

    fn has_needed_other_kind(&self, endpoint: EndpointId) -> bool {
        self.wrong_kind.iter().any(|(known, _until)| *known == endpoint)
    }

    /// Returns whether an acceptance changes anything.
    pub(super) fn awaits_acceptance(&self) -> bool {
        self.health != TokenHealth::Trusted || matches!(self.question, Question::Recheck(_))
    }

    /// Records that Graph accepted an attempt that began after so many rejections. Returns whether anything changed.
    pub(super) fn on_accepted(&mut self, generation: Generation, rejections_at_start: u64) -> bool {
        if self.generation != Some(generation) {
            return false;
        }
        if rejections_at_start < self.rejections {
            self.doubts.refute_through(rejections_at_start);
            return false;
        }
        if self.health == TokenHealth::Trusted {
            if matches!(self.question, Question::Recheck(_)) {
                self.asked_through = self.rejections;
                self.question = Question::None;
            }
            return false;
        }
        self.trust();
        true
    }

    /// The wait of a request that is not sent because the token is dead; `None` if it is not dead.
    pub(super) fn unsent_request(&self, generation: Generation) -> Option<RejectedRequest> {
        let (number, held_since) = self.episode?;
        let is_dead = self.health == TokenHealth::Dead && self.generation == Some(generation);
        is_dead.then_some(RejectedRequest {
            generation,
            held_since,
            number,
            kind: RequestKind::NotSent,
        })
    }

    /// Decides what a rejected request does.
    pub(super) fn decide(&self, request: &RejectedRequest) -> Decision {
        if self.generation != Some(request.generation) || self.health == TokenHealth::Dead {
            return Decision::Hold;
        }
        match request.kind {
            RequestKind::NotSent => Decision::Release,
            RequestKind::Proven => Decision::Hold,
            RequestKind::Unproven(endpoint, history) => {
                if request.number <= self.alive_through || self.needs_other_kind(endpoint, history) {
                    Decision::Release
                } else if request.number <= self.asked_through {
                    Decision::Hold
                } else {
                    Decision::AwaitAnswer
                }
            }
        }
    }

    /// Returns when Graph is to be asked, unless a question is in flight.
    pub(super) const fn question_due(&self) -> Option<Instant> {
        match self.question {
            Question::Due(at) | Question::Recheck(at) => Some(at),
            Question::None | Question::InFlight(_) => None,
        }
    }

    /// Begins a question.
    pub(super) fn begin_question(&mut self, now: Instant) {
        self.question = Question::InFlight(self.rejections);
        self.last_asked_at = Some(now);
    }

    /// Records the end of the question. An answer about an older generation changes nothing.
    pub(super) fn on_answer(&mut self, generation: Generation, answer: Liveness, now: Instant) {
        let Question::InFlight(asked) = self.question else {
            return;
        };
        if self.generation != Some(generation) {
            return;
        }
        self.question = Question::None;
        self.asked_through = self.asked_through.max(asked);
        self.is_unanswerable = answer == Liveness::Unknown;
        match answer {
            Liveness::Alive => self.on_alive(asked, now),
            Liveness::Dead(error) => {
                // An acceptance counts only if its attempt begins after this.
                self.rejections += 1;
                self.proven = self.rejections;
                self.episode.get_or_insert((self.rejections, now));
                self.doubts.clear();
                self.die(error, now);
            }
            Liveness::Unknown => self.on_no_answer(asked, now),
        }
    }

    fn on_alive(&mut self, asked: u64, now: Instant) {
        self.alive_through = asked;
        for endpoint in self.doubts.take_covered(asked) {
            self.wrong_kind.retain(|(known, _until)| *known != endpoint);
            if self.wrong_kind.len() == MAX_ENDPOINTS {
                self.wrong_kind.pop_front();
            }
            self.wrong_kind.push_back((endpoint, now + WRONG_KIND_LIFETIME));
        }
        if asked < self.proven {
            return self.repeat_later(now);
        }
        if self.health != TokenHealth::Trusted {
            self.trust();
        }
        if let Some(number) = self.doubts.first_number() {
            self.health = TokenHealth::Doubted;
            self.episode = Some((number, now));
            self.ask_about_doubts(now);
        } else if asked < self.rejections {
            self.recheck_later(now);
        }
    }

    fn on_no_answer(&mut self, asked: u64, now: Instant) {
        self.doubts.drop_refuted(asked);
        if self.health == TokenHealth::Doubted && self.doubts.is_convincing() {
            self.die_of_doubt(now);
        } else if self.health != TokenHealth::Dead && self.doubts.has_later_than(asked) {
            self.ask_about_doubts(now);
        } else if self.health != TokenHealth::Trusted {
            self.repeat_later(now);
        }
    }

    fn doubt(&mut self, endpoint: EndpointId, history: EndpointHistory, error: &GraphError, now: Instant) {
        self.health = TokenHealth::Doubted;
        self.doubts.record(endpoint, history, self.rejections, error, now);
        if history == EndpointHistory::NeverSucceeded && self.has_needed_other_kind(endpoint) {
            self.doubts.discount(endpoint);
        }
        if self.is_unanswerable && self.doubts.is_convincing() {
            self.die_of_doubt(now);
        } else {
            self.ask_about_doubts(now);
        }
    }

    /// Asks about the doubts that no question covers: at once about an endpoint that has never succeeded, unless the last
    /// question had no answer.
    fn ask_about_doubts(&mut self, now: Instant) {
        if matches!(self.question, Question::InFlight(_)) {
            return;
        }
        let not_before = self.last_asked_at.map(|at| at + MIN_QUESTION_INTERVAL);
        let at = match not_before {
            Some(at) if self.is_unanswerable || !self.doubts.has_new_endpoint(self.asked_through) => at.max(now),
            Some(_) | None => now,
        };
        let at = self.question_due().map_or(at, |due| due.min(at));
        self.question = Question::Due(at);
    }

    /// Asks again after rejections that were delivered at once, unless a request succeeds in the next second.
    fn recheck_later(&mut self, now: Instant) {
        if matches!(self.question, Question::None) {
            let not_before = self.last_asked_at.map_or(now, |at| at + RECHECK_INTERVAL);
            self.question = Question::Recheck(not_before.max(now + MIN_QUESTION_INTERVAL));
        }
    }

    /// Asks again later: requests may not come, or not be sent.
    fn repeat_later(&mut self, now: Instant) {
        if matches!(self.question, Question::InFlight(_)) {
            return;
        }
        let doubled = FIRST_REPETITION.saturating_mul(1_u32.checked_shl(self.repetitions).unwrap_or(u32::MAX));
        self.repetitions = self.repetitions.saturating_add(1);
        self.question = Question::Due(now + doubled.min(LONGEST_REPETITION));
    }

    /// The doubts stay, because the answer to a question that is in flight may refute some of them.
    fn die_of_doubt(&mut self, now: Instant) {
        let error = self.doubts.last_error();
        self.die(error.unwrap_or_else(GraphError::invalid_token), now);
    }

    fn die(&mut self, error: GraphError, now: Instant) {
        self.health = TokenHealth::Dead;
        self.error.get_or_insert_with(|| Arc::new(error));
        self.wrong_kind.clear();
        self.asked_through = self.rejections;
        self.repeat_later(now);
    }

    /// Ends the suspicion. A question stays, since the requests that caused it wait for its answer.
    fn trust(&mut self) {
        if self.health == TokenHealth::Dead && matches!(self.question, Question::Due(_)) {
            self.question = Question::None;
        }
        self.health = TokenHealth::Trusted;
        self.episode = None;
        self.error = None;
        self.doubts.refute();
    }
}

#[cfg(test)]
mod tests;
