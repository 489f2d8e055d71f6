//! A client that begins its next request while it reads a response.

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::num::NonZeroU32;

use bytes::Bytes;
use graphward::net::{Listener, ServeConfig, Shutdown, Tasks, UnreadResponses, http_server, serve};
use graphward::telemetry::metrics::Metrics;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep, timeout};

use super::support::TIMEOUT;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/// More than the buffers of both sockets take.
const BODY_BYTES: usize = 64 * 1024 * 1024;
/// A server of one connection at a time, whose response is larger than the client's socket.
async fn server(head_timeout: Duration) -> (SocketAddr, impl Future<Output = usize>) {
    let listener = Listener::tcp(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = ServeConfig {
        max_connections: NonZeroU32::MIN,
        unread_responses: UnreadResponses::Keep,
        connections_advice: "reduce them",
        tasks: Tasks::default(),
        shutdown: Shutdown::default(),
        server_cert: None,
        send_timeout: TIMEOUT,
        cut_floods: Metrics::new().cut_floods(),
        head_timeout,
    };
    let body = Bytes::from(vec![b'x'; BODY_BYTES]);
    let service = move |_info| {
        let body = body.clone();
        service_fn(move |_request: Request<Incoming>| {
            let body = body.clone();
            async move { Ok::<_, Infallible>(Response::new(Full::new(body))) }
        })
    };
    let http_server = http_server(service, &config.tasks, config.send_timeout, &config.cut_floods);
    (address, serve(listener, http_server, config))
}

/// Returns whether the server has read all that the client has sent.
fn is_read(client: &TcpStream) -> bool {
    let port = |address: SocketAddr| format!(":{:04X}", address.port());
    let (own, server) = (port(client.local_addr().unwrap()), port(client.peer_addr().unwrap()));
    // `sl local remote state tx_queue:rx_queue …`, in hexadecimal.
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut rows = rows.filter(|row| row.len() > 4 && row[1].ends_with(&server) && row[2].ends_with(&own));
    rows.next().expect("the connection is open")[4].ends_with(":00000000")
}

/// Reads one head, and nothing after it.
async fn read_head(client: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A client that has read the head of its first response, and has sent half of its second request.
async fn client_with_half_a_head(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(REQUEST).await.unwrap();
    let head = read_head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    client.write_all(&REQUEST[..10]).await.unwrap();
    while !is_read(&client) {
        sleep(Duration::from_millis(1)).await;
    }
    client
}

/// Runs a server until its client is done.
async fn serve_client(serving: impl Future<Output = usize>, client: impl Future<Output = ()>) {
    tokio::select! {
        _ = serving => panic!("it serves until it is stopped"),
        done = timeout(TIMEOUT, client) => done.expect("the response is whole"),
    }
}

#[tokio::test]
async fn a_response_that_is_being_written_is_not_cut_for_another_connection_when_the_next_head_has_begun() {
    let (address, serving) = server(Duration::MAX).await;
    let client = async {
        let mut client = client_with_half_a_head(address).await;
        let mut refused = String::new();
        let mut other = TcpStream::connect(address).await.unwrap();
        other.read_to_string(&mut refused).await.unwrap();
        assert!(refused.starts_with("HTTP/1.1 503 "), "{refused:.100}");
        client.read_exact(&mut vec![0; BODY_BYTES]).await.unwrap();
        client.write_all(&REQUEST[10..]).await.unwrap();
        let head = read_head(&mut client).await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    };
    serve_client(serving, client).await;
}

#[tokio::test]
async fn the_time_for_a_head_begins_when_the_response_before_it_has_been_written() {
    let (address, serving) = server(Duration::from_secs(1)).await;
    let client = async {
        let mut client = client_with_half_a_head(address).await;
        // Longer than a head may take.
        sleep(Duration::from_secs(4)).await;
        client.read_exact(&mut vec![0; BODY_BYTES]).await.unwrap();
        // The rest of the head never comes.
        assert!(matches!(client.read(&mut [0]).await, Ok(0) | Err(_)));
    };
    serve_client(serving, client).await;
}
