//! The end: what began is finished, nothing new is taken, and nothing is waited for in vain.

use std::time::Duration;

use graphward::app::RunOutcome;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep};

use crate::support::{
    LogCapture, PROTOCOL_PAIRS, Protocol, Protocols, ScriptedResponse, TestProxy, TestProxyBuilder, get, post, sized,
};

#[tokio::test(start_paused = true)]
async fn a_stop_with_nothing_under_way_takes_no_time() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        assert_eq!(proxy.app.post("leaves an idle connection to Graph").await.status, 200);
        let began = Instant::now();
        proxy.shutdown().await;
        assert!(began.elapsed() < Duration::from_millis(10), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn what_began_is_finished() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.script(ScriptedResponse::json(200, "0123456789").chunked(1, Duration::from_secs(2)));
        let asks = proxy.app.post("x");
        let stops = async {
            sleep(Duration::from_secs(1)).await;
            proxy.stop().await;
        };
        let (answer, ()) = tokio::join!(asks, stops);
        assert!(answer.complete && answer.text() == "0123456789");
        assert_eq!(proxy.wait_exit().await, RunOutcome::Drained);
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_and_new_ones_are_told_of_the_stop() {
    let proxy = TestProxyBuilder::new().start().await;
    let mut idle = proxy.app.connect().await;
    let mut request = get("/me");
    request.headers_mut().insert("host", "localhost".parse().unwrap());
    assert_eq!(idle.send_request(request).await.unwrap().status(), 200);
    proxy.script(ScriptedResponse::json(200, "{}").delayed(Duration::from_secs(10)));
    let late = async {
        sleep(Duration::from_secs(1)).await;
        proxy.stop().await;
        sleep(Duration::from_secs(1)).await;
        assert!(idle.is_closed());
        let refused = proxy.app.post("too late").await;
        refused.refused(503, "http_request_denied");
        assert!(refused.text().contains("990001"), "{}", refused.text());
    };
    let (answer, ()) = tokio::join!(proxy.app.post("x"), late);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), "close");
    assert_eq!(proxy.graph.attempts(), 2);
    assert_eq!(proxy.wait_exit().await, RunOutcome::Drained);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_dies_during_the_drain_is_still_healed() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.rotate_token();
        proxy.source.set_delay(Duration::from_secs(2));
        proxy.script(ScriptedResponse::expired().delayed(Duration::from_secs(5)));
        let stops = async {
            sleep(Duration::from_secs(1)).await;
            proxy.stop().await;
        };
        let (answer, ()) = tokio::join!(proxy.app.post("x"), stops);
        assert_eq!(answer.status, 200);
        assert_eq!(proxy.graph.accepted(), ["x"]);
        assert_eq!(proxy.wait_exit().await, RunOutcome::Drained);
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_what_is_left_is_cut_and_counted() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.script(ScriptedResponse::no_response());
        let asked = proxy.app.send(post(sized("x")));
        let stops = async {
            sleep(Duration::from_secs(1)).await;
            let began = Instant::now();
            proxy.stop().await;
            began
        };
        let (answer, began) = tokio::join!(asked, stops);
        assert!(answer.is_err());
        assert_eq!(began.elapsed().as_secs(), 25);
        assert_eq!(proxy.wait_exit().await, RunOutcome::ForceClosed(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_stop_ends_at_once() {
    for protocols in PROTOCOL_PAIRS {
        let log = LogCapture::at_info();
        let proxy = TestProxy::start(protocols).await;
        proxy.script(ScriptedResponse::no_response());
        let stops = async {
            sleep(Duration::from_secs(1)).await;
            proxy.stop().await;
            sleep(Duration::from_secs(1)).await;
            proxy.stop().await;
        };
        let began = Instant::now();
        let (answer, ()) = tokio::join!(proxy.app.send(post(sized("x"))), stops);
        assert!(answer.is_err());
        assert_eq!(began.elapsed().as_secs(), 2);
        assert_eq!(proxy.wait_exit().await, RunOutcome::ForceClosed(1));
        let lines = log.lines_containing(r#""outcome":"closed_by_shutdown""#);
        assert!(
            lines.iter().any(|line| line.contains(r#""level":"WARN""#)),
            "{}",
            log.text()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_request_is_no_loss() {
    let proxy = TestProxy::start(PROTOCOL_PAIRS[0]).await;
    let mut stalled = proxy.app.raw().await;
    stalled.write_all(b"GET /me HTT").await.unwrap();
    sleep(Duration::from_secs(1)).await;
    proxy.stop().await;
    sleep(Duration::from_secs(1)).await;
    proxy.stop().await;
    assert_eq!(proxy.wait_exit().await, RunOutcome::Drained);
}

#[tokio::test(start_paused = true)]
async fn operators_see_the_drain_and_their_listener_goes_last() {
    let proxy = TestProxyBuilder::new().start().await;
    proxy.script(ScriptedResponse::json(200, "{}").delayed(Duration::from_secs(10)));
    let loads = async {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(proxy.admin_get("/readyz").await.status, 200);
        proxy.stop().await;
        sleep(Duration::from_secs(8)).await;
        let ready = proxy.admin_get("/readyz").await;
        assert_eq!(ready.status, 503);
        assert!(ready.text().contains(r#""stage":"draining""#), "{}", ready.text());
        for target in ["/livez", "/healthz", "/startupz", "/metrics"] {
            assert_eq!(proxy.admin_get(target).await.status, 200, "{target}");
        }
    };
    let (answer, ()) = tokio::join!(proxy.app.post("x"), loads);
    assert_eq!(answer.status, 200);
    assert_eq!(proxy.wait_exit().await, RunOutcome::Drained);
}

#[tokio::test(start_paused = true)]
async fn before_the_drain_connections_are_taken_for_a_while() {
    let pause = |config: &mut graphward::config::Config| config.drain_delay = Duration::from_secs(5);
    for protocols in [
        Protocols::new(Protocol::Http1, Protocol::Http1),
        Protocols::new(Protocol::Two, Protocol::Two),
    ] {
        let proxy = TestProxyBuilder::over(protocols).with(pause).start().await;
        let began = Instant::now();
        proxy.stop().await;
        sleep(Duration::from_secs(4)).await;
        assert_eq!(proxy.admin_get("/readyz").await.status, 503);
        assert_eq!(proxy.app.post("x").await.status, 200);
        assert_eq!(proxy.wait_exit().await, RunOutcome::Drained);
        assert_eq!(began.elapsed().as_secs(), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_requires_a_token_ends_without_one() {
    let proxy = TestProxyBuilder::new().empty().require_token().start().await;
    assert_eq!(proxy.wait_exit().await, RunOutcome::NoToken);
    let proxy = TestProxyBuilder::new().require_token().start().await;
    assert_eq!(proxy.app.post("x").await.status, 200);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_the_first_look_is_heard() {
    let proxy = TestProxyBuilder::new()
        .with_source_delay(Duration::from_secs(20))
        .start()
        .await;
    let began = Instant::now();
    proxy.stop().await;
    assert_eq!(proxy.wait_exit().await, RunOutcome::Drained);
    assert_eq!(began.elapsed(), Duration::ZERO);
}
