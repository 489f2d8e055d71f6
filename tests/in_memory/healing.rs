//! A token expires, and the app does not notice.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{
    EXPIRED_ERROR, FIRST_TOKEN, PROTOCOL_PAIRS, Protocol, Protocols, SECOND_TOKEN, ScriptedResponse, TestProxy,
    TestProxyBuilder, request, sized,
};

#[tokio::test(start_paused = true)]
async fn a_rejected_request_is_healed_by_one_look_and_one_replay() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.rotate_token();
        let answer = proxy.app.post("hello").await;
        assert_eq!(answer.status, 200);
        assert_eq!(proxy.graph.accepted(), ["hello"]);
        assert_eq!(proxy.graph.attempts(), 2);
        assert_eq!(proxy.source.loads(), 2, "one at start, one after the rejection");
        let seen = proxy.graph.requests();
        seen[0].assert_bearer(FIRST_TOKEN);
        seen[1].assert_bearer(SECOND_TOKEN);
        assert_eq!(proxy.requests_with_outcome("healed").await, 1);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_expired_requests_is_healed_with_one_look() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.rotate_token();
        proxy.source.set_delay(Duration::from_millis(50));
        let bodies: Vec<String> = (0..200).map(|number| format!("{number:03}")).collect();
        let answers = join_all(bodies.iter().map(|body| proxy.app.post(body.clone()))).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        let mut accepted = proxy.graph.accepted();
        accepted.sort();
        assert_eq!(accepted, bodies, "each exactly once");
        assert_eq!(proxy.source.loads(), 2);
        let seen = proxy.graph.requests();
        for body in &bodies {
            let sendings = seen.iter().filter(|seen| seen.body.as_deref() == Some(body.as_bytes()));
            assert!(sendings.count() <= 2, "{body}");
        }
        assert_eq!(proxy.tokens.current().unwrap().generation().get(), 2);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_expired_requests_is_healed_with_one_renewal() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxyBuilder::over(protocols).with_renewer().start().await;
        proxy.graph.expire_all();
        let answers = proxy.post_many(100).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        assert_eq!(proxy.graph.accepted().len(), 100);
        assert_eq!(proxy.renewer.calls(), 1);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn there_is_never_a_third_attempt_and_the_second_rejection_is_delivered_byte_for_byte() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.rotate_token();
        proxy.graph.expire_all();
        let second = r#"{ "error" : {"code":190,"message":"the second","error_subcode":460} } "#;
        proxy.script(ScriptedResponse::expired());
        proxy.script(ScriptedResponse::json(400, second).with("x-fb-rev", "7"));
        let answer = proxy.app.post("x").await;
        assert_eq!((answer.status, answer.text()), (400, second));
        assert_eq!(answer.header("x-fb-rev"), "7");
        assert_eq!(proxy.graph.attempts(), 2);
        assert_eq!(proxy.requests_with_outcome("unhealed_rejected_again").await, 1);
        assert!(!proxy.tokens.is_usable(), "the refresher knows of the second");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn where_everything_is_rejected_each_request_is_sent_twice_at_most() {
    let proxy = TestProxyBuilder::new().with_renewer().start().await;
    proxy.graph.expire_all();
    proxy.graph.reject_with(ScriptedResponse::expired());
    for _ in 0..100 {
        proxy.script(ScriptedResponse::expired());
    }
    let answers = proxy.post_many(50).await;
    assert!(answers.iter().all(|answer| answer.text() == EXPIRED_ERROR));
    assert_eq!(proxy.graph.attempts(), 100);
    assert!(proxy.renewer.calls() <= 2, "one, and one for the second's rejection");
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_late_rejection_of_an_old_token_replays_at_once_and_wipes_nothing() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.rotate_token();
        proxy.script(ScriptedResponse::expired().delayed(Duration::from_secs(5)));
        let late = async {
            let began = Instant::now();
            assert_eq!(proxy.app.post("late").await.status, 200);
            began.elapsed()
        };
        let prompt = async {
            sleep(Duration::from_secs(1)).await;
            assert_eq!(proxy.app.post("prompt").await.status, 200);
        };
        let (took, ()) = tokio::join!(late, prompt);
        assert!(took <= Duration::from_millis(5_001), "{took:?}");
        assert_eq!(proxy.source.loads(), 2, "one at start, one for both");
        assert_eq!(proxy.tokens.current().unwrap().generation().get(), 2);
        assert!(proxy.tokens.is_usable());
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_app_that_hangs_up_does_not_cancel_the_look() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.rotate_token();
        proxy.source.set_delay(Duration::from_secs(1));
        let impatient = timeout(Duration::from_millis(100), proxy.app.post("x")).await;
        assert!(impatient.is_err());
        sleep(Duration::from_secs(2)).await;
        assert_eq!(proxy.tokens.current().unwrap().generation().get(), 2);
        assert_eq!(proxy.app.post("y").await.status, 200);
        assert_eq!(proxy.source.loads(), 2);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_newer_token_is_not_sent_for_an_app_that_has_gone() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.rotate_token();
        proxy.source.set_delay(Duration::from_secs(1));
        let given_up = timeout(Duration::from_millis(100), proxy.app.post("given up")).await;
        assert!(given_up.is_err());
        sleep(Duration::from_secs(2)).await;
        assert_eq!(proxy.app.post("sent again").await.status, 200);
        assert_eq!(proxy.graph.accepted(), ["sent again"], "not twice");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_is_shared_by_all_who_wait() {
    for protocols in PROTOCOL_PAIRS {
        let builder = TestProxyBuilder::over(protocols).with_renewer();
        let proxy = builder
            .with(|config| config.heal.hold_timeout = Duration::ZERO)
            .start()
            .await;
        proxy.graph.expire_all();
        proxy.renewer.fail();
        let began = Instant::now();
        let answers = proxy.post_many(100).await;
        assert!(
            answers
                .iter()
                .all(|answer| (answer.status, answer.text()) == (401, EXPIRED_ERROR))
        );
        assert_eq!(proxy.renewer.calls(), 1);
        assert_eq!(proxy.graph.attempts(), 100);
        assert!(began.elapsed() < Duration::from_millis(100));
        assert_eq!(proxy.requests_with_outcome("unhealed_no_newer_token").await, 100);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_dropped_while_requests_are_held_heals_them() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.graph.expire_all();
        let began = Instant::now();
        let held = proxy.post_many(20);
        let person = proxy.publish_token_after(SECOND_TOKEN, Duration::from_millis(1_900));
        let (answers, ()) = tokio::join!(held, person);
        assert!(answers.iter().all(|answer| answer.status == 200));
        assert!(began.elapsed() < Duration::from_millis(1_950));
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_hold_apps_hear_graphs_own_words_at_once() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.graph.expire_all();
        // The second comes late enough to be a probe, the third does not.
        for (hold, sendings) in [(2, 1), (0, 1), (0, 0)] {
            let expected = Duration::from_secs(hold);
            let before = proxy.graph.attempts();
            let began = Instant::now();
            let answer = proxy.app.post("x").await;
            assert_eq!((answer.status, answer.text()), (401, EXPIRED_ERROR));
            let took = began.elapsed();
            assert!(
                took >= expected && took < expected + Duration::from_millis(20),
                "{took:?}"
            );
            assert_eq!(proxy.graph.attempts(), before + sendings);
        }
        proxy.publish_token(SECOND_TOKEN);
        sleep(Duration::from_millis(10)).await;
        assert_eq!(proxy.app.post("x").await.status, 200, "it is not given up");
        proxy.shutdown().await;
    }
}

fn half_an_error() -> &'static str {
    EXPIRED_ERROR.split_at(EXPIRED_ERROR.len() / 2).0
}

#[tokio::test(start_paused = true)]
async fn what_graph_may_have_acted_on_is_never_sent_again() {
    for protocols in PROTOCOL_PAIRS {
        for reply in [
            ScriptedResponse::error(500, 1),
            ScriptedResponse::error(500, 2),
            ScriptedResponse::error(503, 2),
            ScriptedResponse::error(400, 1),
            ScriptedResponse::error(400, 2),
            ScriptedResponse::error(500, 190),
            ScriptedResponse::new(502, "text/html", "<html>Bad Gateway"),
            ScriptedResponse::connection_lost(),
            ScriptedResponse::no_response(),
            ScriptedResponse::json(401, half_an_error()).truncated(),
            ScriptedResponse::json(200, "{\"id\":").truncated(),
        ] {
            let proxy = TestProxy::start(protocols).await;
            assert_eq!(proxy.app.post("warms the pool").await.status, 200);
            proxy.add_token(SECOND_TOKEN);
            proxy.script(reply.clone());
            let answer = proxy.app.post("x").await;
            assert!(!answer.complete || answer.status >= 400, "{reply:?}");
            assert_eq!(proxy.graph.attempts(), 2, "{reply:?}");
            assert_eq!(proxy.source.loads(), 1);
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_that_fails_in_transport_is_not_answered_with_the_firsts_rejection() {
    for protocols in PROTOCOL_PAIRS {
        for (reply, status, error) in [
            (ScriptedResponse::connection_lost(), 502, "connection_terminated"),
            (ScriptedResponse::no_response(), 504, "http_response_timeout"),
            (
                ScriptedResponse::json(401, half_an_error()).truncated(),
                502,
                "connection_terminated",
            ),
        ] {
            let proxy = TestProxy::start(protocols).await;
            proxy.rotate_token();
            proxy.script(ScriptedResponse::expired());
            proxy.script(reply);
            proxy.app.post("x").await.refused(status, error);
            assert_eq!(proxy.graph.attempts(), 2);
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_get_and_every_other_method_is_healed_too() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for method in ["GET", "DELETE", "PUT", "PATCH", "OPTIONS"] {
            proxy.rotate_token_to(&format!("EAAtoken0{method}"));
            let seen = proxy.forwarded(request(method, "/v21.0/1/messages", sized(""))).await;
            assert_eq!(seen.head.method, method);
        }
        assert_eq!(proxy.requests_with_outcome("healed").await, 5);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_graph_ends_politely_costs_no_request() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for number in 1..=5 {
            assert_eq!(proxy.app.post("x").await.status, 200);
            proxy.graph.close_connections();
            assert_eq!(proxy.graph.attempts(), number);
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(proxy.graph.connections(), 5);
        proxy.script(ScriptedResponse::json(200, "{}").delayed(Duration::from_secs(3)));
        let leaves = async {
            sleep(Duration::from_secs(1)).await;
            proxy.graph.close_connections();
        };
        let (answer, ()) = tokio::join!(proxy.app.post("in flight"), leaves);
        assert_eq!(answer.status, 200);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_requests_that_meet_a_dead_token_are_healed_by_one_refresh() {
    const REFRESH: Duration = Duration::from_secs(1);
    let proxy = TestProxy::start(Protocols::new(Protocol::Http1, Protocol::Two)).await;
    proxy.rotate_token();
    proxy.source.set_delay(REFRESH);
    let loads = proxy.source.loads();
    let began = Instant::now();
    let answers = proxy.post_many(10_000).await;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.complete));
    assert_eq!(proxy.source.loads() - loads, 1);
    assert_eq!(proxy.graph.accepted().len(), 10_000, "none twice");
    // The waiting alone: in paused time, nothing else takes any.
    assert!(
        began.elapsed() < REFRESH + Duration::from_millis(100),
        "{:?}",
        began.elapsed()
    );
    proxy.shutdown().await;
}
