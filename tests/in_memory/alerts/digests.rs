//! Alerts of several tenants are one delivery.

use std::time::Duration;

use graphward::token::AlertCause;
use tokio::time::sleep;

use super::webhook::{AlertFixture, WebhookResponse};
use super::{HOUR, MINUTE, rejected, test_alert};

#[tokio::test(start_paused = true)]
async fn what_happens_to_many_tenants_at_once_is_one_digest() {
    let fixture = AlertFixture::start();
    let expiries = |range: std::ops::Range<usize>| {
        for number in range {
            fixture
                .sender
                .send(&test_alert(&format!("t{number:02}"), AlertCause::Expiry(7)));
        }
    };
    expiries(0..37);
    fixture.sender.send(&rejected("t00"));
    sleep(Duration::from_secs(1)).await;
    let received = fixture.mock.received();
    let [digest, alone] = &received[..] else {
        panic!("{received:?}");
    };
    let names: Vec<_> = (0..10).map(|number| format!("t{number:02}")).collect();
    let summary = format!("37 tokens expire within 7 days: {} and 27 more.", names.join(", "));
    let remediation = "For t00: An operator must fix it.";
    assert_eq!(
        digest.body,
        serde_json::json!({
            "text": format!("{summary} {remediation} (graphward)"),
            "tenants": names,
            "tenant_count": 37,
            "cause": "expiry",
            "days": 7,
            "severity": "ticket",
            "summary": summary,
            "remediation": remediation,
            "at": "2025-10-01T00:00:00Z",
        })
    );
    assert_eq!(
        (&alone.body["tenant"], &alone.body["cause"]),
        (&"t00".into(), &"rejected".into())
    );
    assert_eq!(fixture.counters(), [38, 0, 0, 0]);

    // Those that follow are collected for half a minute; what was told is not told again.
    expiries(30..39);
    sleep(Duration::from_secs(20)).await;
    expiries(39..42);
    assert_eq!(fixture.mock.received().len(), 2);
    sleep(Duration::from_secs(20)).await;
    let received = fixture.mock.received();
    let next: Vec<_> = received[2..].iter().map(|seen| seen.body["tenants"].clone()).collect();
    assert_eq!(next, [serde_json::json!(["t37", "t38", "t39", "t40", "t41"])]);
    assert_eq!(fixture.counters(), [43, 0, 7, 0]);
    sleep(MINUTE).await;
    fixture.sender.send(&test_alert("late", AlertCause::Expiry(7)));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(
        fixture.mock.received().pop().unwrap().body["tenant"],
        "late",
        "one alone is no digest"
    );
}

#[tokio::test(start_paused = true)]
async fn a_dead_webhook_gets_few_attempts_for_many_tenants_and_then_few_digests() {
    // The pauses are random.
    fastrand::seed(7);
    let fixture = AlertFixture::start();
    fixture.mock.respond_always(WebhookResponse::Status(500));
    for number in 0..300 {
        fixture.sender.send(&rejected(&format!("t{number}")));
        sleep(Duration::from_secs(1)).await;
    }
    let attempts = fixture.mock.attempts();
    assert!(attempts < 1_000, "{attempts}");
    fixture.mock.respond_always(WebhookResponse::Status(200));
    sleep(HOUR).await;
    assert_eq!(fixture.counters(), [300, 0, 0, 0]);
    let digests = fixture.mock.attempts() - attempts;
    assert!(digests <= 10, "{digests}");
}
