//! What becomes of a notice on its way to a webhook: real HTTP over in-memory pipes, in paused time.

mod hook;

use std::time::Duration;

use graphward::alert::{Webhook, WebhookSettings};
use graphward::token::{Cause, Notice};
use graphward::types::{Secret, TenantId};
use tokio::time::{Instant, sleep};

use crate::support::Logged;
use hook::{Answer, Office, URL};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn notice(tenant: &str, cause: Cause) -> Notice {
    Notice {
        tenant: TenantId::new(tenant).unwrap(),
        cause,
        happened: format!("The token of {tenant} has trouble."),
        action: "Somebody must see to it.".to_owned(),
    }
}

fn rejected(tenant: &str) -> Notice {
    notice(tenant, Cause::Rejected)
}

#[tokio::test(start_paused = true)]
async fn a_notice_arrives_as_slack_takes_it_and_once_a_day_for_each_cause_and_tenant() {
    let office = Office::open();
    let causes = [
        notice("shop", Cause::Expiry(7)),
        notice("shop", Cause::Expiry(3)),
        notice("shop", Cause::Rejected),
        notice("other", Cause::Rejected),
    ];
    for _ in 0..24 {
        for notice in &causes {
            office.bell.ring(notice);
        }
        sleep(HOUR).await;
    }
    let seen = office.hook.seen();
    assert_eq!(seen.len(), 4, "{seen:?}");
    let first = &seen[0];
    assert_eq!(first.head.method, "POST");
    assert_eq!(first.head.uri, "/services/T0/B0/s3cretpath?key=s3cretkey");
    assert_eq!(first.head.headers["host"], "hooks.example.com");
    assert_eq!(first.head.headers["content-type"], "application/json");
    assert_eq!(
        first.body,
        serde_json::json!({
            "text": "The token of shop has trouble. Somebody must see to it. (graphward, tenant shop)",
            "tenant": "shop",
            "cause": "expiry",
            "days": 7,
            "severity": "ticket",
            "happened": "The token of shop has trouble.",
            "action": "Somebody must see to it.",
            "at": "2025-10-01T00:00:00Z",
        })
    );
    assert_eq!(office.counted(), [4, 0, 92, 0]);
    for notice in &causes {
        office.bell.ring(notice);
    }
    sleep(MINUTE).await;
    assert_eq!(office.hook.seen().len(), 8, "the next day");
    assert_eq!(office.counted(), [8, 0, 92, 0]);
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_waited_for_and_told_once() {
    for trouble in [
        Answer::Status(500),
        Answer::Status(503),
        Answer::Status(408),
        Answer::Status(429),
        Answer::Refused,
        Answer::Silent,
        Answer::Broken,
        Answer::Endless,
    ] {
        let log = Logged::at_info();
        let office = Office::open();
        for _ in 0..4 {
            office.hook.next(trouble);
        }
        office.bell.ring(&rejected("shop"));
        sleep(10 * MINUTE).await;
        let counted = office.counted();
        assert_eq!(counted, [1, 0, 0, 0], "{trouble:?}");
        assert_eq!(office.hook.connections(), 5, "{trouble:?}");
        let warned = log.lines_with("WARN");
        assert_eq!(warned.len(), 1, "{trouble:?}: {warned:?}");
        assert!(warned[0].contains("it is tried again"), "{warned:?}");
        assert_eq!(log.lines_with("the webhook was told\"").len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_webhook_is_tried_eight_times_in_an_hour_and_has_not_used_up_the_day() {
    let log = Logged::at_info();
    let office = Office::open();
    office.hook.always(Answer::Status(500));
    office.bell.ring(&rejected("shop"));
    sleep(Duration::from_secs(64 * 60)).await;
    assert_eq!(office.hook.connections(), 8);
    assert_eq!(office.counted(), [0, 1, 0, 0]);
    let given_up = log.lines_with("was tried often enough");
    assert_eq!(given_up.len(), 1);
    assert!(given_up[0].contains("see that it is up"), "{given_up:?}");
    sleep(DAY).await;
    assert_eq!(office.hook.connections(), 8, "nothing goes on by itself");

    office.bell.ring(&rejected("shop"));
    sleep(64 * MINUTE).await;
    assert_eq!(office.counted(), [0, 2, 0, 0]);
    office.hook.always(Answer::Status(200));
    office.bell.ring(&rejected("shop"));
    sleep(11 * MINUTE).await;
    assert_eq!(office.counted(), [1, 2, 0, 0], "on the same day");
}

#[tokio::test(start_paused = true)]
async fn rings_during_an_outage_are_no_storm() {
    let office = Office::open();
    office.hook.always(Answer::Status(404));
    for _ in 0..6 * 60 {
        office.bell.ring(&rejected("shop"));
        sleep(Duration::from_secs(10)).await;
    }
    let tries = office.hook.connections();
    assert!((5..=7).contains(&tries), "{tries} tries in an hour");
}

#[tokio::test(start_paused = true)]
async fn what_is_new_does_not_wait_behind_a_dead_webhook() {
    let office = Office::open();
    office.hook.always(Answer::Silent);
    for tenant in ["a", "b", "c", "d"] {
        office.bell.ring(&rejected(tenant));
    }
    sleep(2 * MINUTE).await;
    let began = Instant::now();
    office.bell.ring(&rejected("new"));
    let tried = |tenant: &str| {
        let seen = office.hook.seen();
        seen.iter()
            .filter(|seen| seen.body["tenant"] == tenant)
            .count()
    };
    while tried("new") == 0 {
        sleep(Duration::from_millis(100)).await;
    }
    assert!(
        began.elapsed() <= Duration::from_secs(11),
        "one try at most"
    );
    office.hook.always(Answer::Status(200));
    sleep(2 * HOUR).await;
    assert_eq!(office.counted(), [5, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_webhook_asks_for_is_kept_for_all_notices() {
    for (status, asked, pause) in [
        (429, "120", 120),
        (503, "7", 7),
        (429, "0", 1),
        (429, "Wed, 01 Oct 2025 00:05:00 GMT", 300),
    ] {
        let office = Office::open();
        office.hook.next(Answer::After(status, asked));
        office.bell.ring(&rejected("a"));
        sleep(Duration::from_millis(500)).await;
        office.bell.ring(&rejected("b"));
        sleep(Duration::from_secs(pause) - Duration::from_millis(600)).await;
        assert_eq!(office.hook.connections(), 1, "{asked}");
        sleep(Duration::from_secs(1)).await;
        assert_eq!(office.counted(), [2, 0, 0, 0], "{asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_will_not_be_taken_is_given_up_with_what_to_do() {
    for (answer, advice) in [
        (Answer::Status(410), "make a new one and set alerts.url"),
        (Answer::Status(404), "make a new one and set alerts.url"),
        (Answer::Status(403), "is still allowed"),
        (Answer::Status(400), "a POST of JSON with a text"),
        (Answer::Moved, "set alerts.url to where it leads"),
    ] {
        let log = Logged::at_info();
        let office = Office::open();
        office.hook.always(answer);
        office.bell.ring(&rejected("shop"));
        sleep(2 * HOUR).await;
        assert_eq!(office.hook.connections(), 1, "{answer:?}");
        assert_eq!(office.hook.hosts(), ["hooks.example.com"], "{answer:?}");
        assert_eq!(office.counted(), [0, 1, 0, 0], "{answer:?}");
        let warned = log.lines_with("WARN");
        assert_eq!(warned.len(), 1, "{warned:?}");
        assert!(warned[0].contains(advice), "{warned:?}");
        assert!(warned[0].contains("https://hooks.example.com\""));
    }
}

#[tokio::test(start_paused = true)]
async fn slacks_word_is_told_and_an_error_page_is_not() {
    let log = Logged::at_info();
    let office = Office::open();
    office.hook.next(Answer::Says(404, "channel_is_archived"));
    office
        .hook
        .next(Answer::Says(404, "Cannot POST /services/T0/B0/s3cretpath"));
    office.hook.next(Answer::Says(404, "services"));
    for tenant in ["a", "b", "c"] {
        office.bell.ring(&rejected(tenant));
        sleep(MINUTE).await;
    }
    let warned = log.lines_with("WARN");
    assert!(warned[0].contains("it answered 404 channel_is_archived\""));
    assert!(warned[1].contains("it answered 404\""), "{warned:?}");
    assert!(
        warned[2].contains("it answered 404\""),
        "a part of the path"
    );
}

#[tokio::test(start_paused = true)]
async fn the_address_shows_nowhere() {
    let log = Logged::at_trace();
    let office = Office::open();
    for answer in [
        Answer::Refused,
        Answer::Silent,
        Answer::Broken,
        Answer::Endless,
        Answer::Status(500),
        Answer::After(429, "1"),
        Answer::Says(404, "Cannot POST /services/T0/B0/s3cretpath?key=s3cretkey"),
        Answer::Says(410, "s3cretkey"),
        Answer::Moved,
        Answer::Status(200),
    ] {
        office.hook.next(answer);
    }
    for tenant in ["a", "b", "c", "d", "e", "f"] {
        office.bell.ring(&rejected(tenant));
        office.bell.ring(&rejected(tenant));
        sleep(10 * MINUTE).await;
    }
    office.hook.always(Answer::Silent);
    office.bell.ring(&rejected("last"));
    sleep(MINUTE).await;
    office.bell.close().await;
    let shown = format!("{office:?}");
    let settings = WebhookSettings {
        url: Secret::new(URL).unwrap(),
        metrics: office.metrics.alerts(),
    };
    let shown = format!("{shown} {settings:?} {}", office.metrics.text());
    let (bell, webhook) = Webhook::new(settings, office.caller.clone(), office.clock).unwrap();
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
    let office = Office::open();
    office.bell.ring(&rejected("shop"));
    sleep(MINUTE).await;
    let began = Instant::now();
    office.bell.close().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    office.bell.close().await;
    assert_eq!(began.elapsed(), Duration::ZERO, "nor the second time");
    office.bell.ring(&rejected("late"));
    office.tasks.joined().await;
    assert_eq!(office.counted(), [1, 0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_next_try_has_one_more_at_the_stop() {
    let office = Office::open();
    office.hook.always(Answer::Status(500));
    for tenant in ["a", "b", "c"] {
        office.bell.ring(&rejected(tenant));
    }
    sleep(Duration::from_secs(30)).await;
    let tried = office.hook.connections();
    assert!(tried >= 9, "{tried}");
    office.hook.always(Answer::Status(200));
    office.hook.next(Answer::Status(500));
    let began = Instant::now();
    office.bell.close().await;
    assert!(began.elapsed() < Duration::from_millis(100));
    assert_eq!(office.counted(), [2, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_webhook_delays_a_stop_by_two_seconds_and_what_is_left_is_counted() {
    let log = Logged::at_info();
    let office = Office::open();
    office.hook.always(Answer::Silent);
    for tenant in ["a", "b", "c"] {
        office.bell.ring(&rejected(tenant));
    }
    sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    office.bell.close().await;
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    office.tasks.joined().await;
    assert_eq!(began.elapsed(), Duration::from_secs(2), "its task is over");
    assert_eq!(office.counted(), [0, 0, 0, 3]);
    assert_eq!(
        log.lines_with("stopped before the webhook was told").len(),
        1
    );
    office.bell.ring(&rejected("late"));
    assert_eq!(office.counted(), [0, 0, 0, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_is_gone_hangs_nobody() {
    let (office, webhook) = Office::closed();
    office.bell.ring(&rejected("shop"));
    drop(webhook);
    let began = Instant::now();
    office.bell.ring(&rejected("other"));
    office.bell.close().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(office.counted(), [0, 0, 0, 2]);

    let (office, webhook) = Office::closed();
    office.bell.ring(&rejected("shop"));
    office.bell.close().await;
    assert_eq!(began.elapsed(), Duration::from_secs(2), "it never ran");
    drop(webhook);
    assert_eq!(office.counted(), [0, 0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_ten_thousand_is_bounded_and_each_is_accounted_for() {
    let log = Logged::at_info();
    let office = Office::open();
    office.hook.always(Answer::Silent);
    for number in 0..10_000 {
        office.bell.ring(&rejected(&format!("t{}", number % 5_000)));
    }
    assert_eq!(log.lines_with("the oldest are dropped").len(), 1);
    let [_, _, _, dropped] = office.counted();
    assert!(dropped >= 9_000, "{dropped}");
    office.hook.always(Answer::Status(200));
    sleep(HOUR).await;
    let [delivered, failed, suppressed, dropped] = office.counted();
    assert_eq!(delivered + failed + suppressed + dropped, 10_000);
    assert_eq!((delivered, failed), (256, 0));
    let last = office.hook.seen().pop().unwrap();
    let number = last.body["tenant"].as_str().unwrap().strip_prefix('t');
    let number: u32 = number.unwrap().parse().unwrap();
    assert!(number >= 4_744, "{number} is not of the newest");
}

#[test]
fn an_address_that_nothing_can_be_sent_to_is_refused_at_the_start() {
    let (office, _webhook) = Office::closed();
    let settings = WebhookSettings {
        url: Secret::new("hooks.example.com/s3cret").unwrap(),
        metrics: office.metrics.alerts(),
    };
    let error = Webhook::new(settings, office.caller.clone(), office.clock).unwrap_err();
    assert_eq!(
        error.to_string(),
        "it is no http:// or https:// address with a host"
    );
}
