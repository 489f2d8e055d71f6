use std::time::{Duration, SystemTime};

use crate::Clock;
use crate::{FakeGraph, FakeGraphConfig};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};

use super::support::{TestGraph, TestResponse, bytes_request, request};

const UPLOAD: &str = "/v26.0/106540352242922/media";

fn multipart(mime: &str, file: &[u8]) -> Bytes {
    let mut body = format!(
        "--frontier\r\nContent-Disposition: form-data; name=\"messaging_product\"\r\n\r\nwhatsapp\r\n\
         --frontier\r\nContent-Disposition: form-data; name=\"file\"; filename=\"bill.pdf\"\r\n\
         Content-Type: {mime}\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(file);
    body.extend_from_slice(b"\r\n--frontier--\r\n");
    body.into()
}

const MULTIPART_HEADERS: [(&str, &str); 1] = [("content-type", "multipart/form-data; boundary=frontier")];

async fn upload(world: &TestGraph, token: &str, mime: &str, file: &[u8]) -> TestResponse {
    let body = multipart(mime, file);
    world
        .send(bytes_request("POST", UPLOAD, token, &MULTIPART_HEADERS, body))
        .await
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_file_goes_up_and_comes_down_unchanged() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let file: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let id = upload(&world, &token, "application/pdf", &file).await.text("id");

    let found = world.get(&format!("/{id}"), &token).await;
    let media = found.json();
    assert_eq!(media["sha256"], sha256(&file));
    assert_eq!(media["file_size"], 300_000);
    assert_eq!(media["mime_type"], "application/pdf");
    let url = found.text("url");
    assert!(url.starts_with("https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid="));

    let down = world.get(&url, &token).await;
    assert_eq!(down.status, 200);
    assert_eq!(down.header("content-disposition"), "attachment; filename=\"bill.pdf\"");
    assert_eq!(down.header("content-type"), "application/pdf");
    assert_eq!(down.header("x-fb-request-id"), "", "no Graph header from lookaside");
    assert_eq!(sha256(&down.body), sha256(&file));
    let part = request(
        "GET",
        &url,
        &token,
        &[("range", "bytes=10-19"), ("user-agent", "node")],
        "",
    );
    let part = world.send(part).await;
    assert_eq!((part.status.as_u16(), &part.body[..]), (206, &file[10..20]));
    assert_eq!(part.header("content-range"), "bytes 10-19/300000");

    let deleted = world
        .send(request("DELETE", &format!("/v26.0/{id}"), &token, &[], ""))
        .await;
    assert_eq!(deleted.json()["success"], true);
    assert_eq!(
        world.get(&format!("/{id}"), &token).await.error_codes(),
        (400, 100, Some(33))
    );
    assert_eq!(world.get(&url, &token).await.status, 404);
}

#[tokio::test]
async fn a_download_without_a_living_token_in_the_header_is_a_404_without_an_envelope() {
    let world = TestGraph::start().await;
    let (token, dead) = (world.graph.issue(None), world.graph.issue(None));
    world.graph.expire(&dead);
    let id = upload(&world, &token, "image/png", b"png").await.text("id");
    let url = world.get(&format!("/{id}"), &token).await.text("url");
    let by_query = format!("{url}&access_token={token}");
    for (url, token) in [(&url, ""), (&url, dead.as_str()), (&by_query, "")] {
        let answer = world.get(url, token).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (404, &b"Not Found"[..]));
    }
    let forged = url.replace("hash=AR", "hash=XX");
    assert_eq!(world.get(&forged, &token).await.status, 404);
}

#[tokio::test]
async fn a_large_file_is_counted_and_hashed_but_not_kept() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let file = vec![7; 9 * 1024 * 1024];
    let id = upload(&world, &token, "application/pdf", &file).await.text("id");
    let found = world.get(&format!("/{id}"), &token).await;
    assert_eq!(found.text("sha256"), sha256(&file));
    assert_eq!(world.get(&found.text("url"), &token).await.status, 404);
}

#[tokio::test]
async fn a_file_larger_than_its_kind_may_be_or_none_at_all_is_a_100() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let file = vec![7; 6 * 1024 * 1024];
    let answer = upload(&world, &token, "image/png", &file).await;
    assert_eq!(answer.error_codes(), (400, 100, None));
    let says = answer.json()["error"]["message"].clone();
    assert_eq!(says, "(#100) Invalid parameter: File Too Large");
    let none = world.post_form(UPLOAD, &token, "messaging_product=whatsapp").await;
    assert_eq!(none.error_codes(), (400, 100, None));
    let dead = upload(&world, "EAAdead", "image/png", &file).await;
    assert_eq!(dead.error_codes(), (401, 190, None), "the token is looked at first");
}

#[tokio::test(start_paused = true)]
async fn a_media_url_lives_for_five_minutes() {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let graph = FakeGraph::new(FakeGraphConfig::new(Clock::manual(start)));
    let token = graph.issue(None);
    let call = |request| {
        let graph = graph.clone();
        async move {
            let answer = graph.handle(request).await.unwrap();
            let (head, body) = answer.into_parts();
            (head.status, body.collect().await.unwrap().to_bytes())
        }
    };
    let up = bytes_request(
        "POST",
        UPLOAD,
        &token,
        &MULTIPART_HEADERS,
        multipart("image/png", b"png"),
    );
    let id: serde_json::Value = serde_json::from_slice(&call(up).await.1).unwrap();
    let path = format!("/{}", id["id"].as_str().unwrap());
    let (_, found) = call(request("GET", &path, &token, &[], "")).await;
    let found: serde_json::Value = serde_json::from_slice(&found).unwrap();
    let url = found["url"].as_str().unwrap();
    assert!(url.contains("&ext=1700000300&hash="));

    tokio::time::advance(Duration::from_secs(299)).await;
    assert_eq!(
        call(request("GET", url, &token, &[("user-agent", "node")], "")).await.0,
        200
    );
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(
        call(request("GET", url, &token, &[("user-agent", "node")], "")).await.0,
        404
    );
}
