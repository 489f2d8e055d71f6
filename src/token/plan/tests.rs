use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn generation(number: u64) -> Generation {
    Generation::from_number(number).unwrap()
}

/// A plan whose first look found a token, at `now`.
fn live(now: Instant) -> Plan {
    let mut plan = Plan::new(Schedule::default());
    assert_eq!(plan.next(now), Order::Look);
    plan.on(
        Event::Obtained {
            generation: generation(1),
            due: None,
        },
        now,
    );
    plan
}

const IDLE: Order = Order::Wait {
    until: None,
    resting: false,
};

#[test]
fn a_start_looks_and_then_replaces_until_there_is_a_token() {
    let now = Instant::now();
    let mut plan = Plan::new(Schedule::default());
    assert_eq!(plan.next(now), Order::Look);
    assert_eq!(
        plan.on(
            Event::Failed {
                transient: true,
                jitter: 0.0
            },
            now
        ),
        Order::Replace
    );
    let rest = plan.on(
        Event::Failed {
            transient: true,
            jitter: 0.0,
        },
        now,
    );
    assert_eq!(
        rest,
        Order::Wait {
            until: Some(now + SECOND),
            resting: true
        }
    );
}

#[test]
fn a_late_rejection_of_an_old_generation_changes_nothing() {
    let now = Instant::now();
    let mut plan = live(now);
    plan.on(
        Event::Obtained {
            generation: generation(2),
            due: None,
        },
        now,
    );
    assert_eq!(plan.on(Event::Rejected(generation(1)), now), IDLE);
    assert_eq!(plan.on(Event::Rejected(generation(2)), now), Order::Replace);
    let failed = Event::Failed {
        transient: true,
        jitter: 0.0,
    };
    let rest = plan.on(failed, now);
    assert_eq!(plan.on(Event::Rejected(generation(1)), now), rest);
}

#[test]
fn a_rejection_of_the_live_generation_replaces_it() {
    let now = Instant::now();
    assert_eq!(
        live(now).on(Event::Rejected(generation(1)), now),
        Order::Replace
    );
}

#[test]
fn a_change_of_the_source_is_a_reason_to_look_and_not_to_mint() {
    let now = Instant::now();
    let mut plan = live(now);
    assert_eq!(plan.on(Event::Changed, now), Order::Look);
    assert_eq!(plan.on(Event::NothingNew, now), IDLE);
}

#[test]
fn a_change_while_resting_is_looked_at_and_the_rest_goes_on() {
    let now = Instant::now();
    let mut plan = live(now);
    assert_eq!(plan.on(Event::Rejected(generation(1)), now), Order::Replace);
    let rest = plan.on(
        Event::Failed {
            transient: true,
            jitter: 0.0,
        },
        now,
    );
    assert_eq!(
        rest,
        Order::Wait {
            until: Some(now + SECOND),
            resting: true
        }
    );
    assert_eq!(plan.on(Event::Changed, now), Order::Look);
    assert_eq!(plan.on(Event::NothingNew, now), rest);
}

#[test]
fn a_new_credential_ends_the_rest_and_forgets_the_failures() {
    let mut now = Instant::now();
    let mut plan = live(now);
    let failed = |transient| Event::Failed {
        transient,
        jitter: 0.0,
    };
    plan.on(Event::Rejected(generation(1)), now);
    plan.on(failed(false), now);
    now += 2 * SECOND;
    assert_eq!(plan.on(Event::Changed, now), Order::Look);
    let obtained = Event::Obtained {
        generation: generation(2),
        due: None,
    };
    assert_eq!(plan.on(obtained, now), IDLE);
    assert_eq!(plan.on(Event::Rejected(generation(2)), now), Order::Replace);
    let first_rest = Order::Wait {
        until: Some(now + SECOND),
        resting: true,
    };
    assert_eq!(plan.on(failed(true), now), first_rest);
}

#[test]
fn a_second_replacement_within_the_gap_is_too_soon() {
    let now = Instant::now();
    let mut plan = live(now);
    assert_eq!(plan.on(Event::Rejected(generation(1)), now), Order::Replace);
    assert_eq!(
        plan.on(
            Event::Obtained {
                generation: generation(2),
                due: None
            },
            now
        ),
        IDLE
    );
    let too_soon = Order::Wait {
        until: Some(now + SECOND),
        resting: true,
    };
    assert_eq!(plan.on(Event::Rejected(generation(2)), now), too_soon);
    assert_eq!(
        plan.on(Event::Woke { due: None }, now + SECOND),
        Order::Replace
    );
}

#[test]
fn rests_double_up_to_their_cap_and_a_permanent_failure_takes_the_cap_at_once() {
    let mut now = Instant::now();
    let mut plan = live(now);
    plan.on(Event::Rejected(generation(1)), now);
    for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
        let until = now + SECOND * expected;
        let rest = plan.on(
            Event::Failed {
                transient: true,
                jitter: 0.0,
            },
            now,
        );
        assert_eq!(
            rest,
            Order::Wait {
                until: Some(until),
                resting: true
            }
        );
        now = until;
        assert_eq!(plan.on(Event::Woke { due: None }, now), Order::Replace);
    }
    let mut plan = live(now);
    plan.on(Event::Rejected(generation(1)), now);
    let rest = plan.on(
        Event::Failed {
            transient: false,
            jitter: 0.0,
        },
        now,
    );
    assert_eq!(
        rest,
        Order::Wait {
            until: Some(now + SECOND * 60),
            resting: true
        }
    );
}

#[test]
fn what_is_past_due_is_replaced_by_the_date_of_today() {
    let now = Instant::now();
    let mut plan = live(now);
    let due = Some(now + SECOND * 100);
    let waits = plan.on(
        Event::Obtained {
            generation: generation(2),
            due,
        },
        now,
    );
    assert_eq!(
        waits,
        Order::Wait {
            until: due,
            resting: false
        }
    );
    // The machine slept: by today's relation of the clocks it is due now.
    assert_eq!(
        plan.on(
            Event::Woke {
                due: Some(now + SECOND)
            },
            now + SECOND
        ),
        Order::Replace
    );
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    Changed,
    Rejected(u64),
    Slept(u64),
    Ended(Ending),
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Found { due_in: Option<u64> },
    Nothing,
    Failed { transient: bool },
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let ending = prop_oneof![
        proptest::option::of(0_u64..5_000).prop_map(|due_in| Ending::Found { due_in }),
        Just(Ending::Nothing),
        any::<bool>().prop_map(|transient| Ending::Failed { transient }),
    ];
    let happening = prop_oneof![
        1 => Just(Happening::Changed),
        2 => (0_u64..3).prop_map(Happening::Rejected),
        3 => (0_u64..3_000).prop_map(Happening::Slept),
        4 => ending.prop_map(Happening::Ended),
    ];
    proptest::collection::vec(happening, 1..200)
}

proptest! {
    /// Whatever happens: no wake-up lies in the past, replacements keep their rate, and nobody looks without cause.
    #[test]
    fn the_plan_never_spins_and_never_exceeds_its_rate(happenings in happenings()) {
        let start = Instant::now();
        let mut now = start;
        let mut plan = Plan::new(Schedule::default());
        let (mut looks, mut changes, mut replacements, mut newest) = (0_u64, 0_u64, 0_u64, 0_u64);
        let mut order = plan.next(now);
        for happening in happenings {
            match order {
                Order::Look => looks += 1,
                Order::Replace => replacements += 1,
                Order::Wait { .. } => {}
            }
            let working = !matches!(order, Order::Wait { .. });
            let event = match happening {
                Happening::Ended(ending) if working => {
                    now += Duration::from_millis(5);
                    match ending {
                        Ending::Found { due_in } => {
                            newest += 1;
                            let due = due_in.map(|millis| now + Duration::from_millis(millis));
                            Event::Obtained { generation: generation(newest), due }
                        }
                        Ending::Nothing if order == Order::Look => Event::NothingNew,
                        Ending::Nothing => Event::Failed { transient: true, jitter: 0.5 },
                        Ending::Failed { transient } => Event::Failed { transient, jitter: 0.5 },
                    }
                }
                // The shell reports nothing else while it works, and a wait never ends like this.
                _ if working => Event::Failed { transient: true, jitter: 0.5 },
                Happening::Ended(_) => continue,
                Happening::Changed => {
                    changes += 1;
                    Event::Changed
                }
                Happening::Rejected(back) => match newest.checked_sub(back).filter(|number| *number > 0) {
                    Some(number) => Event::Rejected(generation(number)),
                    None => continue,
                },
                Happening::Slept(millis) => {
                    now += Duration::from_millis(millis);
                    let due = plan.live.and_then(|live| live.due);
                    Event::Woke { due }
                }
            };
            order = plan.on(event, now);
            if let Order::Wait { until: Some(until), .. } = order {
                prop_assert!(until > now, "a wake-up in the past");
            }
        }
        let elapsed = now - start;
        let gap = Schedule::default().min_gap;
        prop_assert!(replacements <= u64::try_from(elapsed.as_millis() / gap.as_millis()).unwrap() + 2);
        prop_assert!(looks <= changes + 1, "{looks} looks for {changes} changes");
    }
}
