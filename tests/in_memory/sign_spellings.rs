//! A sign in an unusual place or spelling is compared, or its request is refused: it never becomes a request without a sign.

use http::Request;

use crate::routing::{ACME_TOKEN, SHOP_TOKEN, start};
use crate::support::{TestBody, TestProxy, TestProxyBuilder, get, gzip, request, sized, with};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const MULTIPART: &str = "multipart/form-data; boundary=b";
const ACME: (&str, &str) = ("x-tenant-id", "acme");

/// What becomes of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    /// Graph sees it with the token of `acme`, of `shop`, or with another one, or none.
    Acme,
    Shop,
    Other,
    /// It has this status and this code.
    Refused(u16, i64),
}

const UNKNOWN: Outcome = Outcome::Refused(404, 990_025);
const DISAGREEMENT: Outcome = Outcome::Refused(403, 990_027);
const UNREADABLE: Outcome = Outcome::Refused(400, 990_018);

async fn outcome(proxy: &TestProxy, request: Request<TestBody>) -> Outcome {
    let attempts = proxy.graph.attempts();
    let response = proxy.app.fetch(request).await;
    if proxy.graph.attempts() == attempts {
        return Outcome::Refused(response.status, response.code());
    }
    let seen = proxy.graph.last_request();
    let has = |token: &str| seen.all("authorization").iter().any(|value| value.ends_with(token));
    match (has(ACME_TOKEN), has(SHOP_TOKEN)) {
        (true, false) => Outcome::Acme,
        (false, true) => Outcome::Shop,
        (_, _) => Outcome::Other,
    }
}

/// Returns whether a request is for the tenant of its sign alone, and refused beside the sign of another one. `build` takes a name and
/// an id of the same tenant.
async fn is_compared(proxy: &TestProxy, build: impl Fn(&str, &str) -> Request<TestBody>) -> bool {
    let beside_acme = |name: &str, id: &str| with(build(name, id), &[ACME]);
    let mut is_compared = true;
    for (request, expected) in [
        (build("shop", "2001"), Outcome::Shop),
        (build("acme", "1001"), Outcome::Acme),
        (beside_acme("acme", "1001"), Outcome::Acme),
        (beside_acme("shop", "2001"), DISAGREEMENT),
    ] {
        is_compared &= outcome(proxy, request).await == expected;
    }
    is_compared
}

async fn assert_compared(proxy: &TestProxy, place: &str, build: impl Fn(&str, &str) -> Request<TestBody>) {
    assert!(is_compared(proxy, build).await, "{place}");
}

/// Asserts that a request is refused, alone and beside another sign.
async fn assert_refused(proxy: &TestProxy, place: &str, refusals: &[Outcome], build: impl Fn() -> Request<TestBody>) {
    for request in [build(), with(build(), &[ACME])] {
        let outcome = outcome(proxy, request).await;
        assert!(refusals.contains(&outcome), "{place}: {outcome:?}");
    }
}

/// Base64, with padding or without, and with the letters of URLs.
fn base64(text: &str) -> [String; 3] {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
    [
        STANDARD.encode(text),
        STANDARD_NO_PAD.encode(text),
        URL_SAFE.encode(text),
    ]
}

#[tokio::test(start_paused = true)]
async fn basic_credentials_name_a_tenant_as_user_and_password_or_as_one_of_them() {
    let proxy = start(TestProxyBuilder::new()).await;
    for header in ["authorization", "proxy-authorization"] {
        for (scheme, user) in [
            ("Basic", ""),
            ("basic", ""),
            ("BASIC\t", ""),
            ("Basic", "user:"),
            ("Bearer Basic", "ü?>:"),
        ] {
            for variant in 0..3 {
                let place = format!("{header}: {scheme} {user} {variant}");
                assert_compared(&proxy, &place, |name, _id| {
                    let value = &base64(&format!("{user}Tenant:{name}"))[variant];
                    with(get("/me"), &[(header, &format!("{scheme} {value}"))])
                })
                .await;
            }
        }
        for credentials in ["tenant:shop:", "tenant:", "tenant:other", "tenant:shop:x"] {
            let value = format!("Basic {}", base64(credentials)[0]);
            let build = || with(get("/me"), &[(header, &*value)]);
            assert_refused(&proxy, &value, &[UNKNOWN], build).await;
        }
        // No other credential is a sign.
        for value in [
            "Basic",
            "Basic eA==",
            "Basic %%%",
            "Digest username=\"a\"",
            "Negotiate eA==",
            "",
        ] {
            let alone = with(get("/me"), &[(header, value)]);
            assert_eq!(outcome(&proxy, alone).await, Outcome::Other, "{value}");
            let beside = with(get("/me"), &[(header, value), ACME]);
            assert_eq!(outcome(&proxy, beside).await, Outcome::Acme, "{value}");
        }
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn of_several_credentials_in_the_head_each_is_compared() {
    let proxy = start(TestProxyBuilder::new()).await;
    let basic = |name: &str| format!("Basic {}", base64(&format!("tenant:{name}"))[0]);
    for other in ["", "Basic", "Bearer EAAold", "Custom x", "Bearer null"] {
        for (first, second) in [
            ("authorization", "authorization"),
            ("authorization", "proxy-authorization"),
        ] {
            let place = format!("{first}, {second}: {other}");
            assert_compared(&proxy, &place, |name, _id| {
                with(get("/me"), &[(first, other), (second, &basic(name))])
            })
            .await;
            assert_compared(&proxy, &place, |name, _id| {
                with(
                    get("/me"),
                    &[(first, &format!("Bearer tenant:{name}")), (second, other)],
                )
            })
            .await;
        }
    }
    let both = format!("{}, {}", basic("acme"), basic("shop"));
    for headers in [
        &[("authorization", &*basic("acme")), ("authorization", &basic("shop"))][..],
        &[
            ("authorization", "Bearer tenant:acme"),
            ("proxy-authorization", &basic("shop")),
        ],
        &[("authorization", &both)],
    ] {
        let build = || with(get("/me"), headers);
        assert_refused(&proxy, &format!("{headers:?}"), &[DISAGREEMENT, UNKNOWN], build).await;
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_connect_request_with_a_sign_is_refused_because_it_says_nothing_about_the_requests_in_the_tunnel() {
    let proxy = start(TestProxyBuilder::new()).await;
    let basic = format!("Proxy-Authorization: Basic {}", base64("tenant:acme")[0]);
    let other = "Proxy-Authorization: Basic eA==";
    for (sign, refusal) in [
        ("X-Tenant-Id: acme", Some("name it in the requests inside the tunnel")),
        ("X-Tenant-Id: other", Some("the tenant's own listener")),
        ("Proxy-Authorization: Bearer tenant:acme", Some("inside the tunnel")),
        (&basic, Some("inside the tunnel")),
        ("Authorization: OAuth tenant:", Some("inside the tunnel")),
        (other, None),
    ] {
        let head = format!("CONNECT graph.facebook.com:443 HTTP/1.1\r\nhost: x\r\n{sign}\r\n\r\n");
        let answer = proxy.app.send_raw(head.as_bytes()).await;
        match refusal {
            Some(text) => {
                assert!(
                    answer.starts_with("HTTP/1.1 400 ") && answer.contains("990006"),
                    "{sign}: {answer}"
                );
                assert!(answer.contains(text), "{sign}: {answer}");
            }
            None => assert!(answer.contains("990005") && answer.contains("listen.tls"), "{answer}"),
        }
    }
    proxy.shutdown().await;
}

/// Places in the target and the body, each with `$` for the name and `#` for the id.
type Place = (&'static str, &'static str, &'static str);

const COMPARED: [Place; 34] = [
    // Blanks in lists, as PHP trims them, and lists as objects.
    ("/?ids=7,%20#", FORM, ""),
    ("/?ids=7,%20%00%0B#%00,", FORM, ""),
    ("/?id=#%0B", FORM, ""),
    ("/", FORM, "ids=7, #"),
    ("/", FORM, "ids=[\"7\",\t\" # \"]"),
    ("/", JSON, r##"{"ids":["7", " #"]}"##),
    ("/", JSON, r##"{"ids":"7 \u000b#"}"##),
    ("/", JSON, r##"{"ids":{"0":"7","1":" #"}}"##),
    ("/", JSON, r##"{"ids":{"0":{"id":#}}}"##),
    ("/", JSON, r##"{"id":{"0":"#"}}"##),
    ("/", JSON, r##"{"ids[0]":"#"}"##),
    ("/", FORM, r##"ids={"0":"#"}"##),
    ("/?ids=%7B%220%22:#%7D", FORM, ""),
    ("/", FORM, "ids[a][b]=#"),
    (
        "/",
        JSON,
        r##"{"batch":[{"relative_url":"me","body":{"ids":{"0":"#"}}}]}"##,
    ),
    ("/", JSON, r#"{"batch":[{"relative_url":"me","body":"ids[0]=#"}]}"#),
    ("/", JSON, r#"{"batch":[{"relative_url":"me","body":"ids=7,+#"}]}"#),
    ("/", JSON, r##"{"batch":[{"relative_url":#}]}"##),
    ("/v25.0/#%00/messages", FORM, ""),
    // `;` between parameters, a second `?`, and `access_token` of an encoded id or query.
    ("/?a=1;ids=#", FORM, ""),
    ("/me", FORM, "a=1;b=2;access_token=tenant:$"),
    ("/me?a=1&amp;access_token=tenant:$&amp;b=2", FORM, ""),
    (
        "/",
        JSON,
        r#"{"batch":[{"relative_url":"me?a=1;access_token=tenant:$"}]}"#,
    ),
    (
        "/",
        JSON,
        r#"{"batch":[{"relative_url":"me","body":"a=1;phone_number_id=#"}]}"#,
    ),
    ("/me?fields=id?access_token=tenant:$", FORM, ""),
    ("/v25.0/upload:MTph%3Fsig%3DAR%26access_token%3Dtenant:$", FORM, ""),
    ("/upload%3aMTph?sig=AR%26access_token%3Dtenant%3A$", FORM, ""),
    (
        "/",
        JSON,
        r#"{"batch":[{"relative_url":"me%3Faccess_token%3Dtenant:$"}]}"#,
    ),
    // Endpoints where a token is data.
    ("/v25.0/debug_token?input_token=tenant:$", FORM, ""),
    ("/debug_token", FORM, "input_token=tenant%3A$"),
    ("/debug_token", JSON, r#"{"input_token":"tenant:$"}"#),
    (
        "/debug_token",
        MULTIPART,
        "--b\r\nContent-Disposition: form-data; name=input_token\r\n\r\ntenant:$\r\n--b--\r\n",
    ),
    (
        "/",
        JSON,
        r#"{"batch":[{"relative_url":"debug_token?input_token=tenant:$"}]}"#,
    ),
    // The same name or id twice.
    ("/?id=7&id=#", FORM, ""),
];

fn at(place: Place, name: &str, id: &str) -> Request<TestBody> {
    let fill = |text: &str| text.replace('$', name).replace('#', id);
    let post = request("POST", &fill(place.0), sized(fill(place.2)));
    with(post, &[("content-type", place.1)])
}

#[tokio::test(start_paused = true)]
async fn a_sign_is_compared_in_each_spelling_that_a_parser_may_read() {
    let proxy = start(TestProxyBuilder::new()).await;
    let mut dropped = Vec::new();
    for place in COMPARED {
        if !is_compared(&proxy, |name, id| at(place, name, id)).await {
            dropped.push(place);
        }
    }
    assert!(dropped.is_empty(), "{dropped:#?}");
    // PHP takes the last of two, others the first, so they must agree.
    for (first, last) in [("acme", "shop"), ("shop", "acme")] {
        for target in [
            format!("/me?access_token=tenant:{first}&access_token=tenant:{last}"),
            format!("/me?access_token=tenant:{first};access_token=tenant:{last}"),
            format!("/me?access_token[]=tenant:{first}&access_token[]=tenant:{last}"),
        ] {
            assert_refused(&proxy, &target, &[DISAGREEMENT, UNKNOWN], || get(&target)).await;
        }
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_name_at_a_token_endpoint_is_compared_and_not_forwarded_and_other_tokens_there_are_data() {
    let proxy = start(TestProxyBuilder::new()).await;
    let kept = "grant_type=fb_exchange_token&fb_exchange_token=EAAold&client_id=1";
    for path in [
        "/oauth/access_token",
        "/v25.0/oauth/revoke",
        "/refresh_access_token",
        "/access_token",
    ] {
        let in_query = |name: &str| get(&format!("{path}?{kept}&access_token=tenant:{name}"));
        let in_form = |name: &str| {
            let body = format!("access_token=tenant%3A{name}&{kept}");
            with(request("POST", path, sized(body)), &[("content-type", FORM)])
        };
        for build in [&in_query as &dyn Fn(&str) -> Request<TestBody>, &in_form] {
            for (request, expected) in [
                (build("shop"), Outcome::Other),
                (with(build("acme"), &[ACME]), Outcome::Other),
                (with(build("shop"), &[ACME]), DISAGREEMENT),
                (build("other"), UNKNOWN),
            ] {
                assert_eq!(outcome(&proxy, request).await, expected, "{path}");
            }
            let seen = proxy.graph.last_request();
            assert!(seen.all("authorization").is_empty(), "a token endpoint gets no token");
            let sent = format!(
                "{} {}",
                seen.target(),
                String::from_utf8_lossy(seen.body.as_deref().unwrap())
            );
            assert!(sent.contains(kept) && !sent.contains("tenant"), "{sent}");
        }
        let own = format!("{path}?access_token=EAAown&appsecret_proof=1f");
        proxy.app.fetch(with(get(&own), &[ACME])).await;
        assert_eq!(proxy.graph.last_request().target(), own);
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_may_hide_a_sign_is_refused() {
    let proxy = start(TestProxyBuilder::new()).await;
    let padding = "x".repeat(20_000);
    let long_head = format!(
        "--b\r\nContent-Disposition: form-data; x=\"{padding}\"; name=access_token\r\n\r\ntenant:shop\r\n--b--\r\n"
    );
    for (content_type, body) in [
        (MULTIPART, long_head),
        (
            JSON,
            r#"{"batch":[{"relative_url":"/","body":{"batch":[{"relative_url":"2001"}]}}]}"#.to_owned(),
        ),
        (
            JSON,
            r#"{"batch":[{"relative_url":"/?batch=[%7B%22relative_url%22:%222001%22%7D]"}]}"#.to_owned(),
        ),
        (
            JSON,
            r#"{"batch":[{"relative_url":"me","headers":["Authorization: Bearer tenant:shop"]}]}"#.to_owned(),
        ),
        (
            JSON,
            r#"{"batch":[{"relative_url":"me","body":["access_token=tenant:shop"]}]}"#.to_owned(),
        ),
    ] {
        let build = || {
            with(
                request("POST", "/", sized(body.clone())),
                &[("content-type", content_type)],
            )
        };
        assert_refused(&proxy, &body, &[UNREADABLE], build).await;
    }
    // Meta's own SDKs compress forms.
    for (content_type, encoding) in [
        (FORM, "gzip"),
        (JSON, "GZIP"),
        (MULTIPART, "deflate"),
        (FORM, "identity, br"),
    ] {
        let headers = [("content-type", content_type), ("content-encoding", encoding)];
        let build = || {
            with(
                request("POST", "/me/feed", sized(gzip(b"access_token=tenant:shop"))),
                &headers,
            )
        };
        assert_eq!(
            outcome(&proxy, build()).await,
            Outcome::Refused(413, 990_028),
            "{encoding}"
        );
        let named = outcome(&proxy, with(build(), &[ACME])).await;
        assert_eq!(named, Outcome::Acme, "what the head says holds");
    }
    let other_type = [("content-type", "image/png"), ("content-encoding", "gzip")];
    let file = with(request("POST", "/me/feed", sized(gzip(b"x"))), &other_type);
    assert_eq!(outcome(&proxy, file).await, Outcome::Other, "it has no parameters");
    proxy.shutdown().await;
}
