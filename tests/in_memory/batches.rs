//! Batches: healed as a whole or not at all, and an item that was rejected speaks for the next call.

use std::time::Duration;

use tokio::time::sleep;

use crate::support::{
    EXPIRED_ERROR, FIRST_TOKEN, PROTOCOL_PAIRS, SECOND_TOKEN, ScriptedResponse, TestBody, TestProxy, error_envelope,
    request, sized, with,
};

const FORM: &str = "application/x-www-form-urlencoded";
const BATCH: &str = "batch=%5B%7B%22method%22%3A%22GET%22%2C%22relative_url%22%3A%22me%22%7D%2C%7B%22method%22%3A%22POST%22%2C%22relative_url%22%3A%221%2Fmessages%22%7D%5D&include_headers=false";

/// A batch as it is sent mostly.
fn batch() -> http::Request<TestBody> {
    with(request("POST", "/v21.0/", sized(BATCH)), &[("content-type", FORM)])
}

/// An answer's item.
fn item(code: u16, body: &str) -> String {
    let body = serde_json::to_string(body).unwrap().replace('/', "\\/");
    format!(r#"{{"code":{code},"body":{body}}}"#)
}

fn batch_response(items: &[String]) -> ScriptedResponse {
    ScriptedResponse::json(200, format!("[{}]", items.join(","))).with("etag", "\"7\"")
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_rejected_as_a_whole_is_healed() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.rotate_token();
        let items = batch_response(&[item(200, "{}"), item(200, r#"{"id":"1"}"#)]);
        proxy.graph.respond_with(items.clone());
        let answer = proxy.app.fetch(batch()).await;
        assert_eq!((answer.status, &answer.body), (200, &items.bytes()));
        let seen = proxy.graph.requests();
        assert_eq!(seen.len(), 2);
        for seen in &seen {
            assert_eq!(seen.body.as_deref(), Some(BATCH.as_bytes()));
        }
        assert_eq!(proxy.requests_with_outcome("healed").await, 1);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn items_that_were_rejected_are_delivered_and_the_next_call_has_a_newer_token() {
    for protocols in PROTOCOL_PAIRS {
        for reply in [
            batch_response(&[item(200, r#"{"id":"1"}"#), item(400, EXPIRED_ERROR)]),
            batch_response(&[item(401, EXPIRED_ERROR), "null".to_owned()]),
            // The item asked for that status: `me?suppress_http_code=1`.
            batch_response(&[item(200, EXPIRED_ERROR)]),
            batch_response(&[item(400, EXPIRED_ERROR)]).gzipped(),
            batch_response(&[item(400, EXPIRED_ERROR)]).chunked(9, Duration::from_millis(1)),
        ] {
            let proxy = TestProxy::start(protocols).await;
            proxy.add_token(SECOND_TOKEN);
            proxy.script(reply.clone());
            let answer = proxy.app.fetch(batch()).await;
            assert_eq!((answer.status, &answer.body), (200, &reply.bytes()));
            assert_eq!(answer.header("etag"), "\"7\"");
            assert_eq!(proxy.graph.attempts(), 1, "some items may have run");
            sleep(Duration::from_secs(1)).await;
            assert_eq!(proxy.source.loads(), 2, "no request waited for this check");
            assert_eq!(proxy.app.post("x").await.status, 200);
            assert_eq!(proxy.graph.attempts(), 2, "it had no need of healing");
            let seen = proxy.graph.last_request();
            seen.assert_bearer(SECOND_TOKEN);
            assert_eq!(proxy.requests_with_outcome("delivered").await, 2);
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_in_the_query_is_one_too() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.add_token(SECOND_TOKEN);
        proxy.script(batch_response(&[item(400, EXPIRED_ERROR)]));
        let target = format!("/v21.0/?{BATCH}");
        let answer = proxy.app.fetch(request("POST", &target, sized(""))).await;
        assert_eq!(answer.status, 200);
        assert_eq!(proxy.graph.last_request().target(), target);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(proxy.source.loads(), 2);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn items_with_other_errors_and_items_that_are_null_say_nothing_of_the_token() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for items in [
            vec![],
            vec!["null".to_owned(), "null".to_owned()],
            vec![item(200, "{}")],
            vec![item(400, &error_envelope(100)), item(403, &error_envelope(10))],
            vec![item(500, EXPIRED_ERROR), item(429, &error_envelope(4))],
            vec![item(400, "no JSON"), "7".to_owned()],
        ] {
            let reply = batch_response(&items);
            proxy.script(reply.clone());
            let answer = proxy.app.fetch(batch()).await;
            assert_eq!(answer.body, reply.bytes());
        }
        sleep(Duration::from_secs(60)).await;
        assert_eq!(proxy.source.loads(), 1);
        assert!(proxy.tokens.is_usable());
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_array_that_answers_no_batch_is_not_read() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for (kind, body) in [
            (FORM, "batched=1&x=batch"),
            ("text/csv", BATCH),
            ("application/json", r#"{"text":"batch"}"#),
        ] {
            proxy.script(batch_response(&[item(400, EXPIRED_ERROR)]));
            let request = request("POST", "/v21.0/", sized(body));
            proxy.app.fetch(with(request, &[("content-type", kind)])).await;
        }
        sleep(Duration::from_secs(60)).await;
        assert_eq!(proxy.source.loads(), 1);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn items_under_an_app_token_say_nothing_of_ours() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.script(batch_response(&[item(400, EXPIRED_ERROR)]));
        let own = with(batch(), &[("authorization", "Bearer 123|abc")]);
        assert_eq!(proxy.app.fetch(own).await.status, 200);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(proxy.source.loads(), 1);
        assert!(proxy.tokens.is_usable());
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_newer_token_each_batch_is_still_sent_once() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for number in 1..=3 {
            proxy.script(batch_response(&[item(400, EXPIRED_ERROR)]));
            let answer = proxy.app.fetch(batch()).await;
            assert_eq!(answer.status, 200);
            let seen = proxy.graph.last_request();
            seen.assert_bearer(FIRST_TOKEN);
            assert_eq!(proxy.graph.attempts(), number);
        }
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_accepted_only_if_an_item_is() {
    for (items, is_accepted) in [
        (vec![item(400, EXPIRED_ERROR), item(200, EXPIRED_ERROR)], false),
        (vec![item(200, "{}"), item(200, "{}")], true),
    ] {
        let proxy = TestProxy::start(PROTOCOL_PAIRS[0]).await;
        proxy.script(batch_response(&[item(400, EXPIRED_ERROR)]));
        assert_eq!(proxy.app.fetch(batch()).await.status, 200);
        assert!(!proxy.tokens.is_usable());
        proxy.script(batch_response(&items).chunked(9, Duration::from_millis(10)));
        let while_it_arrives = async {
            sleep(Duration::from_millis(50)).await;
            assert!(!proxy.tokens.is_usable(), "its status says nothing");
        };
        let (answer, ()) = tokio::join!(proxy.app.fetch(batch()), while_it_arrives);
        assert_eq!(answer.status, 200);
        assert_eq!(proxy.tokens.is_usable(), is_accepted);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_batchs_answer_that_breaks_off_is_no_answer() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.script(batch_response(&[item(200, "{}")]).truncated());
        let answer = proxy.app.fetch(batch()).await;
        answer.refused(502, "connection_terminated");
        assert_eq!(proxy.graph.attempts(), 1);
        proxy.shutdown().await;
    }
}
