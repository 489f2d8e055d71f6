use std::convert::Infallible;

use http_body_util::Empty;
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

use super::super::listen::Door;
use super::*;
use crate::net::ca::{Authority, Leaf};
use crate::types::Clock;

/// A listener that offers TLS, and answers with nothing.
async fn offered() -> (Door, Shutter, impl Future<Output = usize>) {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    let clock = Clock::system();
    let authority = Authority::new(&clock).unwrap();
    let signed = authority.sign(&Leaf::graph(&clock)).unwrap();
    std::fs::write(path("cert"), signed.certificate()).unwrap();
    std::fs::write(path("key"), signed.key().as_str()).unwrap();
    let loaded = Identity::load(path("cert"), path("key"), clock).await;
    let (identity, _keeper) = loaded.unwrap();
    let (listener, door) = Listener::pipe();
    let shutter = Shutter::new();
    let settings = ServeSettings {
        tasks: Tasks::default(),
        shutter: shutter.clone(),
        tls: Tls::Offered(identity),
    };
    let services = |_line| {
        service_fn(async |_request| {
            Ok::<_, Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
        })
    };
    (door, shutter, serve(listener, services, settings))
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_never_comes_and_one_that_never_ends_are_given_up() {
    let (door, _shutter, serving) = offered().await;
    let clients = async {
        for (sent, most) in [(&b""[..], SLOW_HEAD), (b"\x16\x03", HANDSHAKE)] {
            let mut client = door.connect().await;
            client.write_all(sent).await.unwrap();
            let began = Instant::now();
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.unwrap();
            assert!(rest.is_empty());
            let waited = began.elapsed();
            assert!(
                waited >= most && waited < most + Duration::from_secs(1),
                "{waited:?}"
            );
        }
    };
    tokio::select! {
        _ = serving => unreachable!(),
        () = clients => {}
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_not_begun_does_not_hold_up_the_stop() {
    let (door, shutter, serving) = offered().await;
    let began = Instant::now();
    let stopping = async {
        let mut clients = Vec::new();
        for sent in [&b""[..], b"\x16\x03", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"] {
            let mut client = door.connect().await;
            client.write_all(sent).await.unwrap();
            clients.push(client);
        }
        sleep(Duration::from_secs(1)).await;
        shutter.close();
        clients
    };
    let (cut, _clients) = tokio::join!(serving, stopping);
    assert_eq!(cut, 0);
    assert!(began.elapsed() < Duration::from_secs(2));
}
