//! With `[token]` alone and no `routing.header`, nothing that would name a tenant is looked at: the app may use it for something
//! of its own.

use graphward::graph::ClientCredentialPolicy;

use crate::support::{FIRST_TOKEN, PROTOCOL_PAIRS, TestProxy, TestProxyBuilder, get, request, sized, with};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");
const MULTIPART: (&str, &str) = ("content-type", "multipart/form-data; boundary=b");

#[tokio::test(start_paused = true)]
async fn a_header_that_names_tenants_elsewhere_is_forwarded_unchanged() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for values in [&["acme"][..], &["acme", "shop"], &["", "no such tenant"]] {
            let headers: Vec<_> = values.iter().map(|value| ("x-tenant-id", *value)).collect();
            let seen = proxy.forwarded(with(get("/v25.0/me"), &headers)).await;
            assert_eq!(seen.all("x-tenant-id"), values);
            seen.assert_bearer(FIRST_TOKEN);
        }
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_path_that_begins_like_the_prefix_of_a_tenant_is_forwarded_unchanged() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for target in [
            "/-/x/",
            "/-/acme/v25.0/me?fields=id",
            "/-/acme",
            "/-",
            "//-/acme//me",
            "/-/acme/-/shop/me",
            "/%2D/acme/me",
            "/-/no%20such%20tenant/me?a=/-/b/",
        ] {
            let seen = proxy.forwarded(get(target)).await;
            assert_eq!(seen.target(), target);
            seen.assert_bearer(FIRST_TOKEN);
        }
        proxy.shutdown().await;
    }
}

/// Requests with `tenant:acme` in the place of a token: the target, the type and the body.
fn slots() -> [(&'static str, (&'static str, &'static str), &'static str); 5] {
    [
        ("/v25.0/me?a=1&access_token=tenant:acme", FORM, "a=1"),
        ("/v25.0/me", FORM, "a=1&access_token=tenant%3Aacme&b=2"),
        ("/v25.0/me", JSON, r#"{"access_token": "tenant:acme", "a": 1}"#),
        (
            "/v25.0/me",
            MULTIPART,
            "--b\r\nContent-Disposition: form-data; name=\"access_token\"\r\n\r\ntenant:acme\r\n--b--\r\n",
        ),
        (
            "/v25.0/",
            JSON,
            r#"{"batch": [{"method": "GET", "relative_url": "me?access_token=tenant:acme"}]}"#,
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_tenants_name_in_the_place_of_a_token_is_replaced_like_any_token() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for (target, content_type, body) in slots() {
            let replaced = with(request("POST", target, sized(body)), &[content_type]);
            let seen = proxy.forwarded(replaced).await;
            seen.assert_bearer(FIRST_TOKEN);
            let text = String::from_utf8(seen.body.clone().unwrap().to_vec()).unwrap();
            assert!(!seen.target().contains("tenant") && !text.contains("tenant"), "{text}");
        }
        for scheme in ["Bearer", "OAuth"] {
            let authorization = format!("{scheme} tenant:acme");
            let replaced = with(get("/v25.0/me"), &[("authorization", &authorization)]);
            let seen = proxy.forwarded(replaced).await;
            assert_eq!(seen.all("authorization"), [format!("{scheme} {FIRST_TOKEN}")]);
        }
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_kept_where_credentials_are_kept_and_refused_where_they_are_refused() {
    for protocols in PROTOCOL_PAIRS {
        let with_policy = |policy| {
            TestProxyBuilder::over(protocols)
                .with_client_credentials(policy)
                .start()
        };
        let in_header = || with(get("/v25.0/me"), &[("authorization", "Bearer tenant:acme")]);
        let in_parameters =
            || slots().map(|(target, kind, body)| (target, with(request("POST", target, sized(body)), &[kind]), body));

        let proxy = with_policy(ClientCredentialPolicy::Keep).await;
        proxy.app.fetch(in_header()).await;
        assert_eq!(proxy.graph.last_request().all("authorization"), ["Bearer tenant:acme"]);
        for (target, request, body) in in_parameters() {
            proxy.app.fetch(request).await;
            let seen = proxy.graph.last_request();
            assert_eq!((seen.target(), seen.body.as_deref()), (target, Some(body.as_bytes())));
        }
        proxy.shutdown().await;

        let proxy = with_policy(ClientCredentialPolicy::Refuse).await;
        let refused = proxy.app.fetch(in_header()).await;
        assert_eq!((refused.status, refused.code()), (403, 990_009));
        for (target, request, body) in in_parameters() {
            let refused = proxy.app.fetch(request).await;
            assert_eq!((refused.status, refused.code()), (403, 990_009), "{target} {body}");
        }
        assert_eq!(proxy.graph.attempts(), 0);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn ids_in_bodies_are_not_looked_at() {
    let proxy = TestProxy::start(PROTOCOL_PAIRS[0]).await;
    let long = "1,".repeat(30_000);
    let part = format!("--b\r\nContent-Disposition: form-data; name=\"ids\"\r\n\r\n{long}\r\n--b--\r\n");
    for (content_type, body) in [(FORM, format!("ids={long}")), (MULTIPART, part)] {
        let post = with(request("POST", "/v25.0/", sized(body.clone())), &[content_type]);
        assert_eq!(proxy.forwarded(post).await.body.unwrap(), body);
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_tenants_name_anywhere_else_is_forwarded_unchanged() {
    let proxy = TestProxy::start(PROTOCOL_PAIRS[0]).await;
    for (target, content_type, body) in [
        (
            "/v25.0/debug_token?input_token=tenant:acme",
            FORM,
            "input_token=tenant%3Aacme",
        ),
        (
            "/v25.0/me?q=tenant:acme",
            JSON,
            r#"{"text": {"access_token": "tenant:acme"}}"#,
        ),
        ("/v25.0/tenant:acme/x", FORM, "tenant:acme"),
    ] {
        let seen = proxy
            .forwarded(with(request("POST", target, sized(body)), &[content_type]))
            .await;
        assert_eq!((seen.target(), seen.body.as_deref()), (target, Some(body.as_bytes())));
        seen.assert_bearer(FIRST_TOKEN);
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn with_a_configured_tenant_header_a_name_is_unknown_although_there_is_no_other_tenant() {
    for protocols in PROTOCOL_PAIRS {
        let builder = TestProxyBuilder::over(protocols);
        let proxy = builder.with(|config| config.routing.header = Some("x-tenant-id".to_owned()));
        let proxy = proxy.start().await;
        for request in [
            with(get("/v25.0/me"), &[("x-tenant-id", "acme")]),
            with(get("/v25.0/me"), &[("authorization", "Bearer tenant:acme")]),
            get("/-/acme/v25.0/me"),
        ] {
            let refused = proxy.app.fetch(request).await;
            assert_eq!((refused.status, refused.code()), (404, 990_025), "{refused:?}");
        }
        proxy.forwarded(get("/v25.0/me")).await.assert_bearer(FIRST_TOKEN);
        assert_eq!(proxy.graph.attempts(), 1);
        proxy.shutdown().await;
    }
}
