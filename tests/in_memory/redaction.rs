//! Graph quotes a token that it finds malformed. The app does not get to see it.

use std::time::Duration;

use crate::support::{
    FIRST_TOKEN, LogCapture, PROTOCOL_PAIRS, SECOND_TOKEN, ScriptedResponse, TestProxy, TestProxyBuilder, TestResponse,
    get, post, request, sized, with,
};

fn malformed_token_error(token: &str) -> String {
    format!(
        r#"{{"error":{{"message":"Malformed access token {token}","type":"OAuthException","code":190,"fbtrace_id":"A1"}}}}"#
    )
}

fn challenge(token: &str) -> String {
    format!(r#"OAuth "Facebook Platform" "invalid_token" "Malformed access token {token}""#)
}

fn response_quoting(token: &str) -> ScriptedResponse {
    ScriptedResponse::json(400, malformed_token_error(token))
        .with("www-authenticate", &challenge(token))
        .with("x-fb-rev", "7")
}

#[track_caller]
fn assert_redacted(answer: &TestResponse) {
    assert_eq!(answer.status, 400);
    assert_eq!(answer.text(), malformed_token_error("[redacted]"));
    assert_eq!(answer.header("www-authenticate"), challenge("[redacted]"));
    assert_eq!(answer.header("content-encoding"), "");
    assert_eq!(answer.header("x-fb-rev"), "7");
    let length = answer.body.len().to_string();
    assert_eq!(answer.header("content-length"), length);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_graph_quotes_is_redacted_in_body_and_challenge() {
    for protocols in PROTOCOL_PAIRS {
        for reply in [
            response_quoting(FIRST_TOKEN),
            response_quoting(FIRST_TOKEN).gzipped(),
            response_quoting(FIRST_TOKEN).chunked(3, Duration::from_millis(1)),
        ] {
            let proxy = TestProxy::start(protocols).await;
            proxy.graph.expire_all();
            proxy.graph.reject_with(reply);
            assert_redacted(&proxy.app.post("x").await);
            assert_eq!(proxy.graph.attempts(), 1);
            assert_eq!(proxy.requests_with_outcome("unhealed_no_newer_token").await, 1);
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn such_an_answer_is_healed_as_any_other() {
    for protocols in PROTOCOL_PAIRS {
        for reply in [response_quoting(FIRST_TOKEN), response_quoting(FIRST_TOKEN).gzipped()] {
            let proxy = TestProxy::start(protocols).await;
            proxy.rotate_token();
            proxy.graph.reject_with(reply);
            assert_eq!(proxy.app.post("x").await.status, 200);
            assert_eq!(proxy.graph.attempts(), 2);
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_second_answer_the_newer_token_is_redacted() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.rotate_token();
        proxy.script(response_quoting(FIRST_TOKEN));
        proxy.script(response_quoting(SECOND_TOKEN));
        assert_redacted(&proxy.app.post("x").await);
        assert_eq!(proxy.graph.attempts(), 2);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_spelling_of_the_token_is_redacted() {
    let token = "EAAa/b+c0123456789==";
    for spelling in [
        token.to_owned(),
        token.replace('/', r"\/"),
        token.replace('/', r"\u002F").replace('+', r"\u002b"),
        token.replace('/', "%2F").replace('+', "%2b").replace('=', "%3D"),
    ] {
        let proxy = TestProxyBuilder::new().with_token(token).start().await;
        let body = malformed_token_error(&format!("{spelling} twice {spelling}"));
        proxy.script(ScriptedResponse::json(403, body));
        proxy.graph.expire_all();
        let answer = proxy.app.post("x").await;
        let expected = malformed_token_error("[redacted] twice [redacted]");
        assert_eq!(answer.text(), expected, "{spelling}");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_the_error_the_token_in_it_is_redacted() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for (status, code) in [(400, 100), (401, 104), (403, 10), (404, 803)] {
            let body = |token: &str| malformed_token_error(token).replace("190", &code.to_string());
            let said = |token: &str| {
                ScriptedResponse::json(status, body(token))
                    .with("www-authenticate", &challenge("…").replace('…', "x"))
                    .with("www-authenticate", &challenge(token))
            };
            proxy.script(said(FIRST_TOKEN));
            let answer = proxy.app.fetch(get("/me")).await;
            assert_eq!(answer.text(), body("[redacted]"));
            let challenges = answer.headers.get_all("www-authenticate").iter();
            let challenges: Vec<&str> = challenges.map(|one| one.to_str().unwrap()).collect();
            assert_eq!(challenges, [challenge("x"), challenge("[redacted]")]);
        }
        assert_eq!(proxy.graph.attempts(), 4);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn any_text_with_an_error_status_and_any_header_is_redacted() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for (status, content_type) in [
            (400, "text/html; charset=utf-8"),
            (402, "text/plain"),
            (404, "application/xml"),
            (413, "application/problem+json"),
            (429, "application/json"),
            (500, "application/json"),
            (502, "text/html"),
            (503, ""),
        ] {
            let body = |token: &str| format!("<p>GET /me?access_token={token}</p>");
            for gzipped in [false, true] {
                let reply = ScriptedResponse::new(status, content_type, body(FIRST_TOKEN))
                    .with("x-request", &format!("/me?access_token={FIRST_TOKEN}&x=1"));
                proxy.script(if gzipped { reply.gzipped() } else { reply });
                let answer = proxy.app.fetch(get("/me")).await;
                assert_eq!(answer.status, status);
                assert_eq!(answer.text(), body("[redacted]"), "{content_type}");
                assert_eq!(answer.header("x-request"), "/me?access_token=[redacted]&x=1");
                assert_eq!(answer.header("content-encoding"), "");
            }
        }
        // A redirect has a token in its target, and no body that is searched.
        let target = |token: &str| format!("https://graph.facebook.com/v26.0/me?access_token={token}");
        proxy.script(ScriptedResponse::json(302, "").with("location", &target(FIRST_TOKEN)));
        assert_eq!(proxy.app.get("/me").await.header("location"), target("[redacted]"));
        // What is no text, what is larger than the bound, and a success are delivered byte for byte.
        let large = format!("{}{FIRST_TOKEN}", "x".repeat(70_000));
        for (status, content_type, body) in [
            (500, "image/png", FIRST_TOKEN),
            (500, "text/plain", large.as_str()),
            (200, "text/plain", FIRST_TOKEN),
        ] {
            proxy.script(ScriptedResponse::new(status, content_type, body.to_owned()));
            assert_eq!(proxy.app.get("/me").await.text(), body);
        }
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_challenge_to_a_head_is_redacted_too() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.graph.expire_all();
        proxy.graph.reject_with(response_quoting(FIRST_TOKEN));
        let answer = proxy.app.fetch(request("HEAD", "/me", sized(""))).await;
        assert_eq!(answer.header("www-authenticate"), challenge("[redacted]"));
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_batchs_item_that_quotes_the_token_is_redacted() {
    let token = "EAAa/b+c0123456789==";
    let answer = |token: &str| {
        let said = serde_json::to_string(&malformed_token_error(token)).unwrap();
        let said = said.replace('/', r"\\\/");
        format!(r#"[{{"code":200,"body":"{{}}"}},{{"code":400,"body":{said}}}]"#)
    };
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for protocols in PROTOCOL_PAIRS {
        for paging in [false, true] {
            let proxy = TestProxyBuilder::over(protocols)
                .with_token(token)
                .with(|config| config.links.paging = paging)
                .start()
                .await;
            for reply in [
                ScriptedResponse::json(200, answer(token)),
                ScriptedResponse::json(200, answer(token)).gzipped(),
            ] {
                proxy.script(reply.with("etag", "\"7\""));
                let heard = proxy.app.fetch(with(post(sized("batch=[]")), &form)).await;
                assert_eq!(heard.text(), answer("[redacted]"));
                let length = heard.body.len().to_string();
                assert_eq!(heard.header("content-length"), length);
                assert_eq!(heard.header("content-encoding"), "");
                assert_eq!(heard.header("etag"), "W/\"7\"");
            }
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_repeats_the_token_without_a_rejection_is_redacted() {
    let token = "EAAa0123456789012345678901234567890";
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxyBuilder::over(protocols).with_token(token).start().await;
        let answer =
            |token: &str| format!(r#"[{{"code":200,"body":"{{\"next\":\"https://x/?access_token={token}\"}}"}}]"#);
        proxy.script(ScriptedResponse::json(200, answer(token)));
        let heard = proxy.app.fetch(with(post(sized("batch=[]")), &form)).await;
        assert_eq!(heard.text(), answer("[redacted]"));
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_token_of_ours_is_delivered_byte_for_byte() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        let other = malformed_token_error("EAAsomebody0elses").replace("190", "100");
        for reply in [
            ScriptedResponse::json(400, other.clone()),
            ScriptedResponse::json(400, other).gzipped(),
            // What Graph gives out on purpose is the app's.
            ScriptedResponse::json(200, format!(r#"{{"access_token":"{FIRST_TOKEN}"}}"#)),
        ] {
            let sent = reply.clone().into_response();
            proxy.script(reply.clone());
            let answer = proxy.app.get("/me/accounts").await;
            assert_eq!(answer.body, reply.bytes());
            let coding = sent.headers().get("content-encoding");
            assert_eq!(answer.headers.get("content-encoding"), coding);
        }
        // The app's own credential is known to the app.
        proxy.script(response_quoting("123|abc"));
        let own = with(post(sized("x")), &[("authorization", "Bearer 123|abc")]);
        let answer = proxy.app.fetch(own).await;
        assert_eq!(answer.text(), malformed_token_error("123|abc"));
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_quoted_token_is_in_no_log() {
    for protocols in PROTOCOL_PAIRS {
        let log = LogCapture::at_trace();
        let proxy = TestProxy::start(protocols).await;
        proxy.graph.expire_all();
        proxy.graph.reject_with(response_quoting(FIRST_TOKEN));
        assert_redacted(&proxy.app.post("x").await);
        proxy.shutdown().await;
        assert!(!log.text().contains(FIRST_TOKEN));
    }
}
