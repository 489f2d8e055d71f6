//! What is held for replays is counted, and given back.

use std::time::Duration;

use graphward::proxy::Spool;
use tokio::time::sleep;

use crate::bodies::{MIB, bytes, heals, small};
use crate::support::{EXPIRED, House, Reply, WAYS, chunked, dribbled, post, sized};

#[tokio::test(start_paused = true)]
async fn a_body_is_counted_where_it_is_held_and_by_its_length() {
    for (place, length, step) in [
        ("memory", 600, 600),
        ("memory", 900, 250),
        ("memory", 1_000, 300),
        ("disk", 1_001, 300),
        ("disk", 3_000, 3_000),
    ] {
        let home = House::new().with(small).start().await;
        home.expires();
        home.graph
            .next(Reply::expired().after(Duration::from_secs(1)));
        let looks = async {
            sleep(Duration::from_millis(500)).await;
            assert_eq!(home.held_in(place).await, length, "by {step}");
        };
        let body = chunked(bytes(length as usize), step);
        let (answer, ()) = tokio::join!(home.app.ask(post(body)), looks);
        assert_eq!(answer.status, 200);
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_replayed_body_is_counted_until_graph_has_read_it() {
    for (place, length) in [("memory", MIB), ("disk", 2 * MIB)] {
        let home = House::new().start().await;
        home.expires();
        home.graph.next(Reply::expired());
        let slow = Reply::json(200, "{}").after(Duration::from_secs(1));
        home.graph.next(slow.before_the_body());
        let looks = async {
            sleep(Duration::from_millis(500)).await;
            assert_eq!(home.graph.attempts(), 2);
            assert_eq!(home.held_in(place).await, length as i64);
        };
        let (answer, ()) = tokio::join!(home.app.post(bytes(length)), looks);
        assert_eq!(answer.status, 200);
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_spooled_of_a_body_that_streams_is_counted_until_it_is_sent() {
    let house = House::new().with(small);
    let home = house
        .with(|config| config.heal.body_disk = MIB as u64)
        .start()
        .await;
    let slow = Reply::json(200, "{}").after(Duration::from_secs(1));
    home.graph.next(slow.before_the_body());
    let looks = async {
        sleep(Duration::from_millis(500)).await;
        assert_eq!(home.held_in("disk").await, MIB as i64);
    };
    let body = chunked(bytes(2 * MIB), 10_000);
    let (answer, ()) = tokio::join!(home.app.ask(post(body)), looks);
    assert_eq!(answer.status, 200);
    home.leave().await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_says_it_is_too_large_is_not_held_at_all() {
    let home = House::new().with(small).start().await;
    let mut request = post(dribbled(bytes(5_000), 1_000, Duration::from_secs(1)));
    let length = "5000".parse().unwrap();
    request.headers_mut().insert("content-length", length);
    let looks = async {
        sleep(Duration::from_millis(500)).await;
        assert_eq!((home.graph.attempts(), home.held().await), (1, 0));
    };
    let (answer, ()) = tokio::join!(home.app.ask(request), looks);
    assert_eq!(answer.status, 200);
    assert_eq!(home.graph.last().body, Some(bytes(5_000)));
    home.leave().await;
}

#[tokio::test(start_paused = true)]
async fn a_body_past_the_budget_of_all_streams_and_the_budget_comes_back() {
    for way in WAYS {
        let house = House::new().over(way).with(|config| {
            config.heal.body_memory = 1_000;
            config.heal.memory_total = 1_500;
            config.heal.spool = Spool::Off;
        });
        let home = house.start().await;
        home.expires();
        home.graph
            .next(Reply::expired().after(Duration::from_secs(5)));
        let second = async {
            sleep(Duration::from_secs(1)).await;
            assert_eq!(home.held().await, 1_000);
            home.graph.next(Reply::expired());
            let answer = home.app.ask(post(sized(bytes(600)))).await;
            assert_eq!(answer.text(), EXPIRED, "no room to hold it");
        };
        let (first, ()) = tokio::join!(home.app.ask(post(sized(bytes(1_000)))), second);
        assert_eq!(first.status, 200);
        assert_eq!(home.held().await, 0);
        heals(&home, 1, post(sized(bytes(1_000))), &bytes(1_000)).await;
        home.leave().await;
    }
}
