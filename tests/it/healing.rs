//! A token dies, and nobody notices.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{EXPIRED, FIRST, House, Reply, SECOND, WAYS, post, sized};

#[tokio::test(start_paused = true)]
async fn a_rejected_request_is_healed_by_one_look_and_one_replay() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        home.expires();
        let answer = home.app.post("hello").await;
        assert_eq!(answer.status, 200);
        assert_eq!(home.graph.accepted(), ["hello"]);
        assert_eq!(home.graph.attempts(), 2);
        assert_eq!(
            home.drop.looks(),
            2,
            "one at start, one after the rejection"
        );
        let seen = home.graph.seen();
        assert_eq!(seen[0].all("authorization"), [format!("Bearer {FIRST}")]);
        assert_eq!(seen[1].all("authorization"), [format!("Bearer {SECOND}")]);
        assert_eq!(home.ended("healed").await, 1);
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_expired_requests_is_healed_with_one_look() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        home.expires();
        home.drop.takes(Duration::from_millis(50));
        let bodies: Vec<String> = (0..200).map(|number| format!("{number:03}")).collect();
        let answers = join_all(bodies.iter().map(|body| home.app.post(body.clone()))).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        let mut accepted = home.graph.accepted();
        accepted.sort();
        assert_eq!(accepted, bodies, "each exactly once");
        assert_eq!(home.drop.looks(), 2);
        let seen = home.graph.seen();
        for body in &bodies {
            let sendings = seen
                .iter()
                .filter(|seen| seen.body.as_deref() == Some(body.as_bytes()));
            assert!(sendings.count() <= 2, "{body}");
        }
        assert_eq!(home.tokens.current().unwrap().generation().get(), 2);
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_expired_requests_is_healed_with_one_renewal() {
    for way in WAYS {
        let home = House::new().over(way).minting().start().await;
        home.graph.expire_all();
        let answers = join_all((0..100).map(|_| home.app.post("x"))).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        assert_eq!(home.graph.accepted().len(), 100);
        assert_eq!(home.mint.calls(), 1);
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn there_is_never_a_third_attempt_and_the_second_rejection_is_delivered_byte_for_byte() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        home.expires();
        home.graph.expire_all();
        let second = r#"{ "error" : {"code":190,"message":"the second","error_subcode":460} } "#;
        home.graph.next(Reply::expired());
        home.graph
            .next(Reply::json(400, second).with("x-fb-rev", "7"));
        let answer = home.app.post("x").await;
        assert_eq!((answer.status, answer.text()), (400, second));
        assert_eq!(answer.header("x-fb-rev"), "7");
        assert_eq!(home.graph.attempts(), 2);
        assert_eq!(home.ended("unhealed_again").await, 1);
        assert!(!home.tokens.usable(), "the refresher knows of the second");
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn where_everything_is_rejected_each_request_is_sent_twice_at_most() {
    let home = House::new().minting().start().await;
    home.graph.expire_all();
    home.graph.rejects_with(Reply::expired());
    for _ in 0..100 {
        home.graph.next(Reply::expired());
    }
    let answers = join_all((0..50).map(|_| home.app.post("x"))).await;
    assert!(answers.iter().all(|answer| answer.text() == EXPIRED));
    assert_eq!(home.graph.attempts(), 100);
    assert!(
        home.mint.calls() <= 2,
        "one, and one for the second's rejection"
    );
    home.leave().await;
}

#[tokio::test(start_paused = true)]
async fn a_late_rejection_of_an_old_token_replays_at_once_and_wipes_nothing() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        home.expires();
        home.graph
            .next(Reply::expired().after(Duration::from_secs(5)));
        let late = async {
            let began = Instant::now();
            assert_eq!(home.app.post("late").await.status, 200);
            began.elapsed()
        };
        let prompt = async {
            sleep(Duration::from_secs(1)).await;
            assert_eq!(home.app.post("prompt").await.status, 200);
        };
        let (took, ()) = tokio::join!(late, prompt);
        assert!(took <= Duration::from_millis(5_001), "{took:?}");
        assert_eq!(home.drop.looks(), 2, "one at start, one for both");
        assert_eq!(home.tokens.current().unwrap().generation().get(), 2);
        assert!(home.tokens.usable());
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_app_that_hangs_up_does_not_cancel_the_look() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        home.expires();
        home.drop.takes(Duration::from_secs(1));
        let impatient = timeout(Duration::from_millis(100), home.app.post("x")).await;
        assert!(impatient.is_err());
        sleep(Duration::from_secs(2)).await;
        assert_eq!(home.tokens.current().unwrap().generation().get(), 2);
        assert_eq!(home.app.post("y").await.status, 200);
        assert_eq!(home.drop.looks(), 2);
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_newer_token_is_not_sent_for_an_app_that_has_gone() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        home.expires();
        home.drop.takes(Duration::from_secs(1));
        let given_up = timeout(Duration::from_millis(100), home.app.post("given up")).await;
        assert!(given_up.is_err());
        sleep(Duration::from_secs(2)).await;
        assert_eq!(home.app.post("sent again").await.status, 200);
        assert_eq!(home.graph.accepted(), ["sent again"], "not twice");
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_is_shared_by_all_who_wait() {
    for way in WAYS {
        let house = House::new().over(way).minting();
        let home = house
            .with(|config| config.heal.hold = Duration::ZERO)
            .start()
            .await;
        home.graph.expire_all();
        home.mint.breaks();
        let began = Instant::now();
        let answers = join_all((0..100).map(|_| home.app.post("x"))).await;
        assert!(
            answers
                .iter()
                .all(|answer| (answer.status, answer.text()) == (401, EXPIRED))
        );
        assert_eq!(home.mint.calls(), 1);
        assert_eq!(home.graph.attempts(), 100);
        assert!(began.elapsed() < Duration::from_millis(100));
        assert_eq!(home.ended("unhealed_no_successor").await, 100);
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_dropped_while_requests_are_held_heals_them() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        home.graph.expire_all();
        let began = Instant::now();
        let held = join_all((0..20).map(|_| home.app.post("x")));
        let person = async {
            sleep(Duration::from_millis(1_900)).await;
            home.graph.accept(SECOND);
            home.drop.put(SECOND);
        };
        let (answers, ()) = tokio::join!(held, person);
        assert!(answers.iter().all(|answer| answer.status == 200));
        assert!(began.elapsed() < Duration::from_millis(1_950));
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_hold_apps_hear_graphs_own_words_at_once() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        home.graph.expire_all();
        // The second comes late enough to be a probe, the third does not.
        for (hold, sendings) in [(2, 1), (0, 1), (0, 0)] {
            let expected = Duration::from_secs(hold);
            let before = home.graph.attempts();
            let began = Instant::now();
            let answer = home.app.post("x").await;
            assert_eq!((answer.status, answer.text()), (401, EXPIRED));
            let took = began.elapsed();
            assert!(
                took >= expected && took < expected + Duration::from_millis(20),
                "{took:?}"
            );
            assert_eq!(home.graph.attempts(), before + sendings);
        }
        home.graph.accept(SECOND);
        home.drop.put(SECOND);
        sleep(Duration::from_millis(10)).await;
        assert_eq!(home.app.post("x").await.status, 200, "it is not given up");
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_graph_may_have_acted_on_is_never_sent_again() {
    for way in WAYS {
        for reply in [
            Reply::error(500, 1),
            Reply::error(500, 2),
            Reply::error(503, 2),
            Reply::error(400, 1),
            Reply::error(400, 2),
            Reply::error(500, 190),
            Reply::new(502, "text/html", "<html>Bad Gateway"),
            Reply::lost(),
            Reply::never(),
            Reply::json(401, EXPIRED).cut(),
            Reply::json(200, "{\"id\":").cut(),
        ] {
            let home = House::new().over(way).start().await;
            assert_eq!(home.app.post("warms the pool").await.status, 200);
            home.drop.show(SECOND);
            home.graph.accept(SECOND);
            home.graph.next(reply.clone());
            let answer = home.app.post("x").await;
            assert!(!answer.whole || answer.status >= 400, "{reply:?}");
            assert_eq!(home.graph.attempts(), 2, "{reply:?}");
            assert_eq!(home.drop.looks(), 1);
            home.leave().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_that_fails_in_transport_is_not_answered_with_the_firsts_rejection() {
    for way in WAYS {
        for (reply, status, error) in [
            (Reply::lost(), 502, "connection_terminated"),
            (Reply::never(), 504, "http_response_timeout"),
            (
                Reply::json(401, EXPIRED).cut(),
                502,
                "connection_terminated",
            ),
        ] {
            let home = House::new().over(way).start().await;
            home.expires();
            home.graph.next(Reply::expired());
            home.graph.next(reply);
            home.app.post("x").await.refused(status, error);
            assert_eq!(home.graph.attempts(), 2);
            home.leave().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_get_and_every_other_method_is_healed_too() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        for (number, method) in ["GET", "DELETE", "PUT", "PATCH", "OPTIONS"]
            .iter()
            .enumerate()
        {
            home.expires_to(&format!("EAAtoken{number}"));
            let mut request = post(sized(""));
            *request.method_mut() = method.parse().unwrap();
            assert_eq!(home.app.ask(request).await.status, 200, "{method}");
            assert_eq!(home.graph.last().head.method, *method);
        }
        assert_eq!(home.ended("healed").await, 5);
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_graph_ends_politely_costs_no_request() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        for number in 1..=5 {
            assert_eq!(home.app.post("x").await.status, 200);
            home.graph.leave();
            assert_eq!(home.graph.attempts(), number);
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(home.graph.connections(), 5);
        home.graph
            .next(Reply::json(200, "{}").after(Duration::from_secs(3)));
        let leaves = async {
            sleep(Duration::from_secs(1)).await;
            home.graph.leave();
        };
        let (answer, ()) = tokio::join!(home.app.post("in flight"), leaves);
        assert_eq!(answer.status, 200);
        home.leave().await;
    }
}
