//! What is written while there is no usable token, and about lost and refused requests.

use std::time::Duration;

use graphward::graph::ClientCredentialPolicy;
use graphward::proxy::{AccessLogFilter, DeadTokenPolicy};
use tokio::time::{Instant, sleep};

use crate::support::{ConnectOutcome, LogCapture, SECOND_TOKEN, TestProxyBuilder};

/// The levels and the messages of the log, apart from `INFO`.
fn warnings_and_errors(log: &LogCapture) -> Vec<(String, serde_json::Value)> {
    let text = log.text();
    let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let loud = events.filter(|event: &serde_json::Value| event["level"] == "WARN" || event["level"] == "ERROR");
    loud.map(|event| (event["level"].as_str().unwrap().to_owned(), event))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_an_error_after_the_hold_and_again_each_minute_with_the_number_of_lost_requests() {
    for access_log in [AccessLogFilter::None, AccessLogFilter::Problems] {
        let log = LogCapture::at_info();
        let proxy = TestProxyBuilder::new()
            .with(move |config| config.log.requests = access_log)
            .start()
            .await;
        let outages = || {
            let events = warnings_and_errors(&log);
            let errors = events
                .into_iter()
                .filter(|(level, event)| level == "ERROR" && event["message"] != "request");
            errors.map(|(_level, event)| event).collect::<Vec<_>>()
        };
        proxy.graph.expire_all();
        let (answer, ()) = tokio::join!(proxy.app.get("/me"), async {
            sleep(Duration::from_millis(1900)).await;
            assert!(outages().is_empty(), "the hold is not over");
        });
        assert_eq!(answer.status, 401);
        for _ in 0..5 {
            sleep(Duration::from_secs(10)).await;
            assert_eq!(proxy.app.get("/me").await.status, 401);
        }
        let [first] = &outages()[..] else {
            panic!("{:?}", outages());
        };
        assert_eq!(first["lost_requests"], 1);
        let message = first["message"].as_str().unwrap();
        assert!(
            message.starts_with("requests are being lost: Graph rejected the token"),
            "{message}"
        );
        assert_eq!(first["remediation"], "Store a valid token in test source.");
        sleep(Duration::from_secs(15)).await;
        assert_eq!(proxy.app.get("/me").await.status, 401);
        let again = outages();
        assert_eq!(again.len(), 2);
        assert_eq!(
            (again[1]["lost_requests"].as_u64(), again[1]["lost_in_all"].as_u64()),
            (Some(6), Some(7))
        );
        proxy.publish_token(SECOND_TOKEN);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(proxy.app.get("/me").await.status, 200);
        let events = warnings_and_errors(&log);
        let (level, end) = events.last().unwrap();
        assert_eq!(
            (level.as_str(), end["lost_requests"].as_u64()),
            ("WARN", Some(7)),
            "{end}"
        );
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_without_any_token_is_as_loud() {
    for permanent in [false, true] {
        let log = LogCapture::at_info();
        let proxy = TestProxyBuilder::new().empty().start().await;
        proxy.source.set_empty(permanent);
        sleep(Duration::from_secs(70)).await;
        for _ in 0..3 {
            assert_eq!(proxy.app.get("/me").await.status, 503);
        }
        let events = warnings_and_errors(&log);
        let outages: Vec<_> = events
            .iter()
            .filter(|(_, event)| event["remediation"].is_string() && event["cause"].is_null())
            .collect();
        let [(level, outage)] = &outages[..] else {
            panic!("{outages:?}");
        };
        assert_eq!(level, "ERROR");
        assert_eq!(outage["message"], "requests are being lost: there is no token");
        assert!(
            outage["error"].as_str().unwrap().starts_with("the source is "),
            "{outage}"
        );
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_request_is_an_error_and_a_refused_one_a_warning() {
    let log = LogCapture::at_info();
    let proxy = TestProxyBuilder::new()
        .with(|config| {
            config.log.requests = AccessLogFilter::All;
            config.heal.client_credentials = ClientCredentialPolicy::Refuse;
        })
        .start()
        .await;
    proxy.app.get("/me").await;
    proxy.app.get("/me?access_token=EAAstale").await;
    proxy.graph.next_connect(ConnectOutcome::Refused);
    proxy.graph.close_connections();
    sleep(Duration::from_millis(1)).await;
    proxy.app.get("/me").await;
    proxy.rotate_token();
    proxy.app.get("/me").await;
    proxy.graph.expire_all();
    proxy.app.get("/me").await;
    // The next one is a probe.
    proxy.app.get("/me").await;
    proxy.app.get("/me").await;
    proxy.shutdown().await;
    let lines = log.lines_containing(r#""message":"request""#);
    let levels: Vec<(String, String)> = lines
        .iter()
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| event[name].as_str().unwrap().to_owned();
            (text("outcome"), text("level"))
        })
        .collect();
    let levels: Vec<_> = levels
        .iter()
        .map(|(outcome, level)| (outcome.as_str(), level.as_str()))
        .collect();
    assert_eq!(
        levels,
        [
            ("delivered", "INFO"),
            ("refused_client_credential", "WARN"),
            ("upstream_connect_failed", "WARN"),
            ("healed", "INFO"),
            ("unhealed_no_newer_token", "ERROR"),
            ("unhealed_no_newer_token", "ERROR"),
            ("unhealed_not_sent", "ERROR"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn another_content_with_the_same_fault_is_reported_again_and_the_same_one_is_not() {
    let log = LogCapture::at_info();
    let proxy = TestProxyBuilder::new().start().await;
    let contents: [&[u8]; 6] = [
        b"${META_TOKEN}",
        b"${META_TOKEN}",
        b"$META",
        b"$META",
        b"changeme",
        b"$META",
    ];
    for content in contents {
        proxy.source.publish_garbage(content);
        sleep(Duration::from_secs(10)).await;
    }
    let told = log.lines_containing("\"The source is not readable.\"");
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(!log.text().contains("META") && !log.text().contains("changeme"));
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_dead_at_the_start_and_one_that_dies_later_look_the_same_to_the_app() {
    for policy in [
        DeadTokenPolicy::Probe,
        DeadTokenPolicy::Forward,
        DeadTokenPolicy::Refuse,
    ] {
        let later = TestProxyBuilder::new()
            .with(move |config| config.heal.dead_token = policy)
            .start()
            .await;
        later.graph.expire_all();
        later.app.get("/me").await;
        let at_start = TestProxyBuilder::new()
            .empty()
            .with(move |config| config.heal.dead_token = policy)
            .start()
            .await;
        at_start.source.publish_dead();
        sleep(Duration::from_secs(70)).await;
        let [later_answer, start_answer] = [later.app.get("/me").await, at_start.app.get("/me").await];
        assert_eq!(
            (start_answer.status, start_answer.code()),
            (later_answer.status, later_answer.code())
        );
        let kind = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["error"]["type"].clone();
        assert_eq!(kind(start_answer.text()), kind(later_answer.text()));
        assert!(
            start_answer
                .text()
                .contains("Graph calls the token from test source invalid")
        );
        assert_eq!(start_answer.header("retry-after"), later_answer.header("retry-after"));
        later.shutdown().await;
        at_start.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_dropped_within_the_hold_serves_those_who_came_after_a_dead_one_was_found_at_the_start() {
    for policy in [
        DeadTokenPolicy::Probe,
        DeadTokenPolicy::Forward,
        DeadTokenPolicy::Refuse,
    ] {
        let proxy = TestProxyBuilder::new()
            .empty()
            .with(move |config| {
                config.heal.dead_token = policy;
                config.heal.hold_timeout = Duration::from_secs(2);
            })
            .start()
            .await;
        // The hold begins when the dead token is found, not when there was no token at all.
        sleep(Duration::from_secs(60)).await;
        proxy.source.publish_dead();
        sleep(Duration::from_millis(500)).await;
        let replaced = proxy.publish_token_after(SECOND_TOKEN, Duration::from_secs(1));
        let (answers, ()) = tokio::join!(proxy.post_many(20), replaced);
        assert!(answers.iter().all(|answer| answer.status == 200), "{policy:?}");
        assert_eq!(proxy.graph.attempts(), 20);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_that_hold_answers_come_at_once() {
    let proxy = TestProxyBuilder::new()
        .empty()
        .with(|config| config.heal.hold_timeout = Duration::from_secs(2))
        .start()
        .await;
    proxy.source.publish_dead();
    sleep(Duration::from_millis(500)).await;
    let asked = Instant::now();
    assert_eq!(proxy.app.post("x").await.status, 401);
    assert!((1_400..1_600).contains(&asked.elapsed().as_millis()));
    let asked = Instant::now();
    assert_eq!(proxy.app.post("x").await.status, 401);
    assert!(asked.elapsed() < Duration::from_millis(10));
    proxy.shutdown().await;
}
