//! `appsecret_proof`: made for the token that goes with it, and for no other.

use std::time::{Duration, UNIX_EPOCH};

use graphward::graph::ProofMode;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::support::{
    APP_SECRET, FIRST_TOKEN, LogCapture, PROTOCOL_PAIRS, RecordedRequest, SECOND_TOKEN, ScriptedResponse, TestProxy,
    TestProxyBuilder, get, post, sized, start_time, with,
};

/// The proofs of `FIRST_TOKEN` and `SECOND_TOKEN`, computed by another implementation (Python's).
const FIRST_PROOF: &str = "f32fd9b9766f08c50eaaa6733d77b0fc8f8d7d246f0a6bf43b8d2a49c36d3550";
const SECOND_PROOF: &str = "e478e81d0f7ab9718abbaebc50f5ffaf23a7e2748000c243d583f9cfc7306ab6";

const MISSING_PROOF_ERROR: &str = r#"{"error":{"message":"API calls from the server require an appsecret_proof argument","type":"GraphMethodException","code":100,"fbtrace_id":"A1"}}"#;
const WRONG_PROOF_ERROR: &str = r#"{"error":{"message":"Invalid appsecret_proof provided in the API argument","type":"GraphMethodException","code":100,"fbtrace_id":"A1"}}"#;

fn hex(message: &str) -> String {
    proof_of(APP_SECRET, message)
}

/// The proof that an app with this secret makes.
pub(crate) fn proof_of(secret: &str, message: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    let digest = mac.finalize().into_bytes();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The value of a parameter that is there once.
fn parameter<'a>(seen: &'a RecordedRequest, name: &str) -> &'a str {
    let query = seen.head.uri.query().unwrap();
    let named = |pair: &'a str| pair.split_once('=').filter(|(its, _)| *its == name);
    let values: Vec<&str> = query.split('&').filter_map(named).map(|(_, value)| value).collect();
    assert_eq!(values.len(), 1, "{name} in {query}");
    values[0]
}

#[tokio::test(start_paused = true)]
async fn the_proof_of_the_token_in_the_header_stands_in_the_query() {
    assert_eq!(
        (hex(FIRST_TOKEN), hex(SECOND_TOKEN)),
        (FIRST_PROOF.into(), SECOND_PROOF.into())
    );
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start_with_proof(protocols, ProofMode::PerToken).await;
        for (sent, arrived) in [
            ("/me", format!("/me?appsecret_proof={FIRST_PROOF}")),
            ("/me?", format!("/me?appsecret_proof={FIRST_PROOF}")),
            (
                "/v21.0/1/messages?fields=a%2Cb&&x",
                format!("/v21.0/1/messages?fields=a%2Cb&&x&appsecret_proof={FIRST_PROOF}"),
            ),
        ] {
            let seen = proxy.forwarded(get(sent)).await;
            assert_eq!(seen.target(), arrived);
            seen.assert_bearer(FIRST_TOKEN);
        }
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_has_the_newer_tokens_proof() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start_with_proof(protocols, ProofMode::PerToken).await;
        proxy.rotate_token();
        assert_eq!(proxy.app.post("hello").await.status, 200);
        let seen = proxy.graph.requests();
        assert_eq!(seen.len(), 2);
        for (seen, token, proof) in [
            (&seen[0], FIRST_TOKEN, FIRST_PROOF),
            (&seen[1], SECOND_TOKEN, SECOND_PROOF),
        ] {
            seen.assert_bearer(token);
            assert_eq!(parameter(seen, "appsecret_proof"), proof);
            assert_eq!(seen.body.as_deref(), Some(&b"hello"[..]));
        }
        assert_eq!(proxy.app.post("again").await.status, 200);
        assert_eq!(parameter(&proxy.graph.last_request(), "appsecret_proof"), SECOND_PROOF);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_apps_own_proof_gives_way_to_ours_and_without_a_secret_to_none() {
    let target = "/me?appsecret_proof=ab&access_token=EAAold&a=1&appsecret_time=1&b";
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start_with_proof(protocols, ProofMode::PerToken).await;
        assert_eq!(proxy.app.get(target).await.status, 200);
        let expected = format!("/me?a=1&b&appsecret_proof={FIRST_PROOF}");
        assert_eq!(proxy.graph.last_request().target(), expected);
        proxy.shutdown().await;
        for builder in [
            TestProxyBuilder::over(protocols),
            TestProxyBuilder::over(protocols)
                .with_proof(ProofMode::PerToken)
                .with(|config| config.app.proof = ProofMode::Off),
        ] {
            let proxy = builder.start().await;
            assert_eq!(proxy.app.get(target).await.status, 200);
            assert_eq!(proxy.graph.last_request().target(), "/me?a=1&b");
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_apps_own_proof_in_a_form_gives_way_to_ours_in_the_query() {
    let proxy = TestProxyBuilder::new().with_proof(ProofMode::PerToken).start().await;
    proxy.rotate_token();
    let form = "appsecret_proof=ab&to=1&access_token=EAAold&appsecret_time=2&text=x";
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    let answer = proxy.app.fetch(with(post(sized(form)), &kind)).await;
    assert_eq!(answer.status, 200);
    for (seen, proof) in proxy.graph.requests().iter().zip([FIRST_PROOF, SECOND_PROOF]) {
        assert_eq!(seen.body.as_deref(), Some(&b"to=1&text=x"[..]));
        assert_eq!(parameter(seen, "appsecret_proof"), proof);
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn no_proof_goes_where_none_belongs() {
    let app = ("authorization", "Bearer 123|abc");
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start_with_proof(protocols, ProofMode::PerToken).await;
        for (host, target, field) in [
            ("localhost:8080", "/oauth/access_token?client_id=1", None),
            ("localhost:8080", "/v21.0/oauth/access_token?appsecret_proof=ab", None),
            (
                "localhost:8080",
                "/debug_token?input_token=EAAx&appsecret_proof=ab",
                Some(app),
            ),
            ("localhost:8080", "/app?access_token=123%7Cabc", None),
            ("localhost:8080", "/v21.0/upload:MTphdHRhY2g=?sig=ARZqkGCA", None),
            ("localhost:8080", "/upload%3AMTphdHRhY2g=?sig=ARZq", None),
            (
                "localhost:8080",
                "/whatsapp_business/attachments/?mid=1&ext=2&hash=AR",
                None,
            ),
            ("lookaside.fbsbx.com", "/elsewhere?mid=1", None),
            ("rupload.facebook.com", "/video-upload/v21.0/7", None),
        ] {
            let fields: Vec<_> = [("host", host)].into_iter().chain(field).collect();
            proxy.app.fetch(with(get(target), &fields)).await;
            assert_eq!(proxy.graph.last_request().target(), target, "{host}");
        }
        let video = with(get("/v21.0/1"), &[("host", "graph-video.facebook.com")]);
        assert_eq!(proxy.app.fetch(video).await.status, 200);
        assert_eq!(parameter(&proxy.graph.last_request(), "appsecret_proof"), FIRST_PROOF);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn instagrams_and_threads_apps_have_secrets_of_their_own() {
    for (token, host) in [
        ("IGAAtoken0of0the0tests", "graph.instagram.com"),
        ("THAAtoken0of0the0tests", "graph.threads.net"),
    ] {
        let proxy = TestProxyBuilder::new()
            .with_token(token)
            .with_proof(ProofMode::Timestamped)
            .start()
            .await;
        let request = with(get("/me?fields=id"), &[("host", host)]);
        assert_eq!(proxy.app.fetch(request).await.status, 200);
        assert_eq!(proxy.graph.last_request().target(), "/me?fields=id");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_timed_proof_tells_the_time_of_its_attempt() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start_with_proof(protocols, ProofMode::Timestamped).await;
        proxy.rotate_token();
        proxy
            .graph
            .reject_with(ScriptedResponse::expired().delayed(Duration::from_secs(400)));
        let patient = start_time().duration_since(UNIX_EPOCH).unwrap().as_secs();
        // Graph takes its time, and the proof would be stale by then.
        let answer = proxy.app.get("/me?appsecret_time=7").await;
        assert_eq!(answer.status, 504, "the head timeout is shorter");
        proxy
            .graph
            .reject_with(ScriptedResponse::expired().delayed(Duration::from_secs(50)));
        assert_eq!(proxy.app.get("/me?appsecret_time=7").await.status, 200);
        let seen = proxy.graph.requests();
        assert_eq!(seen.len(), 3);
        let times = seen
            .iter()
            .zip([FIRST_TOKEN, FIRST_TOKEN, SECOND_TOKEN])
            .map(|(seen, token)| {
                let time = parameter(seen, "appsecret_time");
                let proof = parameter(seen, "appsecret_proof");
                assert_eq!(proof, hex(&format!("{token}|{time}")));
                time.parse::<u64>().unwrap()
            });
        let times: Vec<u64> = times.collect();
        assert!((patient..patient + 10).contains(&times[0]), "{times:?}");
        assert!((50..60).contains(&(times[2] - times[1])), "{times:?}");
        proxy.shutdown().await;
    }
}

async fn assert_proof_error_passed_on(proxy: &TestProxy, body: &'static str) {
    let (attempts, loads) = (proxy.graph.attempts(), proxy.source.loads());
    proxy.script(ScriptedResponse::json(400, body).with(
        "www-authenticate",
        r#"OAuth "Facebook Platform" "invalid_request" "appsecret_proof""#,
    ));
    let answer = proxy.app.post("x").await;
    assert_eq!((answer.status, answer.text()), (400, body));
    assert_eq!(proxy.graph.attempts(), attempts + 1, "it is not sent again");
    assert_eq!(proxy.source.loads(), loads, "no newer token would help");
    assert!(proxy.tokens.is_usable());
}

#[tokio::test(start_paused = true)]
async fn a_refused_proof_is_delivered_counted_and_explained_once_for_each_token() {
    let set = "set app.secret to the secret of the app";
    let other = "app.secret does not belong to the app";
    for protocols in PROTOCOL_PAIRS {
        let with_proof = |mode| TestProxyBuilder::over(protocols).with_proof(mode);
        for (builder, body, words) in [
            (TestProxyBuilder::over(protocols), MISSING_PROOF_ERROR, set),
            (TestProxyBuilder::over(protocols), WRONG_PROOF_ERROR, set),
            (with_proof(ProofMode::PerToken), WRONG_PROOF_ERROR, other),
            (with_proof(ProofMode::Timestamped), WRONG_PROOF_ERROR, "clock"),
        ] {
            let log = LogCapture::at_info();
            let proxy = builder.start().await;
            for _ in 0..3 {
                assert_proof_error_passed_on(&proxy, body).await;
            }
            let lines = log.lines_containing("appsecret_proof:");
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(lines[0].contains("WARN") && lines[0].contains(words));
            proxy.rotate_token();
            assert_eq!(proxy.app.post("x").await.status, 200);
            assert_proof_error_passed_on(&proxy, body).await;
            assert_eq!(log.lines_containing("appsecret_proof:").len(), 2);
            let answers = r#"graphward_upstream_responses_total{tenant="default",verdict="proof_rejected"}"#;
            assert_eq!(proxy.metric(answers).await, 4);
            assert!(!log.text().contains(APP_SECRET));
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_apps_own_proof_that_is_refused_is_its_own_business() {
    let log = LogCapture::at_info();
    let proxy = TestProxyBuilder::new().with_proof(ProofMode::PerToken).start().await;
    proxy.script(ScriptedResponse::json(400, WRONG_PROOF_ERROR));
    let own = with(get("/app?appsecret_proof=ab"), &[("authorization", "Bearer 123|abc")]);
    assert_eq!(proxy.app.fetch(own).await.text(), WRONG_PROOF_ERROR);
    assert!(log.lines_containing("appsecret_proof:").is_empty());
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn neither_the_apps_secret_nor_a_proof_shows() {
    for proving in [ProofMode::PerToken, ProofMode::Timestamped] {
        for protocols in PROTOCOL_PAIRS {
            let log = LogCapture::at_trace();
            let proxy = TestProxy::start_with_proof(protocols, proving).await;
            proxy.rotate_token();
            assert_eq!(proxy.app.post("x").await.status, 200);
            proxy.script(ScriptedResponse::json(400, WRONG_PROOF_ERROR));
            let mut shown = proxy.app.get("/me").await.text().to_owned();
            proxy.script(ScriptedResponse::connection_lost());
            shown.push_str(proxy.app.post("x").await.text());
            shown.push_str(&proxy.metrics().await);
            shown.push_str(&format!("{:?}", proxy.tokens.current()));
            let proofs: Vec<String> = proxy
                .graph
                .requests()
                .iter()
                .map(|seen| parameter(seen, "appsecret_proof").to_owned())
                .collect();
            assert_eq!(proofs.len(), 4);
            proxy.shutdown().await;
            shown.push_str(&log.text());
            for secret in proofs.iter().map(String::as_str).chain([APP_SECRET]) {
                assert!(!shown.contains(secret), "{secret} in {shown}");
            }
        }
    }
}
