//! Links to the next page: Graph's own, or ours where that is asked for.

use std::time::Duration;

use crate::support::{FIRST_TOKEN, PROTOCOL_PAIRS, Protocols, ScriptedResponse, TestProxy, gzip, post, sized, with};

const EDGE: &str = "/v21.0/1/template_analytics";

async fn proxy_with_paging_links(protocols: Protocols) -> TestProxy {
    TestProxy::start_with(protocols, |config| config.links.paging = true).await
}

/// A page whose links lead to this origin, spelled as Graph does, with this at the end of their query.
fn page(origin: &str, rest: &str) -> String {
    format!(
        r#"{{"data":[{{"name":"\u00e9","link":"{origin}\/x"}}],"paging":{{"cursors":{{"before":"A","after":"B"}},"previous":"{origin}\/v24.0\/1\/t?limit=25&before=A\u00253D{rest}","next":"{origin}\/v24.0\/1\/t?limit=25&after=B{rest}"}}}}"#
    )
}

const GRAPH_ORIGIN: &str = r"https:\/\/graph.facebook.com";
const PROXY_ORIGIN: &str = r"http:\/\/localhost:8080";

/// As [`page`] with links that lead here: the data is the app's, whatever it looks like.
fn rewritten_page(rest: &str) -> String {
    let (data, links) = (page(GRAPH_ORIGIN, rest), page(PROXY_ORIGIN, rest));
    let (data, _) = data.split_once("\"paging\"").unwrap();
    let (_, links) = links.split_once("\"paging\"").unwrap();
    format!("{data}\"paging\"{links}")
}

async fn fetch_page(proxy: &TestProxy, reply: ScriptedResponse) -> crate::support::TestResponse {
    proxy.script(reply);
    let answer = proxy.app.get(EDGE).await;
    assert!(answer.complete);
    answer
}

#[tokio::test(start_paused = true)]
async fn links_to_pages_are_graphs_own_unless_asked_otherwise() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        let text = page(GRAPH_ORIGIN, "");
        let reply = ScriptedResponse::json(200, text.clone()).with("etag", "\"5\"");
        let answer = fetch_page(&proxy, reply).await;
        assert_eq!((answer.text(), answer.header("etag")), (&*text, "\"5\""));
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn links_to_pages_lead_here_where_that_is_asked_for() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = proxy_with_paging_links(protocols).await;
        for reply in [
            ScriptedResponse::json(200, page(GRAPH_ORIGIN, "")),
            ScriptedResponse::json(200, page(GRAPH_ORIGIN, "")).gzipped(),
            ScriptedResponse::json(200, page(GRAPH_ORIGIN, "")).chunked(5, Duration::ZERO),
            ScriptedResponse::json(200, page(r"https:\/\/graph-video.facebook.com", "")).with("x-fb-rev", "1"),
        ] {
            let is_video = reply.bytes().windows(11).any(|part| part == b"graph-video");
            let answer = fetch_page(&proxy, reply.with("etag", "\"5\"")).await;
            let expected = if is_video {
                rewritten_page("").replacen("graph.facebook", "graph-video.facebook", 1)
            } else {
                rewritten_page("")
            };
            assert_eq!(answer.text(), expected);
            assert_eq!(answer.header("etag"), "W/\"5\"");
            assert_eq!(answer.header("content-encoding"), "");
            let length = answer.body.len().to_string();
            assert_eq!(answer.header("content-length"), length);
        }
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn links_elsewhere_and_pages_of_graphs_own_hosts_stay() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = proxy_with_paging_links(protocols).await;
        for text in [
            page(r"https:\/\/evil.example", ""),
            page(r"https:\/\/graph.facebook.com.evil.example", ""),
            page(r"http:\/\/graph.facebook.com", ""),
            r#"{"data":[],"paging":{"cursors":{}}}"#.to_owned(),
        ] {
            assert_eq!(
                fetch_page(&proxy, ScriptedResponse::json(200, text.clone()))
                    .await
                    .text(),
                text
            );
        }
        proxy.script(ScriptedResponse::json(200, page(GRAPH_ORIGIN, "")));
        let named = with(crate::support::get(EDGE), &[("host", "graph.facebook.com")]);
        assert_eq!(proxy.app.fetch(named).await.text(), page(GRAPH_ORIGIN, ""));
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_of_ours_in_a_link_goes_and_the_link_stays() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = proxy_with_paging_links(protocols).await;
        let ours = page(GRAPH_ORIGIN, &format!("&access_token={FIRST_TOKEN}"));
        let answer = fetch_page(&proxy, ScriptedResponse::json(200, ours)).await;
        assert_eq!(answer.text(), rewritten_page(""));
        let pages = "&access_token=EAApages0token";
        let answer = fetch_page(&proxy, ScriptedResponse::json(200, page(GRAPH_ORIGIN, pages))).await;
        assert_eq!(answer.text(), rewritten_page(pages), "another's token is data");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn links_in_the_bodies_of_a_batchs_items_lead_here_too() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = proxy_with_paging_links(protocols).await;
        let token = format!("&access_token={FIRST_TOKEN}");
        let batch = |body: &str| {
            let body = serde_json::to_string(body).unwrap();
            format!(r#"[{{"code":200,"body":{body}}},null,{{"code":200,"body":"[]"}}]"#)
        };
        proxy.script(ScriptedResponse::json(200, batch(&page(GRAPH_ORIGIN, &token))));
        let answer = proxy.app.post("x").await;
        assert_eq!(answer.text(), batch(&rewritten_page("")));
        proxy.shutdown().await;
    }
}

const MAX_REWRITTEN_BYTES: usize = 8 * 1024 * 1024;

#[tokio::test(start_paused = true)]
async fn what_is_larger_than_is_read_passes_as_it_is() {
    for protocols in [PROTOCOL_PAIRS[0], PROTOCOL_PAIRS[1]] {
        let proxy = proxy_with_paging_links(protocols).await;
        let large = |length: usize| {
            let page = page(GRAPH_ORIGIN, "");
            let spaces = " ".repeat(length - page.len());
            format!("{page}{spaces}")
        };
        let answer = fetch_page(&proxy, ScriptedResponse::json(200, large(MAX_REWRITTEN_BYTES))).await;
        assert!(answer.text().starts_with(&rewritten_page("")), "just small enough");
        let large = large(MAX_REWRITTEN_BYTES + 1);
        for reply in [
            ScriptedResponse::json(200, large.clone()),
            ScriptedResponse::json(200, large.clone()).chunked(1 << 20, Duration::ZERO),
            ScriptedResponse::json(200, gzip(large.as_bytes())).with("content-encoding", "gzip"),
        ] {
            let sent = reply.bytes();
            let answer = fetch_page(&proxy, reply.with("etag", "\"5\"")).await;
            assert!(answer.body == sent, "{} bytes", answer.body.len());
            assert_eq!(answer.header("etag"), "\"5\"");
        }
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn long_pages_are_read_while_there_is_memory_for_them_and_short_ones_always() {
    for protocols in [PROTOCOL_PAIRS[0], PROTOCOL_PAIRS[1]] {
        let proxy = TestProxy::start_with(protocols, |config| {
            config.links.paging = true;
            config.heal.memory_total = 200 * 1024;
        })
        .await;
        let long = |length: usize| format!("{}{}", page(GRAPH_ORIGIN, ""), " ".repeat(length));
        for (length, is_read) in [(60, true), (170, true), (250, false), (60, true)] {
            let text = long(length * 1024);
            let replies = [
                ScriptedResponse::json(200, text.clone()).chunked(16 * 1024, Duration::ZERO),
                ScriptedResponse::json(200, text.clone()).gzipped(),
            ];
            for reply in replies {
                let sent = reply.bytes();
                let answer = fetch_page(&proxy, reply).await;
                assert!(is_read || answer.body == sent, "{length}");
                assert_eq!(answer.body.starts_with(rewritten_page("").as_bytes()), is_read);
                assert_eq!(proxy.replay_bytes().await, 0);
            }
        }
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_breaks_off_or_stalls_is_no_answer() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = proxy_with_paging_links(protocols).await;
        for reply in [
            ScriptedResponse::json(200, page(GRAPH_ORIGIN, "")).truncated(),
            ScriptedResponse::json(200, page(GRAPH_ORIGIN, "")).stalled(),
        ] {
            proxy.script(reply);
            let answer = proxy.app.get(EDGE).await;
            answer.refused(502, "connection_terminated");
        }
        assert_eq!(proxy.requests_with_outcome("upstream_connection_terminated").await, 2);
        assert_eq!(proxy.graph.attempts(), 2, "it is not sent again");
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_page_is_not_read() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = proxy_with_paging_links(protocols).await;
        let text = page(GRAPH_ORIGIN, "");
        for reply in [
            ScriptedResponse::new(200, "text/plain", text.clone()),
            ScriptedResponse::json(404, text.clone()),
            ScriptedResponse::json(200, text.strip_suffix('}').unwrap().to_owned()),
        ] {
            let sent = reply.bytes();
            proxy.script(reply);
            assert_eq!(proxy.app.fetch(post(sized("x"))).await.body, sent);
        }
        proxy.shutdown().await;
    }
}
