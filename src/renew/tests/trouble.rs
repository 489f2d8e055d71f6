use std::time::Duration;

use tokio::time::Instant;

use super::world::{
    APP_SECRET, LIMIT, Then, answering, exchange, inspected, key, left, origin, renewed, whole,
};
use crate::graph::Destinations;
use crate::net::Caller;
use crate::renew::{DebugToken, Lasting};
use crate::token::{ObtainError, Token};

async fn answered(status: &str, kind: &str, body: &str) -> Result<Token, ObtainError> {
    let caller = answering(whole(status, kind, body), Then::Ends);
    renewed(&mut exchange(&caller, Lasting::Usual), "EAAold").await
}

fn asker(caller: &Caller) -> DebugToken {
    let destinations = Destinations::new(origin("https://graph.facebook.com"), []);
    DebugToken::new(caller, destinations, Some(key(APP_SECRET)))
}

#[tokio::test(start_paused = true)]
async fn who_is_slow_is_not_waited_for_longer_than_said() {
    let silent = answering("", Then::Waits);
    let stalls = answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        Then::Waits,
    );
    for caller in [&silent, &stalls] {
        let start = Instant::now();
        let error = renewed(&mut exchange(caller, Lasting::Usual), "EAAold")
            .await
            .unwrap_err();
        assert_eq!((error.reason(), error.is_transient()), ("late", true));
        assert_eq!(start.elapsed(), LIMIT);

        let start = Instant::now();
        let error = inspected(&mut asker(caller), "EAAold").await.unwrap_err();
        assert_eq!((error.reason(), error.is_transient()), ("late", true));
        assert_eq!(start.elapsed(), Duration::from_secs(3));
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_brings_nothing_whenever_it_breaks() {
    for bytes in [
        "",
        "HTT",
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"acc",
    ] {
        let caller = answering(bytes, Then::Ends);
        let error = renewed(&mut exchange(&caller, Lasting::Usual), "EAAold")
            .await
            .unwrap_err();
        assert_eq!(
            (error.reason(), error.is_transient()),
            ("broken", true),
            "{bytes}"
        );
        let error = inspected(&mut asker(&caller), "EAAold").await.unwrap_err();
        assert_eq!(error.reason(), "broken");
    }
}

#[tokio::test]
async fn what_is_no_token_is_not_taken_for_one() {
    for body in [
        "",
        "{}",
        "null",
        "[]",
        "ok",
        r#"{"access_token":null}"#,
        r#"{"access_token":7}"#,
        r#"{"access_token":""}"#,
        r#"{"access_token":"null"}"#,
        r#"{"access_token":"two words"}"#,
        r#"{"access_token":"EAAx"#,
        r#"{"data":{"access_token":"EAAx"}}"#,
        "expires=5",
        "access_token=",
        "<html><a href='?access_token=EAA x'></a></html>",
    ] {
        let error = answered("200 OK", "application/json", body)
            .await
            .unwrap_err();
        assert_eq!(
            (error.reason(), error.is_transient()),
            ("not_understood", true),
            "{body}"
        );
    }
    let late = answered("500 Oh", "application/json", r#"{"access_token":"EAAx"}"#).await;
    assert_eq!(
        late.unwrap_err().reason(),
        "graph_error",
        "a 500 grants nothing"
    );
}

#[tokio::test]
async fn an_end_may_be_a_number_a_text_or_nonsense() {
    for (fields, expected) in [
        (r#""expires_in":3600"#, Some(3600)),
        (r#""expires_in":"3600""#, Some(3600)),
        (r#""expires":3600"#, Some(3600)),
        (r#""expires_in":0"#, None),
        (r#""expires_in":null"#, None),
        (r#""expires_in":"soon""#, None),
        (r#""expires_in":{}"#, None),
        (r#""expires_in":1e99"#, None),
        (r#""expires_in":9223372036854775807"#, None),
    ] {
        let body = format!(r#"{{"access_token":"EAA\u0078",{fields}}}"#);
        let token = answered("200 OK", "text/javascript", &body).await.unwrap();
        assert_eq!(token.secret.expose(), "EAAx");
        let left = left(&token);
        assert!(
            left.zip(expected)
                .map_or(left == expected, |(left, all)| all - left < 10),
            "{fields}: {left:?}"
        );
    }
    let past = answered(
        "200 OK",
        "text/javascript",
        r#"{"access_token":"EAAx","expires_in":-1}"#,
    );
    assert_eq!(past.await.unwrap_err().reason(), "answer_expired");
    let farthest = format!(r#"{{"access_token":"EAAx","expires_in":{}}}"#, i64::MIN);
    let past = answered("200 OK", "text/javascript", &farthest).await;
    assert_eq!(past.unwrap_err().reason(), "answer_expired");
}
