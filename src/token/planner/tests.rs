mod properties;
mod transitions;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn generation(number: u64) -> Generation {
    Generation::from_number(number).unwrap()
}

fn event_found(number: u64) -> PlannerEvent {
    event_obtained(number, Deadlines::default(), false)
}

fn event_renewed(number: u64, due: Option<Instant>) -> PlannerEvent {
    event_obtained(
        number,
        Deadlines {
            renew_at: due,
            expires_at: None,
        },
        true,
    )
}

const fn obtained_generation(generation: Generation, dates: Deadlines, minted: bool) -> PlannerEvent {
    PlannerEvent::Obtained {
        generation,
        deadlines: dates,
        renewed: minted,
    }
}

fn event_obtained(number: u64, dates: Deadlines, minted: bool) -> PlannerEvent {
    obtained_generation(generation(number), dates, minted)
}

fn event_failed(transient: bool) -> PlannerEvent {
    PlannerEvent::Failed { transient, jitter: 0.0 }
}

const TIMER_FIRED: PlannerEvent = PlannerEvent::TimerFired(Deadlines {
    renew_at: None,
    expires_at: None,
});

/// A plan whose first look found a token, at `now`.
fn planner_with_token(now: Instant) -> RefreshPlanner {
    planner_with_deadlines(Deadlines::default(), now)
}

fn planner_with_deadlines(dates: Deadlines, now: Instant) -> RefreshPlanner {
    let mut plan = RefreshPlanner::new(RefreshPolicy::default());
    assert_eq!(plan.next_action(now), Action::Check);
    plan.on_event(event_obtained(1, dates, false), now);
    plan
}

/// The same, resting for a second after a failed replacement.
fn planner_backing_off(now: Instant) -> RefreshPlanner {
    let mut plan = planner_with_token(now);
    assert_eq!(
        plan.on_event(PlannerEvent::Rejected(generation(1)), now),
        Action::Refresh
    );
    assert_eq!(plan.on_event(event_failed(true), now), backoff_until(now + SECOND));
    plan
}

const IDLE: Action = Action::Wait {
    until: None,
    is_backing_off: false,
};

const fn backoff_until(until: Instant) -> Action {
    Action::Wait {
        until: Some(until),
        is_backing_off: true,
    }
}

const fn wait_until(until: Instant) -> Action {
    Action::Wait {
        until: Some(until),
        is_backing_off: false,
    }
}

#[test]
fn at_start_it_checks_and_then_refreshes_until_there_is_a_token() {
    let now = Instant::now();
    let mut plan = RefreshPlanner::new(RefreshPolicy::default());
    assert_eq!(plan.next_action(now), Action::Check);
    assert_eq!(plan.on_event(event_failed(true), now), Action::Refresh);
    assert_eq!(plan.on_event(event_failed(true), now), backoff_until(now + SECOND));
}

// === the table: obtained, failed ===

#[test]
fn a_new_credential_ends_the_backoff_and_resets_the_failures() {
    let mut now = Instant::now();
    let mut plan = planner_with_token(now);
    plan.on_event(PlannerEvent::Rejected(generation(1)), now);
    plan.on_event(event_failed(false), now);
    now += 2 * SECOND;
    assert_eq!(plan.on_event(PlannerEvent::SourceChanged, now), Action::Check);
    assert_eq!(plan.on_event(event_found(2), now), IDLE);
    assert_eq!(
        plan.on_event(PlannerEvent::Rejected(generation(2)), now),
        Action::Refresh
    );
    assert_eq!(plan.on_event(event_failed(true), now), backoff_until(now + SECOND));
}

#[test]
fn backoff_doubles_up_to_its_cap_and_a_permanent_failure_takes_the_cap_at_once() {
    let mut now = Instant::now();
    let mut plan = planner_with_token(now);
    plan.on_event(PlannerEvent::Rejected(generation(1)), now);
    for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
        let until = now + SECOND * expected;
        assert_eq!(plan.on_event(event_failed(true), now), backoff_until(until));
        now = until;
        assert_eq!(plan.on_event(TIMER_FIRED, now), Action::Refresh);
    }
    let mut plan = planner_with_token(now);
    plan.on_event(PlannerEvent::Rejected(generation(1)), now);
    assert_eq!(plan.on_event(event_failed(false), now), backoff_until(now + MINUTE));
}

#[test]
fn jitter_shortens_a_backoff_down_to_the_minimum_interval() {
    let now = Instant::now();
    let backoff_after = |failures: u32, jitter| {
        let mut plan = planner_with_token(now);
        let mut at = now;
        let mut order = plan.on_event(PlannerEvent::Rejected(generation(1)), at);
        for _ in 0..failures {
            order = plan.on_event(
                PlannerEvent::Failed {
                    transient: true,
                    jitter,
                },
                at,
            );
            let Action::Wait { until: Some(until), .. } = order else {
                panic!("{order:?}");
            };
            if until == at {
                break;
            }
            let slept = until - at;
            at = until;
            let next = plan.on_event(TIMER_FIRED, at);
            assert_eq!(next, Action::Refresh);
            order = Action::Wait {
                until: Some(now + slept),
                is_backing_off: true,
            };
        }
        order
    };
    assert_eq!(backoff_after(6, 0.0), backoff_until(now + SECOND * 32));
    assert_eq!(backoff_after(6, 0.5), backoff_until(now + SECOND * 16));
    assert_eq!(
        backoff_after(6, 1.0),
        backoff_until(now + SECOND),
        "never less than the gap"
    );
}

// === what minting must not become ===

#[test]
fn renewed_tokens_that_graph_rejects_at_once_are_renewed_with_growing_backoff() {
    let mut now = Instant::now();
    let mut plan = planner_with_token(now);
    assert_eq!(
        plan.on_event(PlannerEvent::Rejected(generation(1)), now),
        Action::Refresh
    );
    for (number, seconds) in (2..).zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        plan.on_event(event_renewed(number, None), now);
        now += SECOND / 100;
        let until = now + SECOND * seconds;
        assert_eq!(
            plan.on_event(PlannerEvent::Rejected(generation(number)), now),
            backoff_until(until)
        );
        now = until;
        assert_eq!(plan.on_event(TIMER_FIRED, now), Action::Refresh);
    }
    // One that lives for a while ends the suspicion.
    plan.on_event(event_renewed(100, None), now);
    now += MINUTE * 2;
    assert_eq!(
        plan.on_event(PlannerEvent::Rejected(generation(100)), now),
        Action::Refresh
    );
    plan.on_event(event_renewed(101, None), now);
    now += SECOND * 2;
    assert_eq!(
        plan.on_event(PlannerEvent::Rejected(generation(101)), now),
        backoff_until(now + SECOND)
    );
}

#[test]
fn renewed_tokens_that_are_due_at_once_are_renewed_with_growing_backoff() {
    let mut now = Instant::now();
    let mut plan = planner_with_deadlines(
        Deadlines {
            renew_at: Some(now),
            expires_at: None,
        },
        now,
    );
    for (number, seconds) in (2..).zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        let until = now + SECOND * seconds;
        assert_eq!(plan.on_event(event_renewed(number, Some(now)), now), wait_until(until));
        let renew_at = Some(now);
        now = until;
        assert_eq!(
            plan.on_event(
                PlannerEvent::TimerFired(Deadlines {
                    renew_at,
                    expires_at: None
                }),
                now
            ),
            Action::Refresh
        );
    }
}

#[test]
fn found_tokens_that_graph_rejects_at_once_are_followed_by_the_next_at_once() {
    let mut now = Instant::now();
    let mut plan = planner_with_token(now);
    for number in 1..20 {
        assert_eq!(
            plan.on_event(PlannerEvent::Rejected(generation(number)), now),
            Action::Refresh
        );
        assert_eq!(plan.on_event(event_found(number + 1), now), IDLE);
        now += SECOND;
    }
}

#[test]
fn a_token_that_graph_accepts_again_needs_no_refresh() {
    let now = Instant::now();
    let mut plan = planner_backing_off(now);
    assert_eq!(plan.on_event(PlannerEvent::Accepted(generation(1)), now), IDLE);
    let later = now + MINUTE;
    assert_eq!(plan.on_event(TIMER_FIRED, later), IDLE);
    assert_eq!(
        plan.on_event(PlannerEvent::Rejected(generation(1)), later),
        Action::Refresh
    );
}
