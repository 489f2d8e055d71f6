//! A client's connection from one request to the next: it rests, it is read again, it is given up.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{PROTOCOL_PAIRS, Protocol, ScriptedResponse, TestProxy, TestProxyBuilder, get};

/// So many open connections that one which falls idle rests.
async fn crowd(proxy: &TestProxy) -> Vec<DuplexStream> {
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(proxy.app.raw().await);
    }
    crowd
}

const REQUEST: &[u8] = b"GET /me HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Reads this many answers, all of them 200.
async fn read_answers(client: &mut DuplexStream, count: usize) {
    let mut answers = String::new();
    let mut piece = [0; 4096];
    while answers.matches("HTTP/1.1 200 OK").count() < count || !answers.ends_with('}') {
        let read = timeout(Duration::from_secs(30), client.read(&mut piece)).await;
        let read = read.expect(&answers).unwrap();
        assert_ne!(read, 0, "closed after {answers}");
        answers.push_str(std::str::from_utf8(&piece[..read]).unwrap());
    }
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), count, "{answers}");
}

/// Waits until graphward closes the connection without a word.
async fn time_until_closed(client: &mut DuplexStream) -> Duration {
    let began = Instant::now();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"");
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_connection_serves_on_after_every_kind_of_rest() {
    let proxy = TestProxyBuilder::new().start().await;
    let _crowd = crowd(&proxy).await;
    let mut client = proxy.app.raw().await;
    for (number, pause) in [0, 500, 1_000, 1_500, 2_000, 2_500, 60_000, 590_000]
        .into_iter()
        .enumerate()
    {
        sleep(Duration::from_millis(pause)).await;
        let (start, end) = REQUEST.split_at(number * 4);
        let pieces: [&[&[u8]]; 3] = [&[REQUEST], &[start, end], &[REQUEST, start, end, REQUEST]];
        for pieces in pieces {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                sleep(Duration::from_secs(number as u64)).await;
            }
            read_answers(&mut client, pieces.concat().len() / REQUEST.len()).await;
        }
        // The first half of the next request comes with the one before, and the rest of it after a while.
        client.write_all(&[REQUEST, start].concat()).await.unwrap();
        read_answers(&mut client, 1).await;
        sleep(Duration::from_millis(pause.min(5_000))).await;
        client.write_all(end).await.unwrap();
        read_answers(&mut client, 1).await;
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_not_read_keeps_its_connection_and_comes_whole() {
    let proxy = TestProxyBuilder::new().start().await;
    let body = "a".repeat(1 << 20);
    proxy.script(ScriptedResponse::json(200, body.clone()));
    let _crowd = crowd(&proxy).await;
    let mut client = proxy.app.raw().await;
    client.write_all(REQUEST).await.unwrap();
    let mut received = Vec::new();
    while received.len() < body.len() {
        sleep(Duration::from_secs(10)).await;
        let mut piece = vec![0; 256 * 1024];
        let read = client.read(&mut piece).await.unwrap();
        assert_ne!(read, 0, "{}", received.len());
        received.extend_from_slice(&piece[..read]);
        if received.len() > 900 * 1024 {
            break;
        }
    }
    // All of it is in graphward's hands by now, and more of it than fits into the pipe.
    sleep(Duration::from_secs(30)).await;
    let head = received.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    let mut rest = vec![0; head + body.len() - received.len()];
    client.read_exact(&mut rest).await.unwrap();
    client.write_all(REQUEST).await.unwrap();
    read_answers(&mut client, 1).await;
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_end_is_given_up_and_an_idle_connection_only_after_ten_minutes() {
    let proxy = TestProxyBuilder::new().start().await;
    let _crowd = crowd(&proxy).await;
    for (app, seconds) in [(&proxy.app, 10), (proxy.admin(), 3)] {
        for served in [0, 1, 2] {
            for rest in [0, 30] {
                for trickles in [false, true] {
                    let mut client = app.raw().await;
                    let request = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
                    for _ in 0..served {
                        client.write_all(request).await.unwrap();
                        let mut piece = [0; 4096];
                        assert_ne!(client.read(&mut piece).await.unwrap(), 0);
                    }
                    sleep(Duration::from_secs(rest)).await;
                    let began = Instant::now();
                    client.write_all(b"GET /livez HTTP/1.1\r\nx: ").await.unwrap();
                    while trickles && client.write_all(b"a").await.is_ok() {
                        sleep(Duration::from_millis(300)).await;
                    }
                    time_until_closed(&mut client).await;
                    let waited = began.elapsed().as_secs_f64();
                    let limit = f64::from(seconds);
                    assert!((limit..limit + 2.0).contains(&waited), "{waited} {served} {rest}");
                }
            }
        }
    }
    for request in [&b""[..], REQUEST] {
        let mut client = proxy.app.raw().await;
        if !request.is_empty() {
            client.write_all(request).await.unwrap();
            read_answers(&mut client, 1).await;
        }
        let idle = time_until_closed(&mut client).await.as_secs();
        assert!((600..=603).contains(&idle), "{idle}");
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_http2_connection_is_kept() {
    for protocols in PROTOCOL_PAIRS.into_iter().filter(|pair| pair.app == Protocol::Two) {
        let proxy = TestProxy::start(protocols).await;
        for _ in 0..3 {
            assert_eq!(proxy.app.fetch(get("/me")).await.status, 200);
            sleep(Duration::from_secs(700)).await;
        }
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_connections_serve_on_in_any_order() {
    let proxy = TestProxyBuilder::new().start().await;
    let mut clients = Vec::new();
    for _ in 0..600 {
        let mut client = proxy.app.raw().await;
        client.write_all(REQUEST).await.unwrap();
        read_answers(&mut client, 1).await;
        clients.push(client);
    }
    for step in [1, 7, 599] {
        for at in 0..600 {
            let client = &mut clients[at * step % 600];
            let (start, end) = REQUEST.split_at(at % REQUEST.len());
            client.write_all(&[REQUEST, start].concat()).await.unwrap();
            read_answers(client, 1).await;
            client.write_all(end).await.unwrap();
            read_answers(client, 1).await;
        }
    }
    proxy.shutdown().await;
}
