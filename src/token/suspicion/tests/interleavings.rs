//! Random interleavings of what a request, Graph, the question and the operator do.
//!
//! A model of Graph knows when the token is dead. Requests begin, are judged by Graph at some moment, and their answers
//! arrive later, in any order. Each rejected request then waits as `wait_for_successor` does.

use proptest::prelude::*;

use super::super::*;
use super::{generation, suspicion};

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A request begins at the endpoint with this number; the endpoints from [`WRONG_KIND`] on reject every token.
    Begin(u8),
    /// Graph judges the n-th of the requests that it has not judged.
    Judge(usize),
    /// The answer to the n-th of those that it has judged arrives.
    Arrive(usize),
    /// The client of the n-th waiting request disconnects.
    Disconnect(usize),
    /// The question that is in flight reaches Graph.
    JudgeQuestion,
    /// Its answer arrives, or does not.
    AnswerArrives(bool),
    /// The token is revoked; Graph says so with a subcode, or without one.
    Revoke(bool),
    Elapsed(u64),
}

#[derive(Clone, Copy)]
struct InFlight {
    endpoint: u8,
    rejections_at_start: u64,
    is_accepted: Option<bool>,
    /// Whether the token was dead when Graph judged it.
    was_dead: bool,
}

struct WaitingRequest {
    request: RejectedRequest,
    endpoint: u8,
    /// When Graph rejected it, the token was dead: a newer one would have healed it.
    would_heal: bool,
    is_released: bool,
}

const ENDPOINTS: u8 = 4;
const WRONG_KIND: u8 = 3;

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..ENDPOINTS).prop_map(Event::Begin),
        4 => any::<usize>().prop_map(Event::Judge),
        4 => any::<usize>().prop_map(Event::Arrive),
        1 => any::<usize>().prop_map(Event::Disconnect),
        3 => Just(Event::JudgeQuestion),
        3 => prop::bool::weighted(0.8).prop_map(Event::AnswerArrives),
        1 => any::<bool>().prop_map(Event::Revoke),
        3 => (0_u64..700).prop_map(Event::Elapsed),
    ];
    prop::collection::vec(event, 1..200)
}

fn take<T>(from: &mut Vec<T>, index: usize) -> Option<T> {
    (!from.is_empty()).then(|| from.swap_remove(index % from.len()))
}

struct Model {
    suspicion: Suspicion,
    now: Instant,
    is_dead: bool,
    dies_with_subcode: bool,
    succeeded: [bool; ENDPOINTS as usize],
    unjudged: Vec<InFlight>,
    judged: Vec<InFlight>,
    waiting: Vec<WaitingRequest>,
    /// What Graph answers to the question in flight, once it has arrived there.
    question: Option<Option<Liveness>>,
    /// Graph has said that it accepts the token.
    was_alive: bool,
}

impl Model {
    fn apply(&mut self, event: Event) {
        match event {
            Event::Begin(endpoint) => self.unjudged.push(InFlight {
                endpoint,
                rejections_at_start: self.suspicion.rejections,
                is_accepted: None,
                was_dead: false,
            }),
            Event::Judge(index) => {
                if let Some(mut request) = take(&mut self.unjudged, index) {
                    request.is_accepted = Some(!self.is_dead && request.endpoint < WRONG_KIND);
                    request.was_dead = self.is_dead;
                    self.judged.push(request);
                }
            }
            Event::Arrive(index) => {
                if let Some(request) = take(&mut self.judged, index) {
                    self.arrive(request);
                }
            }
            Event::Disconnect(index) => drop(take(&mut self.waiting, index)),
            Event::JudgeQuestion => {
                if let Some(answer @ None) = &mut self.question {
                    *answer = Some(if self.is_dead {
                        Liveness::Dead(GraphError::invalid_token())
                    } else {
                        Liveness::Alive
                    });
                }
            }
            Event::AnswerArrives(true) => {
                if let Some(Some(answer)) = self.question.take_if(|answer| answer.is_some()) {
                    self.was_alive |= answer == Liveness::Alive;
                    self.suspicion.on_answer(generation(1), answer, self.now);
                }
            }
            Event::AnswerArrives(false) => {
                if self.question.take().is_some() {
                    self.suspicion.on_answer(generation(1), Liveness::Unknown, self.now);
                }
            }
            Event::Revoke(with_subcode) => {
                if !std::mem::replace(&mut self.is_dead, true) {
                    self.dies_with_subcode = with_subcode;
                }
            }
            Event::Elapsed(millis) => self.now += Duration::from_millis(millis),
        }
        if self.suspicion.question_due().is_some_and(|due| due <= self.now) {
            self.suspicion.begin_question(self.now);
            self.question = Some(None);
        }
    }

    fn arrive(&mut self, request: InFlight) {
        let endpoint = EndpointId(u64::from(request.endpoint));
        let has_succeeded = &mut self.succeeded[usize::from(request.endpoint)];
        if request.is_accepted == Some(true) {
            *has_succeeded = true;
            self.suspicion.on_accepted(generation(1), request.rejections_at_start);
            return;
        }
        let is_session_error = self.is_dead && self.dies_with_subcode && request.endpoint < WRONG_KIND;
        let history = if *has_succeeded {
            EndpointHistory::Succeeded
        } else {
            EndpointHistory::NeverSucceeded
        };
        let report = RejectionReport {
            generation: generation(1),
            proof: if is_session_error {
                RejectionProof::SessionEnded
            } else {
                RejectionProof::Unproven
            },
            endpoint,
            error: &GraphError::invalid_token(),
        };
        let request_at_rest = self.suspicion.on_rejected(report, history, self.now);
        self.waiting.push(WaitingRequest {
            request: request_at_rest,
            endpoint: request.endpoint,
            would_heal: request.was_dead,
            is_released: false,
        });
    }

    /// A request that would heal may be let go only because of what its endpoint is known for, and only while no other
    /// endpoint contradicts that.
    fn may_release(&self, waiting: &WaitingRequest) -> bool {
        let is_known = waiting.endpoint >= WRONG_KIND && self.was_alive;
        let contradicts =
            |other: &WaitingRequest| other.would_heal && !other.is_released && other.endpoint != waiting.endpoint;
        !waiting.would_heal || (is_known && !self.waiting.iter().any(contradicts))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// No request inside its hold is let go with a rejection that a newer token would have healed, whatever else arrives;
    /// none waits for an answer that nothing brings; and a living token is never taken for dead where Graph answers.
    #[test]
    fn a_request_that_a_newer_token_would_heal_is_held(events in events()) {
        let mut model = Model {
            suspicion: suspicion(),
            now: Instant::now(),
            is_dead: false,
            dies_with_subcode: false,
            succeeded: [false; ENDPOINTS as usize],
            unjudged: Vec::new(),
            judged: Vec::new(),
            waiting: Vec::new(),
            question: None,
            was_alive: false,
        };
        let mut was_unanswered = false;
        for event in events {
            model.apply(event);
            was_unanswered |= matches!(event, Event::AnswerArrives(false));
            if !model.is_dead && !was_unanswered {
                prop_assert_ne!(model.suspicion.health, TokenHealth::Dead, "a living token is taken for dead");
            }
            for index in 0..model.waiting.len() {
                let waiting = &model.waiting[index];
                match model.suspicion.decide(&waiting.request) {
                    Decision::Release => {
                        prop_assert!(model.may_release(waiting), "let go inside its hold: {:?}", waiting.request);
                        model.waiting[index].is_released = true;
                    }
                    Decision::AwaitAnswer => {
                        let is_asked = model.question.is_some() || model.suspicion.question_due().is_some();
                        prop_assert!(is_asked, "nothing brings the answer: {:?}", waiting.request);
                    }
                    Decision::Hold => {}
                }
            }
        }
        // A newer token heals all that wait.
        model.suspicion.begin_generation(generation(2));
        for waiting in model.waiting.iter().filter(|waiting| !waiting.is_released) {
            prop_assert_eq!(model.suspicion.decide(&waiting.request), Decision::Hold);
        }
    }
}
