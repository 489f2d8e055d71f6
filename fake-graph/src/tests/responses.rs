use super::support::HttpVersion;
use crate::Clock;
use crate::FakeGraphConfig;

use super::support::{TestGraph, request};

const PHONE: &str = "/v26.0/106540352242922";

#[tokio::test]
async fn an_error_has_the_envelope_and_the_headers_of_a_recording() {
    let world = TestGraph::start().await;
    let answer = world.get(PHONE, "EAAdead").await;
    let all = |name: &str| answer.headers.get_all(name).iter().count();
    let message = "Invalid OAuth access token - Cannot parse access token";
    assert_eq!(
        answer.header("www-authenticate"),
        format!("OAuth \"Facebook Platform\" \"invalid_token\" \"{message}\"")
    );
    assert_eq!(answer.header("content-type"), "application/json; charset=UTF-8");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("facebook-api-version"), "v26.0");
    assert_eq!(answer.header("strict-transport-security"), "max-age=15552000; preload");
    assert!(answer.header("alt-svc").starts_with("h3="));
    assert!(answer.header("x-app-usage").contains("call_count"));
    assert!(answer.header("x-business-use-case-usage").contains("whatsapp"));
    assert_eq!((all("vary"), all("proxy-status"), all("etag")), (2, 2, 0));
    for value in answer.headers.get_all("proxy-status") {
        assert!(value.len() > 2_000);
    }
    let error = &answer.json()["error"];
    assert_eq!(error["message"], message);
    assert_eq!(error["type"], "OAuthException");
    assert_eq!(error["fbtrace_id"], answer.header("x-fb-request-id"));
    assert!(answer.body.starts_with(b"{\"error\":{\"message\":\""), "Graph's order");
}

#[tokio::test]
async fn a_success_has_an_etag_and_knows_it_again() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let first = world.get(PHONE, &token).await;
    assert_eq!(first.status, 200);
    assert_eq!(first.json()["display_phone_number"], "+1 555-010-0100");
    assert!(first.headers.get("proxy-status").is_none());
    let etag = first.header("etag");
    assert_eq!(etag.len(), 42);
    let again = request("GET", PHONE, &token, &[("if-none-match", etag)], "");
    let again = world.send(again).await;
    assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
    let narrow = world.get(&format!("{PHONE}?fields=verified_name"), &token).await;
    assert_eq!(narrow.json().as_object().unwrap().len(), 2);
}

#[tokio::test]
async fn gzip_is_used_where_it_is_offered_for_errors_too() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    for (token, status) in [(token.as_str(), 200), ("EAAdead", 401)] {
        let zipped = request("GET", PHONE, token, &[("accept-encoding", "gzip, br")], "");
        let zipped = world.send(zipped).await;
        assert_eq!(zipped.status, status);
        assert_eq!(zipped.header("content-encoding"), "gzip");
        assert_eq!(zipped.header("content-length"), zipped.body.len().to_string());
        assert!(zipped.json().is_object());
        assert_eq!(world.get(PHONE, token).await.header("content-encoding"), "");
    }
}

#[tokio::test]
async fn an_old_version_is_upgraded_aloud_and_an_unborn_one_refused_after_the_token() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let old = world.get("/v19.0/me", &token).await;
    assert_eq!(old.header("facebook-api-version"), "v24.0");
    assert_eq!(
        old.header("x-ad-api-version-warning"),
        "The call has been auto-upgraded to v24.0 as v19.0 has been deprecated."
    );
    let bare = world.get("/me", &token).await;
    assert_eq!(bare.header("facebook-api-version"), "v24.0");
    assert_eq!(bare.header("x-ad-api-version-warning"), "");
    assert_eq!(world.get("/v99.0/me", &token).await.error_codes(), (400, 2500, None));
    assert_eq!(world.get("/v99.0/me", "EAAdead").await.error_codes(), (401, 190, None));
}

#[tokio::test]
async fn what_is_not_there_is_a_100_33_with_escaped_slashes() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let nothing = world.get("/v26.0/no_such_thing", &token).await;
    assert_eq!(nothing.error_codes(), (400, 100, Some(33)));
    assert_eq!(nothing.json()["error"]["type"], "GraphMethodException");
    assert!(nothing.header("www-authenticate").contains("\"invalid_request\""));
    let body = String::from_utf8(nothing.body.to_vec()).unwrap();
    assert!(body.contains("https:\\/\\/developers.facebook.com\\/docs"));
    let edge = world.get(&format!("{PHONE}/no_such_edge"), &token).await;
    assert_eq!(edge.error_codes(), (400, 2500, None));
}

#[tokio::test]
async fn a_client_that_takes_no_json_gets_javascript() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    for (accept, kind) in [("text/html", "text/javascript"), ("*/*", "application/json")] {
        let answer = world
            .send(request("GET", PHONE, &token, &[("accept", accept)], ""))
            .await;
        assert!(answer.header("content-type").starts_with(kind));
    }
}

#[tokio::test]
async fn a_picture_is_a_302_unless_told_otherwise_and_a_head_has_no_body() {
    for http in [HttpVersion::Http1, HttpVersion::Http2] {
        let world = TestGraph::with(FakeGraphConfig::new(Clock::system()), http).await;
        let token = world.graph.issue(None);
        let picture = world.get("/v26.0/100/picture", &token).await;
        assert_eq!(picture.status, 302);
        assert!(picture.header("location").starts_with("https://scontent."));
        let data = world.get("/v26.0/100/picture?redirect=false", &token).await;
        assert!(
            data.json()["data"]["url"]
                .as_str()
                .unwrap()
                .starts_with("https://scontent.")
        );
        let head = world.send(request("HEAD", PHONE, &token, &[], "")).await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
        assert!(head.header("content-length").parse::<u64>().unwrap() > 100);
    }
}

#[tokio::test]
async fn an_error_has_status_200_if_the_call_suppresses_statuses() {
    let world = TestGraph::start().await;
    let answer = world.get(&format!("{PHONE}?suppress_http_code=1"), "EAAdead").await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["error"]["code"]),
        (200, &190.into())
    );
}
