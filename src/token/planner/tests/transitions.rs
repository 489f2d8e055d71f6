//! The transitions of the planner: late rejections, rejections of the current token, source changes, deadlines.

use super::*;

// === a late rejection ===

#[test]
fn a_late_rejection_of_an_old_generation_changes_nothing_whatever_goes_on() {
    let now = Instant::now();
    let late = PlannerEvent::Rejected(generation(1));
    let mut idle = planner_with_token(now);
    idle.on_event(event_found(2), now);
    assert_eq!(idle.on_event(late, now), IDLE);

    let mut backing_off = idle;
    assert_eq!(
        backing_off.on_event(PlannerEvent::Rejected(generation(2)), now),
        Action::Refresh
    );
    let until = backing_off.on_event(event_failed(true), now);
    assert_eq!(backing_off.on_event(late, now), until);

    let mut too_soon = planner_with_token(now);
    assert_eq!(too_soon.on_event(late, now), Action::Refresh);
    assert_eq!(too_soon.on_event(event_found(2), now), IDLE);
    assert_eq!(too_soon.on_event(late, now), IDLE);
}

// === a rejection of the current generation ===

#[test]
fn a_rejection_of_the_current_generation_refreshes_it_when_idle() {
    let now = Instant::now();
    assert_eq!(
        planner_with_token(now).on_event(PlannerEvent::Rejected(generation(1)), now),
        Action::Refresh
    );
}

#[test]
fn a_rejection_during_an_operation_is_handled_when_the_operation_ends() {
    let now = Instant::now();
    // The check found a newer token: the rejection is of an old one.
    let mut planner = planner_with_token(now);
    assert_eq!(planner.on_event(PlannerEvent::SourceChanged, now), Action::Check);
    assert_eq!(planner.on_event(event_found(2), now), IDLE);
    assert_eq!(planner.on_event(PlannerEvent::Rejected(generation(1)), now), IDLE);
    // The check found nothing: a refresh is needed.
    let mut planner = planner_with_token(now);
    assert_eq!(planner.on_event(PlannerEvent::SourceChanged, now), Action::Check);
    assert_eq!(planner.on_event(PlannerEvent::Unchanged, now), IDLE);
    assert_eq!(
        planner.on_event(PlannerEvent::Rejected(generation(1)), now),
        Action::Refresh
    );
}

#[test]
fn a_rejection_during_backoff_does_not_end_the_backoff() {
    let now = Instant::now();
    let mut planner = planner_backing_off(now);
    assert_eq!(
        planner.on_event(PlannerEvent::Rejected(generation(1)), now),
        backoff_until(now + SECOND)
    );
}

#[test]
fn a_second_refresh_within_the_minimum_interval_waits() {
    let now = Instant::now();
    let mut planner = planner_with_token(now);
    assert_eq!(
        planner.on_event(PlannerEvent::Rejected(generation(1)), now),
        Action::Refresh
    );
    assert_eq!(planner.on_event(event_found(2), now), IDLE);
    assert_eq!(
        planner.on_event(PlannerEvent::Rejected(generation(2)), now),
        backoff_until(now + SECOND)
    );
    assert_eq!(planner.on_event(TIMER_FIRED, now + SECOND), Action::Refresh);
}

// === a change of the source ===

#[test]
fn a_source_change_triggers_a_check_and_no_renewal() {
    let now = Instant::now();
    let mut planner = planner_with_token(now);
    assert_eq!(planner.on_event(PlannerEvent::SourceChanged, now), Action::Check);
    assert_eq!(planner.on_event(PlannerEvent::Unchanged, now), IDLE);
}

#[test]
fn a_source_change_during_backoff_is_checked_and_the_backoff_continues() {
    let now = Instant::now();
    let mut planner = planner_backing_off(now);
    assert_eq!(planner.on_event(PlannerEvent::SourceChanged, now), Action::Check);
    assert_eq!(
        planner.on_event(PlannerEvent::Unchanged, now),
        backoff_until(now + SECOND)
    );
}

#[test]
fn a_source_change_within_the_minimum_interval_is_checked() {
    let now = Instant::now();
    let mut planner = planner_with_token(now);
    planner.on_event(PlannerEvent::Rejected(generation(1)), now);
    planner.on_event(event_found(2), now);
    assert_eq!(
        planner.on_event(PlannerEvent::Rejected(generation(2)), now),
        backoff_until(now + SECOND)
    );
    assert_eq!(planner.on_event(PlannerEvent::SourceChanged, now), Action::Check);
    assert_eq!(planner.on_event(event_found(3), now), IDLE);
}

#[test]
fn an_unchanged_source_is_not_a_failure_and_urgency_is_evaluated_again() {
    let now = Instant::now();
    let mut planner = planner_with_token(now);
    assert_eq!(planner.on_event(PlannerEvent::SourceChanged, now), Action::Check);
    assert_eq!(
        planner.on_event(PlannerEvent::Rejected(generation(1)), now),
        Action::Refresh
    );
}

// === a due renewal ===

#[test]
fn an_overdue_token_is_refreshed_by_the_recomputed_deadline() {
    let now = Instant::now();
    let due = now + SECOND * 100;
    let deadlines = |due| Deadlines {
        renew_at: Some(due),
        expires_at: None,
    };
    let mut planner = planner_with_deadlines(deadlines(due), now);
    assert_eq!(planner.next_action(now), wait_until(due));
    // The machine was suspended: by wall time it is due now.
    let woke = PlannerEvent::TimerFired(deadlines(now + SECOND));
    assert_eq!(planner.on_event(woke, now + SECOND), Action::Refresh);
}

#[test]
fn a_token_due_within_the_minimum_interval_waits_and_the_current_one_stays_in_use() {
    let now = Instant::now();
    let mut planner = planner_with_token(now);
    planner.on_event(PlannerEvent::Rejected(generation(1)), now);
    let soon = now + SECOND / 2;
    let deadlines = Deadlines {
        renew_at: Some(soon),
        expires_at: None,
    };
    assert_eq!(
        planner.on_event(event_obtained(2, deadlines, false), now),
        wait_until(soon)
    );
    assert_eq!(
        planner.on_event(PlannerEvent::TimerFired(deadlines), soon),
        wait_until(now + SECOND)
    );
}

#[test]
fn a_due_renewal_that_fails_backs_off_for_up_to_an_hour() {
    let mut now = Instant::now();
    let deadlines = Deadlines {
        renew_at: Some(now),
        expires_at: Some(now + MINUTE * 60 * 24 * 30),
    };
    let mut planner = planner_with_deadlines(deadlines, now);
    for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600] {
        let until = now + SECOND * seconds;
        assert_eq!(
            planner.on_event(event_failed(true), now),
            wait_until(until),
            "requests are not in backoff"
        );
        now = until;
        assert_eq!(
            planner.on_event(PlannerEvent::TimerFired(deadlines), now),
            Action::Refresh
        );
    }
}

#[test]
fn a_rejection_or_the_expiry_ends_the_backoff_of_a_due_renewal() {
    let now = Instant::now();
    let expires_at = now + MINUTE * 10;
    let deadlines = Deadlines {
        renew_at: Some(now),
        expires_at: Some(expires_at),
    };
    let due_and_failed = || {
        let mut planner = planner_with_deadlines(deadlines, now);
        assert_eq!(
            planner.on_event(event_failed(false), now),
            wait_until(expires_at),
            "it wakes at the expiry"
        );
        planner
    };
    let later = now + MINUTE;
    assert_eq!(
        due_and_failed().on_event(PlannerEvent::Rejected(generation(1)), later),
        Action::Refresh
    );
    assert_eq!(
        due_and_failed().on_event(PlannerEvent::TimerFired(deadlines), expires_at),
        Action::Refresh
    );
}

#[test]
fn a_doubt_reads_the_sources_but_not_more_often_than_every_ten_seconds_and_renews_nothing() {
    let mut now = Instant::now();
    let mut planner = planner_with_token(now);
    assert_eq!(planner.on_event(PlannerEvent::Doubted, now), Action::Check);
    assert_eq!(planner.on_event(PlannerEvent::Unchanged, now), IDLE);
    now += 9 * SECOND;
    assert_eq!(planner.on_event(PlannerEvent::Doubted, now), IDLE);
    now += SECOND;
    assert_eq!(planner.on_event(PlannerEvent::Doubted, now), Action::Check);
    assert_eq!(planner.on_event(event_failed(true), now), IDLE);
    assert_eq!(
        planner.on_event(PlannerEvent::Rejected(generation(1)), now),
        Action::Refresh
    );
}

// === a renewal of another replica ===

#[test]
fn a_token_that_another_replica_renews_is_tried_again_soon_and_its_requests_wait() {
    let now = Instant::now();
    let locked = PlannerEvent::Locked { jitter: 0.5 };
    let mut planner = planner_with_token(now);
    planner.on_event(PlannerEvent::Rejected(generation(1)), now);
    assert_eq!(planner.on_event(locked, now), wait_until(now + 2 * SECOND));
    assert!(planner.is_locked(now) && !planner.is_locked(now + 2 * SECOND));
    assert_eq!(planner.on_event(TIMER_FIRED, now + 2 * SECOND), Action::Refresh);
    assert_eq!(planner.on_event(event_found(2), now + 2 * SECOND), IDLE);

    let due = Deadlines {
        renew_at: Some(now),
        expires_at: None,
    };
    let mut planner = planner_with_deadlines(due, now);
    assert_eq!(planner.on_event(locked, now), wait_until(now + 2 * SECOND));
    assert_eq!(
        planner.on_event(PlannerEvent::TimerFired(due), now + 2 * SECOND),
        Action::Refresh
    );
}
