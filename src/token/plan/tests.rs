mod table;
mod walks;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn generation(number: u64) -> Generation {
    Generation::from_number(number).unwrap()
}

fn found(number: u64) -> Event {
    obtained(number, Dates::default(), false)
}

fn minted(number: u64, due: Option<Instant>) -> Event {
    obtained(number, Dates { due, ends: None }, true)
}

const fn obtained_as(generation: Generation, dates: Dates, minted: bool) -> Event {
    Event::Obtained {
        generation,
        dates,
        minted,
    }
}

fn obtained(number: u64, dates: Dates, minted: bool) -> Event {
    obtained_as(generation(number), dates, minted)
}

fn failed(transient: bool) -> Event {
    Event::Failed {
        transient,
        jitter: 0.0,
    }
}

const NOTHING: Event = Event::Woke(Dates {
    due: None,
    ends: None,
});

/// A plan whose first look found a token, at `now`.
fn live(now: Instant) -> Plan {
    live_with(Dates::default(), now)
}

fn live_with(dates: Dates, now: Instant) -> Plan {
    let mut plan = Plan::new(Schedule::default());
    assert_eq!(plan.next(now), Order::Look);
    plan.on(obtained(1, dates, false), now);
    plan
}

/// The same, resting for a second after a failed replacement.
fn resting(now: Instant) -> Plan {
    let mut plan = live(now);
    assert_eq!(plan.on(Event::Rejected(generation(1)), now), Order::Replace);
    assert_eq!(plan.on(failed(true), now), rest(now + SECOND));
    plan
}

const IDLE: Order = Order::Wait {
    until: None,
    resting: false,
};

const fn rest(until: Instant) -> Order {
    Order::Wait {
        until: Some(until),
        resting: true,
    }
}

const fn wait(until: Instant) -> Order {
    Order::Wait {
        until: Some(until),
        resting: false,
    }
}

#[test]
fn a_start_looks_and_then_replaces_until_there_is_a_token() {
    let now = Instant::now();
    let mut plan = Plan::new(Schedule::default());
    assert_eq!(plan.next(now), Order::Look);
    assert_eq!(plan.on(failed(true), now), Order::Replace);
    assert_eq!(plan.on(failed(true), now), rest(now + SECOND));
}

// === the table: obtained, failed ===

#[test]
fn a_new_credential_ends_the_rest_and_forgets_the_failures() {
    let mut now = Instant::now();
    let mut plan = live(now);
    plan.on(Event::Rejected(generation(1)), now);
    plan.on(failed(false), now);
    now += 2 * SECOND;
    assert_eq!(plan.on(Event::Changed, now), Order::Look);
    assert_eq!(plan.on(found(2), now), IDLE);
    assert_eq!(plan.on(Event::Rejected(generation(2)), now), Order::Replace);
    assert_eq!(plan.on(failed(true), now), rest(now + SECOND));
}

#[test]
fn rests_double_up_to_their_cap_and_a_permanent_failure_takes_the_cap_at_once() {
    let mut now = Instant::now();
    let mut plan = live(now);
    plan.on(Event::Rejected(generation(1)), now);
    for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
        let until = now + SECOND * expected;
        assert_eq!(plan.on(failed(true), now), rest(until));
        now = until;
        assert_eq!(plan.on(NOTHING, now), Order::Replace);
    }
    let mut plan = live(now);
    plan.on(Event::Rejected(generation(1)), now);
    assert_eq!(plan.on(failed(false), now), rest(now + MINUTE));
}

#[test]
fn jitter_takes_any_part_of_a_rest_but_the_gap() {
    let now = Instant::now();
    let rest_of = |failures: u32, jitter| {
        let mut plan = live(now);
        let mut at = now;
        let mut order = plan.on(Event::Rejected(generation(1)), at);
        for _ in 0..failures {
            order = plan.on(
                Event::Failed {
                    transient: true,
                    jitter,
                },
                at,
            );
            let Order::Wait {
                until: Some(until), ..
            } = order
            else {
                panic!("{order:?}");
            };
            if until == at {
                break;
            }
            let slept = until - at;
            at = until;
            let next = plan.on(NOTHING, at);
            assert_eq!(next, Order::Replace);
            order = Order::Wait {
                until: Some(now + slept),
                resting: true,
            };
        }
        order
    };
    assert_eq!(rest_of(6, 0.0), rest(now + SECOND * 32));
    assert_eq!(rest_of(6, 0.5), rest(now + SECOND * 16));
    assert_eq!(
        rest_of(6, 1.0),
        rest(now + SECOND),
        "never less than the gap"
    );
}

// === what minting must not become ===

#[test]
fn minted_tokens_that_graph_rejects_at_once_are_minted_ever_more_seldom() {
    let mut now = Instant::now();
    let mut plan = live(now);
    assert_eq!(plan.on(Event::Rejected(generation(1)), now), Order::Replace);
    for (number, seconds) in (2..).zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        plan.on(minted(number, None), now);
        now += SECOND / 100;
        let until = now + SECOND * seconds;
        assert_eq!(
            plan.on(Event::Rejected(generation(number)), now),
            rest(until)
        );
        now = until;
        assert_eq!(plan.on(NOTHING, now), Order::Replace);
    }
    // One that lives for a while ends the suspicion.
    plan.on(minted(100, None), now);
    now += MINUTE * 2;
    assert_eq!(
        plan.on(Event::Rejected(generation(100)), now),
        Order::Replace
    );
    plan.on(minted(101, None), now);
    now += SECOND * 2;
    assert_eq!(
        plan.on(Event::Rejected(generation(101)), now),
        rest(now + SECOND)
    );
}

#[test]
fn minted_tokens_that_are_due_at_once_are_minted_ever_more_seldom() {
    let mut now = Instant::now();
    let mut plan = live_with(
        Dates {
            due: Some(now),
            ends: None,
        },
        now,
    );
    for (number, seconds) in (2..).zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        let until = now + SECOND * seconds;
        assert_eq!(plan.on(minted(number, Some(now)), now), wait(until));
        let due = Some(now);
        now = until;
        assert_eq!(
            plan.on(Event::Woke(Dates { due, ends: None }), now),
            Order::Replace
        );
    }
}

#[test]
fn found_tokens_that_graph_rejects_at_once_are_followed_by_the_next_at_once() {
    let mut now = Instant::now();
    let mut plan = live(now);
    for number in 1..20 {
        assert_eq!(
            plan.on(Event::Rejected(generation(number)), now),
            Order::Replace
        );
        assert_eq!(plan.on(found(number + 1), now), IDLE);
        now += SECOND;
    }
}

#[test]
fn a_token_that_graph_takes_again_needs_no_successor() {
    let now = Instant::now();
    let mut plan = resting(now);
    assert_eq!(plan.on(Event::Absolved(generation(1)), now), IDLE);
    let later = now + MINUTE;
    assert_eq!(plan.on(NOTHING, later), IDLE);
    assert_eq!(
        plan.on(Event::Rejected(generation(1)), later),
        Order::Replace
    );
}
