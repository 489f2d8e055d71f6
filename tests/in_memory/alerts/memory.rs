//! What is remembered of delivered alerts across restarts and replicas.

use std::time::Duration;

use graphward::alert::{AlertMemory, Webhook};
use graphward::token::AlertCause;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, sleep_until};

use super::webhook::{AlertFixture, WebhookResponse};
use super::{DAY, rejected, test_alert, with_reason};
use crate::support::{LogCapture, TestProxyBuilder};

/// Starts a process with this state directory.
fn start(state: &TempDir) -> AlertFixture {
    run(state, AlertFixture::new_idle())
}

/// Starts this one; its clock began when it was created.
fn run(state: &TempDir, (fixture, webhook): (AlertFixture, Webhook)) -> AlertFixture {
    let webhook = webhook.with_memory(AlertMemory::new(state.path()));
    drop(fixture.tasks.spawn(webhook.run()));
    fixture
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_was_delivered_before_a_restart_or_by_another_replica_is_not_repeated_within_the_day() {
    let state = tempfile::tempdir().unwrap();
    let start = || start(&state);
    let first = start();
    first.sender.send(&test_alert("default", AlertCause::Expiry(7)));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(first.counters(), [1, 0, 0, 0]);
    for _ in 0..3 {
        let restarted = start();
        restarted.sender.send(&test_alert("default", AlertCause::Expiry(7)));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(restarted.counters(), [0, 0, 1, 0]);
        restarted.sender.close().await;
    }
    // Another threshold is another alert, and one that failed was not delivered.
    let replica = start();
    replica.mock.enqueue(WebhookResponse::Status(400));
    replica.sender.send(&test_alert("default", AlertCause::Expiry(3)));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(replica.counters(), [0, 1, 0, 0]);
    first.sender.send(&test_alert("default", AlertCause::Expiry(3)));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(first.counters(), [2, 0, 0, 0]);
    sleep(DAY).await;
    replica.sender.send(&test_alert("default", AlertCause::Expiry(7)));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(replica.counters(), [1, 1, 0, 0], "a day has passed");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_memory_is_warned_about_once_and_replaced_with_the_next_alert() {
    for garbage in ["", "{", "[1]", "{\"expiry\":\"hunter2\"}", "\0"] {
        let log = LogCapture::at_info();
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("alerts.json");
        std::fs::write(&path, garbage).unwrap();
        let fixture = start(&state);
        for days in [7, 3] {
            fixture.sender.send(&test_alert("default", AlertCause::Expiry(days)));
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(fixture.counters(), [2, 0, 0, 0], "{garbage}");
        let lines = log.lines_containing("cannot read which alerts were delivered");
        assert_eq!(lines.len(), 1, "{garbage}: {lines:?}");
        assert!(
            lines[0].contains("alerts.json") && !lines[0].contains("hunter2"),
            "{lines:?}"
        );
        let restarted = start(&state);
        restarted.sender.send(&test_alert("default", AlertCause::Expiry(7)));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(restarted.counters(), [0, 0, 1, 0], "{garbage}");
    }
}

#[tokio::test(start_paused = true)]
async fn that_the_expiry_is_unknown_is_told_once_a_week_however_often_the_process_restarts() {
    let state = tempfile::tempdir().unwrap();
    // The clock of a process begins with it.
    let starts: Vec<_> = (0..15).map(|_| AlertFixture::new_idle()).collect();
    let mut delivered = 0;
    for (day, idle) in starts.into_iter().enumerate() {
        let fixture = run(&state, idle);
        fixture.sender.send(&test_alert("default", AlertCause::ExpiryUnknown));
        sleep(Duration::from_secs(1)).await;
        delivered += fixture.counters()[0];
        assert_eq!(delivered, 1 + day as u64 / 7, "day {day}");
        fixture.sender.close().await;
        sleep(DAY).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_memory_sends_an_alert_twice_rather_than_never() {
    for content in [
        "",
        "{",
        r#"{"default/expiry/7":99999999999999}"#,
        "[1]",
        r#"{"default/expiry/7":-1}"#,
    ] {
        let state = tempfile::tempdir().unwrap();
        std::fs::write(state.path().join("alerts.json"), content).unwrap();
        let fixture = start(&state);
        fixture.sender.send(&test_alert("default", AlertCause::Expiry(7)));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(fixture.counters(), [1, 0, 0, 0], "{content}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_reason_is_told_on_the_same_day_and_after_a_restart_none_is_told_again() {
    const CAUSES: [AlertCause; 3] = [
        AlertCause::Rejected,
        AlertCause::SourceTokenRejected,
        AlertCause::RenewalFailed,
    ];
    let (state, later) = (tempfile::tempdir().unwrap(), AlertFixture::new_idle());
    let first = start(&state);
    for reason in ["190/463", "190/460", "190/463"] {
        for cause in CAUSES {
            first.sender.send(&with_reason(cause, reason));
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(first.counters(), [6, 0, 3, 0]);
    first.sender.close().await;
    let restarted = run(&state, later);
    for reason in ["190/460", "190/463", "190/467"] {
        for cause in CAUSES {
            restarted.sender.send(&with_reason(cause, reason));
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(restarted.counters(), [3, 0, 6, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_cause_with_ever_new_reasons_is_told_eight_times_a_day() {
    let state = tempfile::tempdir().unwrap();
    let fixture = start(&state);
    for day in 1..=2 {
        for reason in 0..100 {
            fixture
                .sender
                .send(&with_reason(AlertCause::RenewalFailed, &reason.to_string()));
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(fixture.counters(), [8 * day, 0, 92 * day, 0]);
        sleep(DAY).await;
    }
    fixture.sender.send(&rejected("default"));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(fixture.counters()[0], 17, "another cause");
}

#[tokio::test(start_paused = true)]
async fn an_alert_at_the_end_of_a_remembered_day_waits_for_the_next_one() {
    let (state, later) = (tempfile::tempdir().unwrap(), AlertFixture::new_idle());
    let first = start(&state);
    first.sender.send(&rejected("default"));
    sleep(DAY - Duration::from_secs(300)).await;
    let restarted = run(&state, later);
    restarted.sender.send(&rejected("default"));
    sleep(Duration::from_secs(290)).await;
    assert_eq!(restarted.counters(), [0; 4]);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(restarted.counters(), [1, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn that_the_expiry_is_unknown_is_logged_once_a_week_across_restarts_if_there_is_a_state_directory() {
    let state = tempfile::tempdir().unwrap();
    for directory in [Some(state.path()), None] {
        let log = LogCapture::at_info();
        let notices = || log.lines_containing("does not know when the token expires").len();
        // All of them have the same clock.
        let process = || TestProxyBuilder::new().with(|config| config.state.dir = directory.map(Into::into));
        let [first, second, third, fourth] = [process(), process(), process(), process()];
        let began = Instant::now();
        let until = async |days: f64| sleep_until(began + DAY.mul_f64(days)).await;

        let proxy = first.start().await;
        until(6.9).await;
        assert_eq!(notices(), 1);
        proxy.shutdown().await;
        let proxy = second.start().await;
        until(6.99).await;
        assert_eq!(notices(), if directory.is_some() { 1 } else { 2 });
        if directory.is_none() {
            proxy.shutdown().await;
            continue;
        }
        until(7.1).await;
        assert_eq!(notices(), 2, "a week after the first one");
        for (process, day) in [(third, 8.0), (fourth, 9.0)] {
            let proxy = process.start().await;
            until(day).await;
            assert_eq!(notices(), 2, "day {day}");
            proxy.shutdown().await;
        }
        until(14.0).await;
        assert_eq!(notices(), 2);
        until(14.1).await;
        assert_eq!(notices(), 3);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_digest_only_what_was_not_told_before_is_told_after_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let first = start(&state);
    for number in 0..5 {
        first.sender.send(&rejected(&format!("t{number}")));
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(first.counters(), [5, 0, 0, 0]);
    let restarted = start(&state);
    for number in 0..7 {
        restarted.sender.send(&rejected(&format!("t{number}")));
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(restarted.counters(), [2, 0, 5, 0]);
    let received = restarted.mock.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].body["tenants"], serde_json::json!(["t5", "t6"]));
}
