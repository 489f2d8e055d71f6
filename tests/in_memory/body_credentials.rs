//! Credentials of the app's in request bodies: gone before Graph sees them, and every other byte stays.

use bytes::Bytes;
use graphward::graph::{ClientCredentialPolicy, ProofMode};

use crate::request_bodies::{MIB, assert_healed};
use crate::support::{
    FIRST_TOKEN, PROTOCOL_PAIRS, Protocol, RecordedRequest, SECOND_TOKEN, TestBody, TestProxy, TestProxyBuilder,
    chunked, post, request, sized, with,
};

/// What an app sends that knows a token of its own.
pub(crate) const STALE: &str = "EAAstale0token0of0the0app";

const FORM: &str = "application/x-www-form-urlencoded; charset=UTF-8";
const MULTIPART: &str = "multipart/form-data; boundary=----Boundary7MA4";
const JSON: &str = "application/json";

/// A body with a token in it, and without.
pub(crate) struct Case {
    pub(crate) kind: &'static str,
    pub(crate) sent: Bytes,
    pub(crate) stripped: Bytes,
}

impl Case {
    /// Sends it with a length.
    pub(crate) fn sized(&self) -> http::Request<TestBody> {
        post_as(self.kind, sized(self.sent.clone()))
    }

    /// Sends it without a length, in chunks of this size.
    pub(crate) fn chunked(&self, chunk_size: usize) -> http::Request<TestBody> {
        post_as(self.kind, chunked(self.sent.clone(), chunk_size))
    }

    /// Sends it with a length and without.
    pub(crate) fn both_framings(&self, chunk_size: usize) -> [http::Request<TestBody>; 2] {
        [self.sized(), self.chunked(chunk_size)]
    }
}

/// The same in every form, with so many bytes of other things before the token.
fn cases(token: &str, fill: usize) -> [Case; 3] {
    [form(token, fill), multipart(token, fill), json(token, fill)]
}

pub(crate) fn form(token: &str, fill: usize) -> Case {
    let before = format!("to=49%20151&text={}", "y+%26".repeat(fill / 5));
    let of = |middle: &str| Bytes::from(format!("{before}{middle}&type=text&&last="));
    Case {
        kind: FORM,
        sent: of(&format!("&access_token={token}")),
        stripped: of(""),
    }
}

fn part(name: &str, value: &str) -> String {
    format!("------Boundary7MA4\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

/// The file comes first, and holds what looks like a field.
fn multipart(token: &str, fill: usize) -> Case {
    let decoy = "\r\n--Boundary\r\n\r\naccess_token=EAAdata\r\n------";
    let file = format!("{decoy}{}", "\r\n--".repeat(fill / 4));
    let file = part("file\"; filename=\"a.bin", &file);
    let of = |middle: &str| {
        let after = part("messaging_product", "whatsapp");
        Bytes::from(format!("{file}{middle}{after}------Boundary7MA4--\r\n"))
    };
    Case {
        kind: MULTIPART,
        sent: of(&part("access_token", token)),
        stripped: of(""),
    }
}

pub(crate) fn json(token: &str, fill: usize) -> Case {
    let before = format!(
        r#"{{ "text" : {{"body":"{}","access_token":"EAAdata"}}"#,
        r"\u00e9y".repeat(fill / 7)
    );
    let of = |middle: &str| Bytes::from(format!(r#"{before}{middle}, "type":"text", "n":1.0e0}}"#));
    Case {
        kind: JSON,
        sent: of(&format!(r#", "access_token":"{token}""#)),
        stripped: of(""),
    }
}

pub(crate) fn post_as(kind: &str, body: TestBody) -> http::Request<TestBody> {
    with(post(body), &[("content-type", kind)])
}

pub(crate) async fn removed_credentials(proxy: &TestProxy) -> i64 {
    let series = r#"graphward_client_credentials_replaced_total{tenant="default",location="body"}"#;
    proxy.metric(series).await
}

#[tokio::test(start_paused = true)]
async fn a_token_in_a_small_body_goes_and_what_is_left_is_replayed_as_it_was_sent() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for case in cases(STALE, 100) {
            assert_healed(&proxy, case.sized(), &case.stripped).await;
            for step in [1, 7, 60] {
                assert_healed(&proxy, case.chunked(step), &case.stripped).await;
            }
        }
        assert_eq!(removed_credentials(&proxy).await, 12);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_after_a_megabyte_goes_on_its_way_to_the_disk() {
    for protocols in [PROTOCOL_PAIRS[0], PROTOCOL_PAIRS[1]] {
        let proxy = TestProxy::start(protocols).await;
        for case in cases(STALE, 2 * MIB) {
            assert_healed(&proxy, case.sized(), &case.stripped).await;
            assert_healed(&proxy, case.chunked(100_003), &case.stripped).await;
        }
        assert_eq!(removed_credentials(&proxy).await, 6);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_which_nothing_has_to_go_is_what_it_was() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for case in cases(STALE, 100) {
            let request = post_as(case.kind, sized(case.stripped.clone()));
            assert_healed(&proxy, request, &case.stripped).await;
        }
        assert_eq!(removed_credentials(&proxy).await, 0);
        proxy.shutdown().await;
    }
}

/// Whether this is what was sent with the token and its name overwritten.
fn assert_masked(seen: &RecordedRequest, sent: &Bytes, token: &str) {
    let sent = std::str::from_utf8(sent).unwrap();
    let (before, after) = sent.split_once(token).unwrap();
    let (before, between) = before.rsplit_once("access_token").unwrap();
    let mask = |length: usize| "x".repeat(length);
    let (name, value) = (mask("access_token".len()), mask(token.len()));
    let expected = format!("{before}{name}{between}{value}{after}");
    let arrived = seen.body.as_ref().unwrap();
    assert!(*arrived == expected, "{between}{token}");
    assert_eq!(seen.all("content-length"), [expected.len().to_string()]);
    assert!(seen.all("transfer-encoding").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_multipart_form_that_streams_with_a_promised_length_keeps_it_and_the_token_is_masked() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxyBuilder::over(protocols).with_small_limits().start().await;
        let case = multipart(STALE, 20_000);
        let known = case.sized();
        assert_eq!(proxy.app.fetch(known).await.status, 200);
        assert_masked(&proxy.graph.last_request(), &case.sent, STALE);
        assert_eq!(removed_credentials(&proxy).await, 1);
        assert_eq!(proxy.graph.attempts(), 1);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_multipart_form_that_streams_without_a_length_is_shorter_than_it_was() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxyBuilder::over(protocols).with_small_limits().start().await;
        let case = multipart(STALE, 20_000);
        let unknown = case.chunked(1_003);
        let seen = proxy.forwarded(unknown).await;
        assert!(seen.body.as_ref() == Some(&case.stripped), "{}", case.kind);
        assert!(seen.all("content-length").is_empty());
        if protocols.graph == Protocol::Http1 {
            assert_eq!(seen.all("transfer-encoding"), ["chunked"]);
        }
        assert_eq!(removed_credentials(&proxy).await, 1);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn json_and_forms_are_read_whole_past_the_limit_of_a_replay_and_lose_the_token() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxyBuilder::over(protocols).with_small_limits().start().await;
        for case in [form(STALE, 20_000), json(STALE, 20_000)] {
            for request in case.both_framings(1_003) {
                let seen = proxy.forwarded(request).await;
                assert!(seen.body.as_ref() == Some(&case.stripped), "{}", case.kind);
                assert_eq!(seen.all("content-length"), [case.stripped.len().to_string()]);
            }
        }
        assert_eq!(removed_credentials(&proxy).await, 4);
        assert_eq!(proxy.replay_bytes().await, 0);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cleaned_body_that_streams_has_no_second_chance() {
    let proxy = TestProxyBuilder::new().with_small_limits().start().await;
    proxy.rotate_token();
    assert_eq!(proxy.app.fetch(form(STALE, 20_000).sized()).await.status, 401);
    assert_eq!(proxy.graph.attempts(), 1);
    assert_eq!(proxy.requests_with_outcome("unhealed_not_replayable").await, 1);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_app_token_in_a_body_stays_and_nothing_of_ours_is_added() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start_with_proof(protocols, ProofMode::PerToken).await;
        for case in cases("123|abc", 100) {
            let own = case.sized();
            let own = with(own, &[("authorization", &format!("Bearer {STALE}"))]);
            assert_eq!(proxy.app.fetch(own).await.status, 401, "Graph reads headers");
            let seen = proxy.graph.last_request();
            assert_eq!(seen.body.as_ref(), Some(&case.sent), "{}", case.kind);
            assert!(seen.all("authorization").is_empty());
            assert_eq!(seen.target(), "/v21.0/106540352242922/messages");
        }
        assert_eq!((proxy.graph.attempts(), proxy.source.loads()), (3, 1));
        assert_eq!(removed_credentials(&proxy).await, 0);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_stands_for_no_token_goes_and_is_none() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for nothing in ["null", "undefined", "None", ""] {
            for case in cases(nothing, 100) {
                let request = case.sized();
                let seen = proxy.forwarded(request).await;
                assert_eq!(seen.body.as_ref(), Some(&case.stripped), "{nothing:?}");
                seen.assert_bearer(FIRST_TOKEN);
            }
        }
        assert_eq!(removed_credentials(&proxy).await, 0);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_with_a_token_is_refused_where_that_is_asked_for() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxyBuilder::over(protocols)
            .with_small_limits()
            .with_client_credentials(ClientCredentialPolicy::Refuse)
            .start()
            .await;
        // In memory, on disk, and on the wire.
        for fill in [100, 2_000, 20_000] {
            for case in cases(STALE, fill) {
                let answer = proxy.app.fetch(case.sized()).await;
                answer.refused(403, "http_request_denied");
                assert_eq!(answer.code(), 990_009);
                assert!(answer.text().contains("body"));
            }
            if fill < 20_000 {
                assert_eq!(proxy.graph.attempts(), 0, "{fill}");
            }
        }
        assert_eq!(proxy.requests_with_outcome("refused_client_credential").await, 9);
        assert!(proxy.graph.accepted().is_empty());
        assert_eq!(proxy.app.fetch(form("null", 100).sized()).await.status, 200);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_with_a_token_is_kept_where_that_is_asked_for_and_never_healed() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxyBuilder::over(protocols)
            .with_proof(ProofMode::PerToken)
            .with_client_credentials(ClientCredentialPolicy::Keep)
            .start()
            .await;
        for case in cases(STALE, 100) {
            let request = case.sized();
            assert_eq!(proxy.app.fetch(request).await.status, 401);
            let seen = proxy.graph.last_request();
            assert_eq!(seen.body.as_ref(), Some(&case.sent));
            assert!(seen.all("authorization").is_empty());
            assert_eq!(seen.head.uri.query(), None);
        }
        assert_eq!((proxy.graph.attempts(), proxy.source.loads()), (3, 1));
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_of_other_kinds_and_of_token_endpoints_are_not_looked_at() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for (kind, coding) in [
            ("text/csv", None),
            ("application/octet-stream", None),
            (FORM, Some("gzip")),
        ] {
            let mut fields = vec![("content-type", kind)];
            fields.extend(coding.map(|coding| ("content-encoding", coding)));
            let sent = form(STALE, 100).sent;
            let request = with(post(sized(sent.clone())), &fields);
            let seen = proxy.forwarded(request).await;
            assert_eq!(seen.body.as_ref(), Some(&sent), "{kind}");
            seen.assert_bearer(FIRST_TOKEN);
        }
        for case in cases(STALE, 100) {
            let call = request("POST", "/oauth/access_token", sized(case.sent.clone()));
            proxy.app.fetch(with(call, &[("content-type", case.kind)])).await;
            let seen = proxy.graph.last_request();
            assert_eq!(seen.body.as_ref(), Some(&case.sent));
            assert!(seen.all("authorization").is_empty());
        }
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn other_parameters_that_hold_tokens_are_data() {
    let data = "input_token=EAAa&fb_exchange_token=EAAb&revoke_token=EAAc&code=AQ&client_secret=s";
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.rotate_token();
        let request = post_as(FORM, sized(data));
        assert_eq!(proxy.app.fetch(request).await.status, 200);
        for (seen, token) in proxy.graph.requests().iter().zip([FIRST_TOKEN, SECOND_TOKEN]) {
            assert_eq!(seen.body.as_deref(), Some(data.as_bytes()));
            seen.assert_bearer(token);
        }
        proxy.shutdown().await;
    }
}
