//! What is remembered of delivered alerts across restarts and replicas.

use std::time::Duration;

use graphward::alert::AlertMemory;
use graphward::token::AlertCause;
use tokio::time::sleep;

use super::test_alert;
use super::webhook::{AlertFixture, WebhookResponse};

#[tokio::test(start_paused = true)]
async fn an_alert_that_was_delivered_before_a_restart_or_by_another_replica_is_not_repeated_within_the_day() {
    let state = tempfile::tempdir().unwrap();
    let start = || {
        let (fixture, webhook) = AlertFixture::new_idle();
        drop(
            fixture
                .tasks
                .spawn(webhook.with_memory(AlertMemory::new(state.path())).run()),
        );
        fixture
    };
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
    sleep(Duration::from_secs(24 * 60 * 60)).await;
    replica.sender.send(&test_alert("default", AlertCause::Expiry(7)));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(replica.counters(), [1, 1, 0, 0], "a day has passed");
}

#[tokio::test(start_paused = true)]
async fn that_the_expiry_is_unknown_is_told_once_a_week_however_often_the_process_restarts() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let state = tempfile::tempdir().unwrap();
    // The clock of a process begins with it.
    let starts: Vec<_> = (0..15).map(|_| AlertFixture::new_idle()).collect();
    let mut delivered = 0;
    for (day, (fixture, webhook)) in starts.into_iter().enumerate() {
        let webhook = webhook.with_memory(AlertMemory::new(state.path()));
        drop(fixture.tasks.spawn(webhook.run()));
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
        let (fixture, webhook) = AlertFixture::new_idle();
        drop(
            fixture
                .tasks
                .spawn(webhook.with_memory(AlertMemory::new(state.path())).run()),
        );
        fixture.sender.send(&test_alert("default", AlertCause::Expiry(7)));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(fixture.counters(), [1, 0, 0, 0], "{content}");
    }
}
