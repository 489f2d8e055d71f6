//! Internal credential services that hold or renew tokens: slow, wrong, huge or gone, with and without TLS.

use std::net::TcpListener;

use futures_util::FutureExt as _;
use graphward::net::HttpEndpoint;
use graphward::source::decode::Format;
use graphward::source::{AbsentPolicy, PolledSource, TokenService};
use graphward::token::{ObtainError, RenewalRequest, Renewer as _, Source as _, Token};
use graphward::types::{Clock, Secret};
use http::{HeaderMap, HeaderValue, Uri};
use tokio::time::{Duration, Instant, timeout};

use crate::support::credential_service::{
    QUERY_SECRET, ResponseMode, credential_url, localhost_leaf, service_client, token_document,
};
use crate::support::{CA, CredentialService, TIMEOUT, TOKEN};

/// The limit for calls that are to exceed it.
const CALL_TIMEOUT: Duration = Duration::from_millis(400);

const POLL_INTERVAL: Duration = Duration::from_millis(300);

fn endpoint(url: Uri, timeout: Duration) -> HttpEndpoint {
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", HeaderValue::from_static(QUERY_SECRET));
    HttpEndpoint::new(url, headers, service_client(timeout))
}

fn source(url: Uri) -> PolledSource<TokenService> {
    source_with(endpoint(url, TIMEOUT), Format::Pointer("/accessToken".to_owned()))
}

fn source_with(endpoint: HttpEndpoint, format: Format) -> PolledSource<TokenService> {
    source_of(endpoint, format, AbsentPolicy::Auto)
}

fn source_of(endpoint: HttpEndpoint, format: Format, absent: AbsentPolicy) -> PolledSource<TokenService> {
    let service = TokenService::new(endpoint, format, Clock::system());
    PolledSource::new(service.with_absent(absent), Some(POLL_INTERVAL))
}

async fn load_token(source: &mut PolledSource<TokenService>) -> String {
    source.load().await.unwrap().secret.expose().to_owned()
}

/// The reason why there is no token; it shows no secret.
async fn load_error(source: &mut PolledSource<TokenService>) -> (ObtainError, String) {
    let error = source.load().await.unwrap_err();
    let text = format!("{error} {error:?} {source:?} {}", source.describe());
    assert!(!text.contains(QUERY_SECRET) && !text.contains(TOKEN), "{text}");
    (error, text)
}

#[tokio::test]
async fn a_service_returns_its_token_with_and_without_tls() {
    let (plain, secure) = (
        CredentialService::http(),
        CredentialService::https(&CA, &localhost_leaf()),
    );
    for (service, scheme) in [(&plain, "http"), (&secure, "https")] {
        let mut source = source(credential_url(scheme, service.port));
        for token in ["EAAfirst", "EAAsecond"] {
            service.set_response("200 OK", "Content-Type: application/json\r\n", &token_document(token));
            assert_eq!(load_token(&mut source).await, token);
            let asked = service.only();
            let line = format!("GET /tenants/a/credentials/meta?key={QUERY_SECRET} HTTP/1.1");
            assert_eq!(asked.request_line(), line);
            assert_eq!(asked.header("accept").as_deref(), Some("application/json"));
            assert_eq!(asked.header("x-api-key").as_deref(), Some(QUERY_SECRET));
            assert_eq!(asked.header("host"), Some(format!("localhost:{}", service.port)));
            assert_eq!(asked.header("if-none-match"), None);
        }
        // Neither the path nor the query: some services expect a secret there.
        let expected = format!("service {scheme}://localhost:{}", service.port);
        assert_eq!(source.describe(), expected);
    }
    let bare = endpoint(credential_url("http", plain.port), TIMEOUT);
    let mut source = source_with(bare, Format::Raw);
    assert!(!format!("{source:?}").contains(QUERY_SECRET));
    plain.set_response("200 OK", "", "EAAbare\n");
    assert_eq!(load_token(&mut source).await, "EAAbare");
}

#[tokio::test]
async fn an_unchanged_token_is_not_sent_again() {
    let service = CredentialService::http();
    let mut source = source(credential_url("http", service.port));
    service.set_response("304 Not Modified", "", "");
    assert_eq!(
        load_error(&mut source).await.0.reason(),
        "redirect",
        "nothing was known"
    );
    service.only();
    service.set_response("200 OK", "ETag: W/\"1\"\r\n", &token_document("EAAfirst"));
    assert_eq!(load_token(&mut source).await, "EAAfirst");
    assert_eq!(service.only().header("if-none-match"), None);
    service.set_raw_response("HTTP/1.1 304 Not Modified\r\nETag: W/\"1\"\r\n\r\n");
    for _ in 0..2 {
        assert_eq!(load_token(&mut source).await, "EAAfirst");
        assert_eq!(service.only().header("if-none-match").as_deref(), Some("W/\"1\""));
    }
    // An error keeps the known token; an unusable response does not, whatever its entity tag.
    service.set_response("503 Service Unavailable", "", "");
    load_error(&mut source).await;
    assert!(service.only().header("if-none-match").is_some());
    service.set_response("200 OK", "ETag: \"2\"\r\n", "{}");
    assert_eq!(load_error(&mut source).await.0.reason(), "pointer_not_found");
    service.only();
    service.set_response("200 OK", "ETag: \"3\"\r\n", &token_document("EAAthird"));
    assert_eq!(load_token(&mut source).await, "EAAthird");
    assert_eq!(service.only().header("if-none-match"), None);
    service.set_response("200 OK", "", &token_document("EAAfourth"));
    assert_eq!(load_token(&mut source).await, "EAAfourth");
    assert_eq!(service.only().header("if-none-match").as_deref(), Some("\"3\""));
    load_token(&mut source).await;
    assert_eq!(service.only().header("if-none-match"), None);
}

#[tokio::test]
async fn an_error_says_what_the_operator_must_fix_or_that_graphward_retries() {
    let service = CredentialService::http();
    let mut source = source(credential_url("http", service.port));
    for (status, reason, transient, words) in [
        ("401 Unauthorized", "unauthorized", false, "fix the configured headers"),
        ("403 Forbidden", "unauthorized", false, "fix the configured headers"),
        ("404 Not Found", "not_found", false, "fix the URL"),
        ("410 Gone", "not_found", false, "add the tenant"),
        ("400 Bad Request", "unexpected_status", false, "check the URL"),
        ("418 I'm a teapot", "unexpected_status", false, "check the URL"),
        ("408 Request Timeout", "unexpected_status", true, "will retry"),
        ("429 Too Many Requests", "unexpected_status", true, "will retry"),
        ("500 Internal Server Error", "unexpected_status", true, "will retry"),
        ("503 Service Unavailable", "unexpected_status", true, "will retry"),
        ("200 OK", "invalid_json", false, "invalid JSON"),
    ] {
        // An error page may repeat the request.
        service.set_response(status, "", &format!("no: {QUERY_SECRET} {TOKEN}"));
        let (error, text) = load_error(&mut source).await;
        assert_eq!((error.reason(), error.is_transient()), (reason, transient), "{text}");
        assert!(text.contains(words), "{words}: {text}");
        assert!(text.contains(&source.describe()), "{text}");
    }
    for (body, reason) in [
        ("", "empty"),
        ("{\"accessToken\":null}", "null"),
        ("{\"accessToken\":\"\"}", "empty"),
        ("{\"accessToken\":\"null\"}", "empty"),
        ("{\"token\":\"x\"}", "pointer_not_found"),
        ("<html>Sign in</html>", "invalid_json"),
    ] {
        service.set_response("200 OK", "", body);
        let (error, text) = load_error(&mut source).await;
        assert_eq!((error.reason(), error.is_transient()), (reason, false), "{text}");
    }
}

#[tokio::test]
async fn only_the_service_itself_can_say_that_there_is_no_token() {
    let service = CredentialService::http();
    let source = |absent| {
        let endpoint = endpoint(credential_url("http", service.port), TIMEOUT);
        source_of(endpoint, Format::Pointer("/accessToken".to_owned()), absent)
    };
    let json = r#"{"error":"no such tenant"}"#;
    for (status, fields, body, is_absence) in [
        ("410 Gone", "", "", true),
        ("410 Gone", "Content-Type: text/html\r\n", "<h1>Gone</h1>", true),
        ("404 Not Found", "Content-Type: application/json\r\n", json, true),
        (
            "404 Not Found",
            "Content-Type: Application/JSON; charset=utf-8\r\n",
            json,
            true,
        ),
        (
            "404 Not Found",
            "Content-Type: application/problem+json\r\n",
            json,
            true,
        ),
        ("404 Not Found", "", json, true),
        ("200 OK", "", r#"{"accessToken":null}"#, true),
        // nginx's, Traefik's and Envoy's answers without a backend.
        (
            "404 Not Found",
            "Content-Type: text/plain\r\n",
            "default backend - 404",
            false,
        ),
        (
            "404 Not Found",
            "Content-Type: text/plain; charset=utf-8\r\n",
            "404 page not found",
            false,
        ),
        ("404 Not Found", "Content-Type: text/html\r\n", "<h1>404</h1>", false),
        ("404 Not Found", "", "", false),
        ("404 Not Found", "Content-Type: application/json\r\n", "", false),
        ("404 Not Found", "Content-Type: text/html\r\n", json, false),
        ("403 Forbidden", "Content-Type: application/json\r\n", json, false),
        (
            "503 Service Unavailable",
            "Content-Type: application/json\r\n",
            json,
            false,
        ),
        ("204 No Content", "", "", false),
        ("200 OK", "", "{}", false),
        ("200 OK", "", r#"{"accessToken":""}"#, false),
        ("200 OK", "", r#"{"data":null}"#, false),
    ] {
        service.set_response(status, fields, body);
        let (error, text) = load_error(&mut source(AbsentPolicy::Auto)).await;
        assert_eq!(error.is_absence(), is_absence, "{status} {fields} {body}: {text}");
        let (error, text) = load_error(&mut source(AbsentPolicy::Keep)).await;
        assert!(!error.is_absence(), "{text}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (service, other) = (CredentialService::http(), CredentialService::http());
    other.set_response("200 OK", "", &token_document(TOKEN));
    let mut source = source(credential_url("http", service.port));
    for status in [
        "301 Moved",
        "302 Found",
        "303 See Other",
        "307 Temporary",
        "308 Permanent",
    ] {
        let to = format!("Location: http://localhost:{}/?key={QUERY_SECRET}\r\n", other.port);
        service.set_response(status, &to, "");
        let (error, text) = load_error(&mut source).await;
        assert_eq!((error.reason(), error.is_transient()), ("redirect", false), "{text}");
        assert!(text.contains("not followed"), "{text}");
    }
    load_token(&mut self::source(credential_url("http", other.port))).await;
    assert_eq!(other.only().header("accept").as_deref(), Some("application/json"));
}

#[tokio::test]
async fn a_service_that_is_slow_huge_broken_or_gone_is_asked_again_later() {
    let service = CredentialService::http();
    let url = credential_url("http", service.port);
    let mut impatient = source_with(endpoint(url.clone(), CALL_TIMEOUT), Format::Raw);
    let mut source = source(url);
    service.set_response("200 OK", "ETag: \"1\"\r\n", &token_document("EAAfirst"));
    assert_eq!(load_token(&mut source).await, "EAAfirst");
    for (bytes, mode, reason, transient) in [
        ("", ResponseMode::Hang, "timeout", true),
        ("HTTP/1.1 200 OK\r\n\r\n", ResponseMode::Slow(50), "timeout", true),
        ("", ResponseMode::Reset, "connection_closed", true),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
            ResponseMode::Immediate,
            "connection_closed",
            true,
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", ResponseMode::Endless, "too_large", false),
    ] {
        service.set_raw_response(bytes).set_mode(mode);
        let asked = if reason == "timeout" {
            &mut impatient
        } else {
            &mut source
        };
        let (error, text) = load_error(asked).await;
        assert_eq!((error.reason(), error.is_transient()), (reason, transient), "{text}");
    }
    service.set_response("200 OK", "", &token_document("EAAsecond"));
    assert_eq!(load_token(&mut source).await, "EAAsecond");
    let port = service.port;
    drop(service);
    let by = Instant::now() + TIMEOUT;
    while TcpListener::bind(("127.0.0.1", port)).is_err() && Instant::now() < by {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (error, text) = load_error(&mut source).await;
    assert_eq!(
        (error.reason(), error.is_transient()),
        ("connect_failed", true),
        "{text}"
    );
    assert!(text.contains("Connection refused"), "{text}");
}

#[tokio::test]
async fn a_poll_is_due_after_the_interval_though_each_wait_is_cancelled() {
    let service = CredentialService::http();
    let every = POLL_INTERVAL;
    let mut source = source(credential_url("http", service.port));
    service.set_response("500 Internal Server Error", "", "");
    // A load that fails counts as a load.
    load_error(&mut source).await;
    let looked = Instant::now();
    while timeout(Duration::from_millis(7), source.changed()).await.is_err() {}
    let waited = looked.elapsed();
    assert!(waited >= every * 8 / 10, "{waited:?}");
    // So does one that is cancelled.
    service.set_mode(ResponseMode::Hang);
    assert!(timeout(every * 3 / 2, source.load()).await.is_err());
    assert!(timeout(TIMEOUT, source.changed()).await.is_ok());
    assert_eq!(source.changed().now_or_never(), None);
}

fn http_renewer(service: &CredentialService, timeout: Duration) -> TokenService {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static("Bearer s3cret-of-the-query"));
    let format = Format::Pointer("/access_token".to_owned());
    let url = credential_url("http", service.port);
    let endpoint = HttpEndpoint::new(url, headers, service_client(timeout));
    TokenService::new(endpoint, format, Clock::system())
}

#[tokio::test]
async fn a_renewing_service_gets_the_fingerprint_and_never_the_token() {
    let service = CredentialService::http();
    let mut renewer = http_renewer(&service, TIMEOUT);
    let token = Token::without_expiry(Secret::new(TOKEN).unwrap());
    let token = &token;
    for is_dead in [true, false] {
        service.set_response("201 Created", "", r#"{"access_token":"EAArenewed","expires_in":60}"#);
        let before = Clock::system().now();
        let renewed = renewer.renew(RenewalRequest { token, is_dead }).await.unwrap();
        assert_eq!(renewed.secret.expose(), "EAArenewed");
        let counted_from = renewed.expires_at.unwrap() - Duration::from_secs(60);
        assert!((before..=Clock::system().now()).contains(&counted_from));
        let asked = service.only();
        assert!(
            asked.request_line().starts_with("POST /tenants/a/"),
            "{}",
            asked.request_line()
        );
        assert_eq!(asked.header("content-type").as_deref(), Some("application/json"));
        assert_eq!(asked.header("authorization").unwrap(), format!("Bearer {QUERY_SECRET}"));
        let sent: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
        let fingerprint = token.secret.fingerprint().to_string();
        assert_eq!(sent, serde_json::json!({ "fingerprint": fingerprint, "dead": is_dead }));
    }
}

#[tokio::test]
async fn an_error_of_a_renewing_service_has_a_reason_and_never_a_token() {
    let service = CredentialService::http();
    let token = &Token::without_expiry(Secret::new(TOKEN).unwrap());
    for (status, body, mode, reason, transient) in [
        ("403 Forbidden", TOKEN, ResponseMode::Immediate, "unauthorized", false),
        ("404 Not Found", TOKEN, ResponseMode::Immediate, "not_found", false),
        (
            "307 Temporary Redirect",
            TOKEN,
            ResponseMode::Immediate,
            "redirect",
            false,
        ),
        (
            "502 Bad Gateway",
            TOKEN,
            ResponseMode::Immediate,
            "unexpected_status",
            true,
        ),
        ("200 OK", TOKEN, ResponseMode::Immediate, "invalid_json", false),
        ("200 OK", "{}", ResponseMode::Immediate, "pointer_not_found", false),
        ("200 OK", "{}", ResponseMode::Hang, "timeout", true),
        ("200 OK", "{}", ResponseMode::Reset, "connection_closed", true),
        ("200 OK", "{}", ResponseMode::Endless, "pointer_not_found", false),
    ] {
        service.set_response(status, "", body).set_mode(mode);
        let limit = if reason == "timeout" { CALL_TIMEOUT } else { TIMEOUT };
        let mut renewer = http_renewer(&service, limit);
        let error = renewer
            .renew(RenewalRequest { token, is_dead: true })
            .await
            .unwrap_err();
        let text = format!("{error} {error:?} {renewer:?} {}", renewer.describe());
        assert_eq!((error.reason(), error.is_transient()), (reason, transient), "{text}");
        assert!(!text.contains(QUERY_SECRET) && !text.contains(TOKEN), "{text}");
        drop(service.only());
    }
}
