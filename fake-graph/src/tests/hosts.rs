use std::time::Duration;

use crate::Clock;
use crate::{TokenChange, TokenFamily};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::support::{TestGraph, request};

const FACEBOOK: &str = "https://graph.facebook.com";
const SECRET: &str = "client_secret=0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn a_token_is_good_on_its_familys_hosts_and_unparsable_on_the_others() {
    let world = TestGraph::start().await;
    let hosts = [
        (FACEBOOK, TokenFamily::Facebook, "OAuthException"),
        (
            "https://graph.beta.facebook.com",
            TokenFamily::Facebook,
            "OAuthException",
        ),
        (
            "https://graph-video.facebook.com",
            TokenFamily::Facebook,
            "OAuthException",
        ),
        ("https://graph.instagram.com", TokenFamily::Instagram, "IGApiException"),
        ("https://api.instagram.com", TokenFamily::Instagram, "IGApiException"),
        ("https://graph.threads.net", TokenFamily::Threads, "THApiException"),
        ("https://graph.threads.com", TokenFamily::Threads, "THApiException"),
    ];
    for family in [TokenFamily::Facebook, TokenFamily::Instagram, TokenFamily::Threads] {
        let token = world.graph.issue_for(family, None);
        for (host, its, kind) in hosts {
            let answer = world.get(&format!("{host}/v26.0/me"), &token).await;
            if family == its {
                assert_eq!(answer.status, 200, "{host} {family:?}");
                continue;
            }
            assert_eq!(answer.error_codes(), (401, 190, None), "{host} {family:?}");
            let error = answer.json()["error"].clone();
            assert_eq!(
                error["message"],
                "Invalid OAuth access token - Cannot parse access token"
            );
            assert_eq!(error["type"], kind);
            let by_query = world.get(&format!("{host}/me?access_token={token}"), "").await;
            assert_eq!(by_query.error_codes(), (400, 190, None));
        }
        world.graph.expire(&token);
        let host = hosts.iter().find(|(_, its, _)| *its == family).unwrap().0;
        let expired = world.get(&format!("{host}/me"), &token).await;
        assert_eq!(expired.error_codes(), (401, 190, Some(463)));
    }
    let seen = world.graph.recorded_calls();
    assert!(seen.iter().any(|seen| seen.host == "graph.threads.com"));
}

#[tokio::test]
async fn by_an_address_the_fake_is_all_hosts_in_one() {
    let world = TestGraph::start().await;
    for family in [TokenFamily::Facebook, TokenFamily::Instagram, TokenFamily::Threads] {
        let token = world.graph.issue_for(family, None);
        let call = request("GET", "https://127.0.0.1:8443/me", &token, &[], "");
        assert_eq!(world.graph.handle(call).await.unwrap().status(), 200);
    }
    let last = world.graph.recorded_calls().pop().unwrap();
    assert_eq!((last.host.as_str(), last.target.as_str()), ("127.0.0.1", "/me"));
}

#[tokio::test]
async fn instagram_and_threads_tokens_are_exchanged_and_renew_themselves_on_their_own_hosts() {
    let world = TestGraph::start().await;
    let cases = [
        ("https://graph.instagram.com", TokenFamily::Instagram, "ig", "IGAA"),
        ("https://graph.threads.net", TokenFamily::Threads, "th", "THAA"),
    ];
    for (host, family, word, prefix) in cases {
        let old = world.graph.issue_for(family, None);
        let ripe = TokenChange {
            issued_at: Some(Clock::system().now() - Duration::from_secs(24 * 60 * 60)),
            ..TokenChange::default()
        };
        assert!(world.graph.update_token(&old, ripe));
        let token = format!("access_token={old}");
        let exchange = format!("{host}/access_token?grant_type={word}_exchange_token");
        let refresh = format!("{host}/refresh_access_token?grant_type={word}_refresh_token&{token}");
        for target in [format!("{exchange}&{SECRET}&{token}"), refresh.clone()] {
            let answer = world.get(&target, "").await;
            assert!(answer.text("access_token").starts_with(prefix));
            assert_eq!(answer.json()["token_type"], "bearer");
            assert!(answer.json()["expires_in"].is_i64());
        }
        let forged = world.get(&format!("{exchange}&client_secret=x&{token}"), "").await;
        assert_eq!(forged.error_codes(), (400, 1, None));
        let other = if word == "ig" { "th" } else { "ig" };
        let astray = refresh.replace(&format!("{word}_refresh"), &format!("{other}_refresh"));
        assert_eq!(world.get(&astray, "").await.error_codes(), (400, 100, None));
        world.graph.expire(&old);
        assert_eq!(world.get(&refresh, "").await.error_codes(), (400, 190, Some(463)));
    }
    assert_eq!(world.graph.attempts(), 0, "none of it is about data");
    let code = world
        .post_form("https://api.instagram.com/oauth/access_token", "", "code=x")
        .await;
    assert_eq!(code.status, 400);
    assert_eq!(code.json()["error_type"], "OAuthException");
    let refresh = format!("{FACEBOOK}/refresh_access_token?grant_type=ig_refresh_token");
    let eaa = world.graph.issue(None);
    assert_eq!(world.get(&refresh, &eaa).await.error_codes(), (400, 100, Some(33)));
}

async fn upload(world: &TestGraph, token: &str) -> String {
    let kind = [("content-type", "multipart/form-data; boundary=X")];
    let parts = "--X\r\nContent-Disposition: form-data; name=\"messaging_product\"\r\n\r\nwhatsapp\r\n\
        --X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\nContent-Type: image/png\r\n\r\n\
        png\r\n--X--\r\n";
    let up = request("POST", "/1065/media", token, &kind, parts);
    let id = world.send(up).await.text("id");
    world.get(&format!("/{id}"), token).await.text("url")
}

#[tokio::test]
async fn lookaside_is_particular_about_user_agent_path_and_query() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let url = upload(&world, &token).await;
    let get = async |url: &str, agent: &str| {
        let agent = [("user-agent", agent)];
        let headers = if agent[0].1.is_empty() { &agent[..0] } else { &agent };
        world
            .send(request("GET", url, &token, headers, ""))
            .await
            .status
            .as_u16()
    };
    for agent in ["node", "curl/8.5.0", "python-requests/2.32", "Ruby"] {
        assert_eq!(get(&url, agent).await, 200, "{agent}");
    }
    for agent in ["", "undici", "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)"] {
        assert_eq!(get(&url, agent).await, 404, "{agent}");
    }
    let broken = [
        format!("{url}&x=1"),
        url.replace("?mid=", "?mid=0"),
        url.replace("&ext=", "&ext=%31").replacen("%311", "%31", 1),
        url.replace("hash=AR", "hash=%41R"),
        url.replace("attachments/?", "attachments?"),
        url.replace("whatsapp_business", "whatsapp%5Fbusiness"),
    ];
    for broken in broken {
        assert_eq!(get(&broken, "node").await, 404, "{broken}");
    }
    assert_eq!(get("https://lookaside.fbsbx.com/v26.0/me", "node").await, 404);
    let on_graph = url.replace("https://lookaside.fbsbx.com", FACEBOOK);
    assert_eq!(get(&on_graph, "node").await, 400, "Graph itself has no files");
    let elsewhere = url.replace("https://lookaside.fbsbx.com", "https://127.0.0.1");
    let bare = request("GET", &elsewhere, &token, &[], "");
    assert_eq!(world.graph.handle(bare).await.unwrap().status(), 200);
}

#[tokio::test]
async fn lookaside_takes_only_a_living_facebook_token() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let url = upload(&world, &token).await;
    let wrong = world.graph.issue_for(TokenFamily::Threads, None);
    let agent = [("user-agent", "node")];
    for (token, status) in [(&token, 200), (&wrong, 404)] {
        let answer = world.send(request("GET", &url, token, &agent, "")).await;
        assert_eq!(answer.status, status);
    }
    world.graph.expire(&token);
    let dead = world.send(request("GET", &url, &token, &agent, "")).await;
    assert_eq!((dead.status.as_u16(), &dead.body[..]), (404, &b"Not Found"[..]));
}

#[tokio::test]
async fn an_instagram_account_has_its_own_fields_and_little_else() {
    let world = TestGraph::start().await;
    let token = world.graph.issue_for(TokenFamily::Instagram, None);
    let me = world
        .get("https://graph.instagram.com/me?fields=id,username", &token)
        .await;
    assert_eq!(me.json(), json!({"id": "122094563210074285", "username": "fake_graph"}));
    let batch = world
        .post_json("https://graph.instagram.com/", &token, &json!({"batch": []}))
        .await;
    assert_eq!(batch.error_codes(), (400, 100, Some(33)));
}

#[tokio::test]
async fn a_client_that_sends_http_where_https_is_expected_is_told_so() {
    let world = TestGraph::start().await;
    let mut stream = TcpStream::connect(world.running.address).await.unwrap();
    let request = b"GET /v26.0/me HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
    assert!(body.contains("https"), "{body}");
}
