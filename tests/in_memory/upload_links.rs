//! Uploads: the URL that takes the bytes leads to graphward, and from there to the host that takes them.

use crate::support::{
    FIRST_TOKEN, PROTOCOL_PAIRS, ScriptedResponse, TestProxy, TestProxyBuilder, post_file, request, sized, with,
};

const REEL: &str = r#"{"video_id":"7","upload_url":"https:\/\/rupload.facebook.com\/video-upload\/v25.0\/7"}"#;
const ELSEWHERE: &str = r#"{"video_id":"7","upload_url":"https:\/\/rupload.example.com\/video-upload\/v25.0\/7"}"#;
const CONTAINER: &str = r#"{"id":"7","uri":"https:\/\/rupload.facebook.com\/ig-api-upload\/v25.0\/7"}"#;
const SESSION: &str = r#"{"id":"upload:MTph==?sig=AR"}"#;

#[tokio::test(start_paused = true)]
async fn the_url_of_an_upload_leads_to_graphward_and_its_bytes_to_the_upload_host() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for (start, answer, path) in [
            ("/v25.0/1/video_reels?upload_phase=start", REEL, "/video-upload/v25.0/7"),
            ("/v25.0/1/video_stories", REEL, "/video-upload/v25.0/7"),
            (
                "/v25.0/1/media?upload_type=resumable",
                CONTAINER,
                "/ig-api-upload/v25.0/7",
            ),
        ] {
            proxy.script(ScriptedResponse::json(200, answer));
            let started = proxy.app.fetch(request("POST", start, sized(""))).await;
            let here = answer.replace(r"https:\/\/rupload.facebook.com", r"http:\/\/localhost:8080");
            assert_eq!(started.text(), here, "{start}");
            for authorization in [None, Some("OAuth unused"), Some("OAuth null"), Some("null")] {
                let mut upload = post_file(sized("bytes"));
                *upload.uri_mut() = path.parse().unwrap();
                let headers: Vec<_> = authorization
                    .map(|value| ("authorization", value))
                    .into_iter()
                    .collect();
                assert_eq!(proxy.app.fetch(with(upload, &headers)).await.status, 200);
                let seen = proxy.graph.last_request();
                assert_eq!((seen.target(), &*seen.host), (path, "rupload.facebook.com"));
                let expected = format!("OAuth {FIRST_TOKEN}");
                assert_eq!(seen.all("authorization"), [&*expected], "{authorization:?}");
            }
        }
        proxy.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn other_answers_and_hosts_and_the_session_of_a_single_tenant_stay_as_they_are() {
    for protocols in PROTOCOL_PAIRS {
        let proxy = TestProxy::start(protocols).await;
        for (method, target, host, answer) in [
            ("POST", "/v25.0/1/uploads", "localhost:8080", SESSION),
            ("POST", "/v25.0/1/video_reels", "localhost:8080", ELSEWHERE),
            ("POST", "/v25.0/1/video_reels", "graph.facebook.com", REEL),
            ("GET", "/v25.0/1/video_reels", "localhost:8080", REEL),
            ("POST", "/v25.0/1/messages", "localhost:8080", REEL),
        ] {
            proxy.script(ScriptedResponse::json(200, answer));
            let sent = with(request(method, target, sized("")), &[("host", host)]);
            assert_eq!(proxy.app.fetch(sent).await.text(), answer, "{method} {target} {host}");
        }
        proxy.shutdown().await;
        let off = TestProxyBuilder::over(protocols).with(|config| config.links.uploads = false);
        let off = off.start().await;
        off.script(ScriptedResponse::json(200, REEL));
        let started = off.app.fetch(request("POST", "/1/video_reels", sized(""))).await;
        assert_eq!(started.text(), REEL);
        off.shutdown().await;
    }
}
