//! A token that Graph has rejected, with no newer one in sight: `heal.dead_token`.

use std::time::Duration;

use graphward::proxy::DeadTokenPolicy;
use tokio::time::{Instant, sleep};

use crate::support::{
    EXPIRED_ERROR, FIRST_TOKEN, LogCapture, PROTOCOL_PAIRS, Protocols, SECOND_TOKEN, ScriptedResponse, TestProxy,
    TestProxyBuilder, TestResponse,
};

const ALL_POLICIES: [DeadTokenPolicy; 3] = [
    DeadTokenPolicy::Probe,
    DeadTokenPolicy::Refuse,
    DeadTokenPolicy::Forward,
];

const NOT_SENT_PREFIX: &str = "graphward; error=http_request_denied; details=";

pub(crate) fn proxy_with_policy(protocols: Protocols, policy: DeadTokenPolicy) -> TestProxyBuilder {
    TestProxyBuilder::over(protocols).with(|config| {
        config.heal.dead_token = policy;
        config.heal.hold_timeout = Duration::ZERO;
    })
}

/// The same with a hold, when the token has just expired.
async fn proxy_with_hold(protocols: Protocols, policy: DeadTokenPolicy, hold_timeout: Duration) -> TestProxy {
    let builder = proxy_with_policy(protocols, policy);
    let proxy = builder
        .with(|config| config.heal.hold_timeout = hold_timeout)
        .start()
        .await;
    proxy.graph.expire_all();
    proxy
}

/// A proxy that knows that its token is dead, a moment after its only request.
pub(crate) async fn proxy_with_dead_token(protocols: Protocols, policy: DeadTokenPolicy) -> (TestProxy, TestResponse) {
    let proxy = proxy_with_policy(protocols, policy).start().await;
    proxy.graph.expire_all();
    proxy.graph.reject_with(
        ScriptedResponse::expired()
            .with("x-fb-rev", "7")
            .with("proxy-status", "http_request_error; e_fb=1")
            .with("strict-transport-security", "max-age=15552000"),
    );
    let last = proxy.app.post("the first").await;
    assert_eq!((last.status, last.text()), (401, EXPIRED_ERROR));
    assert!(!last.headers.contains_key("strict-transport-security"));
    (proxy, last)
}

/// Fails unless this is the last rejection, byte for byte, and says that nothing was sent.
#[track_caller]
pub(crate) fn assert_repeated(answer: &TestResponse, last: &TestResponse) {
    assert_eq!(answer.status, last.status);
    assert_eq!(answer.body, last.body);
    let mut headers = answer.headers.clone();
    let marks: Vec<_> = headers.get_all("proxy-status").iter().collect();
    let (mark, graphs) = marks.split_last().unwrap();
    assert!(mark.to_str().unwrap().starts_with(NOT_SENT_PREFIX), "{mark:?}");
    let graphs: Vec<_> = graphs.iter().copied().cloned().collect();
    headers.remove("proxy-status");
    for value in graphs {
        headers.append("proxy-status", value);
    }
    let mut expected = last.headers.clone();
    // hyper's, and of the moment.
    headers.remove("date");
    expected.remove("date");
    assert_eq!(headers, expected);
}

pub(crate) fn is_repeated(answer: &TestResponse) -> bool {
    let mut marks = answer.headers.get_all("proxy-status").iter();
    marks
        .next_back()
        .is_some_and(|mark| mark.to_str().unwrap().starts_with(NOT_SENT_PREFIX))
}

#[tokio::test(start_paused = true)]
async fn one_request_a_second_is_sent_and_the_others_get_graphs_last_rejection() {
    for protocols in PROTOCOL_PAIRS {
        let (proxy, last) = proxy_with_dead_token(protocols, DeadTokenPolicy::Probe).await;
        for second in 1..=5 {
            let answers = proxy.post_many(200).await;
            let sent = answers.iter().filter(|answer| !is_repeated(answer)).count();
            assert_eq!(sent, usize::from(second > 1), "the first rejection was a probe");
            for answer in answers.iter().filter(|answer| is_repeated(answer)) {
                assert_repeated(answer, &last);
            }
            assert_eq!(proxy.graph.attempts(), second);
            sleep(Duration::from_millis(1_001)).await;
        }
        assert_eq!(proxy.requests_with_outcome("unhealed_not_sent").await, 5 * 200 - 4);
        assert_eq!(proxy.requests_with_outcome("unhealed_no_newer_token").await, 5);
        assert!(proxy.graph.accepted().is_empty());
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_steady_stream_is_probed_once_a_second_and_answered_at_once() {
    let (proxy, last) = proxy_with_dead_token(PROTOCOL_PAIRS[0], DeadTokenPolicy::Probe).await;
    let began = Instant::now();
    for _ in 0..500 {
        let asked = Instant::now();
        let answer = proxy.app.post("x").await;
        assert_eq!(answer.body, last.body);
        assert!(asked.elapsed() < Duration::from_millis(5));
        sleep(Duration::from_millis(20)).await;
    }
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
    let probes = proxy.graph.attempts() - 1;
    assert!((seconds - 1..=seconds).contains(&probes), "{probes} in {seconds} s");
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_last_rejection_is_the_last() {
    let (proxy, _first) = proxy_with_dead_token(PROTOCOL_PAIRS[0], DeadTokenPolicy::Probe).await;
    sleep(Duration::from_secs(2)).await;
    let loggedout = EXPIRED_ERROR.replace("463", "467");
    proxy.script(ScriptedResponse::json(400, loggedout.clone()));
    let probe = proxy.app.post("x").await;
    assert!(!is_repeated(&probe));
    let answer = proxy.app.post("x").await;
    assert_eq!((answer.status, answer.text()), (400, loggedout.as_str()));
    assert_repeated(&answer, &probe);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_succeeds_ends_the_suspicion() {
    for protocols in PROTOCOL_PAIRS {
        let (proxy, _last) = proxy_with_dead_token(protocols, DeadTokenPolicy::Probe).await;
        proxy.graph.accept(FIRST_TOKEN);
        assert!(is_repeated(&proxy.app.post("too soon").await));
        assert!(!proxy.tokens.is_usable());
        sleep(Duration::from_secs(1)).await;
        assert_eq!(proxy.app.post("the probe").await.status, 200);
        assert!(proxy.tokens.is_usable());
        let answers = proxy.post_many(50).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        assert_eq!(proxy.graph.attempts(), 52);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_let_go_by_a_probe_that_succeeds() {
    for protocols in PROTOCOL_PAIRS {
        let builder = proxy_with_policy(protocols, DeadTokenPolicy::Probe);
        let proxy = builder
            .with(|config| config.heal.hold_timeout = Duration::from_secs(5))
            .start()
            .await;
        proxy.script(ScriptedResponse::expired());
        let began = Instant::now();
        let unlucky = proxy.app.post("the first");
        let others = async {
            sleep(Duration::from_millis(1_500)).await;
            proxy.post_many(20).await
        };
        let settled = async {
            let answers = others.await;
            (answers, began.elapsed())
        };
        let (first, (answers, took)) = tokio::join!(unlucky, settled);
        assert_eq!((first.status, first.text()), (401, EXPIRED_ERROR));
        assert!(answers.iter().all(|answer| answer.status == 200));
        assert!(took < Duration::from_millis(1_600), "{took:?}");
        assert_eq!(proxy.graph.attempts(), 21, "each once");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_token_ends_it() {
    for protocols in PROTOCOL_PAIRS {
        for policy in ALL_POLICIES {
            let (proxy, _last) = proxy_with_dead_token(protocols, policy).await;
            proxy.publish_token(SECOND_TOKEN);
            sleep(Duration::from_millis(10)).await;
            let answers = proxy.post_many(50).await;
            assert!(answers.iter().all(|answer| answer.status == 200));
            assert_eq!(proxy.graph.attempts(), 51, "none with the dead one");
            assert_eq!(proxy.requests_with_outcome("delivered").await, 50);
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_dropped_within_the_hold_serves_those_who_came_meanwhile_with_one_sending() {
    for protocols in PROTOCOL_PAIRS {
        for policy in [DeadTokenPolicy::Probe, DeadTokenPolicy::Refuse] {
            let proxy = proxy_with_hold(protocols, policy, Duration::from_secs(2)).await;
            let began = Instant::now();
            let first = proxy.app.post("the first");
            let meanwhile = async {
                sleep(Duration::from_millis(500)).await;
                proxy.post_many(200).await
            };
            let person = proxy.publish_token_after(SECOND_TOKEN, Duration::from_millis(1_900));
            let (first, answers, ()) = tokio::join!(first, meanwhile, person);
            assert_eq!(first.status, 200);
            assert!(answers.iter().all(|answer| answer.status == 200));
            assert!(began.elapsed() < Duration::from_millis(1_950));
            assert_eq!(proxy.graph.attempts(), 2 + 200);
            assert_eq!(proxy.requests_with_outcome("healed").await, 1);
            assert_eq!(proxy.requests_with_outcome("delivered").await, 200);
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_hold_answers_come_at_once() {
    for protocols in PROTOCOL_PAIRS {
        for policy in ALL_POLICIES {
            let proxy = proxy_with_hold(protocols, policy, Duration::from_secs(2)).await;
            let began = Instant::now();
            let meanwhile = async {
                sleep(Duration::from_millis(500)).await;
                proxy.post_many(20).await
            };
            let (first, answers) = tokio::join!(proxy.app.post("the first"), meanwhile);
            assert!(answers.iter().chain([&first]).all(|answer| answer.status >= 400));
            let took = began.elapsed();
            assert!(took >= Duration::from_secs(2) && took < Duration::from_millis(2_050));
            for _ in 0..10 {
                let asked = Instant::now();
                assert!(proxy.app.post("x").await.status >= 400);
                assert!(asked.elapsed() < Duration::from_millis(10));
            }
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn forward_sends_all_of_them_once() {
    for protocols in PROTOCOL_PAIRS {
        let (proxy, last) = proxy_with_dead_token(protocols, DeadTokenPolicy::Forward).await;
        let answers = proxy.post_many(50).await;
        assert!(
            answers
                .iter()
                .all(|answer| answer.body == last.body && !is_repeated(answer))
        );
        assert_eq!(proxy.graph.attempts(), 51);
        assert_eq!(proxy.requests_with_outcome("unhealed_no_newer_token").await, 51);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn refuse_sends_none_and_says_what_to_do() {
    for protocols in PROTOCOL_PAIRS {
        let (proxy, _last) = proxy_with_dead_token(protocols, DeadTokenPolicy::Refuse).await;
        sleep(Duration::from_secs(60)).await;
        for answer in proxy.post_many(50).await {
            answer.refused(503, "proxy_configuration_error");
            assert_eq!((answer.code(), answer.header("retry-after")), (990_021, ""));
            assert!(answer.text().contains(r#""is_transient":false"#), "{}", answer.text());
            assert!(
                answer
                    .text()
                    .contains("The token has expired (code 190, subcode 463). If no renewer")
            );
            assert!(!answer.text().contains("05-Oct-25"), "nothing of Graph's text");
        }
        assert_eq!(proxy.graph.attempts(), 1);
        assert_eq!(proxy.requests_with_outcome("refused_dead_token").await, 50);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_probe_is_replayed_once_with_a_token_that_came_meanwhile() {
    let (proxy, _last) = proxy_with_dead_token(PROTOCOL_PAIRS[0], DeadTokenPolicy::Probe).await;
    sleep(Duration::from_secs(1)).await;
    proxy.script(ScriptedResponse::expired().delayed(Duration::from_millis(200)));
    let person = proxy.publish_token_after(SECOND_TOKEN, Duration::from_millis(100));
    let (probe, ()) = tokio::join!(proxy.app.post("the probe"), person);
    assert_eq!(probe.status, 200);
    assert_eq!(proxy.graph.accepted(), ["the probe"]);
    assert_eq!(proxy.graph.attempts(), 3);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_record_says_that_nothing_was_sent_and_why() {
    let logged = LogCapture::at_info();
    let (proxy, _last) = proxy_with_dead_token(PROTOCOL_PAIRS[0], DeadTokenPolicy::Probe).await;
    proxy.app.post("x").await;
    let lines = logged.lines_containing(r#""outcome":"unhealed_not_sent""#);
    let [line] = &lines[..] else {
        panic!("{lines:?}");
    };
    for part in [
        r#""status":401"#,
        r#""rejection":"expired""#,
        r#""rejected_generation":1"#,
        r#""attempts":0"#,
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!logged.text().contains(FIRST_TOKEN));
    proxy.shutdown().await;
}
