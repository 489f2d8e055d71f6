//! Calls of our own: bounded in time and length, and no error of theirs holds the address.

use std::net::TcpListener;

use bytes::Bytes;
use graphward::net::{CallError, Caller, Connector, Dial, Endpoint, Tasks};
use graphward::sim::tls::Authority;
use graphward::types::{Clock, chain};
use http::{HeaderMap, Request, Response, Uri};
use http_body_util::Full;
use tokio::time::{Duration, Instant, timeout};

use crate::support::h2origin::H2Origin;
use crate::support::service::{Manner, SECRET, caller, dial, document, home_leaf, url};
use crate::support::{CA, Service, TOKEN};

const SOON: Duration = Duration::from_secs(5);
/// What is long for a service on this machine.
const LIMIT: Duration = Duration::from_millis(400);

async fn called(caller: &Caller, url: Uri) -> Result<Response<Bytes>, CallError> {
    let request = Request::get(url).body(Full::default()).unwrap();
    let answer = caller.call(request).await;
    if let Err(error) = &answer {
        let told = format!("{} {error:?}", chain(&error));
        assert!(!told.contains(SECRET) && !told.contains("key="), "{told}");
        assert!(!told.contains("credentials"), "{told}");
    }
    answer
}

#[tokio::test]
async fn a_call_is_bounded_in_time_and_leaves_no_task_behind() {
    let service = Service::plain();
    let tasks = Tasks::default();
    let caller = caller(LIMIT, &tasks);
    service.answer("200 OK", "", &document(TOKEN));
    for manner in [Manner::Mute, Manner::Slow(30)] {
        service.manner(manner);
        let began = Instant::now();
        let error = called(&caller, url("http", service.port))
            .await
            .unwrap_err();
        assert!(matches!(error, CallError::Late(_)), "{error:?}");
        assert!((LIMIT..2 * LIMIT).contains(&began.elapsed()), "{manner:?}");
    }
    // Slow, and yet in time.
    service.manner(Manner::Slow(2));
    let answer = called(&caller.within(SOON), url("http", service.port)).await;
    assert_eq!(answer.unwrap().body(), document(TOKEN).as_bytes());
    timeout(SOON, tasks.joined()).await.unwrap();
}

#[tokio::test]
async fn an_answer_is_bounded_in_length_however_it_is_framed() {
    let service = Service::plain();
    let tasks = Tasks::default();
    let caller = caller(SOON, &tasks);
    let whole = "x".repeat(64 * 1024);
    let long = format!("{whole}x");
    service.answer("200 OK", "", &whole);
    let answer = called(&caller, url("http", service.port)).await.unwrap();
    assert_eq!(answer.body().len(), whole.len());
    let chunk = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10001\r\n{long}\r\n0\r\n\r\n"
    );
    service.answer("200 OK", "", &long);
    for refill in [
        None,
        Some((chunk.as_str(), Manner::Brisk)),
        Some(("HTTP/1.1 200 OK\r\n\r\n", Manner::Endless)),
    ] {
        if let Some((bytes, manner)) = refill {
            service.bytes(bytes).manner(manner);
        }
        let error = called(&caller, url("http", service.port))
            .await
            .unwrap_err();
        assert!(matches!(error, CallError::TooLong), "{error:?}");
    }
    // Nor are there endless heads.
    service.bytes(&format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(1 << 20)));
    let error = called(&caller, url("http", service.port))
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Broken(_)), "{error:?}");
    timeout(SOON, tasks.joined()).await.unwrap();
}

#[tokio::test]
async fn what_breaks_off_or_is_no_http_is_told_without_the_address() {
    let service = Service::plain();
    let caller = caller(SOON, &Tasks::default());
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "",
    ] {
        service.bytes(bytes);
        let error = called(&caller, url("http", service.port))
            .await
            .unwrap_err();
        assert!(matches!(error, CallError::Broken(_)), "{bytes}: {error:?}");
    }
    service.manner(Manner::Reset);
    let error = called(&caller, url("http", service.port))
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Broken(_)), "{error:?}");
}

#[tokio::test]
async fn without_a_connection_it_says_why_and_where_but_not_the_address() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let reaching = caller(SOON, &Tasks::default());
    let service = Service::plain();
    service.answer("200 OK", "", &document(TOKEN));
    let strict = Dial {
        plain: false,
        ..dial(None)
    };
    let strict = Caller::new(Connector::real(strict), SOON, &Tasks::default());
    let secure = Service::secure(&Authority::new(&Clock::system()).unwrap(), &home_leaf());
    for (caller, url, words) in [
        (
            &reaching,
            url("http", port),
            format!("cannot reach localhost:{port}: "),
        ),
        (
            &reaching,
            Uri::from_static("http://no-such-host.invalid/credentials?key=s3cret-of-the-query"),
            "cannot reach no-such-host.invalid:80".to_owned(),
        ),
        (
            &reaching,
            url("ftp", port),
            "not an https address".to_owned(),
        ),
        (
            &strict,
            url("http", service.port),
            "not an https address".to_owned(),
        ),
        (
            &reaching,
            url("https", service.port),
            format!("cannot reach localhost:{} in time", service.port),
        ),
        (
            &reaching,
            url("https", secure.port),
            "invalid peer certificate".to_owned(),
        ),
    ] {
        let error = called(caller, url).await.unwrap_err();
        assert!(matches!(error, CallError::Connect(_)), "{error:?}");
        assert!(chain(&error).contains(&words), "{words}: {}", chain(&error));
    }
}

#[tokio::test]
async fn over_http2_each_call_has_a_connection_of_its_own_too() {
    let origin = H2Origin::start();
    let tasks = Tasks::default();
    let place = tempfile::tempdir().unwrap();
    let roots = place.path().join("ca.pem");
    std::fs::write(&roots, CA.pem()).unwrap();
    let mut dial = dial(Some(&roots));
    let there = format!("127.0.0.1:{}", origin.port);
    dial.connect_to
        .insert("graph.facebook.com".to_owned(), there);
    let caller = Caller::new(Connector::real(dial), SOON, &tasks);
    let url = |path| {
        let url = format!("https://me:{SECRET}@graph.facebook.com/{path}?key={SECRET}");
        url.parse::<Uri>().unwrap()
    };
    for path in ["a", "goaway"] {
        let endpoint = Endpoint::new(url(path), HeaderMap::new(), caller.clone());
        let answer = endpoint.get(None).await.unwrap().unwrap();
        assert_eq!(answer.body(), "over h2");
    }
    let error = called(&caller, url("reset")).await.unwrap_err();
    assert!(matches!(error, CallError::Broken(_)), "{error:?}");
    let seen = origin.take();
    let connections: Vec<_> = seen.iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 1, 2]);
    assert_eq!(
        seen[0].head.uri().authority().unwrap(),
        "graph.facebook.com"
    );
    timeout(SOON, tasks.joined()).await.unwrap();
}
