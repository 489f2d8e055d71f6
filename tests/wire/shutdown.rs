//! A shutdown while requests arrive.

use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;

use bytes::Bytes;
use graphward::net::{Listener, ServeConfig, Shutdown, ShutdownPhase, Tasks, UnreadResponses, http_server, serve};
use graphward::telemetry::metrics::Metrics;
use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep, timeout};

use super::support::TIMEOUT;
use super::support::h2c::{self, DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, WINDOW_UPDATE};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/// Larger than the window of a stream.
const BODY_BYTES: usize = 100_000;

/// A server that answers with empty bodies over HTTP/1.1, and with large ones over HTTP/2.
async fn server() -> (SocketAddr, Shutdown, impl Future<Output = usize>) {
    let listener = Listener::tcp(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::default();
    let config = ServeConfig {
        max_connections: std::num::NonZeroU32::MAX,
        unread_responses: UnreadResponses::Keep,
        connections_advice: "reduce them",
        tasks: Tasks::default(),
        shutdown: shutdown.clone(),
        server_cert: None,
        send_timeout: TIMEOUT,
        cut_floods: Metrics::new().cut_floods(),
        head_timeout: Duration::MAX,
    };
    let service = |_info| {
        service_fn(async |request: Request<Incoming>| {
            let length = if request.version() == Version::HTTP_2 {
                BODY_BYTES
            } else {
                0
            };
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(vec![b'x'; length]))))
        })
    };
    let http_server = http_server(service, &config.tasks, config.send_timeout, &config.cut_floods);
    (address, shutdown, serve(listener, http_server, config))
}

/// One thread does everything, so the server learns of the requests and of the shutdown at the same time.
#[tokio::test]
async fn requests_that_were_sent_before_a_shutdown_are_answered() {
    let (address, shutdown, serving) = server().await;
    let clients = async {
        // The first connection is accepted before the second one, which is served.
        let untouched = TcpStream::connect(address).await.unwrap();
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(REQUEST).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert_ne!(idle.read_buf(&mut head).await.unwrap(), 0);
        }
        // Nothing is awaited from here to the shutdown: the third connection is not accepted before.
        let queued = std::net::TcpStream::connect(address).unwrap();
        queued.set_nonblocking(true).unwrap();
        (&queued).write_all(REQUEST).unwrap();
        for client in [&untouched, &idle] {
            assert_eq!(client.try_write(REQUEST).unwrap(), REQUEST.len());
        }
        shutdown.advance_to(ShutdownPhase::Graceful);
        for mut client in [untouched, idle, TcpStream::from_std(queued).unwrap()] {
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        }
    };
    let (_aborted, ()) = tokio::join!(serving, clients);
    assert!(TcpStream::connect(address).await.is_err());
}

/// The first bytes of a client of HTTP/2, with a request.
fn http2_request() -> Vec<u8> {
    let block = h2c::block(&h2c::request_fields(b"GET", b"/"));
    [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &h2c::frame(SETTINGS, 0, 0, &[]),
        &h2c::frame(HEADERS, END_HEADERS | END_STREAM, 1, &block),
    ]
    .concat()
}

/// Reads HTTP/2 until the body is whole, or no more comes for now; returns how much of it came.
async fn read_body(client: &mut TcpStream, expected: usize) -> usize {
    let (mut body, mut head) = (0, [0; 9]);
    while body < expected {
        client.read_exact(&mut head).await.unwrap();
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        client.read_exact(&mut vec![0; length]).await.unwrap();
        if head[3] == DATA {
            body += length;
        }
    }
    body
}

/// The phase in which connections are closed by force never comes here.
#[tokio::test]
async fn clients_that_have_no_request_and_say_nothing_do_not_hold_up_a_stop() {
    let (address, shutdown, serving) = server().await;
    let http2 = http2_request();
    let window = h2c::frame(WINDOW_UPDATE, 0, 1, &65_535_u32.to_be_bytes());
    let windows = [window, h2c::frame(WINDOW_UPDATE, 0, 0, &65_535_u32.to_be_bytes())].concat();
    let clients = async {
        let mut clients = Vec::new();
        for sent in [
            // The preface; SETTINGS; half a header block; a request that gets its response.
            &http2[..24],
            &http2[..33],
            &http2[..50],
            &[&http2[..], &windows].concat(),
            // Half of the second head.
            &[REQUEST, &REQUEST[..10]].concat(),
        ] {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(sent).await.unwrap();
            if sent.len() > http2.len() {
                assert_eq!(read_body(&mut client, BODY_BYTES).await, BODY_BYTES);
            } else {
                assert_ne!(client.read(&mut [0; 100]).await.unwrap(), 0, "it is served");
            }
            clients.push(client);
        }
        shutdown.advance_to(ShutdownPhase::Graceful);
        // None of them answers the PING.
        clients
    };
    let stopped = timeout(TIMEOUT, async { tokio::join!(serving, clients) }).await;
    let (_aborted, _clients) = stopped.expect("the stop ends");
}

#[tokio::test]
async fn a_response_for_which_the_client_has_no_room_yet_is_finished_during_a_stop() {
    let (address, shutdown, serving) = server().await;
    let clients = async {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(&http2_request()).await.unwrap();
        let read = read_body(&mut client, 65_535).await;
        shutdown.advance_to(ShutdownPhase::Graceful);
        // Longer than a client without a request is waited for.
        sleep(Duration::from_secs(3)).await;
        for stream in [0, 1] {
            let window = h2c::frame(WINDOW_UPDATE, 0, stream, &65_535_u32.to_be_bytes());
            client.write_all(&window).await.unwrap();
        }
        assert_eq!(read + read_body(&mut client, BODY_BYTES - read).await, BODY_BYTES);
        client
    };
    let stopped = timeout(TIMEOUT, async { tokio::join!(serving, clients) }).await;
    let (_aborted, _client) = stopped.expect("the stop ends");
}
