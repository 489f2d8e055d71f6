//! The end: what began is finished, nothing new is taken, and nothing is waited for in vain.

use std::time::Duration;

use graphward::app::RunOutcome;
use tokio::time::{Instant, sleep};

use crate::support::{PROTOCOL_PAIRS, Protocol, Protocols, ScriptedResponse, TestProxyBuilder, get, post, sized};

#[tokio::test(start_paused = true)]
async fn a_stop_with_nothing_under_way_takes_no_time() {
    for way in PROTOCOL_PAIRS {
        let home = TestProxyBuilder::new().with_protocols(way).start().await;
        assert_eq!(home.app.post("leaves an idle connection to Graph").await.status, 200);
        let began = Instant::now();
        home.shutdown().await;
        assert!(began.elapsed() < Duration::from_millis(10), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn what_began_is_finished() {
    for way in PROTOCOL_PAIRS {
        let home = TestProxyBuilder::new().with_protocols(way).start().await;
        home.graph
            .enqueue(ScriptedResponse::json(200, "0123456789").chunked(1, Duration::from_secs(2)));
        let asks = home.app.post("x");
        let stops = async {
            sleep(Duration::from_secs(1)).await;
            home.stop().await;
        };
        let (answer, ()) = tokio::join!(asks, stops);
        assert!(answer.complete && answer.text() == "0123456789");
        assert_eq!(home.wait_exit().await, RunOutcome::Drained);
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_and_no_new_ones_are_taken() {
    let home = TestProxyBuilder::new().start().await;
    let mut idle = home.app.connect().await;
    let mut request = get("/me");
    request.headers_mut().insert("host", "localhost".parse().unwrap());
    assert_eq!(idle.send_request(request).await.unwrap().status(), 200);
    home.graph
        .enqueue(ScriptedResponse::json(200, "{}").delayed(Duration::from_secs(10)));
    let late = async {
        sleep(Duration::from_secs(1)).await;
        home.stop().await;
        sleep(Duration::from_secs(1)).await;
        assert!(idle.is_closed());
        assert!(home.app.send(post(sized("too late"))).await.is_err());
    };
    let (answer, ()) = tokio::join!(home.app.post("x"), late);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), "close");
    assert_eq!(home.graph.attempts(), 2);
    assert_eq!(home.wait_exit().await, RunOutcome::Drained);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_dies_during_the_drain_is_still_healed() {
    for way in PROTOCOL_PAIRS {
        let home = TestProxyBuilder::new().with_protocols(way).start().await;
        home.rotate_token();
        home.drop.set_delay(Duration::from_secs(2));
        home.graph
            .enqueue(ScriptedResponse::expired().delayed(Duration::from_secs(5)));
        let stops = async {
            sleep(Duration::from_secs(1)).await;
            home.stop().await;
        };
        let (answer, ()) = tokio::join!(home.app.post("x"), stops);
        assert_eq!(answer.status, 200);
        assert_eq!(home.graph.accepted(), ["x"]);
        assert_eq!(home.wait_exit().await, RunOutcome::Drained);
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_what_is_left_is_cut_and_counted() {
    for way in PROTOCOL_PAIRS {
        let home = TestProxyBuilder::new().with_protocols(way).start().await;
        home.graph.enqueue(ScriptedResponse::no_response());
        let asked = home.app.send(post(sized("x")));
        let stops = async {
            sleep(Duration::from_secs(1)).await;
            let began = Instant::now();
            home.stop().await;
            began
        };
        let (answer, began) = tokio::join!(asked, stops);
        assert!(answer.is_err());
        assert_eq!(began.elapsed().as_secs(), 25);
        assert_eq!(home.wait_exit().await, RunOutcome::ForceClosed(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_stop_ends_at_once() {
    for way in PROTOCOL_PAIRS {
        let home = TestProxyBuilder::new().with_protocols(way).start().await;
        home.graph.enqueue(ScriptedResponse::no_response());
        let stops = async {
            sleep(Duration::from_secs(1)).await;
            home.stop().await;
            sleep(Duration::from_secs(1)).await;
            home.stop().await;
        };
        let began = Instant::now();
        let (answer, ()) = tokio::join!(home.app.send(post(sized("x"))), stops);
        assert!(answer.is_err());
        assert_eq!(began.elapsed().as_secs(), 2);
        assert_eq!(home.wait_exit().await, RunOutcome::ForceClosed(1));
    }
}

#[tokio::test(start_paused = true)]
async fn operators_see_the_drain_and_their_listener_goes_last() {
    let home = TestProxyBuilder::new().start().await;
    home.graph
        .enqueue(ScriptedResponse::json(200, "{}").delayed(Duration::from_secs(10)));
    let looks = async {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(home.admin_get("/readyz").await.status, 200);
        home.stop().await;
        sleep(Duration::from_secs(8)).await;
        let ready = home.admin_get("/readyz").await;
        assert_eq!(ready.status, 503);
        assert!(ready.text().contains(r#""stage":"draining""#), "{}", ready.text());
        for target in ["/livez", "/healthz", "/startupz", "/metrics"] {
            assert_eq!(home.admin_get(target).await.status, 200, "{target}");
        }
    };
    let (answer, ()) = tokio::join!(home.app.post("x"), looks);
    assert_eq!(answer.status, 200);
    assert_eq!(home.wait_exit().await, RunOutcome::Drained);
}

#[tokio::test(start_paused = true)]
async fn before_the_drain_connections_are_taken_for_a_while() {
    let pause = |config: &mut graphward::config::Config| config.drain_delay = Duration::from_secs(5);
    for way in [
        Protocols::new(Protocol::Http1, Protocol::Http1),
        Protocols::new(Protocol::Two, Protocol::Two),
    ] {
        let home = TestProxyBuilder::new().with_protocols(way).with(pause).start().await;
        let began = Instant::now();
        home.stop().await;
        sleep(Duration::from_secs(4)).await;
        assert_eq!(home.admin_get("/readyz").await.status, 503);
        assert_eq!(home.app.post("x").await.status, 200);
        assert_eq!(home.wait_exit().await, RunOutcome::Drained);
        assert_eq!(began.elapsed().as_secs(), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_requires_a_token_ends_without_one() {
    let home = TestProxyBuilder::new().empty().require_token().start().await;
    assert_eq!(home.wait_exit().await, RunOutcome::NoToken);
    let home = TestProxyBuilder::new().require_token().start().await;
    assert_eq!(home.app.post("x").await.status, 200);
    home.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_the_first_look_is_heard() {
    let home = TestProxyBuilder::new()
        .with_source_delay(Duration::from_secs(20))
        .start()
        .await;
    let began = Instant::now();
    home.stop().await;
    assert_eq!(home.wait_exit().await, RunOutcome::Drained);
    assert_eq!(began.elapsed(), Duration::ZERO);
}
