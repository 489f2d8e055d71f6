use std::time::Duration;

use tokio::time::Instant;

use super::support::{
    APP_SECRET, AfterResponse, CALL_TIMEOUT, caller_with_response, exchange, http_response, inspect, origin,
    renew_live, seconds_left, test_app,
};
use crate::graph::Destinations;
use crate::net::HttpClient;
use crate::renew::{DebugTokenInspector, TokenLifetime};
use crate::token::{ObtainError, Token};

async fn exchange_with_response(status: &str, content_type: &str, body: &str) -> Result<Token, ObtainError> {
    let caller = caller_with_response(http_response(status, content_type, body), AfterResponse::Close);
    renew_live(&mut exchange(&caller, TokenLifetime::Default), "EAAold").await
}

fn inspector(caller: &HttpClient) -> DebugTokenInspector {
    let destinations = Destinations::new(origin("https://graph.facebook.com"), []);
    DebugTokenInspector::new(caller, destinations, Some(test_app(APP_SECRET)))
}

#[tokio::test(start_paused = true)]
async fn who_is_slow_is_not_waited_for_longer_than_said() {
    let no_response = caller_with_response("", AfterResponse::Hang);
    let stalled_body = caller_with_response("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", AfterResponse::Hang);
    for caller in [&no_response, &stalled_body] {
        let start = Instant::now();
        let error = renew_live(&mut exchange(caller, TokenLifetime::Default), "EAAold")
            .await
            .unwrap_err();
        assert_eq!((error.reason(), error.is_transient()), ("late", true));
        assert_eq!(start.elapsed(), CALL_TIMEOUT);

        let start = Instant::now();
        let error = inspect(&mut inspector(caller), "EAAold").await.unwrap_err();
        assert_eq!((error.reason(), error.is_transient()), ("late", true));
        assert_eq!(start.elapsed(), Duration::from_secs(3));
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_brings_nothing_whenever_it_breaks() {
    for bytes in ["", "HTT", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"acc"] {
        let caller = caller_with_response(bytes, AfterResponse::Close);
        let error = renew_live(&mut exchange(&caller, TokenLifetime::Default), "EAAold")
            .await
            .unwrap_err();
        assert_eq!((error.reason(), error.is_transient()), ("broken", true), "{bytes}");
        let error = inspect(&mut inspector(&caller), "EAAold").await.unwrap_err();
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
        let error = exchange_with_response("200 OK", "application/json", body)
            .await
            .unwrap_err();
        assert_eq!(
            (error.reason(), error.is_transient()),
            ("not_understood", true),
            "{body}"
        );
    }
    let late = exchange_with_response("500 Oh", "application/json", r#"{"access_token":"EAAx"}"#).await;
    assert_eq!(late.unwrap_err().reason(), "graph_error", "a 500 grants nothing");
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
        let token = exchange_with_response("200 OK", "text/javascript", &body)
            .await
            .unwrap();
        assert_eq!(token.secret.expose(), "EAAx");
        let left = seconds_left(&token);
        assert!(
            left.zip(expected)
                .map_or(left == expected, |(left, all)| all - left < 10),
            "{fields}: {left:?}"
        );
    }
    let past = exchange_with_response(
        "200 OK",
        "text/javascript",
        r#"{"access_token":"EAAx","expires_in":-1}"#,
    );
    assert_eq!(past.await.unwrap_err().reason(), "answer_expired");
    let farthest = format!(r#"{{"access_token":"EAAx","expires_in":{}}}"#, i64::MIN);
    let past = exchange_with_response("200 OK", "text/javascript", &farthest).await;
    assert_eq!(past.unwrap_err().reason(), "answer_expired");
}
