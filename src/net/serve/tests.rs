use std::convert::Infallible;

use http::Response;
use http_body_util::Empty;
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

use super::super::listen::InMemoryConnector;
use super::super::server_connection::TLS_HANDSHAKE_TIMEOUT;
use super::super::server_http::{FIRST_REQUEST_TIMEOUT, IDLE_TIMEOUT, http_server};
use super::*;
use crate::net::ca::{CertAuthority, CertSpec};
use crate::net::server_cert::TlsFiles;
use crate::types::Clock;

const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// A listener with a certificate; its responses are empty.
async fn serve_with_optional_tls() -> (InMemoryConnector, Shutdown, impl Future<Output = usize>) {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    let clock = Clock::system();
    let ca = CertAuthority::new(&clock).unwrap();
    let signed = ca.sign(&CertSpec::for_graph(&clock)).unwrap();
    std::fs::write(path("cert"), signed.cert.pem()).unwrap();
    std::fs::write(path("key"), signed.signing_key.serialize_pem()).unwrap();
    let files = TlsFiles {
        cert: path("cert"),
        key: path("key"),
    };
    let loaded = ServerCert::load(files, clock).await;
    let (server_cert, _reloader) = loaded.unwrap();
    let (listener, connector) = Listener::in_memory();
    let shutdown = Shutdown::default();
    let settings = ServeConfig {
        max_connections: NonZeroU32::MAX,
        unread_responses: UnreadResponses::Keep,
        connections_advice: "reduce them",
        tasks: Tasks::default(),
        shutdown: shutdown.clone(),
        server_cert: Some(server_cert),
        send_timeout: Duration::from_secs(60),
        cut_floods: Counter::default(),
        head_timeout: HEAD_TIMEOUT,
    };
    let services =
        |_info| service_fn(async |_request| Ok::<_, Infallible>(Response::new(Empty::<bytes::Bytes>::new())));
    let http_server = http_server(services, &settings.tasks, settings.send_timeout, &settings.cut_floods);
    (connector, shutdown, serve(listener, http_server, settings))
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_never_comes_and_one_that_never_ends_are_given_up() {
    let (connector, _shutdown, serving) = serve_with_optional_tls().await;
    let clients = async {
        for (sent, limit) in [(&b""[..], IDLE_TIMEOUT), (b"\x16\x03", TLS_HANDSHAKE_TIMEOUT)] {
            let mut client = connector.connect().await;
            client.write_all(sent).await.unwrap();
            let began = Instant::now();
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.unwrap();
            assert!(rest.is_empty());
            let waited = began.elapsed();
            assert!(waited >= limit && waited < limit + Duration::from_secs(1), "{waited:?}");
        }
    };
    tokio::select! {
        _ = serving => unreachable!(),
        () = clients => {}
    }
}

#[tokio::test(start_paused = true)]
async fn connections_without_a_request_do_not_delay_shutdown() {
    let (connector, shutdown, serving) = serve_with_optional_tls().await;
    let began = Instant::now();
    let stopping = async {
        let mut clients = Vec::new();
        for sent in [&b""[..], b"\x16\x03", REQUEST] {
            let mut client = connector.connect().await;
            client.write_all(sent).await.unwrap();
            clients.push(client);
        }
        sleep(Duration::from_secs(1)).await;
        shutdown.advance_to(ShutdownPhase::Graceful);
        clients
    };
    let (aborted, _clients) = tokio::join!(serving, stopping);
    assert_eq!(aborted, 0);
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn requests_that_were_sent_before_a_shutdown_are_answered() {
    let (connector, shutdown, serving) = serve_with_optional_tls().await;
    let clients = async {
        let mut idle = connector.connect().await;
        idle.write_all(REQUEST).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let mut untouched = connector.connect().await;
        sleep(Duration::from_secs(1)).await;
        let mut not_accepted = connector.connect().await;
        for client in [&mut idle, &mut untouched, &mut not_accepted] {
            client.write_all(REQUEST).await.unwrap();
        }
        shutdown.advance_to(ShutdownPhase::Graceful);
        for (mut client, responses) in [(idle, 2), (untouched, 1), (not_accepted, 1)] {
            let mut received = String::new();
            client.read_to_string(&mut received).await.unwrap();
            assert_eq!(received.matches("HTTP/1.1 200 OK").count(), responses, "{received}");
        }
    };
    let (aborted, ()) = tokio::join!(serving, clients);
    assert_eq!(aborted, 0);
}

#[tokio::test(start_paused = true)]
async fn half_a_request_head_delays_shutdown_by_a_second_unless_the_rest_comes() {
    for (rest, response) in [(&b""[..], ""), (&REQUEST[10..], "HTTP/1.1 200 OK")] {
        let (connector, shutdown, serving) = serve_with_optional_tls().await;
        let stopping = async {
            let mut client = connector.connect().await;
            client.write_all(&REQUEST[..10]).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            let began = Instant::now();
            shutdown.advance_to(ShutdownPhase::Graceful);
            sleep(FIRST_REQUEST_TIMEOUT / 2).await;
            client.write_all(rest).await.unwrap();
            let mut received = String::new();
            client.read_to_string(&mut received).await.unwrap();
            assert!(received.starts_with(response), "{received}");
            assert!(began.elapsed() <= FIRST_REQUEST_TIMEOUT, "{:?}", began.elapsed());
        };
        let (aborted, ()) = tokio::join!(serving, stopping);
        assert_eq!(aborted, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn connections_that_come_during_a_shutdown_are_served_while_it_waits_and_hold_nothing_up() {
    let (connector, shutdown, serving) = serve_with_optional_tls().await;
    let clients = async {
        let mut half = connector.connect().await;
        half.write_all(&REQUEST[..10]).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        shutdown.advance_to(ShutdownPhase::Graceful);
        sleep(FIRST_REQUEST_TIMEOUT / 4).await;
        let _silent = connector.connect().await;
        let mut late = connector.connect().await;
        // Not at once.
        sleep(FIRST_REQUEST_TIMEOUT / 4).await;
        late.write_all(REQUEST).await.unwrap();
        let mut received = [0; 15];
        late.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"HTTP/1.1 200 OK");
        Instant::now()
    };
    let (aborted, answered_at) = tokio::join!(serving, clients);
    assert_eq!(aborted, 0);
    assert!(answered_at.elapsed() <= FIRST_REQUEST_TIMEOUT / 2);
}
