//! Requests for hosts that graphward does not serve, and what it advises.

use graphward::config::Config;

use crate::support::{LogCapture, PROTOCOL_PAIRS, TestProxy, TestProxyBuilder, get, with};

/// A token that an app has in the place of a host.
const TOKEN: &str = "EAAGm0PX4ZCpsBAKZCmistake0123456789";

#[tokio::test(start_paused = true)]
async fn the_advice_about_a_host_fits_the_host_and_the_origin() {
    const OTHERS: [&str; 3] = ["listen.allowed_hosts", "NO_PROXY", "upstream.hosts"];
    let fake = "upstream.origin is another host: use graphward's address as the base URL";
    for (origin, host, advice) in [
        // An app that keeps Graph's address is not sent to Graph itself.
        ("https://fake.internal", "graph.facebook.com", [fake, fake]),
        ("https://fake.internal", "Graph.Instagram.com.", [fake, fake]),
        ("https://fake.internal", "www.facebook.com", [fake, fake]),
        (
            "https://graph.facebook.com",
            "graph.beta.facebook.com",
            ["upstream.hosts"; 2],
        ),
        ("https://graph.threads.net", "graph.facebook.com", ["upstream.hosts"; 2]),
        (
            "https://graph.facebook.com",
            "graphward.default.svc",
            ["listen.allowed_hosts", "NO_PROXY"],
        ),
        (
            "https://graph.facebook.com",
            "10.1.2.3",
            ["listen.allowed_hosts", "NO_PROXY"],
        ),
        (
            "https://graph.facebook.com",
            "api.example.com",
            ["listen.allowed_hosts", "NO_PROXY"],
        ),
        (
            "https://graph.facebook.com",
            TOKEN,
            ["use graphward's address there"; 2],
        ),
    ] {
        let set = |config: &mut Config| {
            config.upstream.origin = origin.to_owned();
            config.upstream.hosts.clear();
        };
        let proxy = TestProxyBuilder::new().with(set).start().await;
        let named = with(get("/v21.0/me"), &[("host", host)]);
        for (request, advice) in [named, get(&format!("http://{host}/v21.0/me"))].into_iter().zip(advice) {
            let answer = proxy.app.fetch(request).await;
            answer.refused(421, "http_request_denied");
            let text = answer.text();
            assert!(text.contains(advice), "{origin} {host}: {text}");
            for other in OTHERS.into_iter().filter(|other| *other != advice) {
                assert!(!text.contains(other), "{origin} {host}: {text}");
            }
        }
        assert_eq!(proxy.graph.attempts(), 0);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_of_the_allowed_hosts_is_served() {
    let set = |config: &mut Config| config.listen.allowed_hosts = vec!["10.1.2.3".to_owned(), "[fd00::9]".to_owned()];
    let proxy = TestProxyBuilder::new().with(set).start().await;
    for (host, status) in [
        ("10.1.2.3:8080", 200),
        ("[fd00::9]:8080", 200),
        ("10.1.2.4:8080", 421),
        ("[fd00::a]", 421),
    ] {
        let named = with(get("/v21.0/me"), &[("host", host)]);
        assert_eq!(proxy.app.fetch(named).await.status, status, "{host}");
    }
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_in_the_place_of_a_host_is_shown_nowhere() {
    for protocols in PROTOCOL_PAIRS {
        let log = LogCapture::at_trace();
        let proxy = TestProxy::start(protocols).await;
        for request in [
            with(get("/v21.0/me"), &[("host", TOKEN)]),
            with(get("/v21.0/me"), &[("host", &format!("{TOKEN}:8080"))]),
            get(&format!("http://{TOKEN}/v21.0/me")),
            get(&format!("https://{}:443/v21.0/me", TOKEN.to_ascii_lowercase())),
        ] {
            let answer = proxy.app.fetch(request).await;
            answer.refused(421, "http_request_denied");
            let shown = format!("{} {:?}", answer.text(), answer.headers);
            assert!(!shown.to_ascii_lowercase().contains("0123456789"), "{shown}");
        }
        let metrics = proxy.metrics().await;
        proxy.shutdown().await;
        for shown in [log.text(), metrics] {
            assert!(!shown.contains(TOKEN), "{shown}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_outside_the_list_is_refused_and_no_connection_is_made() {
    for protocols in PROTOCOL_PAIRS {
        let log = LogCapture::at_info();
        let proxy = TestProxy::start(protocols).await;
        for host in [
            "evil.example",
            "facebook.com",
            "www.facebook.com",
            "graph.beta.facebook.com",
            "api.instagram.com",
            "scontent.xx.fbcdn.net",
            "graph.facebook.com.evil.example",
            "evilgraph.facebook.com",
        ] {
            let named = with(get("/v21.0/me"), &[("host", host)]);
            proxy.app.fetch(named).await.refused(421, "http_request_denied");
            let absolute = get(&format!("http://{host}/whatsapp_business/attachments/"));
            let answer = proxy.app.fetch(absolute).await;
            answer.refused(421, "http_request_denied");
            assert!(answer.text().contains(&format!("does not serve the host {host};")));
            assert!(
                answer
                    .header("proxy-status")
                    .ends_with(&format!("; details=\"{host}\""))
            );
            let logged = log.lines_containing("refused_host_not_allowed");
            let logged = logged.last().unwrap();
            assert!(
                logged.contains(host) && logged.contains(r#""level":"WARN""#),
                "{logged}"
            );
        }
        assert_eq!((proxy.graph.attempts(), proxy.graph.connections()), (0, 0));
        assert_eq!(proxy.requests_with_outcome("refused_host_not_allowed").await, 16);
        proxy.shutdown().await;
    }
}
