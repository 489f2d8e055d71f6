//! The end: what began is finished, nothing new is taken, and nothing is waited for in vain.

use std::time::Duration;

use graphward::app::Exit;
use tokio::time::{Instant, sleep};

use crate::support::{House, Http, Reply, WAYS, Way, get, post, sized};

#[tokio::test(start_paused = true)]
async fn a_stop_with_nothing_under_way_takes_no_time() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        assert_eq!(
            home.app
                .post("leaves an idle connection to Graph")
                .await
                .status,
            200
        );
        let began = Instant::now();
        home.leave().await;
        assert!(
            began.elapsed() < Duration::from_millis(10),
            "{:?}",
            began.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_began_is_finished() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        home.graph
            .next(Reply::json(200, "0123456789").dribbled(1, Duration::from_secs(2)));
        let asks = home.app.post("x");
        let stops = async {
            sleep(Duration::from_secs(1)).await;
            home.stop().await;
        };
        let (answer, ()) = tokio::join!(asks, stops);
        assert!(answer.whole && answer.text() == "0123456789");
        assert_eq!(home.exited().await, Exit::Drained);
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_and_no_new_ones_are_taken() {
    let home = House::new().start().await;
    let mut idle = home.app.connect().await;
    let mut request = get("/me");
    request
        .headers_mut()
        .insert("host", "localhost".parse().unwrap());
    assert_eq!(idle.send_request(request).await.unwrap().status(), 200);
    home.graph
        .next(Reply::json(200, "{}").after(Duration::from_secs(10)));
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
    assert_eq!(home.exited().await, Exit::Drained);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_dies_during_the_drain_is_still_healed() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        home.expires();
        home.drop.takes(Duration::from_secs(2));
        home.graph
            .next(Reply::expired().after(Duration::from_secs(5)));
        let stops = async {
            sleep(Duration::from_secs(1)).await;
            home.stop().await;
        };
        let (answer, ()) = tokio::join!(home.app.post("x"), stops);
        assert_eq!(answer.status, 200);
        assert_eq!(home.graph.accepted(), ["x"]);
        assert_eq!(home.exited().await, Exit::Drained);
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_what_is_left_is_cut_and_counted() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        home.graph.next(Reply::never());
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
        assert_eq!(home.exited().await, Exit::Cut(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_stop_ends_at_once() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        home.graph.next(Reply::never());
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
        assert_eq!(home.exited().await, Exit::Cut(1));
    }
}

#[tokio::test(start_paused = true)]
async fn operators_see_the_drain_and_their_listener_goes_last() {
    let home = House::new().start().await;
    home.graph
        .next(Reply::json(200, "{}").after(Duration::from_secs(10)));
    let looks = async {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(home.operator("/readyz").await.status, 200);
        home.stop().await;
        sleep(Duration::from_secs(8)).await;
        let ready = home.operator("/readyz").await;
        assert_eq!(ready.status, 503);
        assert!(
            ready.text().contains(r#""stage":"draining""#),
            "{}",
            ready.text()
        );
        for target in ["/livez", "/healthz", "/startupz", "/metrics"] {
            assert_eq!(home.operator(target).await.status, 200, "{target}");
        }
    };
    let (answer, ()) = tokio::join!(home.app.post("x"), looks);
    assert_eq!(answer.status, 200);
    assert_eq!(home.exited().await, Exit::Drained);
}

#[tokio::test(start_paused = true)]
async fn before_the_drain_connections_are_taken_for_a_while() {
    let pause =
        |config: &mut graphward::config::Config| config.drain_pause = Duration::from_secs(5);
    for way in [
        Way::new(Http::One, Http::One),
        Way::new(Http::Two, Http::Two),
    ] {
        let home = House::new().over(way).with(pause).start().await;
        let began = Instant::now();
        home.stop().await;
        sleep(Duration::from_secs(4)).await;
        assert_eq!(home.operator("/readyz").await.status, 503);
        assert_eq!(home.app.post("x").await.status, 200);
        assert_eq!(home.exited().await, Exit::Drained);
        assert_eq!(began.elapsed().as_secs(), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_requires_a_token_ends_without_one() {
    let home = House::new().empty().requiring_a_token().start().await;
    assert_eq!(home.exited().await, Exit::NoToken);
    let home = House::new().requiring_a_token().start().await;
    assert_eq!(home.app.post("x").await.status, 200);
    home.leave().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_the_first_look_is_heard() {
    let home = House::new()
        .looking_for(Duration::from_secs(20))
        .start()
        .await;
    let began = Instant::now();
    home.stop().await;
    assert_eq!(home.exited().await, Exit::Drained);
    assert_eq!(began.elapsed(), Duration::ZERO);
}
