//! A sign means the same wherever Graph reads parameters from: in the query, in a body of each kind, in the items of a batch.

use http::Request;

use crate::routing::{ACME_TOKEN, SHOP_TOKEN, start, without_default};
use crate::support::{TestBody, TestProxy, TestProxyBuilder, request, sized, with};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const MULTIPART: &str = "multipart/form-data; boundary=b";

/// Where a sign can stand: the target, the type and the body, each with `#` for the name or the id.
type Place = (&'static str, &'static str, &'static str);

const ID_PLACES: [Place; 42] = [
    ("/%7625.0/#", FORM, ""),
    ("//%56%32%35%2E0//#/messages", JSON, r#"{"to":"1"}"#),
    ("/v25.0%2F#/comments", FORM, "message=1"),
    ("/#%2Fcomments", FORM, "message=1"),
    ("/v25.0/./#/comments", FORM, "message=1"),
    ("/v25.0/1/%2e./#", FORM, "message=1"),
    ("/", JSON, r##"{"batch":[{"method":"GET","relative_url":"me/../#"}]}"##),
    (
        "/",
        JSON,
        r##"{"batch":[{"method":"GET","relative_url":"%7625.0/#"}]}"##,
    ),
    ("/v25.0/#/messages", JSON, r#"{"to":"1"}"#),
    ("/#_7/comments", FORM, "message=1"),
    ("/?phone_number_id=#", FORM, ""),
    ("/?id=#", FORM, ""),
    ("/?ids=7,#", FORM, ""),
    ("/?ids[]=7&ids[1]=#", FORM, ""),
    ("/?+ids=#", FORM, ""),
    ("/?%20ids=#", FORM, ""),
    ("/", FORM, "phone.number.id=#"),
    ("/", FORM, r##"+batch=[{"method":"GET","relative_url":"#"}]"##),
    ("/", FORM, "method=get&phone_number_id=#"),
    ("/", FORM, "method=get&id=#&fields=id"),
    ("/", "text/plain", "ids=7%2C#"),
    ("/", FORM, "ids=%5B%227%22,%22#%22%5D"),
    ("/", FORM, "%69ds%5B0%5D=7&ids[]=#"),
    ("/", FORM, "id=#_7"),
    (
        "/",
        MULTIPART,
        "--b\r\nContent-Disposition: form-data; name=\"id\"\r\n\r\n#\r\n--b--\r\n",
    ),
    (
        "/",
        MULTIPART,
        "--b\r\ncontent-disposition:form-data;name=phone_number_id\n\n#\n--b--",
    ),
    (
        "/",
        MULTIPART,
        "--b\r\nContent-Disposition: form-data; name=\"ids[0]\"\r\n\r\n7, #\r\n--b--\r\n",
    ),
    ("/", JSON, r##"{"phone_number_id":"#"}"##),
    ("/", JSON, r#"{"method":"get", "id" : # }"#),
    ("/", JSON, r#"{"i\u0064s":"7,#"}"#),
    ("/", JSON, r##"{"ids":["7", "#"]}"##),
    ("/", JSON, "{ids:[7,#]}"),
    ("/", JSON, r##"{"ids":["\u0037", "\u0020#"]}"##),
    ("/?batch=[%7B%22relative_url%22:%22#%22%7D]", FORM, ""),
    ("/", JSON, r##"{"batch":[{"method":"GET","relative_url":"me?ids=#"}]}"##),
    ("/", JSON, r#"{"batch":[{"method":"GET","relative_url":"v25.0/#"}]}"#),
    (
        "/",
        FORM,
        r#"batch=[{"method":"POST","relative_url":"me","body":"a=1%26id=#"}]"#,
    ),
    (
        "/",
        JSON,
        r#"{"batch":[{"method":"POST","relative_url":"me","body":"ids[]=#"}]}"#,
    ),
    (
        "/",
        JSON,
        r##"{"batch":[{"method":"POST","relative_url":"me","body":{"phone_number_id":"#"}}]}"##,
    ),
    (
        "/",
        JSON,
        r##"{"batch":[{"method":"POST","relative_url":"me","body":"{\"id\":\"#\"}"}]}"##,
    ),
    (
        "/",
        JSON,
        r#"{"batch":"[{\"relative_url\":\"me\",\"body\":\"id=#\"}]"}"#,
    ),
    (
        "/",
        MULTIPART,
        "--b\r\nContent-Disposition: form-data; name=batch\r\n\r\n[{\"relative_url\":\"me\",\"body\":\"id=#\"}]\r\n--b--\r\n",
    ),
];

const SLOT_PLACES: [Place; 20] = [
    ("/-/#/me", FORM, ""),
    ("/me?access_token=tenant:#", FORM, ""),
    ("/me", FORM, "a=1&access_token=tenant%3A#"),
    (
        "/me",
        MULTIPART,
        "--b\r\nContent-Disposition: form-data; name=\"access_token\"\r\n\r\ntenant:#\r\n--b--\r\n",
    ),
    ("/me", JSON, r#"{"access_token":"tenant:#"}"#),
    (
        "/",
        JSON,
        r#"{"batch":[{"method":"GET","relative_url":"me?access_token=tenant:#"}]}"#,
    ),
    (
        "/",
        JSON,
        r#"{"batch":[{"method":"GET","relative_url":"me","access_token":"tenant:#"}]}"#,
    ),
    (
        "/",
        JSON,
        r#"{"batch":[{"method":"POST","relative_url":"me","body":"access_token=tenant:#"}]}"#,
    ),
    (
        "/",
        JSON,
        r#"{"batch":[{"method":"POST","relative_url":"me","body":{"access_token":"tenant:#"}}]}"#,
    ),
    (
        "/",
        JSON,
        r#"{"batch":[{"method":"POST","relative_url":"me","body":"{\"access_token\":\"tenant:#\"}"}]}"#,
    ),
    (
        "/",
        FORM,
        r#"batch=[{"relative_url":"me","body":"access_token=tenant:#"}]"#,
    ),
    ("/me?access_token=Bearer%20tenant:#", FORM, ""),
    ("/me?access_token[]=tenant:#", FORM, ""),
    ("/me", FORM, "access_token=%22Tenant%253A#%22"),
    (
        "/me",
        MULTIPART,
        "--b\r\nContent-Disposition: form-data; name=access_token\r\n\r\n'tenant%3A#'\r\n--b--\r\n",
    ),
    ("/me", JSON, r##"{"access_token":["tenant:#"]}"##),
    ("/me", JSON, r##"{"access_token":[["\u0074enant\u003a#"]]}"##),
    ("/me", JSON, r##"{"access_token":{"token":"OAuth tenant:#"}}"##),
    ("/me", JSON, "{access_token:tenant:#}"),
    (
        "/",
        JSON,
        r##"{"batch":[{"method":"GET","relative_url":"me","access_token":["Bearer tenant:#"]}]}"##,
    ),
];

/// What a client may make of `tenant:#` in the header: with a scheme that it adds, or not; with quotes; encoded.
const HEADER_SLOTS: [&str; 12] = [
    "Bearer tenant:#",
    "OAuth  tenant:#",
    "tenant:#",
    "Tenant:#",
    "Token tenant:#",
    "Bearer Bearer tenant:#",
    "Bearer OAuth\ttenant:#",
    "Bearertenant:#",
    "Bearer tenant%3A#",
    "Bearer %74enant:#",
    "Bearer \"tenant:#\"",
    "Bearer ['tenant:#']",
];

/// What becomes of a request: the token that Graph sees, or the code of the refusal.
async fn outcome(proxy: &TestProxy, request: Request<TestBody>) -> Result<String, (u16, i64)> {
    let attempts = proxy.graph.attempts();
    let response = proxy.app.fetch(request).await;
    if response.status != 200 {
        assert_eq!(proxy.graph.attempts(), attempts);
        return Err((response.status, response.code()));
    }
    let seen = proxy.graph.last_request();
    Ok(seen.all("authorization")[0].split_once(' ').unwrap().1.to_owned())
}

fn signed((target, content_type, body): Place, value: &str) -> Request<TestBody> {
    let fill = |text: &str| text.replace('#', value);
    let post = request("POST", &fill(target), sized(fill(body)));
    with(post, &[("content-type", content_type)])
}

#[tokio::test(start_paused = true)]
async fn a_sign_means_the_same_in_every_place_alone_and_beside_another_one() {
    let proxy = start(TestProxyBuilder::new().with(|config| *config = without_default())).await;
    let sent = |token: &str| Ok(token.to_owned());
    let (unnamed, unknown, disagreement) = (Err((400, 990_024)), Err((404, 990_025)), Err((403, 990_027)));
    let ids = [
        ("1001", sent(ACME_TOKEN), sent(ACME_TOKEN)),
        ("2001", sent(SHOP_TOKEN), disagreement.clone()),
        ("7777", unnamed, sent(ACME_TOKEN)),
    ];
    let names = [
        ("acme", sent(ACME_TOKEN), sent(ACME_TOKEN)),
        ("shop", sent(SHOP_TOKEN), disagreement),
        ("other", unknown.clone(), unknown),
    ];
    let of_ids = ID_PLACES.iter().map(|place| (place, &ids));
    let of_slots = SLOT_PLACES.iter().map(|place| (place, &names));
    for (place, values) in of_ids.chain(of_slots) {
        for (value, alone, beside_acme) in values {
            assert_eq!(
                outcome(&proxy, signed(*place, value)).await,
                *alone,
                "{place:?} {value}"
            );
            let beside = with(signed(*place, value), &[("x-tenant-id", "acme")]);
            assert_eq!(outcome(&proxy, beside).await, *beside_acme, "{place:?} {value}");
        }
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_name_in_the_authorization_header_is_read_whatever_the_client_makes_of_it_and_of_the_header() {
    let proxy = start(TestProxyBuilder::new()).await;
    for connection in ["keep-alive", "Authorization", "keep-alive, authorization"] {
        for slot in HEADER_SLOTS {
            let of = |name: &str, headers: &[(&str, &str)]| {
                let value = slot.replace('#', name);
                let own = [("authorization", &*value), ("connection", connection)];
                with(request("GET", "/me", sized("")), &[&own, headers].concat())
            };
            let beside_acme = [("x-tenant-id", "acme")];
            for (name, headers, expected) in [
                ("shop", &[][..], Ok(SHOP_TOKEN.to_owned())),
                ("acme", &beside_acme, Ok(ACME_TOKEN.to_owned())),
                ("shop", &beside_acme, Err((403, 990_027))),
                ("other", &[], Err((404, 990_025))),
                ("acme, Bearer tenant:shop", &[], Err((404, 990_025))),
            ] {
                let outcome = outcome(&proxy, of(name, headers)).await;
                assert_eq!(outcome, expected, "{slot} {name} {headers:?} {connection}");
            }
        }
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_beside_a_name_is_not_repeated_in_the_refusal() {
    let proxy = start(TestProxyBuilder::new()).await;
    let header = format!("Bearer tenant:acme, Bearer {SHOP_TOKEN}");
    let body = format!(r#"{{"access_token":["tenant:acme","{SHOP_TOKEN}"]}}"#);
    for request in [
        with(request("GET", "/me", sized("")), &[("authorization", &header)]),
        with(request("POST", "/me", sized(body)), &[("content-type", JSON)]),
    ] {
        let refused = proxy.app.fetch(request).await;
        assert_eq!((refused.status, refused.code()), (404, 990_025));
        assert!(!refused.text().contains(SHOP_TOKEN), "{}", refused.text());
    }
    assert_eq!(proxy.graph.attempts(), 0);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_id_is_a_sign_beside_a_credential_of_the_app_too_and_is_forwarded() {
    let proxy = start(TestProxyBuilder::new()).await;
    proxy.graph.accept("123|secret");
    let app_token = ("authorization", "Bearer 123|secret");
    for place in &ID_PLACES {
        let beside = |value| with(signed(*place, value), &[("x-tenant-id", "acme"), app_token]);
        assert_eq!(outcome(&proxy, beside("2001")).await, Err((403, 990_027)), "{place:?}");
        assert_eq!(outcome(&proxy, beside("1001")).await.unwrap(), "123|secret");
        let seen = proxy.graph.last_request();
        let body = String::from_utf8(seen.body.clone().unwrap().to_vec()).unwrap();
        assert_eq!(
            (seen.target(), body),
            (&*place.0.replace('#', "1001"), place.2.replace('#', "1001"))
        );
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn ids_that_say_something_else_are_no_signs() {
    let proxy = start(TestProxyBuilder::new().with(|config| *config = without_default())).await;
    for place in [
        (
            "/1001/messages",
            JSON,
            r##"{"to":"#","type":"image","image":{"id":"#"},"text":{"phone_number_id":"#"}}"##,
        ),
        (
            "/1001/messages",
            JSON,
            r##"{"ID":"#","message_id":"#","idx":"#","text":"id=#"}"##,
        ),
        ("/1001/messages", JSON, r##"[{"id":"#"}]"##),
        (
            "/1001/messages",
            FORM,
            "to=#&message_id=#&xid=#&ID=#&a=id=#&image=%7B%22id%22:%22#%22%7D",
        ),
        (
            "/1001/media",
            MULTIPART,
            "--b\r\nContent-Disposition: form-data; name=file; filename=id\r\n\r\n#\r\n--b--\r\n",
        ),
        (
            "/1001/media",
            MULTIPART,
            "--b\r\nContent-Disposition: form-data; name=\"id\"; filename=a\r\n\r\n#\r\n--b--\r\n",
        ),
        ("/1001/x", "application/xml", "<id>#</id>"),
        (
            "/",
            JSON,
            r##"{"batch":[{"id":"#","method":"POST","relative_url":"1001/x","body":{"a":{"id":"#"}}}]}"##,
        ),
    ] {
        let outcome = outcome(&proxy, signed(place, "2001")).await;
        assert_eq!(outcome, Ok(ACME_TOKEN.to_owned()), "{place:?}");
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn more_ids_than_any_request_has_are_refused_and_not_left_unread() {
    let proxy = start(TestProxyBuilder::new()).await;
    let list = |count: usize| (0..count).map(|id| id.to_string()).collect::<Vec<_>>();
    let parameters: String = list(9_000).iter().map(|id| format!("&id={id}")).collect();
    for (content_type, body) in [
        (FORM, format!("ids={}", list(9_000).join(","))),
        (FORM, format!("a=1{parameters}")),
        (JSON, format!(r#"{{"ids":[{}]}}"#, list(9_000).join(","))),
        (
            JSON,
            format!(r#"{{"batch":[{{"body":"a=1{parameters}","relative_url":"x"}}]}}"#),
        ),
        (
            MULTIPART,
            format!(
                "--b\r\nContent-Disposition: form-data; name=ids\r\n\r\n{}\r\n--b--\r\n",
                list(9_000).join(",")
            ),
        ),
    ] {
        let post = request("POST", "/v25.0/1001", sized(body));
        let refused = proxy.app.fetch(with(post, &[("content-type", content_type)])).await;
        refused.refused(400, "http_request_error");
        assert_eq!(refused.code(), 990_018);
        assert!(refused.text().contains("ids"), "{}", refused.text());
    }
    assert_eq!(proxy.graph.attempts(), 0);
    let body = format!("ids={}", list(2_000).join(","));
    let post = with(request("POST", "/v25.0/1001", sized(body)), &[("content-type", FORM)]);
    assert_eq!(
        outcome(&proxy, post).await,
        Ok(ACME_TOKEN.to_owned()),
        "Graph takes fifty"
    );
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_no_json_is_refused_because_its_items_cannot_be_read() {
    let proxy = start(TestProxyBuilder::new()).await;
    let part =
        |name: &str, value: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let form = "batch[0][method]=GET&batch[0][relative_url]=2001".to_owned();
    let multipart = part("batch[0][method]", "GET") + &part("batch[0][relative_url]", "2001") + "--b--\r\n";
    for (content_type, body) in [(FORM, form), ("multipart/form-data; boundary=b", multipart)] {
        for more in [&[][..], &[("x-tenant-id", "acme")]] {
            let sent = with(
                request("POST", "/v25.0/", sized(body.clone())),
                &[("content-type", content_type)],
            );
            let refused = proxy.app.fetch(with(sent, more)).await;
            assert_eq!((refused.status, refused.code()), (400, 990_018), "{refused:?}");
        }
    }
    assert_eq!(proxy.graph.attempts(), 0);
    proxy.shutdown().await;
}
