use bytes::Bytes;
use serde_json::json;

use super::support::{TestGraph, TestResponse, bytes_request, request};

const APP: &str = "1234567890123456";
const VIDEO: &str = "https://graph-video.facebook.com/v26.0/1065/videos";

async fn upload_bytes(
    world: &TestGraph,
    target: &str,
    auth: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> TestResponse {
    let mut all = vec![("authorization", auth), ("content-type", "application/octet-stream")];
    all.extend_from_slice(headers);
    let body = Bytes::copy_from_slice(body);
    world.send(bytes_request("POST", target, "", &all, body)).await
}

#[tokio::test]
async fn a_file_is_uploaded_in_pieces_to_a_path_with_a_colon() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let open = format!("/v26.0/{APP}/uploads?file_name=a.jpg&file_length=6&file_type=image%2Fjpeg");
    let id = world.send(request("POST", &open, &token, &[], "")).await.text("id");
    assert!(id.starts_with("upload:") && id.contains("==?sig=AR"));
    let target = format!("/v26.0/{id}");
    let (oauth, bearer) = (format!("OAuth {token}"), format!("Bearer {token}"));

    let first = upload_bytes(&world, &target, &oauth, &[("file_offset", "0")], b"abc").await;
    assert_eq!(first.json(), json!({"id": id, "file_offset": 3}));
    let again = upload_bytes(&world, &target, &oauth, &[("file_offset", "0")], b"abc").await;
    assert_eq!(again.error_codes(), (400, 100, None));
    assert_eq!(world.get(&target, &token).await.json()["file_offset"], 3);
    let none = upload_bytes(&world, &target, &oauth, &[], b"def").await;
    assert_eq!(none.error_codes(), (400, 100, None));
    let long = upload_bytes(&world, &target, &oauth, &[("file_offset", "3")], b"defg").await;
    assert_eq!(long.error_codes(), (400, 100, None));
    let last = upload_bytes(&world, &format!("/{id}"), &bearer, &[("file_offset", "3")], b"def").await;
    assert!(last.text("h").starts_with("4::"));
    let seen = world.graph.recorded_calls().pop().unwrap();
    assert_eq!((seen.target, seen.body_length), (format!("/{id}"), 3));
}

#[tokio::test]
async fn a_changed_path_or_query_breaks_an_upload_session() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let open = json!({"file_length": 3, "file_type": "image/png"});
    let opened = world.post_json(&format!("/{APP}/uploads"), &token, &open).await;
    let id = opened.text("id");
    let auth = format!("OAuth {token}");
    let broken = [
        format!("/{id}&access_token={token}"),
        format!("/{}", id.replace(':', "%3A")),
        format!("/{}", id.replace("==", "%3D%3D")),
        format!("/{}", id.replace("sig=A", "sig=%41")),
        format!("/{}", id.replace("==?", "==/?")),
        format!("/{}", id.split('?').next().unwrap()),
    ];
    for target in broken {
        let answer = upload_bytes(&world, &target, &auth, &[("file_offset", "0")], b"abc").await;
        assert_eq!(answer.error_codes(), (400, 100, Some(33)), "{target}");
    }
    let dead = upload_bytes(
        &world,
        &format!("/{id}"),
        "OAuth EAAdead",
        &[("file_offset", "0")],
        b"abc",
    )
    .await;
    assert_eq!(dead.error_codes(), (401, 190, None));
    let good = upload_bytes(&world, &format!("/{id}"), &auth, &[("file_offset", "0")], b"abc").await;
    assert_eq!(good.status, 200);
    let strange = world.post_json("/1065/uploads", &token, &open).await;
    assert_eq!(strange.error_codes(), (400, 100, Some(33)), "no app of that id");
}

/// One piece of a video.
async fn upload_chunk(world: &TestGraph, token: &str, session: &str, start: usize, bytes: &[u8]) -> TestResponse {
    let kind = [("content-type", "multipart/form-data; boundary=X")];
    let mut body = Vec::new();
    let start = start.to_string();
    for (name, value) in [
        ("upload_phase", "transfer"),
        ("upload_session_id", session),
        ("start_offset", start.as_str()),
        ("access_token", token),
    ] {
        let head = format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(head.as_bytes());
    }
    body.extend_from_slice(b"--X\r\nContent-Disposition: form-data; name=\"video_file_chunk\"; filename=\"v\"\r\n\r\n");
    body.extend_from_slice(bytes);
    body.extend_from_slice(b"\r\n--X--\r\n");
    world.send(bytes_request("POST", VIDEO, "", &kind, body.into())).await
}

#[tokio::test]
async fn a_video_goes_up_in_the_pieces_that_graph_asks_for() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let film = vec![7_u8; 150_000];
    let start = world
        .post_form(VIDEO, &token, "upload_phase=start&file_size=150000")
        .await;
    let session = start.text("upload_session_id");
    assert!(!start.text("video_id").is_empty());
    let finish = format!("upload_phase=finish&upload_session_id={session}");
    assert_eq!(
        world.post_form(VIDEO, &token, &finish).await.error_codes(),
        (400, 6001, Some(1_363_037))
    );

    let offsets = |answer: &TestResponse| {
        let number = |name| answer.text(name).parse::<usize>().unwrap();
        (number("start_offset"), number("end_offset"))
    };
    let (mut from, mut to) = offsets(&start);
    let mut pieces = 0;
    while from < to {
        let answer = upload_chunk(&world, &token, &session, from, &film[from..to]).await;
        assert_eq!(answer.status, 200);
        (from, to) = offsets(&answer);
        pieces += 1;
    }
    assert_eq!(pieces, 3);
    let wrong = upload_chunk(&world, &token, &session, 5, b"x").await;
    assert_eq!(wrong.error_codes(), (400, 6001, Some(1_363_037)));
    assert_eq!(
        wrong.json()["error"]["error_data"],
        json!({"start_offset": "150000", "end_offset": "150000"})
    );
    assert_eq!(world.post_form(VIDEO, &token, &finish).await.json()["success"], true);
    let on_graph = VIDEO.replace("graph-video", "graph");
    let on_graph = world
        .post_form(&on_graph, &token, "upload_phase=start&file_size=1")
        .await;
    assert_eq!(
        on_graph.error_codes(),
        (400, 2500, None),
        "videos have a host of their own"
    );
}

#[tokio::test]
async fn a_reel_starts_on_graph_and_its_bytes_go_to_rupload_with_their_own_scheme_and_headers() {
    let world = TestGraph::start().await;
    let (token, dead) = (world.graph.issue(None), world.graph.issue(None));
    world.graph.expire(&dead);
    let reels = "/v26.0/1065/video_reels";
    let start = world.post_form(reels, &token, "upload_phase=start").await;
    let (id, url) = (start.text("video_id"), start.text("upload_url"));
    assert_eq!(url, format!("https://rupload.facebook.com/video-upload/v26.0/{id}"));
    let finish = format!("upload_phase=finish&video_id={id}");
    assert_eq!(
        world.post_form(reels, &token, &finish).await.error_codes(),
        (400, 6000, None)
    );

    let oauth = format!("OAuth {token}");
    let first = [("offset", "0"), ("file_size", "6")];
    for auth in [format!("OAuth {dead}"), format!("Bearer {token}")] {
        let refused = upload_bytes(&world, &url, &auth, &first, b"abc").await;
        assert_eq!(refused.status, 401);
        assert_eq!(refused.json()["debug_info"]["type"], "NotAuthorizedError");
        assert_eq!(refused.json()["debug_info"]["retriable"], false);
        assert!(refused.json().get("error").is_none(), "no envelope");
    }
    assert_eq!(
        upload_bytes(&world, &url, &oauth, &first, b"abc").await.json(),
        json!({"success": true})
    );
    for wrong in [&first[..], &first[..1], &[]] {
        let wrong = upload_bytes(&world, &url, &oauth, wrong, b"def").await;
        assert_eq!(
            (wrong.status.as_u16(), &wrong.json()["debug_info"]["type"]),
            (400, &json!("OffsetInvalidError"))
        );
    }
    let last = [("offset", "3"), ("file_size", "6")];
    assert_eq!(upload_bytes(&world, &url, &oauth, &last, b"def").await.status, 200);
    assert_eq!(world.post_form(reels, &token, &finish).await.json()["success"], true);
    let astray = url.replace("rupload", "graph");
    assert_eq!(
        upload_bytes(&world, &astray, &oauth, &last, b"").await.error_codes(),
        (400, 100, Some(33))
    );

    let other = world.post_form(reels, &token, "upload_phase=start").await;
    let by_url = [("file_url", "https://example.com/v.mp4")];
    assert_eq!(
        upload_bytes(&world, &other.text("upload_url"), &oauth, &by_url, b"")
            .await
            .status,
        200
    );
    assert_eq!(world.graph.rejected(), 1, "by the token, not by the scheme");
}
