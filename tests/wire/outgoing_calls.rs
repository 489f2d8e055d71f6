//! The calls of the control plane: bounded in time and length, and no error shows a URL's path or query.

use std::collections::HashMap;

use bytes::Bytes;
use graphward::net::ca::CertAuthority;
use graphward::net::{AllowedSchemes, HttpClient, HttpClientError, HttpEndpoint};
use graphward::types::{Clock, error_chain};
use http::{HeaderMap, Request, Response, Uri};
use tokio::runtime::Handle;
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::support::credential_service::{
    QUERY_SECRET, ResponseMode, client_with, credential_url, localhost_leaf, service_client, token_document,
};
use crate::support::{CredentialService, Origin, TIMEOUT, TOKEN, message, refusing_address};

/// The limit for calls that are to exceed it.
const CALL_TIMEOUT: Duration = Duration::from_millis(400);

async fn call(client: &HttpClient, url: Uri) -> Result<Response<Bytes>, HttpClientError> {
    let request = Request::get(url).body(Bytes::new()).unwrap();
    let response = client.send(request).await;
    if let Err(error) = &response {
        let text = format!("{} {error:?}", error_chain(error));
        assert!(!text.contains(QUERY_SECRET) && !text.contains("key="), "{text}");
        assert!(!text.contains("credentials"), "{text}");
    }
    response
}

/// Waits until the runtime has no task (the test itself is not a task).
async fn wait_for_no_task() {
    let metrics = Handle::current().metrics();
    let no_task = async {
        while metrics.num_alive_tasks() > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(TIMEOUT, no_task).await.unwrap();
}

#[tokio::test]
async fn a_call_is_bounded_in_time_and_leaves_no_task_behind() {
    let service = CredentialService::http();
    let client = service_client(CALL_TIMEOUT);
    service.set_response("200 OK", "", &token_document(TOKEN));
    for mode in [ResponseMode::Hang, ResponseMode::Slow(30)] {
        service.set_mode(mode);
        let started = Instant::now();
        let error = call(&client, credential_url("http", service.port)).await.unwrap_err();
        assert!(matches!(error, HttpClientError::TimedOut(_)), "{error:?}");
        assert!(started.elapsed() >= CALL_TIMEOUT, "{mode:?}");
    }
    // Slow, but in time.
    service.set_mode(ResponseMode::Slow(2));
    let response = call(&client.with_timeout(TIMEOUT), credential_url("http", service.port)).await;
    assert_eq!(response.unwrap().body(), token_document(TOKEN).as_bytes());
    wait_for_no_task().await;
}

#[tokio::test]
async fn a_response_is_bounded_in_length_however_it_is_framed() {
    let service = CredentialService::http();
    let client = service_client(TIMEOUT);
    let whole = "x".repeat(64 * 1024);
    let long = format!("{whole}x");
    service.set_response("200 OK", "", &whole);
    let response = call(&client, credential_url("http", service.port)).await.unwrap();
    assert_eq!(response.body().len(), whole.len());
    let chunk = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10001\r\n{long}\r\n0\r\n\r\n");
    service.set_response("200 OK", "", &long);
    for refill in [
        None,
        Some((chunk.as_str(), ResponseMode::Immediate)),
        Some(("HTTP/1.1 200 OK\r\n\r\n", ResponseMode::Endless)),
    ] {
        if let Some((bytes, mode)) = refill {
            service.set_raw_response(bytes).set_mode(mode);
        }
        let error = call(&client, credential_url("http", service.port)).await.unwrap_err();
        assert!(matches!(error, HttpClientError::ResponseTooLarge(_)), "{error:?}");
    }
    // A head without end is an error, too.
    service.set_raw_response(&format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(1 << 20)));
    let error = call(&client, credential_url("http", service.port)).await.unwrap_err();
    assert!(matches!(error, HttpClientError::Interrupted(_)), "{error:?}");
    wait_for_no_task().await;
}

#[tokio::test]
async fn a_broken_or_invalid_response_is_an_error_without_the_url() {
    let service = CredentialService::http();
    let client = service_client(TIMEOUT);
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "",
    ] {
        service.set_raw_response(bytes);
        let error = call(&client, credential_url("http", service.port)).await.unwrap_err();
        assert!(matches!(error, HttpClientError::Interrupted(_)), "{bytes}: {error:?}");
    }
    service.set_mode(ResponseMode::Reset);
    let error = call(&client, credential_url("http", service.port)).await.unwrap_err();
    assert!(matches!(error, HttpClientError::Interrupted(_)), "{error:?}");
}

#[tokio::test]
async fn without_a_connection_the_error_has_the_cause_and_the_host_but_not_the_url() {
    let (_closed, closed) = refusing_address();
    let port = closed.port();
    let client = service_client(TIMEOUT);
    let service = CredentialService::http();
    service.set_response("200 OK", "", &token_document(TOKEN));
    let https_only = client_with(|config| config.schemes = AllowedSchemes::Https, TIMEOUT);
    let secure = CredentialService::https(&CertAuthority::new(&Clock::system()).unwrap(), &localhost_leaf());
    // The service waits for the rest of the handshake.
    let impatient = client_with(|config| config.dialer.timeout = CALL_TIMEOUT, TIMEOUT);
    for (client, url, words) in [
        (
            &client,
            credential_url("http", port),
            format!("cannot connect to localhost:{port}: "),
        ),
        (
            &client,
            Uri::from_static("http://no-such-host.invalid/credentials?key=s3cret-of-the-query"),
            "cannot connect to no-such-host.invalid: ".to_owned(),
        ),
        (
            &impatient,
            credential_url("https", service.port),
            format!("cannot connect to localhost:{}: ", service.port),
        ),
        (
            &client,
            credential_url("https", secure.port),
            "invalid peer certificate".to_owned(),
        ),
    ] {
        let error = call(client, url).await.unwrap_err();
        assert!(matches!(error, HttpClientError::Connect { .. }), "{error:?}");
        assert!(error_chain(&error).contains(&words), "{words}: {}", error_chain(&error));
    }
    for (client, scheme) in [(&client, "ftp"), (&https_only, "http")] {
        let error = call(client, credential_url(scheme, service.port)).await.unwrap_err();
        assert!(matches!(error, HttpClientError::InvalidUrl(_)), "{error:?}");
        assert!(error_chain(&error).contains("scheme is not allowed"), "{error:?}");
    }
}

#[tokio::test]
async fn each_call_has_a_connection_of_its_own_and_sends_no_userinfo() {
    let origin = Origin::plain("ok");
    let address = format!("127.0.0.1:{}", origin.port);
    let connect_to = HashMap::from([("graph.facebook.com".to_owned(), address)]);
    let client = client_with(|config| config.dialer.connect_to = connect_to, TIMEOUT);
    let url = format!("https://me:{QUERY_SECRET}@graph.facebook.com/a?key={QUERY_SECRET}");
    let url: Uri = url.parse().unwrap();
    for connection in 0..3 {
        let endpoint = HttpEndpoint::new(url.clone(), HeaderMap::new(), client.clone());
        let response = endpoint.get(None).await.unwrap().unwrap();
        assert_eq!(response.body(), "ok");
        let request = origin.only();
        assert_eq!(request.connection, connection);
        let line = format!("GET /a?key={QUERY_SECRET} HTTP/1.1");
        assert_eq!(message::first_line(&request.head), line);
        let host = message::value(&request.head, "host");
        assert_eq!(host.as_deref(), Some("graph.facebook.com"));
        assert_eq!(message::value(&request.head, "authorization"), None);
    }
    wait_for_no_task().await;
}

#[tokio::test]
async fn the_port_of_a_connect_to_address_counts_only_if_the_url_names_none() {
    let (service, other) = (CredentialService::http(), CredentialService::http());
    service.set_response("200 OK", "", "right");
    other.set_response("200 OK", "", "wrong");
    let connect_to = HashMap::from([("tenants.internal".to_owned(), format!("127.0.0.1:{}", service.port))]);
    let client = client_with(|config| config.dialer.connect_to = connect_to, TIMEOUT);
    let response = call(&client, Uri::from_static("http://tenants.internal/")).await;
    assert_eq!(response.unwrap().body(), "right");
    let url = format!("http://tenants.internal:{}/", other.port);
    let response = call(&client, url.parse().unwrap()).await;
    assert_eq!(response.unwrap().body(), "wrong");
}
