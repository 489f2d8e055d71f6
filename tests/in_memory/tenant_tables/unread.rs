//! Requests whose ids may be those of rows that have not been read yet.

use std::iter::once;

use graphward::proxy::HealMode;
use http::Request;
use tokio::time::Instant;

use super::*;
use crate::support::TestBody;

/// How long the list takes that is answered.
const SLOW: Duration = Duration::from_secs(3);
/// How long the list takes that no request sees.
const HANGING: Duration = Duration::from_secs(3600);

/// Who serves the requests without a sign.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Unnamed {
    /// The tenant of `[token]`.
    Default,
    NoTenant,
}

/// A proxy that has begun to read the list, which takes this long.
async fn start_unread(table: &ScriptedTable, unnamed: Unnamed, list_delay: Duration) -> TestProxy {
    table.delay_list(list_delay);
    let builder = builder(table).with(|config| config.has_default_tenant = unnamed == Unnamed::Default);
    let proxy = builder.with_source_delay(Duration::from_millis(1)).start().await;
    for token in [ACME_TOKEN, SHOP_TOKEN, NEW_TOKEN] {
        proxy.graph.accept(token);
    }
    sleep(Duration::from_millis(10)).await;
    proxy
}

fn named(target: &str, tenant: &str) -> Request<TestBody> {
    with(get(target), &[("x-tenant-id", tenant)])
}

fn batch(item: &str) -> Request<TestBody> {
    let body = format!(r#"batch=[{{"method":"GET","relative_url":"{item}"}}]"#);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    with(request("POST", "/v25.0/", sized(body)), &form)
}

/// A message of the phone number 111, which is that of `acme`.
fn message() -> Request<TestBody> {
    let json = [("content-type", "application/json")];
    with(
        request("POST", "/v25.0/111/messages", sized(r#"{"to": "15550100200"}"#)),
        &json,
    )
}

/// The requests that only ids lead to `acme`.
fn by_id() -> [Request<TestBody>; 4] {
    [
        message(),
        get("/v25.0/111_7/comments"),
        get("/v25.0/me/templates?phone_number_id=111"),
        batch("111/phone_numbers"),
    ]
}

/// Sends a request, and returns the answer with the time that it took.
async fn timed(proxy: &TestProxy, request: Request<TestBody>) -> (TestResponse, Duration) {
    let started_at = Instant::now();
    let response = proxy.app.fetch(request).await;
    (response, started_at.elapsed())
}

/// Sends a request that is sent to Graph at once with this token.
async fn assert_sent_at_once(proxy: &TestProxy, request: Request<TestBody>, token: &str) {
    let (response, took) = timed(proxy, request).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    proxy.graph.last_request().assert_bearer(token);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_an_id_leads_to_a_row_waits_for_the_first_read_and_has_the_token_of_the_row() {
    for unnamed in [Unnamed::Default, Unnamed::NoTenant] {
        for request in by_id() {
            let proxy = start_unread(&table(), unnamed, SLOW).await;
            let (response, took) = timed(&proxy, request).await;
            assert_eq!(response.status, 200, "{unnamed:?} {response:?}");
            assert!(took > Duration::from_secs(2), "{unnamed:?} {took:?}");
            assert_eq!(proxy.graph.attempts(), 1);
            proxy.graph.last_request().assert_bearer(ACME_TOKEN);
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_id_may_be_that_of_a_row_is_refused_for_now_if_the_first_read_takes_longer_than_token_wait() {
    for unnamed in [Unnamed::Default, Unnamed::NoTenant] {
        let proxy = start_unread(&table(), unnamed, HANGING).await;
        let media = once(get("/v25.0/4242"));
        let mixed_up = [named("/v25.0/222/message_templates", "acme"), get("/-/acme/v25.0/222")];
        for request in by_id().into_iter().chain(media).chain(mixed_up) {
            let (refused, took) = timed(&proxy, request).await;
            assert_eq!((refused.status, refused.code()), (503, 990_003), "{refused:?}");
            assert!(refused.text().contains("\"is_transient\":true"), "{refused:?}");
            assert!(refused.text().contains("tenants_from"), "{refused:?}");
            let limit = Duration::from_secs(5);
            assert!((limit..limit * 2).contains(&took), "{took:?}");
        }
        assert_eq!(proxy.graph.attempts(), 0, "{unnamed:?}");
        proxy.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_no_id_leads_anywhere_does_not_wait_for_the_first_read() {
    let proxy = start_unread(&table(), Unnamed::Default, HANGING).await;
    assert_sent_at_once(&proxy, get("/v25.0/me"), FIRST_TOKEN).await;
    assert_sent_at_once(&proxy, get("/v25.0/?fields=id"), FIRST_TOKEN).await;
    assert_sent_at_once(&proxy, named("/v25.0/me", "shop"), SHOP_TOKEN).await;
    // With its name, its ids became known.
    assert_sent_at_once(&proxy, named("/v25.0/111/messages", "acme"), ACME_TOKEN).await;
    assert_sent_at_once(&proxy, message(), ACME_TOKEN).await;
    let mixed_up = timed(&proxy, named("/v25.0/222/message_templates", "acme")).await;
    assert_eq!(mixed_up.0.code(), 990_027);
    proxy.close().await;

    let proxy = start_unread(&table(), Unnamed::NoTenant, HANGING).await;
    let (unnamed, took) = timed(&proxy, get("/v25.0/me")).await;
    assert_eq!((unnamed.status, unnamed.code()), (400, 990_024));
    assert!(took < Duration::from_secs(1), "{took:?}");
    proxy.close().await;
}

#[tokio::test(start_paused = true)]
async fn after_the_first_read_an_id_of_no_row_is_no_sign_and_a_mixed_up_request_is_refused() {
    let media = || get("/v25.0/4242");
    let mixed_up = || named("/v25.0/222/message_templates", "acme");
    let proxy = start_unread(&table(), Unnamed::Default, SLOW).await;
    let (of_media, mixed_up_answer) = tokio::join!(timed(&proxy, media()), timed(&proxy, mixed_up()));
    assert_eq!(of_media.0.status, 200, "{of_media:?}");
    assert_eq!(mixed_up_answer.0.code(), 990_027, "{mixed_up_answer:?}");
    assert_eq!(proxy.graph.attempts(), 1);
    proxy.graph.last_request().assert_bearer(FIRST_TOKEN);
    // From now on, nothing waits.
    assert_sent_at_once(&proxy, media(), FIRST_TOKEN).await;
    assert_sent_at_once(&proxy, message(), ACME_TOKEN).await;
    proxy.shutdown().await;

    let proxy = start_unread(&table(), Unnamed::NoTenant, SLOW).await;
    let (of_media, took) = timed(&proxy, media()).await;
    assert_eq!((of_media.status, of_media.code()), (400, 990_024), "{of_media:?}");
    assert!(took > Duration::from_secs(2), "{took:?}");
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_cannot_be_read_is_unread_although_a_row_was_looked_up() {
    let table = table();
    table.set_list_failing(true);
    let proxy = start_unread(&table, Unnamed::Default, Duration::ZERO).await;
    assert_sent_with(&proxy, "acme", ACME_TOKEN).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(proxy.admin_get("/startupz").await.status, 503);
    let (refused, _took) = timed(&proxy, get("/v25.0/222/message_templates")).await;
    assert_eq!((refused.status, refused.code()), (503, 990_003), "{refused:?}");
    table.set_list_failing(false);
    table.announce();
    let (sent, _took) = timed(&proxy, get("/v25.0/222/message_templates")).await;
    assert_eq!(sent.status, 200, "{sent:?}");
    proxy.graph.last_request().assert_bearer(SHOP_TOKEN);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn no_request_waits_for_a_place_without_ids_or_if_requests_are_only_observed() {
    let hidden = table();
    hidden.hide_list();
    let proxy = start_unread(&hidden, Unnamed::Default, HANGING).await;
    assert_sent_at_once(&proxy, get("/v25.0/111/message_templates"), FIRST_TOKEN).await;
    proxy.close().await;

    let listed = table();
    listed.delay_list(HANGING);
    let builder = builder(&listed).with(|config| config.heal.mode = HealMode::Observe);
    let proxy = builder.with_source_delay(Duration::from_millis(1)).start().await;
    let own = [("authorization", &*format!("Bearer {FIRST_TOKEN}"))];
    assert_sent_at_once(&proxy, with(message(), &own), FIRST_TOKEN).await;
    proxy.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_form_that_streams_waits_for_the_first_read_because_ids_may_follow() {
    let part =
        |name: &str, value: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let form = part("file\"; filename=\"a", &"x".repeat(100_000)) + &part("id", "222") + "--b--\r\n";
    let table = table();
    table.delay_list(SLOW);
    let proxy = builder(&table).with_small_limits().start().await;
    proxy.graph.accept(ACME_TOKEN);
    let headers = [
        ("content-type", "multipart/form-data; boundary=b"),
        ("x-tenant-id", "acme"),
    ];
    let request = with(request("POST", "/v25.0/111/media", sized(form)), &headers);
    let (refused, _took) = timed(&proxy, request).await;
    assert_eq!((refused.status, refused.code()), (403, 990_027), "{refused:?}");
    assert!(proxy.graph.accepted().is_empty());
    proxy.close().await;
}
