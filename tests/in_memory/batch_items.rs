//! Credentials inside of a batch: in each item's address and body, however the batch is carried.

use std::time::Duration;

use graphward::graph::{ClientCredentialPolicy, ProofMode};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;
use tokio::time::sleep;

use crate::support::{
    EXPIRED_ERROR, FIRST_TOKEN, PROTOCOL_PAIRS, RecordedRequest, SECOND_TOKEN, ScriptedResponse, TestBody, TestProxy,
    TestProxyBuilder, chunked, request, sized, with,
};

const STALE: &str = r#"[{"method":"GET","relative_url":"me?access_token=EAAold&appsecret_proof=ab&fields=id"},{"method":"POST","relative_url":"1\/messages","body":"to=1&access_token=EAAold&text=%20x","name":"é"}]"#;
const CLEAN: &str = r#"[{"method":"GET","relative_url":"me?fields=id"},{"method":"POST","relative_url":"1\/messages","body":"to=1&text=%20x","name":"é"}]"#;
const OWN: &str = r#"[{"method":"GET","relative_url":"app?access_token=123|abc&appsecret_proof=ab"},{"method":"GET","relative_url":"me"}]"#;

/// The ways to carry a batch: a content type, and the body.
fn encodings_of(items: &str) -> [(&'static str, String); 4] {
    let encoded = utf8_percent_encode(items, NON_ALPHANUMERIC);
    let string = serde_json::to_string(items).unwrap();
    [
        (
            "application/x-www-form-urlencoded",
            format!("include_headers=false&batch={encoded}"),
        ),
        (
            "multipart/form-data; boundary=b",
            format!("--b\r\nContent-Disposition: form-data; name=\"batch\"\r\n\r\n{items}\r\n--b--\r\n"),
        ),
        ("application/json", format!(r#"{{"batch":{items}}}"#)),
        ("application/json", format!(r#"{{"batch":{string}}}"#)),
    ]
}

/// The items that arrived.
fn items(seen: &RecordedRequest) -> String {
    let body = std::str::from_utf8(seen.body.as_ref().unwrap()).unwrap();
    if let Some((_, encoded)) = body.split_once("&batch=") {
        return percent_decode_str(encoded).decode_utf8().unwrap().into();
    }
    if let Some((_, after)) = body.split_once("\r\n\r\n") {
        return after.strip_suffix("\r\n--b--\r\n").unwrap().to_owned();
    }
    let batch: Value = serde_json::from_str(body).unwrap();
    if let Some(items) = batch["batch"].as_str() {
        return items.to_owned();
    }
    let after = body.strip_prefix(r#"{"batch":"#).unwrap();
    after.strip_suffix('}').unwrap().to_owned()
}

fn batch(kind: &str, body: TestBody) -> http::Request<TestBody> {
    with(request("POST", "/v21.0/", body), &[("content-type", kind)])
}

/// Whether an item that is rejected starts a look for a newer token.
async fn triggers_refresh(proxy: &TestProxy, request: http::Request<TestBody>) -> bool {
    let loads = proxy.source.loads();
    let body = serde_json::to_string(EXPIRED_ERROR).unwrap();
    let answer = format!(r#"[{{"code":200,"body":"{{}}"}},{{"code":400,"body":{body}}}]"#);
    proxy.script(ScriptedResponse::json(200, answer.clone()));
    let heard = proxy.app.fetch(request).await;
    assert_eq!((heard.status, heard.text()), (200, &*answer));
    sleep(Duration::from_secs(1)).await;
    proxy.source.loads() > loads
}

#[tokio::test(start_paused = true)]
async fn items_lose_their_stale_tokens_and_proofs_and_are_replayed_as_they_were_sent() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start_with_proof(protocols, ProofMode::PerToken).await;
        for (kind, body) in encodings_of(STALE) {
            for sent in [sized(body.clone()), chunked(body.clone(), 3)] {
                proxy.rotate_token_to(&format!("EAAnext{}", proxy.graph.attempts()));
                assert_eq!(proxy.app.fetch(batch(kind, sent)).await.status, 200);
                let seen = proxy.graph.requests();
                let [first, second] = &seen[seen.len() - 2..] else {
                    panic!("two attempts");
                };
                assert_eq!(items(first), CLEAN, "{kind}");
                assert_eq!(first.body, second.body);
                let length = first.body.as_ref().unwrap().len().to_string();
                assert_eq!(first.all("content-length"), [length]);
                let proven = second.head.uri.query().unwrap();
                assert!(proven.starts_with("appsecret_proof="), "it proves them all");
            }
        }
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn items_without_a_token_of_their_own_speak_for_ours() {
    for protocols in PROTOCOL_PAIRS {
        for items in [STALE, CLEAN] {
            for (kind, body) in encodings_of(items) {
                let proxy = TestProxy::start(protocols).await;
                proxy.add_token(SECOND_TOKEN);
                assert!(triggers_refresh(&proxy, batch(kind, sized(body))).await);
                assert_eq!(proxy.app.post("x").await.status, 200);
                let seen = proxy.graph.last_request();
                seen.assert_bearer(SECOND_TOKEN);
                assert_eq!(proxy.graph.attempts(), 2);
                proxy.shutdown().await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn items_with_a_token_of_their_own_keep_it_and_say_nothing_of_ours() {
    for protocols in PROTOCOL_PAIRS {
        for (items, policy) in [
            (OWN, ClientCredentialPolicy::Replace),
            (OWN, ClientCredentialPolicy::Refuse),
            (STALE, ClientCredentialPolicy::Keep),
        ] {
            let proxy = TestProxyBuilder::over(protocols)
                .with_client_credentials(policy)
                .start()
                .await;
            for (kind, body) in encodings_of(items) {
                let request = batch(kind, sized(body.clone()));
                assert!(!triggers_refresh(&proxy, request).await, "{body}");
                let seen = proxy.graph.last_request();
                assert_eq!(seen.body.as_deref(), Some(body.as_bytes()));
                // The other items have none.
                seen.assert_bearer(FIRST_TOKEN);
            }
            assert!(proxy.tokens.is_usable());
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn items_with_a_token_of_their_own_in_the_query_say_nothing_of_ours() {
    for (items, ours) in [(STALE, true), (OWN, false), (CLEAN, true)] {
        let proxy = TestProxyBuilder::new().start().await;
        let encoded = utf8_percent_encode(items, NON_ALPHANUMERIC);
        let target = format!("/v21.0/?batch={encoded}");
        let call = request("POST", &target, sized(""));
        assert_eq!(triggers_refresh(&proxy, call).await, ours, "{items}");
        let reached = proxy.graph.last_request().head.uri.to_string();
        assert!(!reached.contains("EAAold"), "{reached}");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_item_with_a_token_is_refused_where_that_is_asked_for() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxyBuilder::over(protocols)
            .with_client_credentials(ClientCredentialPolicy::Refuse)
            .start()
            .await;
        for (kind, body) in encodings_of(STALE) {
            let answer = proxy.app.fetch(batch(kind, sized(body))).await;
            answer.refused(403, "http_request_denied");
        }
        assert_eq!(proxy.graph.attempts(), 0);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn items_past_the_limit_of_a_replay_lose_their_tokens_too() {
    let space = " ".repeat(10_000);
    let padded = |items: &str| items.replacen('[', &format!("[{space}"), 1);
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxyBuilder::over(protocols).with_small_limits().start().await;
        for (kind, body) in encodings_of(&padded(STALE)) {
            let unknown = batch(kind, chunked(body.clone(), 1_001));
            assert_eq!(proxy.app.fetch(unknown).await.status, 200, "{kind}");
            assert_eq!(items(&proxy.graph.last_request()), padded(CLEAN));
            let known = batch(kind, sized(body.clone()));
            let seen = proxy.forwarded(known).await;
            // A multipart form streams with the length that was promised, and is filled up with white space.
            let is_multipart = kind.starts_with("multipart/");
            assert_eq!(seen.body.as_ref().unwrap().len() == body.len(), is_multipart, "{kind}");
            assert_eq!(items(&seen).trim_end(), padded(CLEAN));
        }
        proxy.shutdown().await;
    }
}
