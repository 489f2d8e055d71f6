//! WhatsApp media: the link to a file leads here, and here it is fetched from where it is.

use std::time::Duration;

use http::header::USER_AGENT;

use crate::support::{
    FIRST_TOKEN, PROTOCOL_PAIRS, SECOND_TOKEN, ScriptedResponse, TestProxy, TestProxyBuilder, TestResponse, get,
    request, sized, with,
};

/// A look-up's answer as it is recorded, with this for the host of the link.
fn media_object(host: &str) -> String {
    format!(
        r#"{{"url":"{host}\/whatsapp_business\/attachments\/?mid=7&ext=1759277100&hash=ARb%2B_%7E","mime_type":"image\/jpeg","sha256":"d1","file_size":3,"id":"1037543291543636","messaging_product":"whatsapp"}}"#
    )
}

const CDN_ORIGIN: &str = r"https:\/\/lookaside.fbsbx.com";
const FILE: &str = "/whatsapp_business/attachments/?mid=7&ext=1759277100&hash=ARb%2B_%7E";
const ID: &str = "/v21.0/1037543291543636";

/// So much of a look-up's answer.
fn truncated_object(length: usize) -> String {
    media_object(CDN_ORIGIN).chars().take(length).collect()
}

fn media_response(body: &str) -> ScriptedResponse {
    ScriptedResponse::json(200, body.to_owned())
        .with("etag", r#""5f2b""#)
        .with("content-digest", "sha-256=:AAAA:")
        .with("digest", "sha-256=AAAA")
}

/// Whether an answer's fields fit its body.
#[track_caller]
fn assert_consistent_headers(answer: &TestResponse) {
    assert!(answer.complete);
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    assert_eq!(answer.header("transfer-encoding"), "");
}

#[tokio::test(start_paused = true)]
async fn the_link_of_a_look_up_leads_to_the_host_that_the_app_named() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for host in ["localhost:8080", "127.0.0.1", "[::1]:9999", "LocalHost:8080"] {
            for reply in [
                media_response(&media_object(CDN_ORIGIN)),
                media_response(&media_object(CDN_ORIGIN)).gzipped(),
                media_response(&media_object(CDN_ORIGIN)).chunked(7, Duration::from_millis(1)),
                media_response(&media_object(CDN_ORIGIN))
                    .gzipped()
                    .chunked(1, Duration::ZERO),
            ] {
                for target in [ID, "/1037543291543636?phone_number_id=1"] {
                    proxy.script(reply.clone());
                    let zipped = [("host", host), ("accept-encoding", "gzip")];
                    let answer = proxy.app.fetch(with(get(target), &zipped)).await;
                    let here = format!(r"http:\/\/{host}");
                    assert_eq!(answer.text(), media_object(&here));
                    assert_consistent_headers(&answer);
                    assert_eq!(answer.header("etag"), r#"W/"5f2b""#);
                    for gone in ["content-encoding", "content-digest", "digest"] {
                        assert_eq!(answer.header(gone), "", "{gone}");
                    }
                }
            }
        }
        assert_eq!(proxy.graph.last_request().host, "graph.facebook.com");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_weak_validator_stays_as_it_is() {
    let proxy = TestProxyBuilder::new().start().await;
    let weak = ScriptedResponse::json(200, media_object(CDN_ORIGIN)).with("etag", r#"W/"5f""#);
    proxy.script(weak);
    assert_eq!(proxy.app.get(ID).await.header("etag"), r#"W/"5f""#);
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_is_healed_has_its_link_led_here_too() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.rotate_token();
        proxy.graph.respond_with(media_response(&media_object(CDN_ORIGIN)));
        let answer = proxy.app.get(ID).await;
        assert_eq!(answer.text(), media_object(r"http:\/\/localhost:8080"));
        assert_eq!(proxy.requests_with_outcome("healed").await, 1);
        proxy.shutdown().await;
    }
}

async fn assert_untouched(
    proxy: &TestProxy,
    request: http::Request<crate::support::TestBody>,
    reply: ScriptedResponse,
) {
    proxy.script(reply.clone());
    let answer = proxy.app.fetch(request).await;
    assert_eq!(answer.body, reply.bytes());
    let expected = reply.into_response();
    for name in ["etag", "content-encoding", "digest"] {
        let expected = expected.headers().get(name);
        assert_eq!(answer.headers.get(name), expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_it_is_turned_off_the_link_leads_where_it_led() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start_with(protocols, |config| config.links.media = false).await;
        assert_untouched(&proxy, get(ID), media_response(&media_object(CDN_ORIGIN))).await;
        assert_untouched(&proxy, get(ID), media_response(&media_object(CDN_ORIGIN)).gzipped()).await;
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_to_graphs_own_hosts_gets_graphs_own_links() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for host in ["graph.facebook.com", "Graph.Facebook.com:443"] {
            let named = with(get(ID), &[("host", host)]);
            assert_untouched(&proxy, named, media_response(&media_object(CDN_ORIGIN))).await;
        }
        let absolute = get(&format!("http://graph.facebook.com{ID}"));
        assert_untouched(&proxy, absolute, media_response(&media_object(CDN_ORIGIN))).await;
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_else_has_its_links_changed() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        let there = || media_response(&media_object(CDN_ORIGIN));
        for target in ["/v21.0/me", "/v21.0/1/media", "/1a", "/v21.0/1/2", "/"] {
            assert_untouched(&proxy, get(target), there()).await;
        }
        let told = request("POST", ID, sized(""));
        assert_untouched(&proxy, told, there()).await;
        let elsewhere = media_object(r"https:\/\/scontent.xx.fbcdn.net");
        let deeper = format!(r#"{{"data":[{}]}}"#, media_object(CDN_ORIGIN));
        let cut = truncated_object(60);
        for reply in [
            media_response(&elsewhere),
            media_response(&elsewhere).gzipped(),
            media_response(&deeper),
            media_response(&cut),
            ScriptedResponse::new(200, "text/plain", media_object(CDN_ORIGIN)),
            ScriptedResponse::json(400, media_object(CDN_ORIGIN)),
            ScriptedResponse::json(500, media_object(CDN_ORIGIN)),
            ScriptedResponse::json(200, "").with("etag", r#""0""#),
            ScriptedResponse::json(200, media_object(CDN_ORIGIN)).with("content-encoding", "gzip"),
        ] {
            assert_untouched(&proxy, get(ID), reply).await;
        }
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_breaks_off_is_no_answer() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.script(media_response(&truncated_object(40)).truncated());
        let answer = proxy.app.get(ID).await;
        answer.refused(502, "connection_terminated");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_download_goes_to_the_media_host_with_our_bearer_and_its_own_query() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.graph.respond_with(
            ScriptedResponse::new(200, "image/jpeg", &b"\xff\xd8\xff"[..])
                .with("content-disposition", "inline; filename=a.jpg"),
        );
        for target in [
            FILE,
            "/whatsapp_business/attachments/?a=%7c&&x=%2f;y&hash=AR+/=",
            "/whatsapp_business/attachments?mid=1&mid=2",
        ] {
            for agent in [None, Some("node"), Some("Ruby"), Some("")] {
                let agents: Vec<_> = agent.map(|agent| ("user-agent", agent)).into_iter().collect();
                let answer = proxy.app.fetch(with(get(target), &agents)).await;
                assert_eq!(&answer.body[..], b"\xff\xd8\xff");
                let name = answer.header("content-disposition");
                assert_eq!(name, "inline; filename=a.jpg");
                let seen = proxy.graph.last_request();
                assert_eq!(seen.host, "lookaside.fbsbx.com");
                assert_eq!(seen.target(), target);
                seen.assert_bearer(FIRST_TOKEN);
                let plain = concat!("graphward/", env!("CARGO_PKG_VERSION"));
                assert_eq!(seen.all(USER_AGENT.as_str()), [agent.unwrap_or(plain)]);
            }
        }
        assert_eq!(proxy.app.get("/me").await.status, 200);
        assert!(proxy.graph.last_request().all("user-agent").is_empty());
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_link_of_a_look_up_is_good_for_a_download() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.script(media_response(&media_object(CDN_ORIGIN)));
        let found: serde_json::Value = serde_json::from_slice(&proxy.app.get(ID).await.body).unwrap();
        let url = found["url"].as_str().unwrap();
        assert_eq!(url, format!("http://localhost:8080{FILE}"));
        let fetched = proxy.app.get(url).await;
        assert_eq!(fetched.status, 200);
        let seen = proxy.graph.last_request();
        assert_eq!((&*seen.host, seen.target()), ("lookaside.fbsbx.com", FILE));
        proxy.shutdown().await;
    }
}

/// What the media host says of a token that it does not want: no envelope.
fn not_found_page(status: u16) -> ScriptedResponse {
    ScriptedResponse::new(status, "text/html", "<h1>no</h1>")
}

/// Another token is dropped while the media host is thinking.
async fn fetch_during_rotation(proxy: &TestProxy, first: ScriptedResponse) -> TestResponse {
    proxy.script(first.delayed(Duration::from_secs(3)));
    let swap = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        proxy.publish_token(SECOND_TOKEN);
    };
    tokio::join!(proxy.app.get(FILE), swap).0
}

#[tokio::test(start_paused = true)]
async fn a_download_that_is_refused_is_sent_again_if_the_token_is_another_by_now() {
    for protocols in PROTOCOL_PAIRS {
        for status in [404, 401, 403] {
            let proxy = TestProxy::start(protocols).await;
            let answer = fetch_during_rotation(&proxy, not_found_page(status)).await;
            assert_eq!(answer.status, 200, "{status}");
            let seen = proxy.graph.requests();
            assert_eq!(seen.len(), 2);
            for (seen, token) in seen.iter().zip([FIRST_TOKEN, SECOND_TOKEN]) {
                assert_eq!((&*seen.host, seen.target()), ("lookaside.fbsbx.com", FILE));
                seen.assert_bearer(token);
            }
            assert_eq!(proxy.requests_with_outcome("healed").await, 1);
            proxy.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_download_is_never_sent_a_third_time() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        proxy.script(not_found_page(404).delayed(Duration::from_secs(3)));
        proxy.script(not_found_page(403));
        let swap = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            proxy.source.publish(SECOND_TOKEN);
        };
        let (answer, ()) = tokio::join!(proxy.app.get(FILE), swap);
        assert_eq!((answer.status, answer.text()), (403, "<h1>no</h1>"));
        assert_eq!(proxy.graph.attempts(), 2);
        assert_eq!(proxy.requests_with_outcome("healed").await, 0, "it was not");
        assert_eq!(proxy.requests_with_outcome("delivered").await, 1);
        assert!(proxy.tokens.is_usable());
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_download_that_is_refused_with_the_token_in_use_is_delivered() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for status in [404, 401, 403] {
            proxy.script(not_found_page(status));
            assert_eq!(proxy.app.get(FILE).await.status, status);
        }
        assert_eq!(proxy.graph.attempts(), 3);
        assert_eq!(proxy.source.loads(), 1, "it says nothing of the token");
        assert!(proxy.tokens.is_usable());
        for status in [410, 429, 500, 302] {
            let answer = fetch_during_rotation(&proxy, not_found_page(status)).await;
            assert_eq!(answer.status, status);
        }
        assert_eq!(proxy.graph.attempts(), 7);
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_objects_404_is_no_refusal_of_media() {
    let proxy = TestProxyBuilder::new().start().await;
    proxy.script(not_found_page(404).delayed(Duration::from_secs(3)));
    let swap = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        proxy.source.publish(SECOND_TOKEN);
    };
    let (answer, ()) = tokio::join!(proxy.app.get(ID), swap);
    assert_eq!((answer.status, proxy.graph.attempts()), (404, 1));
    proxy.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_the_apps_to_follow() {
    let location = "https://scontent.xx.fbcdn.net/v/t1.jpg?_nc_sid=1&oh=00_AfB%2B&oe=6";
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        let moved = ScriptedResponse::new(302, "image/jpeg", "").with("location", location);
        proxy.script(moved);
        let answer = proxy.app.get("/v21.0/1/picture").await;
        assert_eq!((answer.status, answer.header("location")), (302, location));
        assert_eq!((proxy.graph.attempts(), proxy.graph.connections()), (1, 1));
        proxy.shutdown().await;
    }
}
