//! Signs in bodies that are not in memory as a whole when their request is sent.

use std::iter;

use graphward::tenants::AllowRule;
use http::Request;

use crate::request_bodies::MIB;
use crate::routing::{ACME_TOKEN, start, without_default};
use crate::support::{PROTOCOL_PAIRS, TestBody, TestProxy, TestProxyBuilder, chunked, request, sized, with};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const MULTIPART: &str = "multipart/form-data; boundary=b";
const ACME: (&str, &str) = ("x-tenant-id", "acme");

/// Sent, or refused with a status and a code.
type Outcome = Result<(), (u16, i64)>;

/// Fields that say something about the tenant, beside a header that names `acme`, and what becomes of the request.
const FIELDS: [(&str, &str, Outcome); 11] = [
    ("access_token", "tenant:acme", Ok(())),
    ("id", "1002", Ok(())),
    ("ids", "7777,1001", Ok(())),
    ("access_token", "tenant:shop", Err((403, 990_027))),
    ("phone_number_id", "2001", Err((403, 990_027))),
    ("ids[]", "1001,2001", Err((403, 990_027))),
    ("ids", "[\"1001\", \" 2001\"]", Err((403, 990_027))),
    ("ids", "{\"0\":\"2001\"}", Err((403, 990_027))),
    ("input_token", "tenant:shop", Err((403, 990_027))),
    ("access_token", "tenant:other", Err((404, 990_025))),
    ("access_token", "tenant:", Err((404, 990_025))),
];

fn part(name: &str, value: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

/// A file of so many bytes, which holds what looks like a field.
fn file(length: usize) -> String {
    let fill = "\r\nid=2001".repeat(length / 9);
    part("file\"; filename=\"a", &fill)
}

fn typed(content_type: &str, body: TestBody) -> Request<TestBody> {
    with(
        request("POST", "/v25.0/1001/media", body),
        &[("content-type", content_type)],
    )
}

/// A body with a length, and the same without, in chunks of this size.
fn framed(body: &str, chunk_size: usize) -> impl Iterator<Item = TestBody> + use<> {
    let body = body.to_owned();
    let chunked = chunked(body.clone(), chunk_size);
    iter::once(sized(body)).chain([chunked])
}

#[tokio::test(start_paused = true)]
async fn a_form_that_streams_ends_where_a_sign_in_it_names_another_tenant() {
    for protocols in PROTOCOL_PAIRS {
        let builder = TestProxyBuilder::over(protocols);
        let proxy = start(builder.with(|config| *config = without_default()).with_small_limits()).await;
        for (name, value, expected) in FIELDS {
            let field = part(name, value);
            let after = format!("{}{field}{}--b--\r\n", file(20_000), part("a", "1"));
            let between = format!("{}{field}{}--b--\r\n", file(2_000), file(20_000));
            let before = format!("{field}{}--b--\r\n", file(20_000));
            for body in [&after, &between, &before] {
                for body in framed(body, 500) {
                    let accepted = proxy.graph.accepted().len();
                    let response = proxy.app.fetch(with(typed(MULTIPART, body), &[ACME])).await;
                    let code = |()| (response.status, response.code());
                    let outcome = if response.status == 200 { Ok(()) } else { Err(code(())) };
                    assert_eq!(outcome, expected, "{name}={value}: {}", response.text());
                    let sent = proxy.graph.accepted().len() - accepted;
                    assert_eq!(sent, usize::from(expected.is_ok()), "{name}={value}");
                }
            }
        }
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_arrived_of_a_form_that_streams_is_compared_before_it_is_sent() {
    let builder = TestProxyBuilder::new().with(|config| *config = without_default());
    let proxy = start(builder.with_small_limits()).await;
    for (name, value, expected) in FIELDS {
        let body = format!("{}{}--b--\r\n", part(name, value), file(20_000));
        let attempts = proxy.graph.attempts();
        let body = typed(MULTIPART, chunked(body, 500));
        proxy.app.fetch(with(body, &[ACME])).await;
        let sent = proxy.graph.attempts() - attempts;
        assert_eq!(sent, usize::from(expected.is_ok()), "{name}={value}");
    }
    proxy.shutdown().await;
}

/// A form and a JSON body of so many bytes with this field at the end.
fn whole_bodies(length: usize, name: &str, value: &str) -> [(&'static str, String); 2] {
    let form = format!("&{name}={value}");
    let json = format!(r#"","{name}":"{value}"}}"#);
    [
        (FORM, format!("a={}{form}", "x".repeat(length - 2 - form.len()))),
        (JSON, format!(r#"{{"a":"{}{json}"#, "x".repeat(length - 6 - json.len()))),
    ]
}

#[tokio::test(start_paused = true)]
async fn forms_and_json_are_compared_up_to_eight_mebibytes_and_longer_ones_need_a_sign_in_the_head() {
    let proxy = start(TestProxyBuilder::new().with(|config| *config = without_default())).await;
    for (name, value) in [("access_token", "tenant:shop"), ("phone_number_id", "2001")] {
        for (content_type, body) in whole_bodies(8 * MIB, name, value) {
            assert_eq!(body.len(), 8 * MIB);
            for body in framed(&body, MIB) {
                let refused = proxy.app.fetch(typed(content_type, body)).await;
                assert_eq!((refused.status, refused.code()), (403, 990_027), "{content_type}");
            }
        }
        for (content_type, body) in whole_bodies(8 * MIB + 1, name, value) {
            for framed in framed(&body, MIB) {
                let seen = proxy.forwarded(typed(content_type, framed)).await;
                seen.assert_bearer(ACME_TOKEN);
                assert!(seen.body.unwrap() == body, "it is forwarded as it is");
            }
            for framed in framed(&body, MIB) {
                let mut unnamed = typed(content_type, framed);
                *unnamed.uri_mut() = "/v25.0/me/photos".parse().unwrap();
                let refused = proxy.app.fetch(unnamed).await;
                assert_eq!((refused.status, refused.code()), (413, 990_028), "{content_type}");
            }
        }
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn under_rules_a_body_that_cannot_be_compared_is_refused() {
    let builder = TestProxyBuilder::new().with(|config| {
        *config = without_default();
        config.token.allow = vec!["POST /{id}/media".parse::<AllowRule>().unwrap()];
        config.heal.body_disk = 4_000;
    });
    let proxy = start(builder).await;
    for (name, value, _) in FIELDS {
        for (content_type, body) in whole_bodies(8 * MIB + 1, name, value) {
            let refused = proxy.app.fetch(with(typed(content_type, sized(body)), &[ACME])).await;
            assert_eq!((refused.status, refused.code()), (413, 990_028), "{content_type}");
        }
    }
    assert_eq!(proxy.graph.attempts(), 0);
    proxy.shutdown().await;
}

/// Returns what becomes of a form that streams without a tenant in its head.
async fn unnamed(proxy: &TestProxy, body: TestBody) -> (u16, i64) {
    let post = request("POST", "/v25.0/me/photos", body);
    let response = proxy.app.fetch(with(post, &[("content-type", MULTIPART)])).await;
    (response.status, response.code())
}

#[tokio::test(start_paused = true)]
async fn a_form_that_streams_needs_a_sign_in_the_head() {
    let builder = TestProxyBuilder::new().with(|config| *config = without_default());
    let proxy = start(builder.with_small_limits()).await;
    let body = format!("{}{}--b--\r\n", part("access_token", "tenant:acme"), file(20_000));
    for body in framed(&body, 500) {
        assert_eq!(unnamed(&proxy, body).await, (413, 990_028));
    }
    assert_eq!(proxy.graph.attempts(), 0);
    proxy.shutdown().await;
}
