//! Credential services, and services that mint: slow, wrong, huge or gone, in the clear and over TLS.

use std::net::TcpListener;

use graphward::net::Tasks;
use graphward::renew::Service as Renewal;
use graphward::source::decode::Format;
use graphward::source::{HttpSettings, HttpSource};
use graphward::token::{ObtainError, Outgoing, Renewer as _, Source as _, Token};
use graphward::types::{Clock, Secret};
use http::{HeaderMap, HeaderValue, Uri};
use tokio::time::{Duration, Instant, timeout};

use crate::support::service::{Manner, SECRET, caller, document, home_leaf, url};
use crate::support::{CA, Service, TOKEN};

const SOON: Duration = Duration::from_secs(5);
/// What is long for a service on this machine.
const LIMIT: Duration = Duration::from_millis(400);

fn settings(url: Uri) -> HttpSettings {
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", HeaderValue::from_static(SECRET));
    HttpSettings {
        url,
        format: Format::Pointer("/accessToken".to_owned()),
        headers,
        every: Duration::from_millis(300),
        timeout: SOON,
    }
}

fn source(url: Uri) -> HttpSource {
    HttpSource::new(
        settings(url),
        caller(SOON, &Tasks::default()),
        Clock::system(),
    )
}

async fn shows(source: &mut HttpSource) -> String {
    source.load().await.unwrap().secret.expose().to_owned()
}

/// Why there is no token; the secrets are nowhere in it.
async fn refusal(source: &mut HttpSource) -> (ObtainError, String) {
    let error = source.load().await.unwrap_err();
    let told = format!("{error} {error:?} {source:?} {}", source.describe());
    assert!(!told.contains(SECRET) && !told.contains(TOKEN), "{told}");
    (error, told)
}

#[tokio::test]
async fn a_service_shows_its_token_in_the_clear_and_over_tls() {
    let (plain, secure) = (Service::plain(), Service::secure(&CA, &home_leaf()));
    for (service, scheme) in [(&plain, "http"), (&secure, "https")] {
        let mut source = source(url(scheme, service.port));
        for token in ["EAAfirst", "EAAsecond"] {
            service.answer(
                "200 OK",
                "Content-Type: application/json\r\n",
                &document(token),
            );
            assert_eq!(shows(&mut source).await, token);
            let asked = service.only();
            let line = format!("GET /tenants/a/credentials/meta?key={SECRET} HTTP/1.1");
            assert_eq!(asked.line(), line);
            assert_eq!(asked.field("accept").as_deref(), Some("application/json"));
            assert_eq!(asked.field("x-api-key").as_deref(), Some(SECRET));
            assert_eq!(
                asked.field("host"),
                Some(format!("localhost:{}", service.port))
            );
            assert_eq!(asked.field("if-none-match"), None);
        }
        let shown = format!(
            "service {scheme}://localhost:{}/tenants/a/credentials/meta",
            service.port
        );
        assert_eq!(source.describe(), shown);
    }
    let mut bare = settings(url("http", plain.port));
    bare.format = Format::Raw;
    assert!(!format!("{bare:?}").contains(SECRET));
    let mut source = HttpSource::new(bare, caller(SOON, &Tasks::default()), Clock::system());
    plain.answer("200 OK", "", "EAAbare\n");
    assert_eq!(shows(&mut source).await, "EAAbare");
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let service = Service::plain();
    let mut source = source(url("http", service.port));
    service.answer("304 Not Modified", "", "");
    assert_eq!(
        refusal(&mut source).await.0.reason(),
        "redirect",
        "nothing was known"
    );
    service.only();
    service.answer("200 OK", "ETag: W/\"1\"\r\n", &document("EAAfirst"));
    assert_eq!(shows(&mut source).await, "EAAfirst");
    assert_eq!(service.only().field("if-none-match"), None);
    service.bytes("HTTP/1.1 304 Not Modified\r\nETag: W/\"1\"\r\n\r\n");
    for _ in 0..2 {
        assert_eq!(shows(&mut source).await, "EAAfirst");
        assert_eq!(
            service.only().field("if-none-match").as_deref(),
            Some("W/\"1\"")
        );
    }
    // Trouble does not make it forget; what cannot be used does, tag or no tag.
    service.answer("503 Service Unavailable", "", "");
    refusal(&mut source).await;
    assert!(service.only().field("if-none-match").is_some());
    service.answer("200 OK", "ETag: \"2\"\r\n", "{}");
    assert_eq!(refusal(&mut source).await.0.reason(), "no_pointer");
    service.only();
    service.answer("200 OK", "ETag: \"3\"\r\n", &document("EAAthird"));
    assert_eq!(shows(&mut source).await, "EAAthird");
    assert_eq!(service.only().field("if-none-match"), None);
    service.answer("200 OK", "", &document("EAAfourth"));
    assert_eq!(shows(&mut source).await, "EAAfourth");
    assert_eq!(
        service.only().field("if-none-match").as_deref(),
        Some("\"3\"")
    );
    shows(&mut source).await;
    assert_eq!(service.only().field("if-none-match"), None);
}

#[tokio::test]
async fn whoever_must_act_is_told_what_to_do_and_trouble_mends_itself() {
    let service = Service::plain();
    let mut source = source(url("http", service.port));
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
        service.answer(status, "", &format!("no: {SECRET} {TOKEN}"));
        let (error, told) = refusal(&mut source).await;
        assert_eq!(
            (error.reason(), error.is_transient()),
            (reason, transient),
            "{told}"
        );
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
        let (error, told) = refusal(&mut source).await;
        assert_eq!(
            (error.reason(), error.is_transient()),
            (reason, false),
            "{told}"
        );
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (service, other) = (Service::plain(), Service::plain());
    other.answer("200 OK", "", &document(TOKEN));
    let mut source = source(url("http", service.port));
    for status in [
        "301 Moved",
        "302 Found",
        "303 See Other",
        "307 Temporary",
        "308 Permanent",
    ] {
        let to = format!(
            "Location: http://localhost:{}/?key={SECRET}\r\n",
            other.port
        );
        service.answer(status, &to, "");
        let (error, told) = refusal(&mut source).await;
        assert_eq!(
            (error.reason(), error.is_transient()),
            ("redirect", false),
            "{told}"
        );
        assert!(told.contains("not followed"), "{told}");
    }
    shows(&mut self::source(url("http", other.port))).await;
    assert_eq!(
        other.only().field("accept").as_deref(),
        Some("application/json")
    );
}

#[tokio::test]
async fn a_service_that_is_slow_huge_broken_or_gone_is_asked_again_later() {
    let service = Service::plain();
    let mut asked = settings(url("http", service.port));
    asked.timeout = LIMIT;
    let mut source = HttpSource::new(asked, caller(SOON, &Tasks::default()), Clock::system());
    service.answer("200 OK", "ETag: \"1\"\r\n", &document("EAAfirst"));
    assert_eq!(shows(&mut source).await, "EAAfirst");
    for (bytes, manner, reason, transient) in [
        ("", Manner::Mute, "timeout", true),
        ("HTTP/1.1 200 OK\r\n\r\n", Manner::Slow(50), "timeout", true),
        ("", Manner::Reset, "broken", true),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
            Manner::Brisk,
            "broken",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\n\r\n",
            Manner::Endless,
            "too_long",
            false,
        ),
    ] {
        service.bytes(bytes).manner(manner);
        let (error, told) = refusal(&mut source).await;
        assert_eq!(
            (error.reason(), error.is_transient()),
            (reason, transient),
            "{told}"
        );
    }
    service.answer("200 OK", "", &document("EAAsecond"));
    assert_eq!(shows(&mut source).await, "EAAsecond");
    let port = service.port;
    drop(service);
    let by = Instant::now() + SOON;
    while TcpListener::bind(("127.0.0.1", port)).is_err() && Instant::now() < by {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (error, told) = refusal(&mut source).await;
    assert_eq!(
        (error.reason(), error.is_transient()),
        ("unreachable", true),
        "{told}"
    );
    assert!(told.contains("Connection refused"), "{told}");
}

#[tokio::test]
async fn it_is_asked_again_when_it_is_time_though_the_wait_is_given_up_all_the_time() {
    let service = Service::plain();
    let every = Duration::from_millis(300);
    let mut source = source(url("http", service.port));
    service.answer("500 Internal Server Error", "", "");
    // A look that fails is a look.
    refusal(&mut source).await;
    let looked = Instant::now();
    while timeout(Duration::from_millis(7), source.changed())
        .await
        .is_err()
    {}
    let waited = looked.elapsed();
    assert!((every * 8 / 10..every * 4).contains(&waited), "{waited:?}");
    // So is one that is given up.
    service.manner(Manner::Mute);
    assert!(timeout(every * 3 / 2, source.load()).await.is_err());
    assert!(timeout(SOON, source.changed()).await.is_ok());
    assert!(timeout(every / 2, source.changed()).await.is_err());
}

fn renewal_by(service: &Service) -> Renewal {
    let mut headers = HeaderMap::new();
    headers.insert(
        "authorization",
        HeaderValue::from_static("Bearer s3cret-of-the-query"),
    );
    let format = Format::Pointer("/access_token".to_owned());
    let caller = caller(LIMIT, &Tasks::default());
    Renewal::new(
        url("http", service.port),
        format,
        headers,
        caller,
        Clock::system(),
    )
}

#[tokio::test]
async fn a_minting_service_is_told_which_token_goes_and_never_the_token() {
    let service = Service::plain();
    let mut renewal = renewal_by(&service);
    let token = Token::lasting(Secret::new(TOKEN).unwrap());
    let token = &token;
    for dead in [true, false] {
        service.answer(
            "201 Created",
            "",
            r#"{"access_token":"EAAminted","expires_in":60}"#,
        );
        let minted = renewal.renew(Outgoing { token, dead }).await.unwrap();
        assert_eq!(minted.secret.expose(), "EAAminted");
        let life = minted
            .expires_at
            .unwrap()
            .duration_since(Clock::system().wall());
        assert!((55..60).contains(&life.unwrap().as_secs()));
        let asked = service.only();
        assert!(
            asked.line().starts_with("POST /tenants/a/"),
            "{}",
            asked.line()
        );
        assert_eq!(
            asked.field("content-type").as_deref(),
            Some("application/json")
        );
        assert_eq!(
            asked.field("authorization").unwrap(),
            format!("Bearer {SECRET}")
        );
        let told: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
        let fingerprint = token.secret.fingerprint().to_string();
        assert_eq!(
            told,
            serde_json::json!({ "fingerprint": fingerprint, "dead": dead })
        );
    }
}

#[tokio::test]
async fn what_a_minting_service_gets_wrong_is_told_in_a_word_and_never_with_a_token() {
    let service = Service::plain();
    let mut renewal = renewal_by(&service);
    let token = &Token::lasting(Secret::new(TOKEN).unwrap());
    for (status, body, manner, reason, transient) in [
        ("403 Forbidden", TOKEN, Manner::Brisk, "refused", false),
        ("404 Not Found", TOKEN, Manner::Brisk, "missing", false),
        (
            "307 Temporary Redirect",
            TOKEN,
            Manner::Brisk,
            "redirect",
            false,
        ),
        ("502 Bad Gateway", TOKEN, Manner::Brisk, "status", true),
        ("200 OK", TOKEN, Manner::Brisk, "json", false),
        ("200 OK", "{}", Manner::Brisk, "no_pointer", false),
        ("200 OK", "{}", Manner::Mute, "timeout", true),
        ("200 OK", "{}", Manner::Reset, "broken", true),
        ("200 OK", "{}", Manner::Endless, "no_pointer", false),
    ] {
        service.answer(status, "", body).manner(manner);
        let error = renewal
            .renew(Outgoing { token, dead: true })
            .await
            .unwrap_err();
        let told = format!("{error} {error:?} {renewal:?} {}", renewal.describe());
        assert_eq!(
            (error.reason(), error.is_transient()),
            (reason, transient),
            "{told}"
        );
        assert!(!told.contains(SECRET) && !told.contains(TOKEN), "{told}");
        drop(service.only());
    }
}
