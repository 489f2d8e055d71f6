//! Graph quotes a token that it finds malformed. The app does not get to see it.

use std::time::Duration;

use crate::support::{
    Answer, FIRST, House, Logged, Reply, SECOND, WAYS, get, post, request, sized, with,
};

fn malformed(token: &str) -> String {
    format!(
        r#"{{"error":{{"message":"Malformed access token {token}","type":"OAuthException","code":190,"fbtrace_id":"A1"}}}}"#
    )
}

fn challenge(token: &str) -> String {
    format!(r#"OAuth "Facebook Platform" "invalid_token" "Malformed access token {token}""#)
}

fn quoting(token: &str) -> Reply {
    Reply::json(400, malformed(token))
        .with("www-authenticate", &challenge(token))
        .with("x-fb-rev", "7")
}

#[track_caller]
fn is_redacted(answer: &Answer) {
    assert_eq!(answer.status, 400);
    assert_eq!(answer.text(), malformed("[redacted]"));
    assert_eq!(answer.header("www-authenticate"), challenge("[redacted]"));
    assert_eq!(answer.header("content-encoding"), "");
    assert_eq!(answer.header("x-fb-rev"), "7");
    let length = answer.body.len().to_string();
    assert_eq!(answer.header("content-length"), length);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_graph_quotes_is_redacted_in_body_and_challenge() {
    for way in WAYS {
        for reply in [
            quoting(FIRST),
            quoting(FIRST).gzipped(),
            quoting(FIRST).dribbled(3, Duration::from_millis(1)),
        ] {
            let home = House::new().over(way).start().await;
            home.graph.expire_all();
            home.graph.rejects_with(reply);
            is_redacted(&home.app.post("x").await);
            assert_eq!(home.graph.attempts(), 1);
            assert_eq!(home.ended("unhealed_no_successor").await, 1);
            home.leave().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn such_an_answer_is_healed_as_any_other() {
    for way in WAYS {
        for reply in [quoting(FIRST), quoting(FIRST).gzipped()] {
            let home = House::new().over(way).start().await;
            home.expires();
            home.graph.rejects_with(reply);
            assert_eq!(home.app.post("x").await.status, 200);
            assert_eq!(home.graph.attempts(), 2);
            home.leave().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_second_answer_the_newer_token_is_redacted() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        home.expires();
        home.graph.next(quoting(FIRST));
        home.graph.next(quoting(SECOND));
        is_redacted(&home.app.post("x").await);
        assert_eq!(home.graph.attempts(), 2);
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_spelling_of_the_token_is_redacted() {
    let token = "EAAa/b+c0123456789==";
    for spelling in [
        token.to_owned(),
        token.replace('/', r"\/"),
        token.replace('/', r"\u002F").replace('+', r"\u002b"),
        token
            .replace('/', "%2F")
            .replace('+', "%2b")
            .replace('=', "%3D"),
    ] {
        let home = House::new().showing(token).start().await;
        let body = malformed(&format!("{spelling} twice {spelling}"));
        home.graph.next(Reply::json(403, body));
        home.graph.expire_all();
        let answer = home.app.post("x").await;
        let expected = malformed("[redacted] twice [redacted]");
        assert_eq!(answer.text(), expected, "{spelling}");
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_the_error_the_token_in_it_is_redacted() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        for (status, code) in [(400, 100), (401, 104), (403, 10), (404, 803)] {
            let body = |token: &str| malformed(token).replace("190", &code.to_string());
            let said = |token: &str| {
                Reply::json(status, body(token))
                    .with("www-authenticate", &challenge("…").replace('…', "x"))
                    .with("www-authenticate", &challenge(token))
            };
            home.graph.next(said(FIRST));
            let answer = home.app.ask(get("/me")).await;
            assert_eq!(answer.text(), body("[redacted]"));
            let challenges = answer.headers.get_all("www-authenticate").iter();
            let challenges: Vec<&str> = challenges.map(|one| one.to_str().unwrap()).collect();
            assert_eq!(challenges, [challenge("x"), challenge("[redacted]")]);
        }
        assert_eq!(home.graph.attempts(), 4);
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_challenge_to_a_head_is_redacted_too() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        home.graph.expire_all();
        home.graph.rejects_with(quoting(FIRST));
        let answer = home.app.ask(request("HEAD", "/me", sized(""))).await;
        assert_eq!(answer.header("www-authenticate"), challenge("[redacted]"));
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_batchs_item_that_quotes_the_token_is_redacted() {
    let token = "EAAa/b+c0123456789==";
    let answer = |token: &str| {
        let said = serde_json::to_string(&malformed(token)).unwrap();
        let said = said.replace('/', r"\\\/");
        format!(r#"[{{"code":200,"body":"{{}}"}},{{"code":400,"body":{said}}}]"#)
    };
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for way in WAYS {
        for paging in [false, true] {
            let house = House::new().over(way).showing(token);
            let house = house.with(|config| config.links.paging = paging);
            let home = house.start().await;
            for reply in [
                Reply::json(200, answer(token)),
                Reply::json(200, answer(token)).gzipped(),
            ] {
                home.graph.next(reply.with("etag", "\"7\""));
                let heard = home.app.ask(with(post(sized("batch=[]")), &form)).await;
                assert_eq!(heard.text(), answer("[redacted]"));
                let length = heard.body.len().to_string();
                assert_eq!(heard.header("content-length"), length);
                assert_eq!(heard.header("content-encoding"), "");
                assert_eq!(heard.header("etag"), "W/\"7\"");
            }
            home.leave().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_token_of_ours_is_delivered_byte_for_byte() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        let other = malformed("EAAsomebody0elses").replace("190", "100");
        for reply in [
            Reply::json(400, other.clone()),
            Reply::json(400, other).gzipped(),
            // What Graph gives out on purpose is the app's.
            Reply::json(200, format!(r#"{{"access_token":"{FIRST}"}}"#)),
        ] {
            let sent = reply.clone().into_response();
            home.graph.next(reply.clone());
            let answer = home.app.get("/me/accounts").await;
            assert_eq!(answer.body, reply.bytes());
            let coding = sent.headers().get("content-encoding");
            assert_eq!(answer.headers.get("content-encoding"), coding);
        }
        // The app's own credential is known to the app.
        home.graph.next(quoting("123|abc"));
        let own = with(post(sized("x")), &[("authorization", "Bearer 123|abc")]);
        let answer = home.app.ask(own).await;
        assert_eq!(answer.text(), malformed("123|abc"));
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_quoted_token_is_in_no_log() {
    for way in WAYS {
        let log = Logged::at_trace();
        let home = House::new().over(way).start().await;
        home.graph.expire_all();
        home.graph.rejects_with(quoting(FIRST));
        is_redacted(&home.app.post("x").await);
        home.leave().await;
        assert!(!log.text().contains(FIRST));
    }
}
