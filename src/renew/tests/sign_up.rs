use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fake_graph::{AppTokenPolicy, CodeRequest, TokenChange};
use tokio::time::Instant;

use super::support::{APP_SECRET, CALL_TIMEOUT, TestGraph, api, origin, secret, test_app};
use crate::graph::Destinations;
use crate::net::HttpClient;
use crate::renew::{CodeExchange, MeRequest, SignUpCode, SignedUp};

const FAILURE: (u16, &str) = (500, r#"{"error":{"code":2,"is_transient":true}}"#);
const REFUSAL: (u16, &str) = (400, r#"{"error":{"code":100}}"#);
const ACCOUNT: &str = r#"{"data":{"is_valid":true,"granular_scopes":[
    {"scope":"whatsapp_business_messaging","target_ids":["206"]}]}}"#;
const NUMBERS: &str = r#"{"data":[{"id":"106"},{"id":"108"}]}"#;

fn exchange(client: &HttpClient) -> CodeExchange {
    let destinations = Destinations::new(origin("https://graph.facebook.com"), []);
    let me = MeRequest::new(client.clone(), destinations, Some(secret(APP_SECRET)));
    CodeExchange::new(api(client, "https://graph.facebook.com"), test_app(APP_SECRET), me)
}

async fn sign_up(client: &HttpClient, code: &str) -> SignedUp {
    let (code, redirect_uri) = (&secret(code), None);
    exchange(client)
        .exchange(SignUpCode { code, redirect_uri })
        .await
        .unwrap()
}

/// Signs up at a Graph that answers so often in another way when it is asked for the account, and for its numbers. Returns the
/// numbers of these questions, too, and how long they took.
async fn sign_up_after(
    other: (u16, &'static str),
    [accounts, numbers]: [usize; 2],
) -> (SignedUp, [usize; 2], Duration) {
    let asked = Arc::new(Mutex::new([0; 2]));
    let count = Arc::clone(&asked);
    let respond = move |request: http::Request<Bytes>| {
        let (kind, others, body) = match request.uri().path() {
            "/debug_token" => (0, accounts, ACCOUNT),
            "/206/phone_numbers" => (1, numbers, NUMBERS),
            _ => return std::future::ready(Ok(http::Response::new(Bytes::from(r#"{"access_token":"EAAGnew"}"#)))),
        };
        let mut asked = count.lock().unwrap();
        asked[kind] += 1;
        let (status, body) = if asked[kind] > others { (200, body) } else { other };
        std::future::ready(Ok(http::Response::builder().status(status).body(body.into()).unwrap()))
    };
    let start = Instant::now();
    let signed_up = sign_up(&HttpClient::from_fn(respond, CALL_TIMEOUT), "AQBcode").await;
    let asked = *asked.lock().unwrap();
    (signed_up, asked, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn ids_that_graph_cannot_tell_for_a_moment_are_asked_for_again() {
    let (signed_up, asked, _) = sign_up_after(FAILURE, [1, 2]).await;
    assert_eq!(signed_up.waba_id.as_deref(), Some("206"));
    assert_eq!(signed_up.phone_number_ids, ["106", "108"]);
    assert_eq!(asked, [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn ids_that_graph_does_not_tell_are_not_waited_for_longer_than_ten_seconds() {
    const LIMIT: Duration = Duration::from_secs(10);
    let (signed_up, asked, elapsed) = sign_up_after(FAILURE, [usize::MAX, 0]).await;
    assert_eq!((signed_up.waba_id, signed_up.phone_number_ids.len()), (None, 0));
    assert!(
        (2..=10).contains(&asked[0]) && asked[1] == 0 && elapsed <= LIMIT,
        "{asked:?}, {elapsed:?}"
    );
    // The account counts without its numbers, and both have the same ten seconds.
    let (signed_up, asked, elapsed) = sign_up_after(FAILURE, [5, usize::MAX]).await;
    assert_eq!(signed_up.waba_id.as_deref(), Some("206"));
    assert_eq!(signed_up.phone_number_ids.len(), 0);
    assert!(
        (2..=5).contains(&asked[1]) && elapsed <= LIMIT,
        "{asked:?}, {elapsed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn ids_that_graph_refuses_to_tell_are_asked_for_once() {
    for (others, expected) in [([usize::MAX, 0], [1, 0]), ([0, usize::MAX], [1, 1])] {
        let (_, asked, elapsed) = sign_up_after(REFUSAL, others).await;
        assert_eq!((asked, elapsed), (expected, Duration::ZERO));
    }
}

#[tokio::test]
async fn an_app_whose_tokens_have_to_be_issued_gets_the_ids_of_a_sign_up_too() {
    let graph = TestGraph::with(|settings| settings.app_tokens = AppTokenPolicy::Issued).await;
    graph.sim.set_phone_numbers("206", &["106"]);
    let code = graph.sim.issue_code(CodeRequest {
        token: TokenChange {
            target_ids: Some(vec!["206".to_owned()]),
            ..TokenChange::default()
        },
        ..CodeRequest::default()
    });
    let signed_up = sign_up(&graph.client, &code).await;
    assert_eq!(signed_up.waba_id.as_deref(), Some("206"));
    assert_eq!(signed_up.phone_number_ids, ["106"]);
}
