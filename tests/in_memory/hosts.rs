//! Which host a request goes to, and which token may go there.

use graphward::config::Config;
use graphward::types::TokenFamily;

use crate::support::{
    FIRST_TOKEN, PROTOCOL_PAIRS, Protocol, ScriptedResponse, TestProxy, TestProxyBuilder, get, request, sized, with,
};

const MAIN: &str = "graph.facebook.com";
const ADDITIONAL_HOSTS: [&str; 3] = [
    "graph-video.facebook.com",
    "rupload.facebook.com",
    "lookaside.fbsbx.com",
];

/// What Graph was told: the host that was dialled, and the token.
fn last_host_and_tokens(proxy: &TestProxy) -> (String, Vec<String>) {
    let seen = proxy.graph.last_request();
    let tokens = seen.all("authorization").into_iter();
    (seen.host.clone(), tokens.map(str::to_owned).collect())
}

/// Our token, with the scheme for a request without a credential: the upload host takes no other.
fn ours_at(host: &str) -> Vec<String> {
    let scheme = if host.starts_with("rupload") { "OAuth" } else { "Bearer" };
    vec![format!("{scheme} {FIRST_TOKEN}")]
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_to_the_host_that_it_names_with_our_token() {
    let ours = vec![format!("Bearer {FIRST_TOKEN}")];
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for host in [MAIN].into_iter().chain(ADDITIONAL_HOSTS) {
            for named in [host.to_owned(), format!("{host}:443"), host.to_uppercase()] {
                let stale = [("host", &*named), ("authorization", "Bearer EAAstale")];
                let answer = proxy.app.fetch(with(get("/v21.0/me"), &stale)).await;
                assert_eq!(answer.status, 200, "{named}");
                assert_eq!(last_host_and_tokens(&proxy), (host.to_owned(), ours.clone()));
                assert_eq!(proxy.graph.last_request().target(), "/v21.0/me");
            }
            let absolute = get(&format!("http://{host}/v21.0/me?a=%20&b"));
            assert_eq!(proxy.app.fetch(absolute).await.status, 200);
            assert_eq!(last_host_and_tokens(&proxy), (host.to_owned(), ours_at(host)));
            assert_eq!(proxy.graph.last_request().target(), "/v21.0/me?a=%20&b");
        }
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_absolute_target_weighs_more_than_the_host_field() {
    let proxy = TestProxyBuilder::new().start().await;
    let absolute = get("http://graph-video.facebook.com/v21.0/me");
    let both = with(absolute, &[("host", "localhost:8080")]);
    assert_eq!(proxy.app.fetch(both).await.status, 200);
    assert_eq!(proxy.graph.last_request().host, "graph-video.facebook.com");
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn under_our_own_name_the_path_decides() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for (method, target, host) in [
            ("GET", "/v21.0/me", MAIN),
            ("GET", "/whatsapp_business/attachments/?mid=1", ADDITIONAL_HOSTS[2]),
            ("GET", "/v21.0/1/videos", MAIN),
            ("POST", "/v21.0/1/videos", ADDITIONAL_HOSTS[0]),
            ("POST", "/video-upload/v21.0/1", ADDITIONAL_HOSTS[1]),
            ("POST", "/v21.0/upload:MTph?sig=AR", MAIN),
        ] {
            let answer = proxy.app.fetch(request(method, target, sized(""))).await;
            assert_eq!(answer.status, 200);
            let expected = (host.to_owned(), ours_at(host));
            assert_eq!(last_host_and_tokens(&proxy), expected, "{method} {target}");
        }
        proxy.shutdown().await;
        let proxy = TestProxy::start_with(protocols, |config| config.upstream.hosts.clear()).await;
        for target in ["/whatsapp_business/attachments/?mid=1", "/v21.0/1/videos"] {
            let answer = proxy.app.fetch(request("POST", target, sized(""))).await;
            assert_eq!(answer.status, 200);
            assert_eq!(proxy.graph.last_request().host, MAIN);
        }
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_configured_is_reached() {
    let beta = "graph.beta.facebook.com";
    let set = |config: &mut Config| config.upstream.hosts.push(beta.to_owned());
    let proxy = TestProxyBuilder::new().with(set).start().await;
    let named = with(get("/v21.0/me"), &[("host", beta)]);
    assert_eq!(proxy.app.fetch(named).await.status, 200);
    assert_eq!(proxy.graph.last_request().host, beta);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn no_token_goes_to_another_familys_host() {
    for protocols in PROTOCOL_PAIRS {
        for (token, fits, others) in [
            (
                "EAAtoken0of0the0tests",
                [MAIN, ADDITIONAL_HOSTS[0]],
                ["graph.instagram.com", "graph.threads.net"],
            ),
            (
                "IGAAtoken0of0the0tests",
                ["graph.instagram.com"; 2],
                [MAIN, "graph.threads.net"],
            ),
            (
                "IGQVJtoken0of0the0tests",
                ["graph.instagram.com"; 2],
                [ADDITIONAL_HOSTS[2], "graph.threads.net"],
            ),
            (
                "THAAtoken0of0the0tests",
                ["graph.threads.net"; 2],
                [ADDITIONAL_HOSTS[1], "graph.instagram.com"],
            ),
            (
                "THQWJtoken0of0the0tests",
                ["graph.threads.net"; 2],
                [MAIN, "graph.instagram.com"],
            ),
            // A prefix that tells nothing: the origin's family.
            (
                "XYZtoken0of0the0tests",
                [MAIN, ADDITIONAL_HOSTS[0]],
                ["graph.instagram.com", "graph.threads.net"],
            ),
        ] {
            let proxy = TestProxyBuilder::over(protocols).with_token(token).start().await;
            for host in others {
                let named = with(get("/v21.0/me"), &[("host", host)]);
                let answer = proxy.app.fetch(named).await;
                answer.refused(421, "proxy_configuration_error");
                assert_eq!(answer.code(), 990_019);
                assert!(answer.text().contains(host) && !answer.text().contains(token));
                assert!(
                    answer
                        .text()
                        .contains("or let upstream.origin or the request name a host of ")
                );
            }
            assert_eq!((proxy.graph.attempts(), proxy.graph.connections()), (0, 0));
            assert_eq!(proxy.requests_with_outcome("refused_token_family").await, 2);
            for host in fits {
                let named = with(get("/v21.0/me"), &[("host", host)]);
                assert_eq!(proxy.app.fetch(named).await.status, 200, "{token} {host}");
                let expected = (host.to_owned(), vec![format!("Bearer {token}")]);
                assert_eq!(last_host_and_tokens(&proxy), expected);
            }
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_whose_prefix_tells_nothing_goes_to_the_configured_familys_host() {
    for (token, family, host) in [
        ("XYZtoken0of0the0tests", TokenFamily::Threads, "graph.threads.net"),
        ("IGZtoken0of0the0tests", TokenFamily::Instagram, "graph.instagram.com"),
        ("THAAtoken0of0the0tests", TokenFamily::Facebook, "graph.threads.net"),
    ] {
        let proxy = TestProxyBuilder::new()
            .with_token(token)
            .with(|config| config.token.family = Some(family))
            .start()
            .await;
        for other in [MAIN, "graph.instagram.com", "graph.threads.net"] {
            let status = if other == host { 200 } else { 421 };
            let named = with(get("/v21.0/me"), &[("host", other)]);
            assert_eq!(proxy.app.fetch(named).await.status, status, "{token} {other}");
        }
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_newer_token_of_another_family_is_not_sent_either() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.rotate_token_to("IGAAtoken0of0the0tests");
        let answer = proxy.app.post("x").await;
        answer.refused(421, "proxy_configuration_error");
        assert_eq!(proxy.graph.attempts(), 1, "the first one, with its own token");
        let shown = proxy.graph.requests();
        assert!(shown[0].all("authorization") == [format!("Bearer {FIRST_TOKEN}")]);
        let named = with(get("/me"), &[("host", "graph.instagram.com")]);
        assert_eq!(proxy.app.fetch(named).await.status, 200);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_instagram_token_is_healed_at_its_own_host() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxyBuilder::over(protocols)
            .with_token("IGAAfirst0token")
            .start()
            .await;
        proxy.rotate_token_to("IGAAsecond0token");
        let named = with(get("/me"), &[("host", "graph.instagram.com")]);
        assert_eq!(proxy.app.fetch(named).await.status, 200);
        let hosts: Vec<String> = proxy.graph.requests().into_iter().map(|seen| seen.host).collect();
        assert_eq!(hosts, ["graph.instagram.com"; 2]);
        assert_eq!(proxy.requests_with_outcome("healed").await, 1);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_makes_instagrams_and_threads_tokens_gets_none_of_ours() {
    for protocols in PROTOCOL_PAIRS {
        for token in ["EAAtoken0of0the0tests", "IGAAtoken0of0the0tests"] {
            let proxy = TestProxyBuilder::over(protocols).with_token(token).start().await;
            for (host, target) in [
                (
                    "graph.instagram.com",
                    "/access_token?grant_type=ig_exchange_token&client_secret=s&access_token=IGAAshort",
                ),
                (
                    "graph.instagram.com",
                    "/refresh_access_token?grant_type=ig_refresh_token&access_token=IGAAlong",
                ),
                (
                    "graph.threads.net",
                    "/v1.0/access_token?grant_type=th_exchange_token&access_token=THAAshort",
                ),
                ("graph.threads.net", "/refresh_access_token?access_token=THAA"),
                ("graph.threads.net", "/oauth/access_token?code=AQ"),
            ] {
                proxy.script(ScriptedResponse::json(200, r#"{"access_token":"new"}"#));
                let answer = proxy.app.fetch(with(get(target), &[("host", host)])).await;
                assert_eq!(answer.text(), r#"{"access_token":"new"}"#);
                let seen = proxy.graph.last_request();
                assert_eq!((seen.target(), &*seen.host), (target, host));
                assert!(seen.all("authorization").is_empty());
            }
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn hosts_that_are_asked_at_once_share_no_connection() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for _ in 0..3 {
            for host in [MAIN, ADDITIONAL_HOSTS[0], ADDITIONAL_HOSTS[2]] {
                let named = with(get("/me"), &[("host", host)]);
                // The scripted Graph fails the test if a connection's host is not the request's.
                assert_eq!(proxy.app.fetch(named).await.status, 200);
            }
        }
        if protocols.graph == Protocol::Two {
            assert_eq!(proxy.graph.connections() % 3, 0);
        }
        assert!(proxy.graph.connections() >= 3);
        proxy.shutdown().await;
    }
}
