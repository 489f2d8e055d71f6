use tokio::time::advance;

use super::super::endpoint::DAY;
use super::super::queue::GATHER_TIME;
use super::*;
use crate::telemetry::metrics::Metrics;
use crate::token::AlertCause;
use crate::types::TenantId;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A webhook whose task does not run.
struct Test(Webhook, AlertSender);

impl Test {
    fn new() -> Self {
        let url = Secret::new("https://hooks.example.com/x").unwrap();
        let client = HttpClient::from_fn(|_request| std::future::pending(), ATTEMPT_TIMEOUT);
        let (sender, webhook) = Webhook::new(url, &client, Clock::system(), Metrics::new().alert_metrics()).unwrap();
        Self(webhook, sender)
    }

    /// Enqueues an alert; returns whether it was suppressed.
    fn is_suppressed(&mut self, tenant: &str, cause: AlertCause) -> bool {
        let before = self.0.metrics.suppressed.get();
        self.0.enqueue(alert(tenant, cause, "x"));
        self.0.metrics.suppressed.get() > before
    }

    fn enqueue(&mut self, tenant: &str, cause: AlertCause) {
        assert!(!self.is_suppressed(tenant, cause), "{tenant} {cause:?}");
    }

    /// The batch to attempt now, or as soon as no other alert comes.
    #[track_caller]
    fn next(&self) -> &Batch {
        let (id, due) = self.0.next().unwrap();
        assert!(due <= Instant::now() + GATHER_TIME, "nothing is due");
        self.0.queue.batch(id).unwrap()
    }

    /// The only tenant of the batch to attempt now.
    #[track_caller]
    fn next_tenant(&self) -> &str {
        self.next().tenant().unwrap().as_str()
    }

    #[track_caller]
    fn settle(&mut self, result: Result<(), Failure>) -> Batch {
        let batch = self.next().clone();
        let taken = self.0.queue.take(batch.id).unwrap();
        self.0.settle(taken, result);
        batch
    }

    /// Delivers a batch of one alert.
    #[track_caller]
    fn deliver(&mut self) -> Alert {
        let batch = self.settle(Ok(()));
        assert_eq!(batch.len(), 1, "{batch:?}");
        batch.alerts().next().unwrap().alert.clone()
    }

    #[track_caller]
    fn fail(&mut self, pause: Option<Duration>) {
        let failure = Failure {
            error: "x".to_owned(),
            advice: None,
            retry_after: pause,
        };
        let _batch = self.settle(Err(failure));
    }

    /// The time until the next attempt.
    fn pause(&self) -> Duration {
        self.0.next().unwrap().1 - Instant::now()
    }

    fn is_idle(&self) -> bool {
        self.0.next().is_none()
    }
}

fn alert(tenant: &str, cause: AlertCause, summary: &str) -> Alert {
    Alert {
        key: AlertKey {
            tenant: TenantId::new(tenant).unwrap(),
            cause,
            reason: String::new(),
        },
        summary: summary.to_owned(),
        remediation: "y".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_cause_is_delivered_once_in_a_day_for_each_tenant_and_each_threshold() {
    let mut test = Test::new();
    let causes = [
        ("a", AlertCause::Expiry(7)),
        ("b", AlertCause::Withdrawn),
        ("a", AlertCause::Expiry(3)),
        ("a", AlertCause::DataAccess(7)),
        ("a", AlertCause::Rejected),
    ];
    for (tenant, cause) in causes {
        test.enqueue(tenant, cause);
    }
    for (tenant, cause) in causes {
        let delivered = test.deliver();
        assert_eq!((delivered.key.tenant.as_str(), delivered.key.cause), (tenant, cause));
    }
    for _ in 0..23 {
        advance(HOUR).await;
        for (tenant, cause) in causes {
            assert!(test.is_suppressed(tenant, cause));
        }
        assert!(test.is_idle());
    }
    advance(HOUR).await;
    for (tenant, cause) in causes {
        test.enqueue(tenant, cause);
        test.deliver();
    }
}

#[tokio::test(start_paused = true)]
async fn shortly_before_the_day_is_over_an_alert_waits_for_the_end_of_the_day() {
    let mut test = Test::new();
    test.enqueue("a", AlertCause::Rejected);
    test.deliver();
    advance(DAY - COOLDOWN).await;
    test.enqueue("a", AlertCause::Rejected);
    assert_eq!(test.pause(), COOLDOWN);
}

#[tokio::test(start_paused = true)]
async fn of_two_that_wait_for_the_same_cause_the_newer_is_delivered() {
    let mut test = Test::new();
    let cause = AlertCause::RenewalFailed;
    test.enqueue("a", cause);
    let newer = alert("a", cause, "newer");
    test.0.enqueue(newer.clone());
    assert_eq!(test.0.metrics.suppressed.get(), 1);
    assert_eq!(test.deliver(), newer);
    assert!(test.is_idle());
}

#[tokio::test(start_paused = true)]
async fn an_alert_has_eight_attempts_in_about_an_hour_and_may_be_delivered_the_same_day() {
    for _ in 0..20 {
        let mut test = Test::new();
        test.enqueue("a", AlertCause::Rejected);
        let start = Instant::now();
        for attempts in 1..MAX_ATTEMPTS {
            test.fail(None);
            let (id, _due) = test.0.next().unwrap();
            assert_eq!(test.0.queue.batch(id).unwrap().attempts, attempts);
            advance(test.pause()).await;
        }
        assert_eq!(test.0.metrics.failed.get(), 0);
        test.fail(None);
        assert_eq!(test.0.metrics.failed.get(), 1);
        let took = start.elapsed();
        assert!(took <= Duration::from_secs(63 * 60 + 1), "{took:?}");
        assert!(test.is_idle());

        test.enqueue("a", AlertCause::Rejected);
        assert_eq!(test.pause(), COOLDOWN, "a new alert does not end the cooldown");
        test.enqueue("b", AlertCause::Rejected);
        assert_eq!(test.deliver().key.tenant.as_str(), "b");
        advance(COOLDOWN).await;
        assert_eq!(test.deliver().key.tenant.as_str(), "a");
        assert!(test.is_suppressed("a", AlertCause::Rejected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_alert_goes_before_those_that_keep_failing() {
    let mut test = Test::new();
    let causes = [AlertCause::Rejected, AlertCause::Withdrawn, AlertCause::StoreFailed];
    for cause in causes {
        test.enqueue("a", cause);
        advance(GATHER_TIME).await;
        assert_eq!(test.next().topic.cause, cause);
        test.fail(None);
    }
    advance(Duration::from_secs(1)).await;
    test.enqueue("new", AlertCause::Rejected);
    advance(GATHER_TIME).await;
    assert_eq!(test.deliver().key.tenant.as_str(), "new");
    for cause in causes {
        assert_eq!(test.deliver().key.cause, cause);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_webhook_asked_for_holds_for_all_alerts() {
    let mut test = Test::new();
    test.enqueue("a", AlertCause::Rejected);
    test.fail(Some(Duration::from_secs(120)));
    advance(Duration::from_secs(20)).await;
    test.enqueue("b", AlertCause::Rejected);
    assert_eq!(test.pause(), Duration::from_secs(100));
    advance(Duration::from_secs(100)).await;
    assert_eq!(test.deliver().key.tenant.as_str(), "b");
    assert_eq!(test.deliver().key.tenant.as_str(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_bounded_and_the_newest_remain() {
    let mut test = Test::new();
    let all = MAX_WAITING + 1_000;
    for number in 0..all {
        test.enqueue(&format!("t{number}"), AlertCause::Rejected);
        assert!(test.0.queue.len() <= MAX_WAITING);
    }
    assert_eq!(test.0.metrics.dropped.get(), 1_000);
    let batch = test.settle(Ok(()));
    let delivered = batch.keys().map(|key| key.tenant.as_str().to_owned());
    assert!(delivered.eq((1_000..all).map(|number| format!("t{number}"))));
    assert!(test.is_idle());
    assert!(test.is_suppressed("t1000", AlertCause::Rejected));
    test.enqueue("t999", AlertCause::Rejected);
    assert_eq!(test.pause(), Duration::from_secs(30), "it waits for others");
    advance(Duration::from_secs(30)).await;
    test.deliver();
    advance(DAY).await;
    test.enqueue("t1000", AlertCause::Rejected);
    test.deliver();
}

#[tokio::test(start_paused = true)]
async fn at_a_stop_each_alert_has_one_attempt() {
    let mut test = Test::new();
    test.enqueue("a", AlertCause::Rejected);
    test.fail(None);
    test.1.stop.send_replace(true);
    test.enqueue("b", AlertCause::Rejected);
    for failed in 1..=2 {
        test.fail(None);
        assert_eq!(test.0.metrics.failed.get(), failed);
    }
    assert!(test.is_idle());
    test.enqueue("a", AlertCause::Rejected);
    assert_eq!(test.next_tenant(), "a", "there is no cooldown any more");
}
