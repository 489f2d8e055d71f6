//! Requests whose header has an app token: what they say about their tenant is read, and is not forwarded.

use graphward::config::{Config, EnvVars, Overrides};

use crate::support::{LogCapture, TestProxy, TestProxyBuilder, get, request, sized, with};

const TENANTS: &str = "[token]\nsource = { env = \"FIRST\" }\n[routing]\nheader = \"x-tenant-id\"\n\
    [tenants.acme]\nsource = { env = \"SECOND\" }\nids = [\"101\"]\n[tenants.shop]\nsource = { env = \"THIRD\" }\n";
const APP_TOKEN: (&str, &str) = ("authorization", "Bearer 123|secret");
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const MULTIPART: &str = "multipart/form-data; boundary=b";

async fn start(tenants: &str) -> TestProxy {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), tenants).unwrap();
    let flags = Overrides {
        config: Some(file.path().to_owned()),
        ..Overrides::default()
    };
    let loaded = Config::load(flags, &EnvVars::new()).unwrap().config;
    let proxy = TestProxyBuilder::new().with(|config| *config = loaded).start().await;
    proxy.graph.accept("123|secret");
    proxy
}

fn part(name: &str, value: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

#[tokio::test(start_paused = true)]
async fn a_name_in_the_place_of_another_token_is_a_sign_and_not_forwarded() {
    let proxy = start(TENANTS).await;
    for (target, content_type, body, sent_target, sent_body) in [
        (
            "/v25.0/me?access_token=tenant:acme&a=1",
            FORM,
            "",
            "/v25.0/me?a=1",
            String::new(),
        ),
        (
            "/v25.0/me",
            FORM,
            "a=1&access_token=tenant%3Aacme&appsecret_proof=1f",
            "/v25.0/me",
            "a=1&appsecret_proof=1f".to_owned(),
        ),
        (
            "/v25.0/me",
            JSON,
            r#"{"a":1,"access_token":"tenant:acme"}"#,
            "/v25.0/me",
            r#"{"a":1}"#.to_owned(),
        ),
        (
            "/v25.0/me",
            MULTIPART,
            &(part("a", "1") + &part("access_token", "tenant:acme") + "--b--\r\n"),
            "/v25.0/me",
            part("a", "1") + "--b--\r\n",
        ),
        (
            "/v25.0/",
            JSON,
            r#"{"batch":[{"relative_url":"me?access_token=tenant:acme","method":"GET"}]}"#,
            "/v25.0/",
            r#"{"batch":[{"relative_url":"me","method":"GET"}]}"#.to_owned(),
        ),
    ] {
        let post = |headers: &[(&str, &str)]| {
            let post = request("POST", target, sized(body.to_owned()));
            with(with(post, &[APP_TOKEN, ("content-type", content_type)]), headers)
        };
        let seen = proxy.forwarded(post(&[("x-tenant-id", "acme")])).await;
        assert_eq!(seen.head.uri.path_and_query().unwrap().as_str(), sent_target);
        assert_eq!(seen.body.unwrap(), sent_body, "{target} {body}");
        assert_eq!(seen.head.headers["authorization"], APP_TOKEN.1);
        let mixed = proxy.app.fetch(post(&[("x-tenant-id", "shop")])).await;
        assert_eq!(mixed.code(), 990_027, "{target} {body}: {}", mixed.text());
    }
    let unknown = with(get("/v25.0/me?access_token=tenant:gone"), &[APP_TOKEN]);
    assert_eq!(proxy.app.fetch(unknown).await.code(), 990_025);
    let batch = r#"{"batch":[{"relative_url":"101","method":"GET"}]}"#;
    let batch = request("POST", "/-/shop/", sized(batch));
    let batch = with(batch, &[APP_TOKEN, ("content-type", JSON)]);
    assert_eq!(
        proxy.app.fetch(batch).await.code(),
        990_027,
        "the item has an id of acme"
    );
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn everything_else_is_forwarded_as_it_was() {
    let body = r#"{"access_token": "EAAold", "appsecret_proof":"1f"}"#;
    let target = "/v25.0/debug_token?input_token=tenant:acme&access_token=EAAold&appsecret_proof=1f&access_token=4|b";
    for tenants in [TENANTS, "[token]\nsource = { env = \"FIRST\" }\n"] {
        let proxy = start(tenants).await;
        let post = request("POST", target, sized(body));
        let post = with(post, &[APP_TOKEN, ("content-type", JSON)]);
        let seen = proxy.forwarded(post).await;
        assert_eq!(seen.head.uri.path_and_query().unwrap().as_str(), target);
        assert_eq!(seen.body.unwrap(), body);
        proxy.shutdown().await;
    }
    // With one tenant, no sign is looked at.
    let proxy = start("[token]\nsource = { env = \"FIRST\" }\n").await;
    let seen = proxy
        .forwarded(with(get("/me?access_token=tenant:a"), &[APP_TOKEN]))
        .await;
    assert_eq!(seen.head.uri.query(), Some("access_token=tenant:a"));
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_in_the_place_of_a_tenants_name_is_refused_and_not_repeated() {
    let log = LogCapture::at_info();
    let proxy = start(TENANTS).await;
    let token = "EAAGsecretsecretsecret01";
    for (target, header, value) in [
        ("/v25.0/me".to_owned(), "x-tenant-id", token.to_owned()),
        (
            "/v25.0/me".to_owned(),
            "authorization",
            format!("Bearer tenant:{token}"),
        ),
        (format!("/-/{token}/v25.0/me"), "x-app", "1".to_owned()),
        (
            format!("/v25.0/me?access_token=tenant:{token}"),
            "x-app",
            "1".to_owned(),
        ),
    ] {
        let answer = proxy.app.fetch(with(get(&target), &[(header, &value)])).await;
        assert_eq!((answer.status, answer.code()), (404, 990_025), "{target}");
        assert!(answer.text().contains("has a token in it"), "{}", answer.text());
        assert!(!answer.text().contains(token), "{}", answer.text());
    }
    assert_eq!(proxy.graph.attempts(), 0);
    assert!(!log.text().contains(token), "{}", log.text());
    proxy.shutdown().await;
}
