//! What reaches the app: Graph's answer, less what ends here.

use tokio::time::sleep;

use crate::support::{
    ConnectOutcome, EXPIRED_ERROR, PROTOCOL_PAIRS, Protocol, Protocols, ScriptedResponse, TestProxy, get, post,
    request, sized, sorted_names,
};

/// Ways whose Graph side can be written by hand.
const HTTP1_UPSTREAM: [Protocols; 2] = [
    Protocols::new(Protocol::Http1, Protocol::Http1),
    Protocols::new(Protocol::Two, Protocol::Http1),
];

fn raw_response(head: &str, body: &str) -> ConnectOutcome {
    ConnectOutcome::Raw(format!("{}\r\n\r\n{body}", head.replace('\n', "\r\n")).into_bytes())
}

#[tokio::test(start_paused = true)]
async fn what_would_lead_the_app_round_the_proxy_is_dropped_and_all_else_is_kept() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        let reply = ScriptedResponse::json(200, "{}")
            .with("alt-svc", "h3=\":443\"")
            .with("strict-transport-security", "max-age=15552000")
            .with("set-cookie", "a=1")
            .with("set-cookie", "b=2")
            .with("x-app-usage", "{\"call_count\":1}")
            .with("etag", "\"1\"")
            .with("proxy-status", "http_request_error; e_fb=1")
            .with("x-fb-trace-id", "B");
        proxy.script(reply);
        let answer = proxy.app.post("x").await;
        let names = sorted_names(&answer.headers);
        let expected = [
            "content-length",
            "content-type",
            "date",
            "etag",
            "proxy-status",
            "set-cookie",
            "x-app-usage",
            "x-fb-trace-id",
        ];
        assert_eq!(names, expected);
        let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
        assert_eq!(answer.header("proxy-status"), "http_request_error; e_fb=1");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn fields_of_one_connection_and_those_it_lists_end_here() {
    for protocols in HTTP1_UPSTREAM {
        let proxy = TestProxy::start(protocols).await;
        proxy.graph.next_connect(raw_response(
            "HTTP/1.1 200 OK\nconnection: x-one, close\nconnection: X-Two\nx-one: 1\nx-two: 2\nx-three: 3\n\
             keep-alive: timeout=5\nproxy-authenticate: Basic\nupgrade: h2c\ntrailer: x-end\ncontent-length: 2",
            "{}",
        ));
        let answer = proxy.app.post("x").await;
        assert_eq!((answer.status, answer.text()), (200, "{}"));
        let names = sorted_names(&answer.headers);
        assert_eq!(names, ["content-length", "date", "x-three"]);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_of_an_answer_end_here() {
    for protocols in HTTP1_UPSTREAM {
        let proxy = TestProxy::start(protocols).await;
        proxy.graph.next_connect(raw_response(
            "HTTP/1.1 200 OK\ntransfer-encoding: chunked\ntrailer: x-end",
            "2\r\n{}\r\n0\r\nx-end: 1\r\n\r\n",
        ));
        let answer = proxy.app.post("x").await;
        assert!(answer.complete && !answer.trailers);
        assert_eq!(answer.text(), "{}");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn answers_without_a_body_stay_without_one() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy
            .graph
            .respond_with(ScriptedResponse::json(200, "").with("content-length", "4711"));
        let answer = proxy.app.fetch(request("HEAD", "/me", sized(""))).await;
        assert_eq!((answer.status, answer.header("content-length")), (200, "4711"));
        for status in [204, 304] {
            proxy.script(ScriptedResponse::new(status, "", "").with("etag", "\"1\""));
            let answer = proxy.app.get("/me").await;
            assert_eq!((answer.status, answer.header("etag")), (status, "\"1\""));
            assert!(answer.complete && answer.body.is_empty());
        }
        proxy.script(ScriptedResponse::json(200, ""));
        assert_eq!(proxy.app.get("/me").await.status, 200);
        assert_eq!(proxy.requests_with_outcome("delivered").await, 4);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_protocol_that_was_not_requested_is_refused() {
    for protocols in HTTP1_UPSTREAM {
        let proxy = TestProxy::start(protocols).await;
        proxy.graph.next_connect(raw_response(
            "HTTP/1.1 101 Switching Protocols\nconnection: upgrade\nupgrade: websocket",
            "",
        ));
        proxy.app.post("x").await.refused(502, "connection_terminated");
        assert_eq!(proxy.graph.attempts(), 1);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_says_it_is_too_large_to_be_an_envelope_is_not_waited_for() {
    for protocols in HTTP1_UPSTREAM {
        let proxy = TestProxy::start(protocols).await;
        proxy.script(
            ScriptedResponse::json(401, "x".repeat(70_000))
                .with("content-length", "70000")
                .chunked(1_000, std::time::Duration::from_secs(1)),
        );
        let began = tokio::time::Instant::now();
        let response = proxy.app.send(get("/me")).await.unwrap();
        assert!(began.elapsed().as_secs() < 1);
        let answer = crate::support::TestResponse::read(response).await;
        assert!(answer.complete && answer.body.len() == 70_000);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn interim_answers_end_here() {
    for protocols in HTTP1_UPSTREAM {
        let proxy = TestProxy::start(protocols).await;
        proxy.graph.next_connect(raw_response(
            "HTTP/1.1 100 Continue\n\nHTTP/1.1 103 Early Hints\nlink: </x>\n\nHTTP/1.1 200 OK\ncontent-length: 2",
            "{}",
        ));
        assert_eq!(proxy.app.post("x").await.text(), "{}");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_framed_twice_is_framed_once_for_the_app() {
    for protocols in HTTP1_UPSTREAM {
        let proxy = TestProxy::start(protocols).await;
        proxy.graph.next_connect(raw_response(
            "HTTP/1.1 200 OK\ncontent-length: 3\ntransfer-encoding: chunked",
            "2\r\n{}\r\n0\r\n\r\n",
        ));
        let answer = proxy.app.post("x").await;
        // Refusing it is as good as reading it by its chunks; passing both framings on is not.
        if answer.status == 200 {
            assert_eq!(answer.text(), "{}");
            assert!(answer.header("content-length").is_empty());
        } else {
            answer.refused(502, "connection_terminated");
        }
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_http_or_ends_within_the_head_is_refused_after_one_attempt() {
    for protocols in HTTP1_UPSTREAM {
        for bytes in [
            "",
            "HTTP/1.1 200 O",
            "HTTP/1.1 200 OK\r\ncontent-type: x",
            "nonsense\r\n\r\n",
            "\0\0\0",
        ] {
            let proxy = TestProxy::start(protocols).await;
            proxy.graph.next_connect(ConnectOutcome::Raw(bytes.as_bytes().to_vec()));
            proxy.app.post("x").await.refused(502, "connection_terminated");
            assert_eq!(proxy.graph.attempts(), 1, "{bytes:?}");
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejection_framed_by_its_connections_end_heals() {
    for protocols in HTTP1_UPSTREAM {
        let proxy = TestProxy::start(protocols).await;
        proxy.rotate_token();
        proxy.graph.next_connect(raw_response(
            "HTTP/1.0 401 Unauthorized\ncontent-type: application/json",
            EXPIRED_ERROR,
        ));
        assert_eq!(proxy.app.post("x").await.status, 200);
        assert_eq!(proxy.graph.attempts(), 2);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_app_that_reads_slowly_gets_all_of_it() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        let large: Vec<u8> = (0..2_000_000_u32).map(|position| (position % 249) as u8).collect();
        proxy.script(ScriptedResponse::new(200, "image/jpeg", large.clone()));
        let response = proxy.app.send(post(sized("x"))).await.unwrap();
        sleep(std::time::Duration::from_secs(240)).await;
        let answer = crate::support::TestResponse::read(response).await;
        assert!(answer.complete && answer.body == large);
        proxy.shutdown().await;
    }
}
