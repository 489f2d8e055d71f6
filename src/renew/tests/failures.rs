use std::time::Duration;

use tokio::time::Instant;

use super::support::{
    APP_SECRET, AfterResponse, client_of_server, client_with_response, exchange, inspect, origin, renew_live,
    seconds_left, test_app,
};
use crate::graph::Destinations;
use crate::net::HttpClient;
use crate::renew::{DebugTokenInspector, MeRequest, TokenLifetime};
use crate::token::{ObtainError, Token};

async fn exchange_with_response(status: u16, body: &str) -> Result<Token, ObtainError> {
    let client = client_with_response(status, body);
    renew_live(&mut exchange(&client, TokenLifetime::Default), "EAAold").await
}

fn inspector(client: &HttpClient) -> DebugTokenInspector {
    let destinations = Destinations::new(origin("https://graph.facebook.com"), []);
    let app = test_app(APP_SECRET);
    let me = MeRequest::new(client.clone(), destinations, Some(app.secret.clone()));
    DebugTokenInspector::new(me, Some(app))
}

#[tokio::test]
async fn a_slow_graph_is_not_waited_for_longer_than_the_limit() {
    const LIMIT: Duration = Duration::from_millis(300);
    let no_response = client_of_server(b"", AfterResponse::Hang).await;
    let stalled_body = client_of_server(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", AfterResponse::Hang).await;
    for client in [&no_response, &stalled_body] {
        let start = Instant::now();
        let client = client.with_timeout(LIMIT);
        let error = renew_live(&mut exchange(&client, TokenLifetime::Default), "EAAold")
            .await
            .unwrap_err();
        assert_eq!((error.reason(), error.is_transient()), ("timeout", true));
        assert!(start.elapsed() >= LIMIT);
    }
}

#[tokio::test(start_paused = true)]
async fn an_inspection_is_not_waited_for_longer_than_three_seconds() {
    let client = HttpClient::from_fn(|_request| std::future::pending(), Duration::from_secs(10));
    let start = Instant::now();
    let error = inspect(&mut inspector(&client), "EAAold").await.unwrap_err();
    assert_eq!((error.reason(), error.is_transient()), ("timeout", true));
    assert_eq!(start.elapsed(), Duration::from_secs(3));
}

#[tokio::test]
async fn a_broken_connection_brings_nothing_whenever_it_breaks() {
    for bytes in [&b""[..], b"HTT", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"acc"] {
        let client = client_of_server(bytes, AfterResponse::Close).await;
        let error = renew_live(&mut exchange(&client, TokenLifetime::Default), "EAAold")
            .await
            .unwrap_err();
        let found = (error.reason(), error.is_transient());
        assert_eq!(found, ("connection_closed", true), "{bytes:?}");
        let error = inspect(&mut inspector(&client), "EAAold").await.unwrap_err();
        assert_eq!(error.reason(), "connection_closed");
    }
}

#[tokio::test]
async fn a_response_without_a_token_is_an_error() {
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
        let error = exchange_with_response(200, body).await.unwrap_err();
        assert_eq!(
            (error.reason(), error.is_transient()),
            ("not_understood", true),
            "{body}"
        );
    }
    let late = exchange_with_response(500, r#"{"access_token":"EAAx"}"#).await;
    assert_eq!(late.unwrap_err().reason(), "graph_error", "a 500 grants nothing");
}

#[tokio::test]
async fn an_expiry_may_be_a_number_a_text_or_nonsense() {
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
        let token = exchange_with_response(200, &body).await.unwrap();
        assert_eq!(token.secret.expose(), "EAAx");
        let left = seconds_left(&token);
        assert!(
            left.zip(expected)
                .map_or(left == expected, |(left, all)| all - left < 10),
            "{fields}: {left:?}"
        );
    }
    let past = exchange_with_response(200, r#"{"access_token":"EAAx","expires_in":-1}"#);
    assert_eq!(past.await.unwrap_err().reason(), "answer_expired");
    let farthest = format!(r#"{{"access_token":"EAAx","expires_in":{}}}"#, i64::MIN);
    let past = exchange_with_response(200, &farthest).await;
    assert_eq!(past.unwrap_err().reason(), "answer_expired");
}
