//! Random event sequences.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum RandomEvent {
    SourceChanged,
    Rejected(u64),
    Accepted(u64),
    Elapsed(u64),
    OperationFinished(RandomOutcome),
}

#[derive(Clone, Copy, Debug)]
enum RandomOutcome {
    Found {
        renew_in: Option<u64>,
        expires_in: Option<u64>,
        renewed: bool,
    },
    Unchanged,
    Locked {
        jitter: f64,
    },
    Failed {
        transient: bool,
        jitter: f64,
    },
}

fn random_events() -> impl Strategy<Value = Vec<RandomEvent>> {
    let optional_delay = || proptest::option::of(0_u64..5_000);
    let outcome = prop_oneof![
        (optional_delay(), optional_delay(), any::<bool>()).prop_map(|(renew_in, expires_in, renewed)| {
            RandomOutcome::Found {
                renew_in,
                expires_in,
                renewed,
            }
        }),
        Just(RandomOutcome::Unchanged),
        (0.0..=1.0).prop_map(|jitter| RandomOutcome::Locked { jitter }),
        (any::<bool>(), 0.0..=1.0).prop_map(|(transient, jitter)| RandomOutcome::Failed { transient, jitter }),
    ];
    let event = prop_oneof![
        1 => Just(RandomEvent::SourceChanged),
        3 => (0_u64..3).prop_map(RandomEvent::Rejected),
        1 => (0_u64..3).prop_map(RandomEvent::Accepted),
        3 => (0_u64..3_000).prop_map(RandomEvent::Elapsed),
        4 => outcome.prop_map(RandomEvent::OperationFinished),
    ];
    proptest::collection::vec(event, 1..200)
}

proptest! {
    /// Wake-ups are in the future, refreshes keep their minimum interval, checks need a cause, the planner is in backoff only
    /// while the token is dead and no other replica renews it, and a dead token is retried within the longest backoff.
    #[test]
    fn the_planner_never_busy_loops_never_exceeds_its_rate_and_never_stalls(events in random_events()) {
        let start = Instant::now();
        let mut now = start;
        let mut planner = RefreshPlanner::new(RefreshPolicy::default());
        let (mut checks, mut changes, mut refreshes, mut newest) = (0_u64, 0_u64, 0_u64, 0_u64);
        let mut action = planner.next_action(now);
        for random_event in events {
            match action {
                Action::Check => checks += 1,
                Action::Refresh => refreshes += 1,
                Action::Wait(_) | Action::BackOff(_) => {}
            }
            let is_operating = matches!(action, Action::Check | Action::Refresh);
            let generation_before = |back: u64| newest.checked_sub(back).filter(|number| *number > 0).map(generation);
            let event = match random_event {
                RandomEvent::OperationFinished(outcome) if is_operating => {
                    now += Duration::from_millis(5);
                    let at = |millis: Option<u64>| millis.map(|millis| now + Duration::from_millis(millis));
                    match outcome {
                        RandomOutcome::Found { renew_in, expires_in, renewed } => {
                            newest += 1;
                            let deadlines = Deadlines { renew_at: at(renew_in), expires_at: at(expires_in) };
                            event_obtained(newest, deadlines, renewed && action == Action::Refresh)
                        }
                        RandomOutcome::Locked { jitter } if action == Action::Refresh => PlannerEvent::Locked { jitter },
                        RandomOutcome::Unchanged | RandomOutcome::Locked { .. } if action == Action::Check => PlannerEvent::Unchanged,
                        RandomOutcome::Unchanged | RandomOutcome::Locked { .. } => {
                            PlannerEvent::Failed(Failure { transient: true, jitter: 0.5 })
                        }
                        RandomOutcome::Failed { transient, jitter } => PlannerEvent::Failed(Failure { transient, jitter }),
                    }
                }
                // During an operation the refresher reports only its result.
                _ if is_operating => PlannerEvent::Failed(Failure { transient: true, jitter: 0.5 }),
                RandomEvent::OperationFinished(_) => continue,
                RandomEvent::SourceChanged => {
                    changes += 1;
                    PlannerEvent::SourceChanged
                }
                RandomEvent::Rejected(back) => match generation_before(back) {
                    Some(generation) => PlannerEvent::Rejected(generation),
                    None => continue,
                },
                RandomEvent::Accepted(back) => match generation_before(back) {
                    Some(generation) => PlannerEvent::Accepted(generation),
                    None => continue,
                },
                RandomEvent::Elapsed(millis) => {
                    now += Duration::from_millis(millis);
                    PlannerEvent::TimerFired(planner.current.map(|current| current.deadlines).unwrap_or_default())
                }
            };
            action = planner.on_event(event, now);
            let (until, is_backing_off) = match action {
                Action::Check | Action::Refresh => continue,
                Action::Wait(until) => (until, false),
                Action::BackOff(until) => (Some(until), true),
            };
            prop_assert!(until.is_none_or(|until| until > now), "a wake-up in the past");
            let is_dead = planner.urgency(now) == Some(Urgency::Dead);
            prop_assert_eq!(is_backing_off, is_dead && !planner.is_locked(now));
            if is_dead {
                prop_assert!(until.is_some_and(|until| until <= now + MINUTE), "not retried in time");
            }
        }
        let elapsed = now - start;
        let min_interval = RefreshPolicy::default().min_interval;
        prop_assert!(refreshes <= u64::try_from(elapsed.as_millis() / min_interval.as_millis()).unwrap() + 2);
        prop_assert!(checks <= changes + 1, "{checks} checks for {changes} changes");
    }
}
