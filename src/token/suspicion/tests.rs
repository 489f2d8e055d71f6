mod interleavings;

use super::*;

const HOLD: Duration = Duration::from_secs(2);
const SECOND: Duration = Duration::from_secs(1);

pub(super) fn generation(number: u64) -> Generation {
    Generation::from_number(number).unwrap()
}

fn endpoint(name: &str) -> EndpointId {
    EndpointId::of_path(name)
}

pub(super) fn suspicion() -> Suspicion {
    let mut suspicion = Suspicion::default();
    suspicion.begin_generation(generation(1));
    suspicion
}

fn dead() -> Liveness {
    Liveness::Dead(GraphError::invalid_token())
}

fn reject(suspicion: &mut Suspicion, at: EndpointId, history: EndpointHistory, now: Instant) -> RejectedRequest {
    let report = RejectionReport {
        generation: generation(1),
        proof: RejectionProof::Unproven,
        endpoint: at,
        error: &GraphError::invalid_token(),
    };
    suspicion.on_rejected(report, history, now)
}

/// A rejection by an endpoint that has never succeeded.
fn reject_new(suspicion: &mut Suspicion, name: &str, now: Instant) -> RejectedRequest {
    reject(suspicion, endpoint(name), EndpointHistory::NeverSucceeded, now)
}

/// A rejection by one that has.
fn reject_used(suspicion: &mut Suspicion, name: &str, now: Instant) -> RejectedRequest {
    reject(suspicion, endpoint(name), EndpointHistory::Succeeded, now)
}

pub(super) fn reject_proven(suspicion: &mut Suspicion, now: Instant) -> RejectedRequest {
    let report = RejectionReport {
        generation: generation(1),
        proof: RejectionProof::SessionEnded,
        endpoint: endpoint("/me"),
        error: &GraphError::invalid_token(),
    };
    suspicion.on_rejected(report, EndpointHistory::Succeeded, now)
}

/// Asks at the time at which a question is due, and answers at once.
#[track_caller]
fn answer(suspicion: &mut Suspicion, answer: Liveness) -> Instant {
    let due = suspicion.question_due().expect("a question is due");
    suspicion.begin_question(due);
    suspicion.on_answer(generation(1), answer, due);
    due
}

#[test]
fn a_rejection_that_proves_the_end_is_believed_without_a_question() {
    let (mut suspicion, now) = (suspicion(), Instant::now());
    let request = reject_proven(&mut suspicion, now);
    assert_eq!(suspicion.health, TokenHealth::Dead);
    assert_eq!(suspicion.decide(&request), Decision::Hold);
    assert_eq!(
        suspicion.question_due(),
        Some(now + FIRST_REPETITION),
        "asked again without traffic"
    );
}

#[test]
fn an_endpoint_that_needs_another_kind_of_token_is_asked_about_once_in_thirty_seconds() {
    let (mut suspicion, now) = (suspicion(), Instant::now());
    let request = reject_new(&mut suspicion, "/1/leadgen_forms", now);
    assert_eq!(
        (suspicion.health, suspicion.decide(&request)),
        (TokenHealth::Doubted, Decision::AwaitAnswer)
    );
    assert_eq!(answer(&mut suspicion, Liveness::Alive), now);
    assert_eq!(
        (suspicion.health, suspicion.decide(&request)),
        (TokenHealth::Trusted, Decision::Release)
    );
    for millis in [1, 500, 29_999] {
        let request = reject_new(
            &mut suspicion,
            "/v25.0/2/leadgen_forms",
            now + Duration::from_millis(millis),
        );
        assert_eq!(suspicion.decide(&request), Decision::Release, "{millis}");
        assert_eq!(suspicion.health, TokenHealth::Trusted);
        suspicion.on_accepted(generation(1), suspicion.rejections);
        assert_eq!(suspicion.question_due(), None, "the token lives");
    }
    let request = reject_new(&mut suspicion, "/1/leadgen_forms", now + WRONG_KIND_LIFETIME);
    assert_eq!(suspicion.decide(&request), Decision::AwaitAnswer);
    // Another endpoint has a question of its own, at once.
    assert_eq!(answer(&mut suspicion, Liveness::Alive), now + WRONG_KIND_LIFETIME);
    let request = reject_new(&mut suspicion, "/1/tabs", now + WRONG_KIND_LIFETIME);
    assert_eq!(suspicion.decide(&request), Decision::AwaitAnswer);
    assert_eq!(suspicion.question_due(), Some(now + WRONG_KIND_LIFETIME));
}

#[test]
fn an_endpoint_that_has_succeeded_is_asked_about_each_time_but_once_a_second_at_most() {
    let (mut suspicion, now) = (suspicion(), Instant::now());
    let first = reject_used(&mut suspicion, "/1/messages", now);
    assert_eq!(answer(&mut suspicion, Liveness::Alive), now);
    assert_eq!(suspicion.decide(&first), Decision::Release);
    let second = reject_used(&mut suspicion, "/1/messages", now + SECOND / 2);
    assert_eq!(
        suspicion.decide(&second),
        Decision::AwaitAnswer,
        "the answer is not about this one"
    );
    assert_eq!(answer(&mut suspicion, dead()), now + SECOND);
    assert_eq!(
        (suspicion.health, suspicion.decide(&second)),
        (TokenHealth::Dead, Decision::Hold)
    );
}

#[test]
fn an_endpoint_that_succeeds_after_it_was_taken_for_the_wrong_one_is_asked_about_again() {
    let (mut suspicion, now) = (suspicion(), Instant::now());
    reject_new(&mut suspicion, "/1/messages", now);
    answer(&mut suspicion, Liveness::Alive);
    let revoked = reject_used(&mut suspicion, "/1/messages", now + 5 * SECOND);
    assert_eq!(suspicion.decide(&revoked), Decision::AwaitAnswer);
}

#[test]
fn a_rejection_by_another_endpoint_during_a_question_needs_another_question() {
    let (mut suspicion, now) = (suspicion(), Instant::now());
    let first = reject_new(&mut suspicion, "/1/tabs", now);
    suspicion.begin_question(now);
    let same = reject_new(&mut suspicion, "/1/tabs", now);
    let other = reject_new(&mut suspicion, "/1/messages", now);
    suspicion.on_answer(generation(1), Liveness::Alive, now + SECOND / 4);
    assert_eq!(suspicion.decide(&first), Decision::Release);
    assert_eq!(suspicion.decide(&other), Decision::AwaitAnswer);
    assert_eq!(
        suspicion.decide(&same),
        Decision::AwaitAnswer,
        "its endpoint is known now, but the other one may contradict it"
    );
    let mut alive = suspicion.clone();
    answer(&mut alive, Liveness::Alive);
    assert_eq!(alive.decide(&same), Decision::Release);
    answer(&mut suspicion, dead());
    assert_eq!(suspicion.decide(&other), Decision::Hold);
    assert_eq!(suspicion.decide(&same), Decision::Hold);
}

#[test]
fn a_rejection_by_a_known_endpoint_waits_while_another_endpoint_contradicts_what_is_known() {
    for contradict in [reject_new, reject_used] {
        let (mut suspicion, now) = (suspicion(), Instant::now());
        reject_new(&mut suspicion, "/1/leadgen_forms", now);
        answer(&mut suspicion, Liveness::Alive);
        contradict(&mut suspicion, "/1/messages", now + SECOND);
        let known = reject_new(&mut suspicion, "/1/leadgen_forms", now + SECOND);
        assert_eq!(suspicion.decide(&known), Decision::AwaitAnswer);
        let mut alive = suspicion.clone();
        answer(&mut alive, Liveness::Alive);
        assert_eq!(alive.decide(&known), Decision::Release);
        let next = reject_new(&mut alive, "/1/leadgen_forms", now + 2 * SECOND);
        assert_eq!(alive.decide(&next), Decision::Release, "it is known still");
        let mut unknown = suspicion.clone();
        answer(&mut unknown, Liveness::Unknown);
        assert_eq!(unknown.decide(&known), Decision::Hold);
        assert_eq!(unknown.health, TokenHealth::Doubted, "a known endpoint is no evidence");
        answer(&mut suspicion, dead());
        assert_eq!(suspicion.decide(&known), Decision::Hold);
    }
}

#[test]
fn what_is_known_of_an_endpoint_is_checked_again_unless_a_request_succeeds() {
    let (mut suspicion, now) = (suspicion(), Instant::now());
    reject_new(&mut suspicion, "/1/leadgen_forms", now);
    answer(&mut suspicion, Liveness::Alive);
    for (millis, due) in [(1, 5_000), (4_500, 5_500)] {
        let at = now + Duration::from_millis(millis);
        let before = suspicion.rejections;
        reject_new(&mut suspicion, "/1/leadgen_forms", at);
        assert!(suspicion.awaits_acceptance());
        suspicion.on_accepted(generation(1), before);
        assert_eq!(suspicion.question_due(), Some(now + Duration::from_millis(due)));
        suspicion.on_accepted(generation(1), suspicion.rejections);
        assert_eq!((suspicion.question_due(), suspicion.awaits_acceptance()), (None, false));
    }
    let last = reject_new(&mut suspicion, "/1/leadgen_forms", now + 20 * SECOND);
    assert_eq!(suspicion.decide(&last), Decision::Release);
    assert_eq!(answer(&mut suspicion, dead()), now + 21 * SECOND);
    let next = reject_new(&mut suspicion, "/1/leadgen_forms", now + 21 * SECOND);
    assert_eq!(
        (suspicion.health, suspicion.decide(&next)),
        (TokenHealth::Dead, Decision::Hold)
    );
}

#[test]
fn a_success_between_the_rejections_of_a_busy_endpoint_counts() {
    let (mut suspicion, now) = (suspicion(), Instant::now());
    reject_new(&mut suspicion, "/1/leadgen_forms", now);
    answer(&mut suspicion, Liveness::Unknown);
    // Every success has begun before the last rejection arrived.
    for tenth in 1..100 {
        let before = suspicion.rejections;
        reject_new(&mut suspicion, "/1/leadgen_forms", now + SECOND / 10 * tenth);
        suspicion.on_accepted(generation(1), before);
        if suspicion
            .question_due()
            .is_some_and(|due| due <= now + SECOND / 10 * tenth)
        {
            answer(&mut suspicion, Liveness::Unknown);
        }
        assert_eq!(suspicion.health, TokenHealth::Doubted);
    }
}

#[test]
fn successes_of_other_requests_do_not_take_the_answer_from_those_that_wait() {
    let (mut suspicion, now) = (suspicion(), Instant::now());
    let request = reject_new(&mut suspicion, "/1/leadgen_forms", now);
    suspicion.begin_question(now);
    assert!(suspicion.on_accepted(generation(1), suspicion.rejections));
    assert_eq!(
        (suspicion.health, suspicion.decide(&request)),
        (TokenHealth::Trusted, Decision::AwaitAnswer)
    );
    suspicion.on_answer(generation(1), Liveness::Alive, now + SECOND / 4);
    assert_eq!(suspicion.decide(&request), Decision::Release);
    let next = reject_new(&mut suspicion, "/1/leadgen_forms", now + SECOND);
    assert_eq!(suspicion.decide(&next), Decision::Release, "the answer was remembered");
}

#[test]
fn a_rejection_after_a_death_of_doubt_contradicts_an_answer_that_was_on_its_way() {
    let (mut suspicion, now) = (suspicion(), Instant::now());
    reject_new(&mut suspicion, "/1/leadgen_forms", now);
    reject_new(&mut suspicion, "/1/leadgen_forms", now);
    answer(&mut suspicion, Liveness::Unknown);
    suspicion.begin_question(now + SECOND);
    // Graph accepts the token now. It dies before the next rejections, and before the answer comes.
    let third = reject_new(&mut suspicion, "/1/leadgen_forms", now + HOLD);
    assert_eq!(suspicion.health, TokenHealth::Dead);
    let other = reject_used(&mut suspicion, "/1/messages", now + HOLD);
    suspicion.on_answer(generation(1), Liveness::Alive, now + HOLD);
    assert_eq!(suspicion.health, TokenHealth::Doubted);
    for request in [third, other] {
        assert_eq!(
            suspicion.decide(&request),
            Decision::Hold,
            "a newer token would heal it"
        );
    }
    assert_eq!(answer(&mut suspicion, dead()), now + HOLD);
}

#[test]
fn a_success_that_began_before_the_last_rejection_arrived_refutes_nothing() {
    let (mut suspicion, now) = (suspicion(), Instant::now());
    let before = suspicion.rejections;
    reject_proven(&mut suspicion, now);
    assert!(!suspicion.on_accepted(generation(1), before));
    let between = suspicion.rejections;
    let request = reject_proven(&mut suspicion, now + SECOND);
    assert!(!suspicion.on_accepted(generation(1), between));
    assert_eq!(suspicion.health, TokenHealth::Dead);
    assert_eq!(request.held_since, now, "it is still the same hold");
    assert!(suspicion.on_accepted(generation(1), suspicion.rejections));
    assert_eq!(suspicion.health, TokenHealth::Trusted);
    assert_eq!(
        suspicion.decide(&request),
        Decision::Hold,
        "what was rejected waits for a newer token"
    );
}

#[test]
fn without_an_answer_one_endpoint_holds_up_no_other() {
    let (mut suspicion, now) = (suspicion(), Instant::now());
    let request = reject_new(&mut suspicion, "/1/leadgen_forms", now);
    answer(&mut suspicion, Liveness::Unknown);
    assert_eq!(
        (suspicion.health, suspicion.decide(&request)),
        (TokenHealth::Doubted, Decision::Hold)
    );
    assert!(suspicion.is_unanswerable);
    assert!(suspicion.unsent_request(generation(1)).is_none());
    reject_new(&mut suspicion, "/1/leadgen_forms", now + SECOND);
    answer(&mut suspicion, Liveness::Unknown);
    assert_eq!(suspicion.health, TokenHealth::Doubted, "twice, within a second");
    reject_new(&mut suspicion, "/1/leadgen_forms", now + HOLD);
    assert_eq!(suspicion.health, TokenHealth::Dead, "three times, over two seconds");
}

#[test]
fn without_an_answer_a_second_endpoint_is_convincing_unless_a_success_lies_between() {
    let (mut suspicion, now) = (suspicion(), Instant::now());
    reject_new(&mut suspicion, "/1/leadgen_forms", now);
    answer(&mut suspicion, Liveness::Unknown);
    assert!(suspicion.on_accepted(generation(1), suspicion.rejections));
    reject_new(&mut suspicion, "/1/tabs", now + SECOND);
    answer(&mut suspicion, Liveness::Unknown);
    assert_eq!(suspicion.health, TokenHealth::Doubted);
    reject_new(&mut suspicion, "/1/messages", now + 2 * SECOND);
    assert_eq!(suspicion.health, TokenHealth::Dead);
    answer(&mut suspicion, Liveness::Alive);
    assert_eq!(suspicion.health, TokenHealth::Trusted, "the answer counts more");
}

#[test]
fn a_suspect_without_traffic_is_asked_about_with_growing_pauses() {
    for first in [dead(), Liveness::Unknown] {
        let (mut suspicion, now) = (suspicion(), Instant::now());
        reject_new(&mut suspicion, "/1/messages", now);
        let mut last = answer(&mut suspicion, first.clone());
        for seconds in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let at = answer(&mut suspicion, first.clone());
            assert_eq!(at - last, Duration::from_secs(seconds), "{first:?}");
            last = at;
        }
        answer(&mut suspicion, Liveness::Alive);
        assert_eq!(
            (suspicion.health, suspicion.question_due()),
            (TokenHealth::Trusted, None)
        );
    }
}

#[test]
fn an_answer_about_the_token_before_changes_nothing() {
    let (mut suspicion, now) = (suspicion(), Instant::now());
    let old = reject_new(&mut suspicion, "/1/messages", now);
    suspicion.begin_question(now);
    suspicion.begin_generation(generation(2));
    suspicion.on_answer(generation(1), dead(), now + SECOND);
    assert_eq!(
        (suspicion.health, suspicion.question_due()),
        (TokenHealth::Trusted, None)
    );
    assert_eq!(
        suspicion.decide(&old),
        Decision::Hold,
        "a newer token is there, or about to be"
    );
    let late = reject_proven(&mut suspicion, now + SECOND);
    assert_eq!(
        (suspicion.health, suspicion.decide(&late)),
        (TokenHealth::Trusted, Decision::Hold)
    );
}

#[test]
fn no_more_endpoints_are_remembered_than_the_limit() {
    let (mut suspicion, now) = (suspicion(), Instant::now());
    for number in 0_u8..100 {
        let name = format!(
            "/1/{}{}",
            char::from(b'a' + number / 10),
            char::from(b'a' + number % 10)
        );
        reject_new(&mut suspicion, &name, now);
        answer(&mut suspicion, Liveness::Alive);
    }
    assert_eq!(suspicion.wrong_kind.len(), MAX_ENDPOINTS);
    let request = reject_new(&mut suspicion, "/1/aa", now);
    assert_eq!(
        suspicion.decide(&request),
        Decision::AwaitAnswer,
        "the oldest was forgotten"
    );
}
