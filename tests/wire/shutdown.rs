//! A shutdown while requests arrive.

use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;

use bytes::Bytes;
use graphward::net::{Listener, ServeConfig, Shutdown, ShutdownPhase, Tasks, http_server, serve};
use graphward::telemetry::metrics::Metrics;
use http::Response;
use http_body_util::Empty;
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One thread does everything, so the server learns of the requests and of the shutdown at the same time.
#[tokio::test]
async fn requests_that_were_sent_before_a_shutdown_are_answered() {
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let listener = Listener::tcp(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::default();
    let config = ServeConfig {
        max_connections: std::num::NonZeroU32::MAX,
        tasks: Tasks::default(),
        shutdown: shutdown.clone(),
        server_cert: None,
        send_timeout: super::support::TIMEOUT,
        cut_floods: Metrics::new().cut_floods(),
        head_timeout: std::time::Duration::MAX,
    };
    let service = |_info| service_fn(async |_request| Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())));
    let http_server = http_server(service, &config.tasks, config.send_timeout, &config.cut_floods);
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
    let (_aborted, ()) = tokio::join!(serve(listener, http_server, config), clients);
    assert!(TcpStream::connect(address).await.is_err());
}
