//! What Graph answers is what the app gets, byte for byte.

use std::time::Duration;

use fastrand::Rng;

use crate::support::{EXPIRED_ERROR, PROTOCOL_PAIRS, ScriptedResponse, TestProxy, error_envelope};

/// Any answer that Graph, or what stands before it, could give.
fn random_response(random: &mut Rng) -> ScriptedResponse {
    let body = match random.u8(..6) {
        0 => Vec::new(),
        1 => EXPIRED_ERROR.as_bytes()[..random.usize(..EXPIRED_ERROR.len())].to_vec(),
        2 => error_envelope(random.i64(191..3000)).into_bytes(),
        3 => vec![b' '; random.usize(65_000..66_000)],
        4 => (0..random.usize(..100_000)).map(|_| random.u8(..)).collect(),
        _ => (0..random.usize(..2_000)).map(|_| random.u8(..)).collect(),
    };
    let statuses = [200, 201, 206, 301, 400, 400, 401, 401, 403, 404, 409, 429, 500, 503];
    let types = [
        "application/json",
        "text/javascript; charset=UTF-8",
        "text/html",
        "image/jpeg",
        "",
    ];
    let status = statuses[random.usize(..statuses.len())];
    let mut reply = ScriptedResponse::new(status, types[random.usize(..types.len())], body);
    if random.bool() {
        reply = reply.gzipped();
    }
    if random.bool() {
        let step = [1, 7, 1_000, 16_384, 65_536][random.usize(..5)].max(reply.bytes().len() / 50);
        let gap = Duration::from_millis(random.u64(..3));
        reply = reply.chunked(step, gap);
    }
    reply
}

#[tokio::test(start_paused = true)]
async fn answers_are_delivered_byte_for_byte_however_they_come() {
    for (seed, protocols) in (1_u64..).zip(PROTOCOL_PAIRS) {
        let mut random = Rng::with_seed(seed);
        let proxy = TestProxy::start(protocols).await;
        for number in 0..50 {
            let reply = random_response(&mut random).with("x-number", &number.to_string());
            proxy.script(reply.clone());
            let answer = proxy.app.post("x").await;
            assert_eq!(answer.status, reply.status.as_u16());
            assert!(
                answer.complete && answer.body == reply.bytes(),
                "seed {seed}, {number}: {reply:?}"
            );
            let expected = reply.into_response();
            for name in ["content-type", "content-encoding", "x-number"] {
                let expected = expected.headers().get(name).map_or("", |value| value.to_str().unwrap());
                assert_eq!(answer.header(name), expected);
            }
        }
        assert_eq!(proxy.graph.attempts(), 50);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_length_that_graph_declares_is_declared_to_the_app() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for reply in [
            ScriptedResponse::json(200, "{\"a\":1}"),
            ScriptedResponse::expired(),
            ScriptedResponse::error(400, 100),
        ] {
            let length = reply.bytes().len().to_string();
            proxy.script(reply);
            proxy.graph.expire_all();
            assert_eq!(proxy.app.post("x").await.header("content-length"), length);
        }
        proxy.shutdown().await;
    }
}
