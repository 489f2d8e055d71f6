//! All of it at once: walks through event sequences that no test would think of.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Happening {
    Changed,
    Rejected(u64),
    Absolved(u64),
    Slept(u64),
    Ended(Ending),
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Found {
        due_in: Option<u64>,
        ends_in: Option<u64>,
        minted: bool,
    },
    Nothing,
    Failed {
        transient: bool,
        jitter: f64,
    },
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let soon = || proptest::option::of(0_u64..5_000);
    let ending = prop_oneof![
        (soon(), soon(), any::<bool>()).prop_map(|(due_in, ends_in, minted)| Ending::Found {
            due_in,
            ends_in,
            minted
        }),
        Just(Ending::Nothing),
        (any::<bool>(), 0.0..=1.0)
            .prop_map(|(transient, jitter)| Ending::Failed { transient, jitter }),
    ];
    let happening = prop_oneof![
        1 => Just(Happening::Changed),
        3 => (0_u64..3).prop_map(Happening::Rejected),
        1 => (0_u64..3).prop_map(Happening::Absolved),
        3 => (0_u64..3_000).prop_map(Happening::Slept),
        4 => ending.prop_map(Happening::Ended),
    ];
    proptest::collection::vec(happening, 1..200)
}

proptest! {
    /// Whatever happens: no wake-up lies in the past, replacements keep their rate, nobody looks without cause, a live
    /// token that works is never called resting, and what is dead is not left alone for longer than the longest rest.
    #[test]
    fn the_plan_never_spins_never_exceeds_its_rate_and_never_forgets(happenings in happenings()) {
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
            let of = |back: u64| newest.checked_sub(back).filter(|number| *number > 0).map(generation);
            let event = match happening {
                Happening::Ended(ending) if working => {
                    now += Duration::from_millis(5);
                    let at = |millis: Option<u64>| millis.map(|millis| now + Duration::from_millis(millis));
                    match ending {
                        Ending::Found { due_in, ends_in, minted } => {
                            newest += 1;
                            let dates = Dates { due: at(due_in), ends: at(ends_in) };
                            obtained(newest, dates, minted && order == Order::Replace)
                        }
                        Ending::Nothing if order == Order::Look => Event::NothingNew,
                        Ending::Nothing => Event::Failed { transient: true, jitter: 0.5 },
                        Ending::Failed { transient, jitter } => Event::Failed { transient, jitter },
                    }
                }
                // The shell reports nothing else while it works, and a wait never ends like this.
                _ if working => Event::Failed { transient: true, jitter: 0.5 },
                Happening::Ended(_) => continue,
                Happening::Changed => {
                    changes += 1;
                    Event::Changed
                }
                Happening::Rejected(back) => match of(back) {
                    Some(generation) => Event::Rejected(generation),
                    None => continue,
                },
                Happening::Absolved(back) => match of(back) {
                    Some(generation) => Event::Absolved(generation),
                    None => continue,
                },
                Happening::Slept(millis) => {
                    now += Duration::from_millis(millis);
                    Event::Woke(plan.live.map(|live| live.dates).unwrap_or_default())
                }
            };
            order = plan.on(event, now);
            if let Order::Wait { until, resting } = order {
                prop_assert!(until.is_none_or(|until| until > now), "a wake-up in the past");
                prop_assert_eq!(resting, plan.need(now) == Some(Need::Dead));
                if resting {
                    prop_assert!(until.is_some_and(|until| until <= now + MINUTE), "forgotten");
                }
            }
        }
        let elapsed = now - start;
        let gap = Schedule::default().min_gap;
        prop_assert!(replacements <= u64::try_from(elapsed.as_millis() / gap.as_millis()).unwrap() + 2);
        prop_assert!(looks <= changes + 1, "{looks} looks for {changes} changes");
    }
}
