//! Internal credential services that are asked for the token of one tenant after the other.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use graphward::net::HttpClient;
use graphward::source::{TenantHttpConfig, TenantRow, TenantRows, TenantTable as _, TenantTemplate};
use graphward::token::ObtainError;
use graphward::types::{Clock, TenantId};
use http::{HeaderMap, HeaderValue};
use serde_json::json;
use tokio::time::Duration;

use crate::support::credential_service::{
    QUERY_SECRET, ResponseMode, client_with, localhost_leaf, service_client, token_document,
};
use crate::support::{CA, ConnectionAction, CredentialService, Origin, TIMEOUT, TOKEN};

const JSON: &str = "Content-Type: application/json\r\n";

fn rows_at(scheme: &str, port: u16, timeout: Duration) -> Arc<dyn TenantRows> {
    rows_of(scheme, port, service_client(timeout))
}

fn rows_of(scheme: &str, port: u16, client: HttpClient) -> Arc<dyn TenantRows> {
    let url =
        format!("{scheme}://localhost:{port}/tenants/{{tenant}}/credentials/meta?of={{tenant}}&key={QUERY_SECRET}");
    let config = json!({ "http": url, "pointer": "/accessToken" });
    let config: TenantHttpConfig = serde_json::from_value(config).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", HeaderValue::from_static(QUERY_SECRET));
    headers.insert("x-tenant-id", HeaderValue::from_static("{tenant}"));
    let template = TenantTemplate::http(&config, headers, client, Clock::system());
    template.unwrap().rows()
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

/// The row of a tenant; what it says shows no secret.
async fn read(rows: &Arc<dyn TenantRows>, name: &str) -> Result<Option<TenantRow>, ObtainError> {
    let read = rows.read_row(&tenant(name)).await;
    let text = format!("{read:?} {rows:?} {}", rows.describe(&tenant(name)));
    assert!(!text.contains(QUERY_SECRET) && !text.contains(TOKEN), "{text}");
    read
}

#[tokio::test]
async fn a_service_is_asked_for_each_tenant_by_name() {
    let (plain, secure) = (
        CredentialService::http(),
        CredentialService::https(&CA, &localhost_leaf()),
    );
    for (service, scheme) in [(&plain, "http"), (&secure, "https")] {
        let rows = rows_at(scheme, service.port, TIMEOUT);
        for (name, encoded) in [
            ("acme", "acme"),
            ("Shop:7@eu.example", "Shop%3A7%40eu.example"),
            ("...", "..."),
        ] {
            let token = format!("EAAof{}", name.len());
            service.set_response("200 OK", JSON, &token_document(&token));
            let row = read(&rows, name).await.unwrap().unwrap();
            assert_eq!((row.id, row.object_ids.len(), row.app), (tenant(name), 0, None));
            assert_eq!(row.token.unwrap().secret.expose(), token);
            let asked = service.only();
            let target = format!("/tenants/{encoded}/credentials/meta?of={encoded}&key={QUERY_SECRET}");
            assert_eq!(asked.request_line(), format!("GET {target} HTTP/1.1"));
            assert_eq!(asked.header("x-tenant-id").as_deref(), Some(name));
            assert_eq!(asked.header("x-api-key").as_deref(), Some(QUERY_SECRET));
            assert_eq!(asked.header("host"), Some(format!("localhost:{}", service.port)));
        }
        let place = format!("service {scheme}://localhost:{}, tenant acme", service.port);
        assert_eq!(rows.describe(&tenant("acme")), place);
        assert_eq!(rows.poll_interval(), Some(Duration::from_secs(60)));
    }
}

#[tokio::test]
async fn only_the_service_itself_can_say_that_there_is_no_such_tenant() {
    let service = CredentialService::http();
    let rows = rows_at("http", service.port, TIMEOUT);
    for (status, fields, body) in [
        ("410 Gone", "", ""),
        ("404 Not Found", JSON, r#"{"error":"unknown tenant"}"#),
        ("404 Not Found", "", "{}"),
        (
            "404 Not Found",
            "Content-Type: application/problem+json; charset=utf-8\r\n",
            "{}",
        ),
    ] {
        service.set_response(status, fields, body);
        assert!(read(&rows, "acme").await.unwrap().is_none(), "{status} {body}");
    }
    for (status, fields, body, reason) in [
        (
            "404 Not Found",
            "Content-Type: text/html\r\n",
            "<h1>no backend</h1>",
            "not_found",
        ),
        ("404 Not Found", "", "", "not_found"),
        ("404 Not Found", "Content-Type: text/plain\r\n", "{}", "not_found"),
        ("401 Unauthorized", JSON, "{}", "unauthorized"),
        ("403 Forbidden", JSON, "{}", "unauthorized"),
        ("500 Internal Server Error", JSON, "{}", "unexpected_status"),
        ("503 Service Unavailable", "", "", "unexpected_status"),
        ("302 Found", "Location: /login\r\n", "", "redirect"),
        ("304 Not Modified", "", "", "redirect"),
        ("204 No Content", "", "", "empty"),
        ("200 OK", JSON, "{}", "pointer_not_found"),
        ("200 OK", JSON, r#"{"accessToken":""}"#, "empty"),
        ("200 OK", JSON, "[", "invalid_json"),
    ] {
        service.set_response(status, fields, body);
        assert_eq!(
            read(&rows, "acme").await.unwrap_err().reason(),
            reason,
            "{status} {body}"
        );
    }
    // The tenant exists, and has no token.
    service.set_response("200 OK", JSON, r#"{"accessToken":null}"#);
    let row = read(&rows, "acme").await.unwrap().unwrap();
    assert!(row.token.unwrap_err().is_absence());
}

#[tokio::test]
async fn a_service_that_hangs_or_is_gone_says_nothing_about_the_tenant() {
    let service = CredentialService::http();
    // A limit for the call that is to exceed it.
    let impatient = rows_at("http", service.port, Duration::from_millis(400));
    let rows = rows_at("http", service.port, TIMEOUT);
    for (rows, mode, reason) in [
        (&impatient, ResponseMode::Hang, "timeout"),
        (&rows, ResponseMode::Reset, "connection_closed"),
    ] {
        service.set_mode(mode);
        let error = read(rows, "acme").await.unwrap_err();
        assert_eq!((error.reason(), error.is_transient()), (reason, true), "{error}");
    }
    service.set_response("200 OK", JSON, &token_document(TOKEN));
    assert!(read(&rows, "acme").await.unwrap().unwrap().token.is_ok());
}

#[tokio::test]
async fn the_reads_of_a_service_share_the_connections_that_stay_open() {
    for scheme in ["http", "https"] {
        let origin = Origin::without_tls(|exchange| exchange.ok(&token_document(TOKEN)));
        if scheme == "https" {
            origin.set_certificate(&CA, &localhost_leaf(), &[b"http/1.1"]);
        }
        let rows = rows_of(scheme, origin.port, client_with(|config| config.max_idle = 2, TIMEOUT));
        for _ in 0..5 {
            assert!(read(&rows, "acme").await.unwrap().is_some());
        }
        assert_eq!((origin.count(), origin.connections()), (5, 1), "{scheme}");
        // A call of anything else has its own.
        let rows = rows_at(scheme, origin.port, TIMEOUT);
        for _ in 0..2 {
            assert!(read(&rows, "acme").await.unwrap().is_some());
        }
        assert_eq!(origin.connections(), 3, "{scheme}");
    }
}

#[tokio::test]
async fn a_service_that_closes_a_connection_while_a_read_begins_on_it_fails_no_read() {
    for end in [ConnectionAction::Close, ConnectionAction::Reset] {
        let seen = Mutex::new(HashSet::new());
        let origin = Origin::without_tls(
            move |exchange| match seen.lock().unwrap().insert(exchange.seen.connection) {
                true => exchange.ok(&token_document(TOKEN)),
                false => end,
            },
        );
        let rows = rows_of("http", origin.port, client_with(|config| config.max_idle = 2, TIMEOUT));
        for _ in 0..5 {
            assert!(read(&rows, "acme").await.unwrap().is_some(), "{end:?}");
        }
        // The first read of a connection, the one that it ends, and the same one again.
        let (reads, connections) = (origin.count(), origin.connections());
        assert!(connections > 1 && reads > 5, "{reads} over {connections}");
    }
}

#[tokio::test]
async fn a_read_that_gets_no_response_is_made_twice_and_not_more_often() {
    let origin = Origin::without_tls(|_exchange| ConnectionAction::Reset);
    let rows = rows_of("http", origin.port, client_with(|config| config.max_idle = 2, TIMEOUT));
    let error = read(&rows, "acme").await.unwrap_err();
    assert_eq!((error.reason(), origin.count()), ("connection_closed", 2));
}
