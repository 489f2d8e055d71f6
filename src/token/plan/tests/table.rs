//! The table of a token's life, row by row: late rejections, rejections of the live one, changes, dates.

use super::*;

// === the table: a late rejection ===

#[test]
fn a_late_rejection_of_an_old_generation_changes_nothing_whatever_goes_on() {
    let now = Instant::now();
    let late = Event::Rejected(generation(1));
    let mut idle = live(now);
    idle.on(found(2), now);
    assert_eq!(idle.on(late, now), IDLE);

    let mut resting = idle;
    assert_eq!(
        resting.on(Event::Rejected(generation(2)), now),
        Order::Replace
    );
    let until = resting.on(failed(true), now);
    assert_eq!(resting.on(late, now), until);

    let mut too_soon = live(now);
    assert_eq!(too_soon.on(late, now), Order::Replace);
    assert_eq!(too_soon.on(found(2), now), IDLE);
    assert_eq!(too_soon.on(late, now), IDLE);
}

// === the table: a rejection of the live generation ===

#[test]
fn a_rejection_of_the_live_generation_replaces_it_when_idle() {
    let now = Instant::now();
    assert_eq!(
        live(now).on(Event::Rejected(generation(1)), now),
        Order::Replace
    );
}

#[test]
fn a_rejection_noted_during_work_is_judged_when_the_work_ends() {
    let now = Instant::now();
    // The look found a newer one: the rejection is of the past.
    let mut plan = live(now);
    assert_eq!(plan.on(Event::Changed, now), Order::Look);
    assert_eq!(plan.on(found(2), now), IDLE);
    assert_eq!(plan.on(Event::Rejected(generation(1)), now), IDLE);
    // It found nothing: now there is need.
    let mut plan = live(now);
    assert_eq!(plan.on(Event::Changed, now), Order::Look);
    assert_eq!(plan.on(Event::NothingNew, now), IDLE);
    assert_eq!(plan.on(Event::Rejected(generation(1)), now), Order::Replace);
}

#[test]
fn a_rejection_while_resting_does_not_end_the_rest() {
    let now = Instant::now();
    let mut plan = resting(now);
    assert_eq!(
        plan.on(Event::Rejected(generation(1)), now),
        rest(now + SECOND)
    );
}

#[test]
fn a_second_replacement_within_the_gap_is_too_soon() {
    let now = Instant::now();
    let mut plan = live(now);
    assert_eq!(plan.on(Event::Rejected(generation(1)), now), Order::Replace);
    assert_eq!(plan.on(found(2), now), IDLE);
    assert_eq!(
        plan.on(Event::Rejected(generation(2)), now),
        rest(now + SECOND)
    );
    assert_eq!(plan.on(NOTHING, now + SECOND), Order::Replace);
}

// === the table: a change of the source ===

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
    let mut plan = resting(now);
    assert_eq!(plan.on(Event::Changed, now), Order::Look);
    assert_eq!(plan.on(Event::NothingNew, now), rest(now + SECOND));
}

#[test]
fn a_change_within_the_gap_is_looked_at() {
    let now = Instant::now();
    let mut plan = live(now);
    plan.on(Event::Rejected(generation(1)), now);
    plan.on(found(2), now);
    assert_eq!(
        plan.on(Event::Rejected(generation(2)), now),
        rest(now + SECOND)
    );
    assert_eq!(plan.on(Event::Changed, now), Order::Look);
    assert_eq!(plan.on(found(3), now), IDLE);
}

#[test]
fn nothing_new_after_a_look_is_no_failure_and_need_is_judged_again() {
    let now = Instant::now();
    let mut plan = live(now);
    assert_eq!(plan.on(Event::Changed, now), Order::Look);
    assert_eq!(plan.on(Event::Rejected(generation(1)), now), Order::Replace);
}

// === the table: due ===

#[test]
fn what_is_past_due_is_replaced_by_the_date_of_today() {
    let now = Instant::now();
    let due = now + SECOND * 100;
    let dates = |due| Dates {
        due: Some(due),
        ends: None,
    };
    let mut plan = live_with(dates(due), now);
    assert_eq!(plan.next(now), wait(due));
    // The machine slept: by today's relation of the clocks it is due now.
    let woke = Event::Woke(dates(now + SECOND));
    assert_eq!(plan.on(woke, now + SECOND), Order::Replace);
}

#[test]
fn what_is_due_within_the_gap_waits_for_it_and_the_live_one_serves_on() {
    let now = Instant::now();
    let mut plan = live(now);
    plan.on(Event::Rejected(generation(1)), now);
    let soon = now + SECOND / 2;
    let dates = Dates {
        due: Some(soon),
        ends: None,
    };
    assert_eq!(plan.on(obtained(2, dates, false), now), wait(soon));
    assert_eq!(plan.on(Event::Woke(dates), soon), wait(now + SECOND));
}

#[test]
fn a_renewal_that_is_due_and_fails_rests_longer_and_longer_up_to_an_hour() {
    let mut now = Instant::now();
    let dates = Dates {
        due: Some(now),
        ends: Some(now + MINUTE * 60 * 24 * 30),
    };
    let mut plan = live_with(dates, now);
    for seconds in [
        1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600,
    ] {
        let until = now + SECOND * seconds;
        assert_eq!(
            plan.on(failed(true), now),
            wait(until),
            "nobody is told to hurry"
        );
        now = until;
        assert_eq!(plan.on(Event::Woke(dates), now), Order::Replace);
    }
}

#[test]
fn a_rejection_or_the_end_is_urgent_however_long_the_rest_of_a_due_renewal_is() {
    let now = Instant::now();
    let ends = now + MINUTE * 10;
    let dates = Dates {
        due: Some(now),
        ends: Some(ends),
    };
    let due_and_refused = || {
        let mut plan = live_with(dates, now);
        assert_eq!(
            plan.on(failed(false), now),
            wait(ends),
            "it wakes at the end"
        );
        plan
    };
    let later = now + MINUTE;
    assert_eq!(
        due_and_refused().on(Event::Rejected(generation(1)), later),
        Order::Replace
    );
    assert_eq!(
        due_and_refused().on(Event::Woke(dates), ends),
        Order::Replace
    );
}
