//! Links to the next page: Graph's own, or ours where that is asked for.

use std::time::Duration;

use crate::support::{FIRST, Home, House, Reply, WAYS, gzip, post, sized, with};

const EDGE: &str = "/v21.0/1/template_analytics";

fn paging() -> House {
    House::new().with(|config| config.links.paging = true)
}

/// A page whose links lead to this origin, spelled as Graph does, with this at the end of their query.
fn page(origin: &str, rest: &str) -> String {
    format!(
        r#"{{"data":[{{"name":"\u00e9","link":"{origin}\/x"}}],"paging":{{"cursors":{{"before":"A","after":"B"}},"previous":"{origin}\/v24.0\/1\/t?limit=25&before=A\u00253D{rest}","next":"{origin}\/v24.0\/1\/t?limit=25&after=B{rest}"}}}}"#
    )
}

const THERE: &str = r"https:\/\/graph.facebook.com";
const HERE: &str = r"http:\/\/localhost:8080";

/// As [`page`] with links that lead here: the data is the app's, whatever it looks like.
fn led_here(rest: &str) -> String {
    let (data, links) = (page(THERE, rest), page(HERE, rest));
    let (data, _) = data.split_once("\"paging\"").unwrap();
    let (_, links) = links.split_once("\"paging\"").unwrap();
    format!("{data}\"paging\"{links}")
}

async fn heard(home: &Home, reply: Reply) -> crate::support::Answer {
    home.graph.next(reply);
    let answer = home.app.get(EDGE).await;
    assert!(answer.whole);
    answer
}

#[tokio::test(start_paused = true)]
async fn links_to_pages_are_graphs_own_unless_asked_otherwise() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        let text = page(THERE, "");
        let reply = Reply::json(200, text.clone()).with("etag", "\"5\"");
        let answer = heard(&home, reply).await;
        assert_eq!((answer.text(), answer.header("etag")), (&*text, "\"5\""));
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn links_to_pages_lead_here_where_that_is_asked_for() {
    for way in WAYS {
        let home = paging().over(way).start().await;
        for reply in [
            Reply::json(200, page(THERE, "")),
            Reply::json(200, page(THERE, "")).gzipped(),
            Reply::json(200, page(THERE, "")).dribbled(5, Duration::ZERO),
            Reply::json(200, page(r"https:\/\/graph-video.facebook.com", "")).with("x-fb-rev", "1"),
        ] {
            let is_video = reply.bytes().windows(11).any(|part| part == b"graph-video");
            let answer = heard(&home, reply.with("etag", "\"5\"")).await;
            let expected = if is_video {
                led_here("").replacen("graph.facebook", "graph-video.facebook", 1)
            } else {
                led_here("")
            };
            assert_eq!(answer.text(), expected);
            assert_eq!(answer.header("etag"), "W/\"5\"");
            assert_eq!(answer.header("content-encoding"), "");
            let length = answer.body.len().to_string();
            assert_eq!(answer.header("content-length"), length);
        }
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn links_elsewhere_and_pages_of_graphs_own_hosts_stay() {
    for way in WAYS {
        let home = paging().over(way).start().await;
        for text in [
            page(r"https:\/\/evil.example", ""),
            page(r"https:\/\/graph.facebook.com.evil.example", ""),
            page(r"http:\/\/graph.facebook.com", ""),
            r#"{"data":[],"paging":{"cursors":{}}}"#.to_owned(),
        ] {
            assert_eq!(
                heard(&home, Reply::json(200, text.clone())).await.text(),
                text
            );
        }
        home.graph.next(Reply::json(200, page(THERE, "")));
        let named = with(crate::support::get(EDGE), &[("host", "graph.facebook.com")]);
        assert_eq!(home.app.ask(named).await.text(), page(THERE, ""));
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_of_ours_in_a_link_goes_and_the_link_stays() {
    for way in WAYS {
        let home = paging().over(way).start().await;
        let ours = page(THERE, &format!("&access_token={FIRST}"));
        let answer = heard(&home, Reply::json(200, ours)).await;
        assert_eq!(answer.text(), led_here(""));
        let pages = "&access_token=EAApages0token";
        let answer = heard(&home, Reply::json(200, page(THERE, pages))).await;
        assert_eq!(answer.text(), led_here(pages), "another's token is data");
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn links_in_the_bodies_of_a_batchs_items_lead_here_too() {
    for way in WAYS {
        let home = paging().over(way).start().await;
        let token = format!("&access_token={FIRST}");
        let batch = |body: &str| {
            let body = serde_json::to_string(body).unwrap();
            format!(r#"[{{"code":200,"body":{body}}},null,{{"code":200,"body":"[]"}}]"#)
        };
        home.graph
            .next(Reply::json(200, batch(&page(THERE, &token))));
        let answer = home.app.post("x").await;
        assert_eq!(answer.text(), batch(&led_here("")));
        home.leave().await;
    }
}

const MOST: usize = 8 * 1024 * 1024;

#[tokio::test(start_paused = true)]
async fn what_is_larger_than_is_read_passes_as_it_is() {
    for way in [WAYS[0], WAYS[1]] {
        let home = paging().over(way).start().await;
        let large = |length: usize| {
            let page = page(THERE, "");
            let spaces = " ".repeat(length - page.len());
            format!("{page}{spaces}")
        };
        let answer = heard(&home, Reply::json(200, large(MOST))).await;
        assert!(
            answer.text().starts_with(&led_here("")),
            "just small enough"
        );
        let large = large(MOST + 1);
        for reply in [
            Reply::json(200, large.clone()),
            Reply::json(200, large.clone()).dribbled(1 << 20, Duration::ZERO),
            Reply::json(200, gzip(large.as_bytes())).with("content-encoding", "gzip"),
        ] {
            let sent = reply.bytes();
            let answer = heard(&home, reply.with("etag", "\"5\"")).await;
            assert!(answer.body == sent, "{} bytes", answer.body.len());
            assert_eq!(answer.header("etag"), "\"5\"");
        }
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn long_pages_are_read_while_there_is_memory_for_them_and_short_ones_always() {
    for way in [WAYS[0], WAYS[1]] {
        let house = paging().with(|config| config.heal.memory_total = 200 * 1024);
        let home = house.over(way).start().await;
        let long = |length: usize| format!("{}{}", page(THERE, ""), " ".repeat(length));
        for (length, is_read) in [(60, true), (190, true), (250, false), (60, true)] {
            let text = long(length * 1024);
            let replies = [
                Reply::json(200, text.clone()).dribbled(16 * 1024, Duration::ZERO),
                Reply::json(200, text.clone()).gzipped(),
            ];
            for reply in replies {
                let sent = reply.bytes();
                let answer = heard(&home, reply).await;
                assert!(is_read || answer.body == sent, "{length}");
                assert_eq!(answer.body.starts_with(led_here("").as_bytes()), is_read);
                assert_eq!(home.held().await, 0);
            }
        }
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_breaks_off_or_stalls_is_no_answer() {
    for way in WAYS {
        let home = paging().over(way).start().await;
        for reply in [
            Reply::json(200, page(THERE, "")).cut(),
            Reply::json(200, page(THERE, "")).stalled(),
        ] {
            home.graph.next(reply);
            let answer = home.app.get(EDGE).await;
            answer.refused(502, "connection_terminated");
        }
        assert_eq!(home.ended("refused_broken").await, 2);
        assert_eq!(home.graph.attempts(), 2, "it is not sent again");
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_page_is_not_read() {
    for way in WAYS {
        let home = paging().over(way).start().await;
        let text = page(THERE, "");
        for reply in [
            Reply::new(200, "text/plain", text.clone()),
            Reply::json(404, text.clone()),
            Reply::json(200, text.strip_suffix('}').unwrap().to_owned()),
        ] {
            let sent = reply.bytes();
            home.graph.next(reply);
            assert_eq!(home.app.ask(post(sized("x"))).await.body, sent);
        }
        home.leave().await;
    }
}
