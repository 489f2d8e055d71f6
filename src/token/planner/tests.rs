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

fn event_renewed(number: u64, renew_at: Option<Instant>) -> PlannerEvent {
    event_obtained(
        number,
        Deadlines {
            renew_at,
            expires_at: None,
        },
        true,
    )
}

const fn obtained_generation(generation: Generation, deadlines: Deadlines, renewed: bool) -> PlannerEvent {
    PlannerEvent::Obtained(CurrentGeneration {
        generation,
        deadlines,
        renewed,
    })
}

fn event_obtained(number: u64, deadlines: Deadlines, renewed: bool) -> PlannerEvent {
    obtained_generation(generation(number), deadlines, renewed)
}

fn event_failed(transient: bool) -> PlannerEvent {
    PlannerEvent::Failed(Failure { transient, jitter: 0.0 })
}

const TIMER_FIRED: PlannerEvent = PlannerEvent::TimerFired(Deadlines {
    renew_at: None,
    expires_at: None,
});

/// A planner whose first check found a token, at `now`.
fn planner_with_token(now: Instant) -> RefreshPlanner {
    planner_with_deadlines(Deadlines::default(), now)
}

fn planner_with_deadlines(deadlines: Deadlines, now: Instant) -> RefreshPlanner {
    let mut planner = RefreshPlanner::new(RefreshPolicy::default());
    assert_eq!(planner.next_action(now), Action::Check);
    planner.on_event(event_obtained(1, deadlines, false), now);
    planner
}

/// The same, in a backoff of a second after a failed refresh.
fn planner_backing_off(now: Instant) -> RefreshPlanner {
    let mut planner = planner_with_token(now);
    assert_eq!(
        planner.on_event(PlannerEvent::Rejected(generation(1)), now),
        Action::Refresh
    );
    assert_eq!(planner.on_event(event_failed(true), now), backoff_until(now + SECOND));
    planner
}

const IDLE: Action = Action::Wait(None);

const fn backoff_until(until: Instant) -> Action {
    Action::BackOff(until)
}

const fn wait_until(until: Instant) -> Action {
    Action::Wait(Some(until))
}

#[test]
fn at_start_it_checks_and_then_refreshes_until_there_is_a_token() {
    let now = Instant::now();
    let mut planner = RefreshPlanner::new(RefreshPolicy::default());
    assert_eq!(planner.next_action(now), Action::Check);
    assert_eq!(planner.on_event(event_failed(true), now), Action::Refresh);
    assert_eq!(planner.on_event(event_failed(true), now), backoff_until(now + SECOND));
}

// === obtained, failed ===

#[test]
fn a_new_credential_ends_the_backoff_and_resets_the_failures() {
    let mut now = Instant::now();
    let mut planner = planner_with_token(now);
    planner.on_event(PlannerEvent::Rejected(generation(1)), now);
    planner.on_event(event_failed(false), now);
    now += 2 * SECOND;
    assert_eq!(planner.on_event(PlannerEvent::SourceChanged, now), Action::Check);
    assert_eq!(planner.on_event(event_found(2), now), IDLE);
    assert_eq!(
        planner.on_event(PlannerEvent::Rejected(generation(2)), now),
        Action::Refresh
    );
    assert_eq!(planner.on_event(event_failed(true), now), backoff_until(now + SECOND));
}

#[test]
fn backoff_doubles_up_to_its_cap_and_a_permanent_failure_takes_the_cap_at_once() {
    let mut now = Instant::now();
    let mut planner = planner_with_token(now);
    planner.on_event(PlannerEvent::Rejected(generation(1)), now);
    for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
        let until = now + SECOND * expected;
        assert_eq!(planner.on_event(event_failed(true), now), backoff_until(until));
        now = until;
        assert_eq!(planner.on_event(TIMER_FIRED, now), Action::Refresh);
    }
    let mut planner = planner_with_token(now);
    planner.on_event(PlannerEvent::Rejected(generation(1)), now);
    assert_eq!(planner.on_event(event_failed(false), now), backoff_until(now + MINUTE));
}

#[test]
fn jitter_shortens_a_backoff_down_to_the_minimum_interval() {
    let now = Instant::now();
    let backoff_after = |failures: u32, jitter| {
        let mut planner = planner_with_token(now);
        let mut at = now;
        let mut action = planner.on_event(PlannerEvent::Rejected(generation(1)), at);
        for _ in 0..failures {
            action = planner.on_event(
                PlannerEvent::Failed(Failure {
                    transient: true,
                    jitter,
                }),
                at,
            );
            let Action::BackOff(until) = action else {
                panic!("{action:?}");
            };
            if until == at {
                break;
            }
            let slept = until - at;
            at = until;
            let next = planner.on_event(TIMER_FIRED, at);
            assert_eq!(next, Action::Refresh);
            action = backoff_until(now + slept);
        }
        action
    };
    assert_eq!(backoff_after(6, 0.0), backoff_until(now + SECOND * 32));
    assert_eq!(backoff_after(6, 0.5), backoff_until(now + SECOND * 16));
    assert_eq!(
        backoff_after(6, 1.0),
        backoff_until(now + SECOND),
        "never less than the minimum interval"
    );
}

// === no loops of renewals ===

#[test]
fn renewed_tokens_that_graph_rejects_at_once_are_renewed_with_growing_backoff() {
    let mut now = Instant::now();
    let mut planner = planner_with_token(now);
    assert_eq!(
        planner.on_event(PlannerEvent::Rejected(generation(1)), now),
        Action::Refresh
    );
    for (number, seconds) in (2..).zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        planner.on_event(event_renewed(number, None), now);
        now += SECOND / 100;
        let until = now + SECOND * seconds;
        assert_eq!(
            planner.on_event(PlannerEvent::Rejected(generation(number)), now),
            backoff_until(until)
        );
        now = until;
        assert_eq!(planner.on_event(TIMER_FIRED, now), Action::Refresh);
    }
    // A renewed token that works for a while resets the backoff.
    planner.on_event(event_renewed(100, None), now);
    now += MINUTE * 2;
    assert_eq!(
        planner.on_event(PlannerEvent::Rejected(generation(100)), now),
        Action::Refresh
    );
    planner.on_event(event_renewed(101, None), now);
    now += SECOND * 2;
    assert_eq!(
        planner.on_event(PlannerEvent::Rejected(generation(101)), now),
        backoff_until(now + SECOND)
    );
}

#[test]
fn renewed_tokens_that_are_due_at_once_are_renewed_with_growing_backoff() {
    let mut now = Instant::now();
    let mut planner = planner_with_deadlines(
        Deadlines {
            renew_at: Some(now),
            expires_at: None,
        },
        now,
    );
    for (number, seconds) in (2..).zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        let until = now + SECOND * seconds;
        assert_eq!(
            planner.on_event(event_renewed(number, Some(now)), now),
            wait_until(until)
        );
        let renew_at = Some(now);
        now = until;
        assert_eq!(
            planner.on_event(
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
    let mut planner = planner_with_token(now);
    for number in 1..20 {
        assert_eq!(
            planner.on_event(PlannerEvent::Rejected(generation(number)), now),
            Action::Refresh
        );
        assert_eq!(planner.on_event(event_found(number + 1), now), IDLE);
        now += SECOND;
    }
}

#[test]
fn a_token_that_graph_accepts_again_needs_no_refresh() {
    let now = Instant::now();
    let mut planner = planner_backing_off(now);
    assert_eq!(planner.on_event(PlannerEvent::Accepted(generation(1)), now), IDLE);
    let later = now + MINUTE;
    assert_eq!(planner.on_event(TIMER_FIRED, later), IDLE);
    assert_eq!(
        planner.on_event(PlannerEvent::Rejected(generation(1)), later),
        Action::Refresh
    );
}

const LOOK: Duration = Duration::from_secs(2);
const EVER_RARER: LookInterval = LookInterval {
    first: LOOK,
    longest: LOOK.saturating_mul(15),
};

#[test]
fn a_dead_tokens_sources_are_looked_at_on_a_clock_that_no_backoff_delays() {
    let start = Instant::now();
    let mut planner = RefreshPlanner::new(RefreshPolicy::default());
    planner.look_interval = Some(LookInterval::fixed(LOOK));
    assert_eq!(planner.next_action(start), Action::Check);
    assert_eq!(planner.on_event(event_found(1), start), IDLE);
    let mut action = planner.on_event(PlannerEvent::Rejected(generation(1)), start);
    let (mut now, mut checks, mut refreshes) = (start, 0, 0);
    while now < start + 10 * MINUTE {
        let event = match action {
            Action::Check => {
                checks += 1;
                event_failed(true)
            }
            Action::Refresh => {
                refreshes += 1;
                event_failed(true)
            }
            Action::BackOff(until) => {
                assert!(until > now && until <= now + LOOK, "{:?}", until - now);
                now = until;
                TIMER_FIRED
            }
            Action::Wait(_) => panic!("a dead token is looked after"),
        };
        action = planner.on_event(event, now);
    }
    assert!((280..=300).contains(&checks), "{checks} looks in ten minutes");
    // After 1, 2, 4 … 60 s, as without looks.
    assert!((14..=17).contains(&refreshes), "{refreshes} refreshes in ten minutes");
}

/// The seconds before each of so many looks at the sources of a dead token.
fn pauses_between_looks(planner: &mut RefreshPlanner, now: &mut Instant, looks: usize) -> Vec<u64> {
    let mut action = planner.next_action(*now);
    let (mut pauses, mut last) = (Vec::new(), *now);
    while pauses.len() < looks {
        let event = match action {
            Action::Check => {
                pauses.push((*now - last).as_secs());
                last = *now;
                PlannerEvent::Unchanged
            }
            Action::BackOff(until) => {
                *now = until;
                TIMER_FIRED
            }
            Action::Refresh | Action::Wait(_) => panic!("{action:?}"),
        };
        action = planner.on_event(event, *now);
    }
    pauses
}

#[test]
fn looks_that_find_no_valid_token_become_less_frequent_until_there_is_one() {
    let mut now = Instant::now();
    let mut planner = planner_with_token(now);
    // After the first refresh, only looks are due.
    planner.policy.min_interval = 10_000 * MINUTE;
    planner.look_interval = Some(EVER_RARER);
    for number in 1..4 {
        planner.on_event(PlannerEvent::Rejected(generation(number)), now);
        let pauses = pauses_between_looks(&mut planner, &mut now, 7);
        assert_eq!(pauses, [2, 4, 8, 16, 30, 30, 30]);
        planner.on_event(event_found(number + 1), now);
    }
}

#[test]
fn a_request_that_waits_hastens_a_look_that_has_become_rare_and_none_that_is_near() {
    let mut now = Instant::now();
    let mut planner = planner_with_token(now);
    planner.policy.min_interval = 10_000 * MINUTE;
    planner.look_interval = Some(EVER_RARER);
    planner.on_event(PlannerEvent::Rejected(generation(1)), now);
    pauses_between_looks(&mut planner, &mut now, 5);
    let action = planner.on_event(PlannerEvent::Unchanged, now);
    assert_eq!(action, Action::BackOff(now + 15 * LOOK));
    assert_eq!(planner.earlier_look(now), Some(now + LOOK));
    planner.hasten_look(now);
    let action = planner.on_event(TIMER_FIRED, now);
    assert_eq!(action, Action::BackOff(now + LOOK));
    let later = now + LOOK / 2;
    assert_eq!(planner.earlier_look(later), None);
    planner.hasten_look(later);
    assert_eq!(planner.on_event(TIMER_FIRED, later), action);
}

#[test]
fn a_look_that_is_to_confirm_an_absence_is_not_moved_to_an_earlier_one() {
    let now = Instant::now();
    let mut planner = planner_with_token(now);
    planner.policy.min_interval = 10_000 * MINUTE;
    planner.look_interval = Some(LookInterval::fixed(LOOK.mul_f64(0.9)));
    assert_eq!(
        planner.on_event(PlannerEvent::Rejected(generation(1)), now),
        Action::Refresh
    );
    planner.next_look = Some(now + LOOK);
    let action = planner.on_event(PlannerEvent::Unchanged, now);
    assert_eq!(action, Action::BackOff(now + LOOK));
}

#[test]
fn looks_for_a_valid_token_move_none_that_is_to_confirm_an_absence() {
    let mut now = Instant::now();
    let mut planner = planner_with_token(now);
    planner.look_interval = Some(LookInterval::fixed(LOOK.mul_f64(0.9)));
    for _ in 0..3 {
        planner.next_look = Some(now + LOOK);
        assert_eq!(planner.on_event(PlannerEvent::Unchanged, now), wait_until(now + LOOK));
        now += LOOK;
        assert_eq!(planner.on_event(TIMER_FIRED, now), Action::Check);
    }
}

#[test]
fn a_look_is_scheduled_once_whatever_the_state_of_the_token() {
    let now = Instant::now();
    let mut planner = planner_with_token(now);
    planner.next_look = Some(now + LOOK);
    assert_eq!(planner.on_event(PlannerEvent::Unchanged, now), wait_until(now + LOOK));
    assert_eq!(planner.on_event(TIMER_FIRED, now + LOOK), Action::Check);
    assert_eq!(planner.on_event(PlannerEvent::Unchanged, now + LOOK), IDLE);
}

#[test]
fn a_withdrawn_token_leaves_none() {
    let now = Instant::now();
    let mut planner = planner_with_token(now);
    planner.look_interval = Some(LookInterval::fixed(LOOK));
    assert_eq!(planner.on_event(PlannerEvent::Withdrawn, now), Action::Refresh);
    assert_eq!(planner.on_event(event_failed(false), now), backoff_until(now + LOOK));
    assert_eq!(planner.on_event(TIMER_FIRED, now + LOOK), Action::Check);
    assert_eq!(planner.on_event(event_found(2), now + LOOK), IDLE);
}
