//! The delivery of alerts to a webhook that follows a script, in paused time; tests/wire has the same over sockets.

mod webhook;

use std::time::Duration;

use graphward::alert::{Webhook, WebhookSettings};
use graphward::token::{Alert, AlertCause};
use graphward::types::{Secret, TenantId};
use tokio::time::{Instant, sleep};

use crate::support::LogCapture;
use webhook::{AlertFixture, URL, WebhookResponse};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn test_alert(tenant: &str, cause: AlertCause) -> Alert {
    Alert {
        tenant: TenantId::new(tenant).unwrap(),
        cause,
        summary: format!("The token of {tenant} has trouble."),
        remediation: "Somebody must see to it.".to_owned(),
    }
}

fn rejected(tenant: &str) -> Alert {
    test_alert(tenant, AlertCause::Rejected)
}

#[tokio::test(start_paused = true)]
async fn a_notice_arrives_as_slack_takes_it_and_once_a_day_for_each_cause_and_tenant() {
    let office = AlertFixture::start();
    let causes = [
        test_alert("shop", AlertCause::Expiry(7)),
        test_alert("shop", AlertCause::Expiry(3)),
        test_alert("shop", AlertCause::Rejected),
        test_alert("other", AlertCause::Rejected),
    ];
    for _ in 0..24 {
        for notice in &causes {
            office.sender.send(notice);
        }
        sleep(HOUR).await;
    }
    let seen = office.mock.received();
    assert_eq!(seen.len(), 4, "{seen:?}");
    let first = &seen[0];
    assert_eq!(first.head.method, "POST");
    assert_eq!(first.head.uri, URL);
    assert_eq!(first.head.headers["content-type"], "application/json");
    assert_eq!(
        first.body,
        serde_json::json!({
            "text": "The token of shop has trouble. Somebody must see to it. (graphward, tenant shop)",
            "tenant": "shop",
            "cause": "expiry",
            "days": 7,
            "severity": "ticket",
            "summary": "The token of shop has trouble.",
            "remediation": "Somebody must see to it.",
            "at": "2025-10-01T00:00:00Z",
        })
    );
    assert_eq!(office.counters(), [4, 0, 92, 0]);
    for notice in &causes {
        office.sender.send(notice);
    }
    sleep(MINUTE).await;
    assert_eq!(office.mock.received().len(), 8, "the next day");
    assert_eq!(office.counters(), [8, 0, 92, 0]);
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_waited_for_and_told_once() {
    for trouble in [
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
        let office = AlertFixture::start();
        for _ in 0..4 {
            office.mock.enqueue(trouble);
        }
        office.sender.send(&rejected("shop"));
        sleep(10 * MINUTE).await;
        let counted = office.counters();
        assert_eq!(counted, [1, 0, 0, 0], "{trouble:?}");
        assert_eq!(office.mock.attempts(), 5, "{trouble:?}");
        let warned = log.lines_containing("WARN");
        assert_eq!(warned.len(), 1, "{trouble:?}: {warned:?}");
        assert!(warned[0].contains("it is tried again"), "{warned:?}");
        assert_eq!(log.lines_containing("the webhook was told\"").len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_webhook_is_tried_eight_times_in_an_hour_and_has_not_used_up_the_day() {
    let log = LogCapture::at_info();
    let office = AlertFixture::start();
    office.mock.respond_always(WebhookResponse::Status(500));
    office.sender.send(&rejected("shop"));
    sleep(Duration::from_secs(64 * 60)).await;
    assert_eq!(office.mock.attempts(), 8);
    assert_eq!(office.counters(), [0, 1, 0, 0]);
    let given_up = log.lines_containing("was tried often enough");
    assert_eq!(given_up.len(), 1);
    assert!(given_up[0].contains("see that it is up"), "{given_up:?}");
    sleep(DAY).await;
    assert_eq!(office.mock.attempts(), 8, "nothing goes on by itself");

    office.sender.send(&rejected("shop"));
    sleep(64 * MINUTE).await;
    assert_eq!(office.counters(), [0, 2, 0, 0]);
    office.mock.respond_always(WebhookResponse::Status(200));
    office.sender.send(&rejected("shop"));
    sleep(11 * MINUTE).await;
    assert_eq!(office.counters(), [1, 2, 0, 0], "on the same day");
}

#[tokio::test(start_paused = true)]
async fn rings_during_an_outage_are_no_storm() {
    let office = AlertFixture::start();
    office.mock.respond_always(WebhookResponse::Status(404));
    for _ in 0..6 * 60 {
        office.sender.send(&rejected("shop"));
        sleep(Duration::from_secs(10)).await;
    }
    let tries = office.mock.attempts();
    assert!((5..=7).contains(&tries), "{tries} tries in an hour");
}

#[tokio::test(start_paused = true)]
async fn what_is_new_does_not_wait_behind_a_dead_webhook() {
    let office = AlertFixture::start();
    office.mock.respond_always(WebhookResponse::NoResponse);
    for tenant in ["a", "b", "c", "d"] {
        office.sender.send(&rejected(tenant));
    }
    sleep(2 * MINUTE).await;
    let began = Instant::now();
    office.sender.send(&rejected("new"));
    let tried = |tenant: &str| {
        let seen = office.mock.received();
        seen.iter().filter(|seen| seen.body["tenant"] == tenant).count()
    };
    while tried("new") == 0 {
        sleep(Duration::from_millis(100)).await;
    }
    assert!(began.elapsed() <= Duration::from_secs(11), "one try at most");
    office.mock.respond_always(WebhookResponse::Status(200));
    sleep(2 * HOUR).await;
    assert_eq!(office.counters(), [5, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_webhook_asks_for_is_kept_for_all_notices() {
    for (status, asked, pause) in [
        (429, "120", 120),
        (503, "7", 7),
        (429, "0", 1),
        (429, "Wed, 01 Oct 2025 00:05:00 GMT", 300),
    ] {
        let office = AlertFixture::start();
        office.mock.enqueue(WebhookResponse::RetryAfter(status, asked));
        office.sender.send(&rejected("a"));
        sleep(Duration::from_millis(500)).await;
        office.sender.send(&rejected("b"));
        sleep(Duration::from_secs(pause) - Duration::from_millis(600)).await;
        assert_eq!(office.mock.attempts(), 1, "{asked}");
        sleep(Duration::from_secs(1)).await;
        assert_eq!(office.counters(), [2, 0, 0, 0], "{asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_will_not_be_taken_is_given_up_with_what_to_do() {
    for (answer, advice) in [
        (WebhookResponse::Status(410), "make a new one and set alerts.url"),
        (WebhookResponse::Status(404), "make a new one and set alerts.url"),
        (WebhookResponse::Status(403), "is still allowed"),
        (WebhookResponse::Status(400), "a POST of JSON with a text"),
        (WebhookResponse::Redirected, "set alerts.url to where it leads"),
    ] {
        let log = LogCapture::at_info();
        let office = AlertFixture::start();
        office.mock.respond_always(answer);
        office.sender.send(&rejected("shop"));
        sleep(2 * HOUR).await;
        assert_eq!(office.mock.attempts(), 1, "{answer:?}");
        assert_eq!(office.mock.hosts(), ["hooks.example.com"], "{answer:?}");
        assert_eq!(office.counters(), [0, 1, 0, 0], "{answer:?}");
        let warned = log.lines_containing("WARN");
        assert_eq!(warned.len(), 1, "{warned:?}");
        assert!(warned[0].contains(advice), "{warned:?}");
        assert!(warned[0].contains("https://hooks.example.com\""));
    }
}

#[tokio::test(start_paused = true)]
async fn slacks_word_is_told_and_an_error_page_is_not() {
    let log = LogCapture::at_info();
    let office = AlertFixture::start();
    office
        .mock
        .enqueue(WebhookResponse::WithBody(404, "channel_is_archived"));
    office
        .mock
        .enqueue(WebhookResponse::WithBody(404, "Cannot POST /services/T0/B0/s3cretpath"));
    office.mock.enqueue(WebhookResponse::WithBody(404, "services"));
    for tenant in ["a", "b", "c"] {
        office.sender.send(&rejected(tenant));
        sleep(MINUTE).await;
    }
    let warned = log.lines_containing("WARN");
    assert!(warned[0].contains("it answered 404 channel_is_archived\""));
    assert!(warned[1].contains("it answered 404\""), "{warned:?}");
    assert!(warned[2].contains("it answered 404\""), "a part of the path");
}

#[tokio::test(start_paused = true)]
async fn the_address_shows_nowhere() {
    let log = LogCapture::at_trace();
    let office = AlertFixture::start();
    for answer in [
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
        office.mock.enqueue(answer);
    }
    for tenant in ["a", "b", "c", "d", "e", "f"] {
        office.sender.send(&rejected(tenant));
        office.sender.send(&rejected(tenant));
        sleep(10 * MINUTE).await;
    }
    office.mock.respond_always(WebhookResponse::NoResponse);
    office.sender.send(&rejected("last"));
    sleep(MINUTE).await;
    office.sender.close().await;
    let shown = format!("{office:?}");
    let settings = WebhookSettings {
        url: Secret::new(URL).unwrap(),
        metrics: office.metrics.alert_metrics(),
    };
    let shown = format!("{shown} {settings:?} {}", office.metrics.text());
    let (bell, webhook) = Webhook::new(settings, office.client.clone(), office.clock).unwrap();
    let shown = format!("{shown} {bell:?} {webhook:?}");
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
async fn a_stop_waits_for_nothing_if_there_is_nothing_to_tell() {
    let office = AlertFixture::start();
    office.sender.send(&rejected("shop"));
    sleep(MINUTE).await;
    let began = Instant::now();
    office.sender.close().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    office.sender.close().await;
    assert_eq!(began.elapsed(), Duration::ZERO, "nor the second time");
    office.sender.send(&rejected("late"));
    office.tasks.wait().await;
    assert_eq!(office.counters(), [1, 0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_next_try_has_one_more_at_the_stop() {
    let office = AlertFixture::start();
    office.mock.respond_always(WebhookResponse::Status(500));
    for tenant in ["a", "b", "c"] {
        office.sender.send(&rejected(tenant));
    }
    sleep(Duration::from_secs(30)).await;
    let tried = office.mock.attempts();
    assert!(tried >= 9, "{tried}");
    office.mock.respond_always(WebhookResponse::Status(200));
    office.mock.enqueue(WebhookResponse::Status(500));
    let began = Instant::now();
    office.sender.close().await;
    assert!(began.elapsed() < Duration::from_millis(100));
    assert_eq!(office.counters(), [2, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_webhook_delays_a_stop_by_two_seconds_and_what_is_left_is_counted() {
    let log = LogCapture::at_info();
    let office = AlertFixture::start();
    office.mock.respond_always(WebhookResponse::NoResponse);
    for tenant in ["a", "b", "c"] {
        office.sender.send(&rejected(tenant));
    }
    sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    office.sender.close().await;
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    office.tasks.wait().await;
    assert_eq!(began.elapsed(), Duration::from_secs(2), "its task is over");
    assert_eq!(office.counters(), [0, 0, 0, 3]);
    assert_eq!(log.lines_containing("stopped before the webhook was told").len(), 1);
    office.sender.send(&rejected("late"));
    assert_eq!(office.counters(), [0, 0, 0, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_is_gone_hangs_nobody() {
    let (office, webhook) = AlertFixture::new_idle();
    office.sender.send(&rejected("shop"));
    drop(webhook);
    let began = Instant::now();
    office.sender.send(&rejected("other"));
    office.sender.close().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(office.counters(), [0, 0, 0, 2]);

    let (office, webhook) = AlertFixture::new_idle();
    office.sender.send(&rejected("shop"));
    office.sender.close().await;
    assert_eq!(began.elapsed(), Duration::from_secs(2), "it never ran");
    drop(webhook);
    assert_eq!(office.counters(), [0, 0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_ten_thousand_is_bounded_and_each_is_accounted_for() {
    let log = LogCapture::at_info();
    let office = AlertFixture::start();
    office.mock.respond_always(WebhookResponse::NoResponse);
    for number in 0..10_000 {
        office.sender.send(&rejected(&format!("t{}", number % 5_000)));
    }
    assert_eq!(log.lines_containing("the oldest are dropped").len(), 1);
    let [_, _, _, dropped] = office.counters();
    assert!(dropped >= 9_000, "{dropped}");
    office.mock.respond_always(WebhookResponse::Status(200));
    sleep(HOUR).await;
    let [delivered, failed, suppressed, dropped] = office.counters();
    assert_eq!(delivered + failed + suppressed + dropped, 10_000);
    assert_eq!((delivered, failed), (256, 0));
    let last = office.mock.received().pop().unwrap();
    let number = last.body["tenant"].as_str().unwrap().strip_prefix('t');
    let number: u32 = number.unwrap().parse().unwrap();
    assert!(number >= 4_744, "{number} is not of the newest");
}

#[test]
fn an_address_that_nothing_can_be_sent_to_is_refused_at_the_start() {
    let (office, _webhook) = AlertFixture::new_idle();
    let settings = WebhookSettings {
        url: Secret::new("hooks.example.com/s3cret").unwrap(),
        metrics: office.metrics.alert_metrics(),
    };
    let error = Webhook::new(settings, office.client.clone(), office.clock).unwrap_err();
    assert_eq!(error.to_string(), "it is no http:// or https:// address with a host");
}
