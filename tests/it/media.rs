//! WhatsApp media: the link to a file leads here, and here it is fetched from where it is.

use std::time::Duration;

use http::header::USER_AGENT;

use crate::support::{Answer, FIRST, Home, House, Reply, SECOND, WAYS, get, request, sized, with};

/// A look-up's answer as it is recorded, with this for the host of the link.
fn lookup(host: &str) -> String {
    format!(
        r#"{{"url":"{host}\/whatsapp_business\/attachments\/?mid=7&ext=1759277100&hash=ARb%2B_%7E","mime_type":"image\/jpeg","sha256":"d1","file_size":3,"id":"1037543291543636","messaging_product":"whatsapp"}}"#
    )
}

const THERE: &str = r"https:\/\/lookaside.fbsbx.com";
const FILE: &str = "/whatsapp_business/attachments/?mid=7&ext=1759277100&hash=ARb%2B_%7E";
const ID: &str = "/v21.0/1037543291543636";

/// So much of a look-up's answer.
fn begun(length: usize) -> String {
    lookup(THERE).chars().take(length).collect()
}

fn answers(body: &str) -> Reply {
    Reply::json(200, body.to_owned())
        .with("etag", r#""5f2b""#)
        .with("content-digest", "sha-256=:AAAA:")
        .with("digest", "sha-256=AAAA")
}

/// Whether an answer's fields fit its body.
#[track_caller]
fn fits(answer: &Answer) {
    assert!(answer.whole);
    assert_eq!(
        answer.header("content-length"),
        answer.body.len().to_string()
    );
    assert_eq!(answer.header("transfer-encoding"), "");
}

#[tokio::test(start_paused = true)]
async fn the_link_of_a_look_up_leads_to_the_host_that_the_app_named() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        for host in [
            "localhost:8080",
            "127.0.0.1",
            "[::1]:9999",
            "LocalHost:8080",
        ] {
            for reply in [
                answers(&lookup(THERE)),
                answers(&lookup(THERE)).gzipped(),
                answers(&lookup(THERE)).dribbled(7, Duration::from_millis(1)),
                answers(&lookup(THERE))
                    .gzipped()
                    .dribbled(1, Duration::ZERO),
            ] {
                for target in [ID, "/1037543291543636?phone_number_id=1"] {
                    home.graph.next(reply.clone());
                    let zipped = [("host", host), ("accept-encoding", "gzip")];
                    let answer = home.app.ask(with(get(target), &zipped)).await;
                    let here = format!(r"http:\/\/{host}");
                    assert_eq!(answer.text(), lookup(&here));
                    fits(&answer);
                    assert_eq!(answer.header("etag"), r#"W/"5f2b""#);
                    for gone in ["content-encoding", "content-digest", "digest"] {
                        assert_eq!(answer.header(gone), "", "{gone}");
                    }
                }
            }
        }
        assert_eq!(home.graph.last().host, "graph.facebook.com");
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_weak_validator_stays_as_it_is() {
    let home = House::new().start().await;
    let weak = Reply::json(200, lookup(THERE)).with("etag", r#"W/"5f""#);
    home.graph.next(weak);
    assert_eq!(home.app.get(ID).await.header("etag"), r#"W/"5f""#);
    home.leave().await;
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_is_healed_has_its_link_led_here_too() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        home.expires();
        home.graph.says(answers(&lookup(THERE)));
        let answer = home.app.get(ID).await;
        assert_eq!(answer.text(), lookup(r"http:\/\/localhost:8080"));
        assert_eq!(home.ended("healed").await, 1);
        home.leave().await;
    }
}

async fn is_untouched(home: &Home, request: http::Request<crate::support::Sent>, reply: Reply) {
    home.graph.next(reply.clone());
    let answer = home.app.ask(request).await;
    assert_eq!(answer.body, reply.bytes());
    let expected = reply.into_response();
    for name in ["etag", "content-encoding", "digest"] {
        let expected = expected.headers().get(name);
        assert_eq!(answer.headers.get(name), expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_it_is_turned_off_the_link_leads_where_it_led() {
    for way in WAYS {
        let off = House::new()
            .over(way)
            .with(|config| config.links.media = false);
        let home = off.start().await;
        is_untouched(&home, get(ID), answers(&lookup(THERE))).await;
        is_untouched(&home, get(ID), answers(&lookup(THERE)).gzipped()).await;
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_names_graphs_own_hosts_gets_graphs_own_links() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        for host in ["graph.facebook.com", "Graph.Facebook.com:443"] {
            let named = with(get(ID), &[("host", host)]);
            is_untouched(&home, named, answers(&lookup(THERE))).await;
        }
        let absolute = get(&format!("http://graph.facebook.com{ID}"));
        is_untouched(&home, absolute, answers(&lookup(THERE))).await;
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_else_has_its_links_changed() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        let there = || answers(&lookup(THERE));
        for target in ["/v21.0/me", "/v21.0/1/media", "/1a", "/v21.0/1/2", "/"] {
            is_untouched(&home, get(target), there()).await;
        }
        let told = request("POST", ID, sized(""));
        is_untouched(&home, told, there()).await;
        let elsewhere = lookup(r"https:\/\/scontent.xx.fbcdn.net");
        let deeper = format!(r#"{{"data":[{}]}}"#, lookup(THERE));
        let cut = begun(60);
        for reply in [
            answers(&elsewhere),
            answers(&elsewhere).gzipped(),
            answers(&deeper),
            answers(&cut),
            Reply::new(200, "text/plain", lookup(THERE)),
            Reply::json(400, lookup(THERE)),
            Reply::json(500, lookup(THERE)),
            Reply::json(200, "").with("etag", r#""0""#),
            Reply::json(200, lookup(THERE)).with("content-encoding", "gzip"),
        ] {
            is_untouched(&home, get(ID), reply).await;
        }
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_breaks_off_is_no_answer() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        home.graph.next(answers(&begun(40)).cut());
        let answer = home.app.get(ID).await;
        answer.refused(502, "connection_terminated");
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_download_goes_to_the_media_host_with_our_bearer_and_its_own_query() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        home.graph.says(
            Reply::new(200, "image/jpeg", &b"\xff\xd8\xff"[..])
                .with("content-disposition", "inline; filename=a.jpg"),
        );
        for target in [
            FILE,
            "/whatsapp_business/attachments/?a=%7c&&x=%2f;y&hash=AR+/=",
            "/whatsapp_business/attachments?mid=1&mid=2",
        ] {
            for agent in [None, Some("node"), Some("Ruby"), Some("")] {
                let agents: Vec<_> = agent
                    .map(|agent| ("user-agent", agent))
                    .into_iter()
                    .collect();
                let answer = home.app.ask(with(get(target), &agents)).await;
                assert_eq!(&answer.body[..], b"\xff\xd8\xff");
                let name = answer.header("content-disposition");
                assert_eq!(name, "inline; filename=a.jpg");
                let seen = home.graph.last();
                assert_eq!(seen.host, "lookaside.fbsbx.com");
                assert_eq!(seen.target(), target);
                assert_eq!(seen.all("authorization"), [format!("Bearer {FIRST}")]);
                let plain = concat!("graphward/", env!("CARGO_PKG_VERSION"));
                assert_eq!(seen.all(USER_AGENT.as_str()), [agent.unwrap_or(plain)]);
            }
        }
        assert_eq!(home.app.get("/me").await.status, 200);
        assert!(home.graph.last().all("user-agent").is_empty());
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_link_of_a_look_up_is_good_for_a_download() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        home.graph.next(answers(&lookup(THERE)));
        let found: serde_json::Value =
            serde_json::from_slice(&home.app.get(ID).await.body).unwrap();
        let url = found["url"].as_str().unwrap();
        assert_eq!(url, format!("http://localhost:8080{FILE}"));
        let fetched = home.app.get(url).await;
        assert_eq!(fetched.status, 200);
        let seen = home.graph.last();
        assert_eq!((&*seen.host, seen.target()), ("lookaside.fbsbx.com", FILE));
        home.leave().await;
    }
}

/// What the media host says of a token that it does not want: no envelope.
fn no(status: u16) -> Reply {
    Reply::new(status, "text/html", "<h1>no</h1>")
}

/// Another token is dropped while the media host is thinking.
async fn fetched_during_a_swap(home: &Home, first: Reply) -> Answer {
    home.graph.next(first.after(Duration::from_secs(3)));
    let swap = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        home.graph.accept(SECOND);
        home.drop.put(SECOND);
    };
    tokio::join!(home.app.get(FILE), swap).0
}

#[tokio::test(start_paused = true)]
async fn a_download_that_is_refused_is_sent_again_if_the_token_is_another_by_now() {
    for way in WAYS {
        for status in [404, 401, 403] {
            let home = House::new().over(way).start().await;
            let answer = fetched_during_a_swap(&home, no(status)).await;
            assert_eq!(answer.status, 200, "{status}");
            let seen = home.graph.seen();
            assert_eq!(seen.len(), 2);
            for (seen, token) in seen.iter().zip([FIRST, SECOND]) {
                assert_eq!((&*seen.host, seen.target()), ("lookaside.fbsbx.com", FILE));
                assert_eq!(seen.all("authorization"), [format!("Bearer {token}")]);
            }
            assert_eq!(home.ended("healed").await, 1);
            home.leave().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_download_is_never_sent_a_third_time() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        home.graph.next(no(404).after(Duration::from_secs(3)));
        home.graph.next(no(403));
        let swap = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            home.drop.put(SECOND);
        };
        let (answer, ()) = tokio::join!(home.app.get(FILE), swap);
        assert_eq!((answer.status, answer.text()), (403, "<h1>no</h1>"));
        assert_eq!(home.graph.attempts(), 2);
        assert_eq!(home.ended("healed").await, 0, "it was not");
        assert_eq!(home.ended("delivered").await, 1);
        assert!(home.tokens.usable());
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_download_that_is_refused_with_the_token_in_use_is_delivered() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        for status in [404, 401, 403] {
            home.graph.next(no(status));
            assert_eq!(home.app.get(FILE).await.status, status);
        }
        assert_eq!(home.graph.attempts(), 3);
        assert_eq!(home.drop.looks(), 1, "it says nothing of the token");
        assert!(home.tokens.usable());
        for status in [410, 429, 500, 302] {
            let answer = fetched_during_a_swap(&home, no(status)).await;
            assert_eq!(answer.status, status);
        }
        assert_eq!(home.graph.attempts(), 7);
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_objects_404_is_no_refusal_of_media() {
    let home = House::new().start().await;
    home.graph.next(no(404).after(Duration::from_secs(3)));
    let swap = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        home.drop.put(SECOND);
    };
    let (answer, ()) = tokio::join!(home.app.get(ID), swap);
    assert_eq!((answer.status, home.graph.attempts()), (404, 1));
    home.leave().await;
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_the_apps_to_follow() {
    let location = "https://scontent.xx.fbcdn.net/v/t1.jpg?_nc_sid=1&oh=00_AfB%2B&oe=6";
    for way in WAYS {
        let home = House::new().over(way).start().await;
        let moved = Reply::new(302, "image/jpeg", "").with("location", location);
        home.graph.next(moved);
        let answer = home.app.get("/v21.0/1/picture").await;
        assert_eq!((answer.status, answer.header("location")), (302, location));
        assert_eq!((home.graph.attempts(), home.graph.connections()), (1, 1));
        home.leave().await;
    }
}
