//! Calls of our own: bounded in time and length, and no error of theirs holds the address.

use std::net::TcpListener;

use bytes::Bytes;
use graphward::net::ca::CertAuthority;
use graphward::net::{Connector, ConnectorConfig, HttpClient, HttpClientError, HttpEndpoint, Tasks};
use graphward::types::{Clock, error_chain};
use http::{HeaderMap, Request, Response, Uri};
use http_body_util::Full;
use tokio::time::{Duration, Instant, timeout};

use crate::support::credential_service::{
    QUERY_SECRET, ResponseMode, connector_config, credential_url, localhost_leaf, service_caller, token_document,
};
use crate::support::h2_origin::H2Origin;
use crate::support::{CA, CredentialService, TOKEN};

const GENEROUS_TIMEOUT: Duration = Duration::from_secs(5);
/// What is long for a service on this machine.
const CALL_TIMEOUT: Duration = Duration::from_millis(400);

async fn call(caller: &HttpClient, url: Uri) -> Result<Response<Bytes>, HttpClientError> {
    let request = Request::get(url).body(Full::default()).unwrap();
    let answer = caller.send(request).await;
    if let Err(error) = &answer {
        let told = format!("{} {error:?}", error_chain(&error));
        assert!(!told.contains(QUERY_SECRET) && !told.contains("key="), "{told}");
        assert!(!told.contains("credentials"), "{told}");
    }
    answer
}

#[tokio::test]
async fn a_call_is_bounded_in_time_and_leaves_no_task_behind() {
    let service = CredentialService::http();
    let tasks = Tasks::default();
    let caller = service_caller(CALL_TIMEOUT, &tasks);
    service.answer("200 OK", "", &token_document(TOKEN));
    for manner in [ResponseMode::Hang, ResponseMode::Slow(30)] {
        service.set_mode(manner);
        let began = Instant::now();
        let error = call(&caller, credential_url("http", service.port)).await.unwrap_err();
        assert!(matches!(error, HttpClientError::TimedOut(_)), "{error:?}");
        assert!(
            (CALL_TIMEOUT..2 * CALL_TIMEOUT).contains(&began.elapsed()),
            "{manner:?}"
        );
    }
    // Slow, and yet in time.
    service.set_mode(ResponseMode::Slow(2));
    let answer = call(
        &caller.with_timeout(GENEROUS_TIMEOUT),
        credential_url("http", service.port),
    )
    .await;
    assert_eq!(answer.unwrap().body(), token_document(TOKEN).as_bytes());
    timeout(GENEROUS_TIMEOUT, tasks.wait()).await.unwrap();
}

#[tokio::test]
async fn an_answer_is_bounded_in_length_however_it_is_framed() {
    let service = CredentialService::http();
    let tasks = Tasks::default();
    let caller = service_caller(GENEROUS_TIMEOUT, &tasks);
    let whole = "x".repeat(64 * 1024);
    let long = format!("{whole}x");
    service.answer("200 OK", "", &whole);
    let answer = call(&caller, credential_url("http", service.port)).await.unwrap();
    assert_eq!(answer.body().len(), whole.len());
    let chunk = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10001\r\n{long}\r\n0\r\n\r\n");
    service.answer("200 OK", "", &long);
    for refill in [
        None,
        Some((chunk.as_str(), ResponseMode::Immediate)),
        Some(("HTTP/1.1 200 OK\r\n\r\n", ResponseMode::Endless)),
    ] {
        if let Some((bytes, manner)) = refill {
            service.respond_raw(bytes).set_mode(manner);
        }
        let error = call(&caller, credential_url("http", service.port)).await.unwrap_err();
        assert!(matches!(error, HttpClientError::ResponseTooLarge), "{error:?}");
    }
    // Nor are there endless heads.
    service.respond_raw(&format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(1 << 20)));
    let error = call(&caller, credential_url("http", service.port)).await.unwrap_err();
    assert!(matches!(error, HttpClientError::Interrupted(_)), "{error:?}");
    timeout(GENEROUS_TIMEOUT, tasks.wait()).await.unwrap();
}

#[tokio::test]
async fn what_breaks_off_or_is_no_http_is_told_without_the_address() {
    let service = CredentialService::http();
    let caller = service_caller(GENEROUS_TIMEOUT, &Tasks::default());
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "",
    ] {
        service.respond_raw(bytes);
        let error = call(&caller, credential_url("http", service.port)).await.unwrap_err();
        assert!(matches!(error, HttpClientError::Interrupted(_)), "{bytes}: {error:?}");
    }
    service.set_mode(ResponseMode::Reset);
    let error = call(&caller, credential_url("http", service.port)).await.unwrap_err();
    assert!(matches!(error, HttpClientError::Interrupted(_)), "{error:?}");
}

#[tokio::test]
async fn without_a_connection_it_says_why_and_where_but_not_the_address() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let reaching = service_caller(GENEROUS_TIMEOUT, &Tasks::default());
    let service = CredentialService::http();
    service.answer("200 OK", "", &token_document(TOKEN));
    let strict = ConnectorConfig {
        allow_http: false,
        ..connector_config(None)
    };
    let strict = HttpClient::new(Connector::from_config(strict), GENEROUS_TIMEOUT, &Tasks::default());
    let secure = CredentialService::https(&CertAuthority::new(&Clock::system()).unwrap(), &localhost_leaf());
    for (caller, url, words) in [
        (
            &reaching,
            credential_url("http", port),
            format!("cannot reach localhost:{port}: "),
        ),
        (
            &reaching,
            Uri::from_static("http://no-such-host.invalid/credentials?key=s3cret-of-the-query"),
            "cannot reach no-such-host.invalid:80".to_owned(),
        ),
        (
            &reaching,
            credential_url("ftp", port),
            "not an https address".to_owned(),
        ),
        (
            &strict,
            credential_url("http", service.port),
            "not an https address".to_owned(),
        ),
        (
            &reaching,
            credential_url("https", service.port),
            format!("cannot reach localhost:{} in time", service.port),
        ),
        (
            &reaching,
            credential_url("https", secure.port),
            "invalid peer certificate".to_owned(),
        ),
    ] {
        let error = call(caller, url).await.unwrap_err();
        assert!(matches!(error, HttpClientError::Connect(_)), "{error:?}");
        assert!(error_chain(&error).contains(&words), "{words}: {}", error_chain(&error));
    }
}

#[tokio::test]
async fn over_http2_each_call_has_a_connection_of_its_own_too() {
    let origin = H2Origin::start();
    let tasks = Tasks::default();
    let place = tempfile::tempdir().unwrap();
    let roots = place.path().join("ca.pem");
    std::fs::write(&roots, CA.pem()).unwrap();
    let mut dial = connector_config(Some(&roots));
    let there = format!("127.0.0.1:{}", origin.port);
    dial.connect_to.insert("graph.facebook.com".to_owned(), there);
    let caller = HttpClient::new(Connector::from_config(dial), GENEROUS_TIMEOUT, &tasks);
    let url = |path| {
        let url = format!("https://me:{QUERY_SECRET}@graph.facebook.com/{path}?key={QUERY_SECRET}");
        url.parse::<Uri>().unwrap()
    };
    for path in ["a", "goaway"] {
        let endpoint = HttpEndpoint::new(url(path), HeaderMap::new(), caller.clone());
        let answer = endpoint.get(None).await.unwrap().unwrap();
        assert_eq!(answer.body(), "over h2");
    }
    let error = call(&caller, url("reset")).await.unwrap_err();
    assert!(matches!(error, HttpClientError::Interrupted(_)), "{error:?}");
    let seen = origin.take();
    let connections: Vec<_> = seen.iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 1, 2]);
    assert_eq!(seen[0].head.uri().authority().unwrap(), "graph.facebook.com");
    timeout(GENEROUS_TIMEOUT, tasks.wait()).await.unwrap();
}
