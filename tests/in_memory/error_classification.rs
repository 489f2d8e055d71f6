//! Which of Graph's answers mean that the token is dead, and that all others are the app's to read.

use crate::support::{
    EXPIRED_ERROR, PROTOCOL_PAIRS, ScriptedResponse, TestProxy, TestProxyBuilder, error_envelope, gzip, request, sized,
};

/// `{"error":{"code":190}}`, by the reference encoders.
const BROTLI: &[u8] = b"\x8b\x0a\x80{\"error\":{\"code\":190}}\x03";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd\x20\x16\xb1\x00\x00{\"error\":{\"code\":190}}";

#[tokio::test(start_paused = true)]
async fn every_word_for_a_dead_token_heals() {
    let jsonp = format!("/**/ cb({EXPIRED_ERROR});");
    for protocols in PROTOCOL_PAIRS {
        for reply in [
            ScriptedResponse::error(400, 190),
            ScriptedResponse::error(401, 190),
            ScriptedResponse::error(403, 190),
            ScriptedResponse::error(404, 190),
            ScriptedResponse::error(400, 102),
            ScriptedResponse::error(401, 450),
            ScriptedResponse::error(400, 452),
            ScriptedResponse::error(401, 0),
            ScriptedResponse::error(410, 190).with("www-authenticate", r#"OAuth "F P" "invalid_token" "x""#),
            ScriptedResponse::new(400, "text/javascript; charset=UTF-8", EXPIRED_ERROR),
            ScriptedResponse::new(401, "application/javascript", jsonp.clone()),
            ScriptedResponse::json(401, format!("\u{feff}{EXPIRED_ERROR}\n")),
            ScriptedResponse::expired().chunked(7, std::time::Duration::from_millis(10)),
            ScriptedResponse::expired().chunked(1, std::time::Duration::ZERO),
        ] {
            let proxy = TestProxy::start(protocols).await;
            proxy.rotate_token();
            proxy.graph.reject_with(reply.clone());
            assert_eq!(proxy.app.post("x").await.status, 200, "{reply:?}");
            assert_eq!(proxy.graph.attempts(), 2, "{reply:?}");
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_other_code_is_delivered_untouched_after_one_attempt() {
    let codes = [
        1, 2, 3, 4, 5, 10, 17, 32, 100, 104, 200, 299, 341, 368, 506, 613, 803, 2500, 2635, 80007, 130_429, 130_472,
        131_000, 131_005, 131_008, 131_009, 131_016, 131_026, 131_042, 131_047, 131_048, 131_051, 131_056, 132_000,
        133_010, 135_000,
    ];
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for (number, code) in codes.into_iter().enumerate() {
            for status in [400, [401, 403, 404, 429, 500][number % 5]] {
                let before = proxy.graph.attempts();
                proxy.script(ScriptedResponse::error(status, code));
                let answer = proxy.app.post("x").await;
                assert_eq!((answer.status, answer.text()), (status, error_envelope(code).as_str()));
                assert_eq!(proxy.graph.attempts(), before + 1, "{code} {status}");
            }
        }
        proxy.script(ScriptedResponse::error(400, 0));
        assert_eq!(proxy.app.post("x").await.code(), 0, "0 alone says nothing");
        assert_eq!(proxy.source.loads(), 1);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_envelope_is_delivered_untouched() {
    let html = "<html><body>Sorry, something went wrong. code 190</body></html>";
    let huge = format!("{}{}", EXPIRED_ERROR, " ".repeat(64 * 1024));
    let deep = format!("{{\"error\":{}{}}}", "[".repeat(9_000), "]".repeat(9_000));
    let lone = |body: &'static [u8]| ScriptedResponse::json(401, body);
    for protocols in PROTOCOL_PAIRS {
        for reply in [
            ScriptedResponse::new(401, "text/html; charset=utf-8", html),
            ScriptedResponse::new(401, "text/html", EXPIRED_ERROR),
            ScriptedResponse::new(401, "", EXPIRED_ERROR),
            ScriptedResponse::new(401, "application/octet-stream", EXPIRED_ERROR),
            ScriptedResponse::json(401, html),
            ScriptedResponse::json(401, huge.clone()),
            ScriptedResponse::json(401, huge.clone()).chunked(1000, std::time::Duration::ZERO),
            ScriptedResponse::json(401, deep.clone()),
            ScriptedResponse::json(401, EXPIRED_ERROR.strip_suffix("}}").unwrap()),
            ScriptedResponse::json(410, EXPIRED_ERROR),
            ScriptedResponse::json(200, EXPIRED_ERROR),
            ScriptedResponse::json(302, EXPIRED_ERROR),
            lone(b""),
            lone(b"\xff\xfe\x00"),
            lone(b"[{\"error\":{\"code\":190}}]"),
            lone(b"{\"error\":\"invalid_token\"}"),
            lone(b"{\"data\":{\"error\":{\"code\":190}}}"),
            lone(EXPIRED_ERROR.as_bytes()).with("content-encoding", "gzip"),
            lone(EXPIRED_ERROR.as_bytes()).with("content-encoding", "compress"),
        ] {
            let proxy = TestProxy::start(protocols).await;
            proxy.script(reply.clone());
            let answer = proxy.app.post("x").await;
            assert_eq!(answer.status, reply.status.as_u16());
            assert!(answer.complete && answer.body == reply.bytes(), "{reply:?}");
            assert_eq!((proxy.graph.attempts(), proxy.source.loads()), (1, 1), "{reply:?}");
            assert_eq!(proxy.requests_with_outcome("delivered").await, 1);
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn compressed_envelopes_heal_and_are_delivered_as_they_came() {
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut zlib, EXPIRED_ERROR.as_bytes()).unwrap();
    let zlib = zlib.finish().unwrap();
    for protocols in PROTOCOL_PAIRS {
        for (coding, body) in [
            ("gzip", gzip(EXPIRED_ERROR.as_bytes()).to_vec()),
            ("deflate", zlib.clone()),
            ("br", BROTLI.to_vec()),
            ("zstd", ZSTD.to_vec()),
            ("gzip, br", BROTLI.to_vec()),
        ] {
            let proxy = TestProxy::start(protocols).await;
            let heals = coding != "gzip, br";
            let reply = ScriptedResponse::json(401, body.clone()).with("content-encoding", coding);
            proxy.rotate_token();
            proxy.graph.reject_with(reply.clone());
            let answer = proxy.app.post("x").await;
            assert_eq!(answer.status, if heals { 200 } else { 401 }, "{coding}");
            // The next token is dead as well, and there is no newer one: the app gets Graph's response unchanged.
            proxy.graph.expire_all();
            let answer = proxy.app.post("x").await;
            assert_eq!(answer.status, 401);
            assert_eq!(answer.header("content-encoding"), coding);
            assert_eq!(answer.body, body);
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_gzip_bomb_is_delivered_and_not_unfolded() {
    let proxy = TestProxyBuilder::new().start().await;
    let bomb = ScriptedResponse::json(401, vec![b' '; 4 << 20]).gzipped();
    proxy.script(bomb.clone());
    assert_eq!(proxy.app.post("x").await.body, bomb.bytes());
    assert_eq!(proxy.graph.attempts(), 1);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_head_with_a_dead_token_is_healed_by_what_its_challenge_says() {
    for protocols in PROTOCOL_PAIRS {
        for rejection in [
            ScriptedResponse::expired(),
            ScriptedResponse::expired().gzipped(),
            ScriptedResponse::json(400, "").with("www-authenticate", r#"OAuth "F P" "invalid_token" "x""#),
        ] {
            let proxy = TestProxy::start(protocols).await;
            proxy.rotate_token();
            proxy.graph.reject_with(rejection);
            proxy
                .graph
                .respond_with(ScriptedResponse::json(200, "{}").with("etag", "\"7\""));
            let answer = proxy.app.fetch(request("HEAD", "/me", sized(""))).await;
            assert_eq!((answer.status, answer.header("etag")), (200, "\"7\""));
            assert!(answer.body.is_empty());
            let seen = proxy.graph.requests();
            assert_eq!(seen.len(), 2);
            assert!(seen.iter().all(|seen| seen.head.method == "HEAD"));
            assert_eq!(proxy.requests_with_outcome("healed").await, 1);
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_whose_challenge_says_nothing_of_a_token_is_delivered() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for rejection in [
            ScriptedResponse::json(401, EXPIRED_ERROR),
            ScriptedResponse::json(400, "").with("www-authenticate", r#"OAuth "F P" "invalid_request" "x""#),
            ScriptedResponse::new(401, "text/html", "").with("www-authenticate", r#"OAuth "F P" "invalid_token" "x""#),
            ScriptedResponse::json(404, ""),
        ] {
            proxy.script(rejection.clone());
            let answer = proxy.app.fetch(request("HEAD", "/me", sized(""))).await;
            assert_eq!(answer.status, rejection.status.as_u16());
        }
        assert_eq!((proxy.graph.attempts(), proxy.source.loads()), (4, 1));
        proxy.shutdown().await;
    }
}
