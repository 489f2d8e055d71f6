//! The delivery of alerts to a webhook that follows a script, in paused time; tests/wire has the same over sockets.

mod digests;
mod memory;
mod webhook;

use std::time::Duration;

use graphward::alert::Webhook;
use graphward::telemetry::metrics::ExpositionFormat;
use graphward::token::{Alert, AlertCause, AlertKey};
use graphward::types::{Secret, TenantId};
use tokio::time::{Instant, sleep};

use crate::support::LogCapture;
use webhook::{AlertFixture, URL, WebhookResponse};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn test_alert(tenant: &str, cause: AlertCause) -> Alert {
    Alert {
        key: AlertKey {
            tenant: TenantId::new(tenant).unwrap(),
            cause,
            reason: String::new(),
        },
        summary: format!("The token of {tenant} has trouble."),
        remediation: "An operator must fix it.".to_owned(),
    }
}

fn with_reason(cause: AlertCause, reason: &str) -> Alert {
    let mut alert = test_alert("default", cause);
    alert.key.reason = reason.to_owned();
    alert
}

fn rejected(tenant: &str) -> Alert {
    test_alert(tenant, AlertCause::Rejected)
}

#[tokio::test(start_paused = true)]
async fn an_alert_has_the_form_that_slack_takes_and_comes_once_a_day_for_each_cause_and_tenant() {
    let fixture = AlertFixture::start();
    let causes = [
        test_alert("shop", AlertCause::Expiry(7)),
        test_alert("shop", AlertCause::Expiry(3)),
        test_alert("shop", AlertCause::Rejected),
        test_alert("other", AlertCause::Withdrawn),
    ];
    for _ in 0..24 {
        for alert in &causes {
            fixture.sender.send(alert);
        }
        sleep(HOUR).await;
    }
    let seen = fixture.mock.received();
    assert_eq!(seen.len(), 4, "{seen:?}");
    let first = &seen[0];
    assert_eq!(first.head.method, "POST");
    assert_eq!(first.head.uri, URL);
    assert_eq!(first.head.headers["content-type"], "application/json");
    assert_eq!(
        first.body,
        serde_json::json!({
            "text": "The token of shop has trouble. An operator must fix it. (graphward, tenant shop)",
            "tenant": "shop",
            "cause": "expiry",
            "days": 7,
            "severity": "ticket",
            "summary": "The token of shop has trouble.",
            "remediation": "An operator must fix it.",
            "at": "2025-10-01T00:00:00Z",
        })
    );
    assert_eq!(fixture.counters(), [4, 0, 92, 0]);
    for alert in &causes {
        fixture.sender.send(alert);
    }
    sleep(MINUTE).await;
    assert_eq!(fixture.mock.received().len(), 8, "the next day");
    assert_eq!(fixture.counters(), [8, 0, 92, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_temporary_failure_is_retried_until_one_delivery() {
    for failure in [
        WebhookResponse::Status(500),
        WebhookResponse::Status(503),
        WebhookResponse::Status(408),
        WebhookResponse::Status(429),
        WebhookResponse::Refused,
        WebhookResponse::NoResponse,
        WebhookResponse::Closed,
        WebhookResponse::HugeBody,
    ] {
        let log = LogCapture::at_info();
        let fixture = AlertFixture::start();
        for _ in 0..4 {
            fixture.mock.enqueue(failure);
        }
        fixture.sender.send(&rejected("shop"));
        sleep(10 * MINUTE).await;
        let counted = fixture.counters();
        assert_eq!(counted, [1, 0, 0, 0], "{failure:?}");
        assert_eq!(fixture.mock.attempts(), 5, "{failure:?}");
        let warned = log.lines_containing("WARN");
        assert_eq!(warned.len(), 1, "{failure:?}: {warned:?}");
        assert!(warned[0].contains("alert delivery failed; retrying"), "{warned:?}");
        assert_eq!(log.lines_containing("alert delivered\"").len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_webhook_gets_eight_attempts_in_an_hour_and_a_later_alert_the_same_day() {
    let log = LogCapture::at_info();
    let fixture = AlertFixture::start();
    fixture.mock.respond_always(WebhookResponse::Status(500));
    fixture.sender.send(&rejected("shop"));
    sleep(Duration::from_secs(64 * 60)).await;
    assert_eq!(fixture.mock.attempts(), 8);
    assert_eq!(fixture.counters(), [0, 1, 0, 0]);
    let given_up = log.lines_containing("alert delivery failed, not retrying");
    assert_eq!(given_up.len(), 1);
    assert!(
        given_up[0].contains("check that the webhook is reachable"),
        "{given_up:?}"
    );
    assert!(given_up[0].contains("\"attempts\":8"), "{given_up:?}");
    sleep(DAY).await;
    assert_eq!(fixture.mock.attempts(), 8, "nothing goes on by itself");

    fixture.sender.send(&rejected("shop"));
    sleep(64 * MINUTE).await;
    assert_eq!(fixture.counters(), [0, 2, 0, 0]);
    fixture.mock.respond_always(WebhookResponse::Status(200));
    fixture.sender.send(&rejected("shop"));
    sleep(11 * MINUTE).await;
    assert_eq!(fixture.counters(), [1, 2, 0, 0], "on the same day");
}

#[tokio::test(start_paused = true)]
async fn alerts_during_an_outage_do_not_flood_the_webhook() {
    let fixture = AlertFixture::start();
    fixture.mock.respond_always(WebhookResponse::Status(404));
    for _ in 0..6 * 60 {
        fixture.sender.send(&rejected("shop"));
        sleep(Duration::from_secs(10)).await;
    }
    let tries = fixture.mock.attempts();
    assert!((5..=7).contains(&tries), "{tries} tries in an hour");
}

#[tokio::test(start_paused = true)]
async fn a_new_alert_does_not_wait_behind_those_that_fail() {
    let fixture = AlertFixture::start();
    fixture.mock.respond_always(WebhookResponse::NoResponse);
    for tenant in ["a", "b", "c", "d"] {
        fixture.sender.send(&rejected(tenant));
    }
    sleep(2 * MINUTE).await;
    let start = Instant::now();
    fixture.sender.send(&rejected("new"));
    let tried = |tenant: &str| {
        let seen = fixture.mock.received();
        seen.iter().filter(|seen| seen.body["tenant"] == tenant).count()
    };
    while tried("new") == 0 {
        sleep(Duration::from_millis(100)).await;
    }
    assert!(start.elapsed() <= Duration::from_secs(11), "one attempt at most");
    fixture.mock.respond_always(WebhookResponse::Status(200));
    sleep(2 * HOUR).await;
    assert_eq!(fixture.counters(), [5, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_webhook_asks_for_holds_for_all_alerts() {
    for (status, header, pause) in [
        (429, "120", 120),
        (503, "7", 7),
        (429, "0", 1),
        (429, "Wed, 01 Oct 2025 00:05:00 GMT", 300),
    ] {
        let fixture = AlertFixture::start();
        fixture.mock.enqueue(WebhookResponse::RetryAfter(status, header));
        fixture.sender.send(&rejected("a"));
        sleep(Duration::from_millis(500)).await;
        fixture.sender.send(&rejected("b"));
        sleep(Duration::from_secs(pause) - Duration::from_millis(600)).await;
        assert_eq!(fixture.mock.attempts(), 1, "{header}");
        sleep(Duration::from_secs(1)).await;
        assert_eq!(fixture.counters(), [2, 0, 0, 0], "{header}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_alert_is_given_up_with_advice() {
    for (response, advice) in [
        (WebhookResponse::Status(410), "create a new one and set alerts.url"),
        (WebhookResponse::Status(404), "create a new one and set alerts.url"),
        (WebhookResponse::Status(403), "is still enabled"),
        (WebhookResponse::Status(400), "a JSON POST with a `text` member"),
        (WebhookResponse::Redirected, "set alerts.url to the redirect target"),
    ] {
        let log = LogCapture::at_info();
        let fixture = AlertFixture::start();
        fixture.mock.respond_always(response);
        fixture.sender.send(&rejected("shop"));
        sleep(2 * HOUR).await;
        assert_eq!(fixture.mock.attempts(), 1, "{response:?}");
        assert_eq!(fixture.mock.hosts(), ["hooks.example.com"], "{response:?}");
        assert_eq!(fixture.counters(), [0, 1, 0, 0], "{response:?}");
        let warned = log.lines_containing("WARN");
        assert_eq!(warned.len(), 1, "{warned:?}");
        assert!(warned[0].contains(advice), "{warned:?}");
        assert!(warned[0].contains("https://hooks.example.com\""));
    }
}

#[tokio::test(start_paused = true)]
async fn slacks_word_is_logged_and_an_error_page_is_not() {
    let log = LogCapture::at_info();
    let fixture = AlertFixture::start();
    fixture
        .mock
        .enqueue(WebhookResponse::WithBody(404, "channel_is_archived"));
    fixture
        .mock
        .enqueue(WebhookResponse::WithBody(404, "Cannot POST /services/T0/B0/s3cretpath"));
    fixture.mock.enqueue(WebhookResponse::WithBody(404, "services"));
    for tenant in ["a", "b", "c"] {
        fixture.sender.send(&rejected(tenant));
        sleep(MINUTE).await;
    }
    let warned = log.lines_containing("WARN");
    assert!(warned[0].contains("status 404 channel_is_archived\""));
    assert!(warned[1].contains("status 404\""), "{warned:?}");
    assert!(warned[2].contains("status 404\""), "a part of the path");
}

#[tokio::test(start_paused = true)]
async fn the_url_shows_nowhere() {
    let log = LogCapture::at_trace();
    let fixture = AlertFixture::start();
    for response in [
        WebhookResponse::Refused,
        WebhookResponse::NoResponse,
        WebhookResponse::Closed,
        WebhookResponse::HugeBody,
        WebhookResponse::Status(500),
        WebhookResponse::RetryAfter(429, "1"),
        WebhookResponse::WithBody(404, "Cannot POST /services/T0/B0/s3cretpath?key=s3cretkey"),
        WebhookResponse::WithBody(410, "s3cretkey"),
        WebhookResponse::Redirected,
        WebhookResponse::Status(200),
    ] {
        fixture.mock.enqueue(response);
    }
    for tenant in ["a", "b", "c", "d", "e", "f"] {
        fixture.sender.send(&rejected(tenant));
        fixture.sender.send(&rejected(tenant));
        sleep(10 * MINUTE).await;
    }
    fixture.mock.respond_always(WebhookResponse::NoResponse);
    fixture.sender.send(&rejected("last"));
    sleep(MINUTE).await;
    fixture.sender.close().await;
    let shown = format!("{fixture:?}");
    let shown = format!("{shown} {}", fixture.metrics.encode(ExpositionFormat::Text));
    let (_fixture, webhook) = AlertFixture::new_idle();
    let shown = format!("{shown} {webhook:?}");
    let logged = log.text();
    assert!(logged.lines().count() > 15, "{logged}");
    for part in ["s3cret", "services", "/T0", "key="] {
        for text in [&logged, &shown] {
            let found = text.lines().find(|line| line.contains(part));
            assert!(found.is_none(), "{part} in {found:?}");
        }
    }
    assert!(logged.contains("https://hooks.example.com"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_immediate_if_no_alert_waits() {
    let fixture = AlertFixture::start();
    fixture.sender.send(&rejected("shop"));
    sleep(MINUTE).await;
    let start = Instant::now();
    fixture.sender.close().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    fixture.sender.close().await;
    assert_eq!(start.elapsed(), Duration::ZERO, "nor the second time");
    fixture.sender.send(&rejected("late"));
    fixture.tasks.wait().await;
    assert_eq!(fixture.counters(), [1, 0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_waits_for_its_next_attempt_has_one_more_at_the_stop() {
    let fixture = AlertFixture::start();
    fixture.mock.respond_always(WebhookResponse::Status(500));
    for cause in [AlertCause::Rejected, AlertCause::Withdrawn, AlertCause::StoreFailed] {
        fixture.sender.send(&test_alert("shop", cause));
    }
    sleep(Duration::from_secs(30)).await;
    let tried = fixture.mock.attempts();
    assert!(tried >= 9, "{tried}");
    fixture.mock.respond_always(WebhookResponse::Status(200));
    fixture.mock.enqueue(WebhookResponse::Status(500));
    let start = Instant::now();
    fixture.sender.close().await;
    assert!(start.elapsed() < Duration::from_millis(100));
    assert_eq!(fixture.counters(), [2, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_webhook_delays_a_stop_by_two_seconds_and_the_rest_is_counted() {
    let log = LogCapture::at_info();
    let fixture = AlertFixture::start();
    fixture.mock.respond_always(WebhookResponse::NoResponse);
    for tenant in ["a", "b", "c"] {
        fixture.sender.send(&rejected(tenant));
    }
    sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    fixture.sender.close().await;
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    fixture.tasks.wait().await;
    assert_eq!(start.elapsed(), Duration::from_secs(2), "its task is over");
    assert_eq!(fixture.counters(), [0, 0, 0, 3]);
    assert_eq!(log.lines_containing("stopped with undelivered alerts").len(), 1);
    fixture.sender.send(&rejected("late"));
    assert_eq!(fixture.counters(), [0, 0, 0, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_task_that_has_ended_or_never_ran_does_not_block_a_stop() {
    let (fixture, webhook) = AlertFixture::new_idle();
    fixture.sender.send(&rejected("shop"));
    drop(webhook);
    let start = Instant::now();
    fixture.sender.send(&rejected("other"));
    fixture.sender.close().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(fixture.counters(), [0, 0, 0, 2]);

    let (fixture, webhook) = AlertFixture::new_idle();
    fixture.sender.send(&rejected("shop"));
    fixture.sender.close().await;
    assert_eq!(start.elapsed(), Duration::from_secs(2), "it never ran");
    drop(webhook);
    assert_eq!(fixture.counters(), [0, 0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_bounded_and_each_alert_is_accounted_for() {
    let log = LogCapture::at_info();
    let fixture = AlertFixture::start();
    fixture.mock.respond_always(WebhookResponse::NoResponse);
    for round in 0..2 {
        for number in 0..20_000 {
            fixture.sender.send(&rejected(&format!("t{}", number % 10_000)));
        }
        sleep(Duration::from_secs(1)).await;
        assert_eq!(log.lines_containing("dropping alerts").len(), 1, "{round}");
    }
    fixture.mock.respond_always(WebhookResponse::Status(200));
    sleep(HOUR).await;
    let [delivered, failed, suppressed, dropped] = fixture.counters();
    assert_eq!(delivered + failed + suppressed + dropped, 40_000);
    assert_eq!((delivered, failed), (10_000, 0), "each tenant's alert was delivered");
    assert_eq!(fixture.mock.received().last().unwrap().body["tenant_count"], 10_000);
}

#[tokio::test(start_paused = true)]
async fn an_unusable_url_is_refused_at_the_start() {
    let (fixture, _webhook) = AlertFixture::new_idle();
    let url = Secret::new("hooks.example.com/s3cret").unwrap();
    let error = Webhook::new(url, &fixture.client, fixture.clock, fixture.metrics.alert_metrics()).unwrap_err();
    assert_eq!(error.to_string(), "not an http:// or https:// URL with a host");
}

#[test]
fn an_alert_without_a_reason_is_logged_without_an_empty_field() {
    let log = LogCapture::at_info();
    rejected("shop").log();
    with_reason(AlertCause::Rejected, "190/463").log();
    let lines = log.lines_containing("has trouble");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(!lines[0].contains("reason"), "{}", lines[0]);
    assert!(lines[1].contains("\"reason\":\"190/463\""), "{}", lines[1]);
}
