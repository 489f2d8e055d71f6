//! Credential services, and services that mint: slow, wrong, huge or gone, in the clear and over TLS.

use std::net::TcpListener;

use graphward::net::Tasks;
use graphward::renew::HttpRenewer as Renewal;
use graphward::source::decode::Format;
use graphward::source::{HttpSettings, HttpSource};
use graphward::token::{ObtainError, RenewalRequest, Renewer as _, Source as _, Token};
use graphward::types::{Clock, Secret};
use http::{HeaderMap, HeaderValue, Uri};
use tokio::time::{Duration, Instant, timeout};

use crate::support::credential_service::{
    QUERY_SECRET, ResponseMode, credential_url, localhost_leaf, service_caller, token_document,
};
use crate::support::{CA, CredentialService, TOKEN};

const GENEROUS_TIMEOUT: Duration = Duration::from_secs(5);
/// What is long for a service on this machine.
const CALL_TIMEOUT: Duration = Duration::from_millis(400);

fn settings(url: Uri) -> HttpSettings {
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", HeaderValue::from_static(QUERY_SECRET));
    HttpSettings {
        url,
        format: Format::Pointer("/accessToken".to_owned()),
        headers,
        poll_interval: Duration::from_millis(300),
        timeout: GENEROUS_TIMEOUT,
    }
}

fn source(url: Uri) -> HttpSource {
    HttpSource::new(
        settings(url),
        service_caller(GENEROUS_TIMEOUT, &Tasks::default()),
        Clock::system(),
    )
}

async fn load_token(source: &mut HttpSource) -> String {
    source.load().await.unwrap().secret.expose().to_owned()
}

/// Why there is no token; the secrets are nowhere in it.
async fn load_error(source: &mut HttpSource) -> (ObtainError, String) {
    let error = source.load().await.unwrap_err();
    let told = format!("{error} {error:?} {source:?} {}", source.describe());
    assert!(!told.contains(QUERY_SECRET) && !told.contains(TOKEN), "{told}");
    (error, told)
}

#[tokio::test]
async fn a_service_shows_its_token_in_the_clear_and_over_tls() {
    let (plain, secure) = (
        CredentialService::http(),
        CredentialService::https(&CA, &localhost_leaf()),
    );
    for (service, scheme) in [(&plain, "http"), (&secure, "https")] {
        let mut source = source(credential_url(scheme, service.port));
        for token in ["EAAfirst", "EAAsecond"] {
            service.answer("200 OK", "Content-Type: application/json\r\n", &token_document(token));
            assert_eq!(load_token(&mut source).await, token);
            let asked = service.only();
            let line = format!("GET /tenants/a/credentials/meta?key={QUERY_SECRET} HTTP/1.1");
            assert_eq!(asked.request_line(), line);
            assert_eq!(asked.header("accept").as_deref(), Some("application/json"));
            assert_eq!(asked.header("x-api-key").as_deref(), Some(QUERY_SECRET));
            assert_eq!(asked.header("host"), Some(format!("localhost:{}", service.port)));
            assert_eq!(asked.header("if-none-match"), None);
        }
        let shown = format!(
            "service {scheme}://localhost:{}/tenants/a/credentials/meta",
            service.port
        );
        assert_eq!(source.describe(), shown);
    }
    let mut bare = settings(credential_url("http", plain.port));
    bare.format = Format::Raw;
    assert!(!format!("{bare:?}").contains(QUERY_SECRET));
    let mut source = HttpSource::new(
        bare,
        service_caller(GENEROUS_TIMEOUT, &Tasks::default()),
        Clock::system(),
    );
    plain.answer("200 OK", "", "EAAbare\n");
    assert_eq!(load_token(&mut source).await, "EAAbare");
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let service = CredentialService::http();
    let mut source = source(credential_url("http", service.port));
    service.answer("304 Not Modified", "", "");
    assert_eq!(
        load_error(&mut source).await.0.reason(),
        "redirect",
        "nothing was known"
    );
    service.only();
    service.answer("200 OK", "ETag: W/\"1\"\r\n", &token_document("EAAfirst"));
    assert_eq!(load_token(&mut source).await, "EAAfirst");
    assert_eq!(service.only().header("if-none-match"), None);
    service.respond_raw("HTTP/1.1 304 Not Modified\r\nETag: W/\"1\"\r\n\r\n");
    for _ in 0..2 {
        assert_eq!(load_token(&mut source).await, "EAAfirst");
        assert_eq!(service.only().header("if-none-match").as_deref(), Some("W/\"1\""));
    }
    // Trouble does not make it forget; what cannot be used does, tag or no tag.
    service.answer("503 Service Unavailable", "", "");
    load_error(&mut source).await;
    assert!(service.only().header("if-none-match").is_some());
    service.answer("200 OK", "ETag: \"2\"\r\n", "{}");
    assert_eq!(load_error(&mut source).await.0.reason(), "no_pointer");
    service.only();
    service.answer("200 OK", "ETag: \"3\"\r\n", &token_document("EAAthird"));
    assert_eq!(load_token(&mut source).await, "EAAthird");
    assert_eq!(service.only().header("if-none-match"), None);
    service.answer("200 OK", "", &token_document("EAAfourth"));
    assert_eq!(load_token(&mut source).await, "EAAfourth");
    assert_eq!(service.only().header("if-none-match").as_deref(), Some("\"3\""));
    load_token(&mut source).await;
    assert_eq!(service.only().header("if-none-match"), None);
}

#[tokio::test]
async fn whoever_must_act_is_told_what_to_do_and_trouble_mends_itself() {
    let service = CredentialService::http();
    let mut source = source(credential_url("http", service.port));
    for (status, reason, transient, words) in [
        ("401 Unauthorized", "refused", false, "correct the headers"),
        ("403 Forbidden", "refused", false, "correct the headers"),
        ("404 Not Found", "missing", false, "correct the URL"),
        ("410 Gone", "missing", false, "add the tenant"),
        ("400 Bad Request", "status", false, "right URL"),
        ("418 I'm a teapot", "status", false, "right URL"),
        ("408 Request Timeout", "status", true, "trouble"),
        ("429 Too Many Requests", "status", true, "trouble"),
        ("500 Internal Server Error", "status", true, "trouble"),
        ("503 Service Unavailable", "status", true, "trouble"),
        ("200 OK", "json", false, "not valid JSON"),
    ] {
        // An error may well repeat what it was sent.
        service.answer(status, "", &format!("no: {QUERY_SECRET} {TOKEN}"));
        let (error, told) = load_error(&mut source).await;
        assert_eq!((error.reason(), error.is_transient()), (reason, transient), "{told}");
        assert!(told.contains(words), "{words}: {told}");
        assert!(told.contains(&source.describe()), "{told}");
    }
    for (body, reason) in [
        ("", "empty"),
        ("{\"accessToken\":null}", "not_string"),
        ("{\"accessToken\":\"\"}", "empty"),
        ("{\"accessToken\":\"null\"}", "empty"),
        ("{\"token\":\"x\"}", "no_pointer"),
        ("<html>Sign in</html>", "json"),
    ] {
        service.answer("200 OK", "", body);
        let (error, told) = load_error(&mut source).await;
        assert_eq!((error.reason(), error.is_transient()), (reason, false), "{told}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (service, other) = (CredentialService::http(), CredentialService::http());
    other.answer("200 OK", "", &token_document(TOKEN));
    let mut source = source(credential_url("http", service.port));
    for status in [
        "301 Moved",
        "302 Found",
        "303 See Other",
        "307 Temporary",
        "308 Permanent",
    ] {
        let to = format!("Location: http://localhost:{}/?key={QUERY_SECRET}\r\n", other.port);
        service.answer(status, &to, "");
        let (error, told) = load_error(&mut source).await;
        assert_eq!((error.reason(), error.is_transient()), ("redirect", false), "{told}");
        assert!(told.contains("not followed"), "{told}");
    }
    load_token(&mut self::source(credential_url("http", other.port))).await;
    assert_eq!(other.only().header("accept").as_deref(), Some("application/json"));
}

#[tokio::test]
async fn a_service_that_is_slow_huge_broken_or_gone_is_asked_again_later() {
    let service = CredentialService::http();
    let mut asked = settings(credential_url("http", service.port));
    asked.timeout = CALL_TIMEOUT;
    let mut source = HttpSource::new(
        asked,
        service_caller(GENEROUS_TIMEOUT, &Tasks::default()),
        Clock::system(),
    );
    service.answer("200 OK", "ETag: \"1\"\r\n", &token_document("EAAfirst"));
    assert_eq!(load_token(&mut source).await, "EAAfirst");
    for (bytes, manner, reason, transient) in [
        ("", ResponseMode::Hang, "timeout", true),
        ("HTTP/1.1 200 OK\r\n\r\n", ResponseMode::Slow(50), "timeout", true),
        ("", ResponseMode::Reset, "broken", true),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
            ResponseMode::Immediate,
            "broken",
            true,
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", ResponseMode::Endless, "too_long", false),
    ] {
        service.respond_raw(bytes).set_mode(manner);
        let (error, told) = load_error(&mut source).await;
        assert_eq!((error.reason(), error.is_transient()), (reason, transient), "{told}");
    }
    service.answer("200 OK", "", &token_document("EAAsecond"));
    assert_eq!(load_token(&mut source).await, "EAAsecond");
    let port = service.port;
    drop(service);
    let by = Instant::now() + GENEROUS_TIMEOUT;
    while TcpListener::bind(("127.0.0.1", port)).is_err() && Instant::now() < by {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (error, told) = load_error(&mut source).await;
    assert_eq!((error.reason(), error.is_transient()), ("unreachable", true), "{told}");
    assert!(told.contains("Connection refused"), "{told}");
}

#[tokio::test]
async fn it_is_asked_again_when_it_is_time_though_the_wait_is_given_up_all_the_time() {
    let service = CredentialService::http();
    let every = Duration::from_millis(300);
    let mut source = source(credential_url("http", service.port));
    service.answer("500 Internal Server Error", "", "");
    // A look that fails is a look.
    load_error(&mut source).await;
    let looked = Instant::now();
    while timeout(Duration::from_millis(7), source.changed()).await.is_err() {}
    let waited = looked.elapsed();
    assert!(waited >= every * 8 / 10, "{waited:?}");
    // So is one that is given up.
    service.set_mode(ResponseMode::Hang);
    assert!(timeout(every * 3 / 2, source.load()).await.is_err());
    assert!(timeout(GENEROUS_TIMEOUT, source.changed()).await.is_ok());
    assert!(timeout(every / 2, source.changed()).await.is_err());
}

fn http_renewer(service: &CredentialService) -> Renewal {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static("Bearer s3cret-of-the-query"));
    let format = Format::Pointer("/access_token".to_owned());
    let caller = service_caller(CALL_TIMEOUT, &Tasks::default());
    Renewal::new(
        credential_url("http", service.port),
        format,
        headers,
        caller,
        Clock::system(),
    )
}

#[tokio::test]
async fn a_minting_service_is_told_which_token_goes_and_never_the_token() {
    let service = CredentialService::http();
    let mut renewal = http_renewer(&service);
    let token = Token::without_expiry(Secret::new(TOKEN).unwrap());
    let token = &token;
    for is_dead in [true, false] {
        service.answer("201 Created", "", r#"{"access_token":"EAAminted","expires_in":60}"#);
        let minted = renewal.renew(RenewalRequest { token, is_dead }).await.unwrap();
        assert_eq!(minted.secret.expose(), "EAAminted");
        let life = minted.expires_at.unwrap().duration_since(Clock::system().now());
        assert!((55..60).contains(&life.unwrap().as_secs()));
        let asked = service.only();
        assert!(
            asked.request_line().starts_with("POST /tenants/a/"),
            "{}",
            asked.request_line()
        );
        assert_eq!(asked.header("content-type").as_deref(), Some("application/json"));
        assert_eq!(asked.header("authorization").unwrap(), format!("Bearer {QUERY_SECRET}"));
        let told: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
        let fingerprint = token.secret.fingerprint().to_string();
        assert_eq!(told, serde_json::json!({ "fingerprint": fingerprint, "dead": is_dead }));
    }
}

#[tokio::test]
async fn what_a_minting_service_gets_wrong_is_told_in_a_word_and_never_with_a_token() {
    let service = CredentialService::http();
    let mut renewal = http_renewer(&service);
    let token = &Token::without_expiry(Secret::new(TOKEN).unwrap());
    for (status, body, manner, reason, transient) in [
        ("403 Forbidden", TOKEN, ResponseMode::Immediate, "refused", false),
        ("404 Not Found", TOKEN, ResponseMode::Immediate, "missing", false),
        (
            "307 Temporary Redirect",
            TOKEN,
            ResponseMode::Immediate,
            "redirect",
            false,
        ),
        ("502 Bad Gateway", TOKEN, ResponseMode::Immediate, "status", true),
        ("200 OK", TOKEN, ResponseMode::Immediate, "json", false),
        ("200 OK", "{}", ResponseMode::Immediate, "no_pointer", false),
        ("200 OK", "{}", ResponseMode::Hang, "timeout", true),
        ("200 OK", "{}", ResponseMode::Reset, "broken", true),
        ("200 OK", "{}", ResponseMode::Endless, "no_pointer", false),
    ] {
        service.answer(status, "", body).set_mode(manner);
        let error = renewal
            .renew(RenewalRequest { token, is_dead: true })
            .await
            .unwrap_err();
        let told = format!("{error} {error:?} {renewal:?} {}", renewal.describe());
        assert_eq!((error.reason(), error.is_transient()), (reason, transient), "{told}");
        assert!(!told.contains(QUERY_SECRET) && !told.contains(TOKEN), "{told}");
        drop(service.only());
    }
}
