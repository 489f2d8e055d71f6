use bytes::Bytes;
use serde_json::{Value, json};

use super::control::Control;
use super::support::{TestGraph, bytes_request, request, text};
use crate::{TokenChange, TokenFamily, TokenType};

const FOREIGN: (u16, i64, Option<i64>) = (400, 100, Some(33));

/// A token that may act on these objects, or on all.
fn tenant(world: &TestGraph, name: &str, targets: &[&str]) -> String {
    let token = world.graph.issue(None);
    let change = TokenChange {
        target_ids: Some(targets.iter().map(ToString::to_string).collect()),
        name: Some(name.to_owned()),
        ..TokenChange::default()
    };
    assert!(world.graph.update_token(&token, change));
    token
}

async fn upload(world: &TestGraph, token: &str, phone: &str) -> String {
    let body = "--f\r\nContent-Disposition: form-data; name=\"messaging_product\"\r\n\r\nwhatsapp\r\n\
        --f\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
        Content-Type: image/png\r\n\r\npng\r\n--f--\r\n";
    let multipart = [("content-type", "multipart/form-data; boundary=f")];
    let path = format!("/v26.0/{phone}/media");
    let call = bytes_request("POST", &path, token, &multipart, Bytes::from(body));
    world.send(call).await.text("id")
}

#[tokio::test]
async fn a_token_acts_on_its_objects_and_on_those_that_no_token_lists_but_on_no_others() {
    let world = TestGraph::start().await;
    let (a, b) = (tenant(&world, "a", &["101", "102"]), tenant(&world, "b", &["201"]));
    let all = world.graph.issue(None);
    for (path, token, allowed) in [
        ("/v26.0/101", &a, true),
        ("/102/message_templates", &a, true),
        ("/v26.0/201", &a, false),
        ("/v26.0/101", &b, false),
        ("/101_7", &b, false),
        ("/%31%30%31", &b, false),
        ("/v26.0//101", &b, false),
        ("/101/no_such_edge", &b, false),
        ("/v26.0/999", &b, true),
        ("/v26.0/201", &all, true),
        ("/me", &b, true),
        ("/999?phone_number_id=101", &b, false),
        ("/?ids=201,999", &b, true),
        ("/?ids=201,%20101", &b, false),
        ("/?ids=%5B%22101%22%5D", &b, false),
        ("/999?phone_number_id=201&phone_number_id=101", &b, false),
    ] {
        let answer = world.get(path, token).await;
        if allowed {
            assert_eq!(answer.status, 200, "{path}");
        } else {
            assert_eq!(answer.error_codes(), FOREIGN, "{path}");
            assert_eq!(answer.json()["error"]["type"], "GraphMethodException");
        }
    }
    let in_json = json!({"phone_number_id": 101, "messaging_product": "whatsapp"});
    let answer = world.post_json("/v26.0/999/messages", &b, &in_json).await;
    assert_eq!(answer.error_codes(), FOREIGN);
    let by_method = world.post_form("/101?method=delete", &b, "").await;
    assert_eq!(by_method.error_codes(), FOREIGN);
    let message = world.post_json("/v26.0/101/messages", &b, &text("x")).await;
    assert_eq!(message.error_codes(), FOREIGN);
    let says = message.json()["error"]["message"].clone();
    assert!(
        says.as_str().unwrap().starts_with(
            "Unsupported post request. Object with ID '101' does not exist, cannot be loaded due to missing permissions"
        ),
        "{says}"
    );
    assert_eq!(world.post_json("/v26.0/101/messages", &a, &text("x")).await.status, 200);
    assert_eq!(world.graph.counts().accepted, 1);
}

#[tokio::test]
async fn accounts_of_instagram_and_threads_are_protected_too() {
    let world = TestGraph::start().await;
    for (family, host) in [
        (TokenFamily::Instagram, "graph.instagram.com"),
        (TokenFamily::Threads, "graph.threads.net"),
    ] {
        let (a, b) = (world.graph.issue_for(family, None), world.graph.issue_for(family, None));
        for (token, target) in [(&a, "101"), (&b, "201")] {
            let change = TokenChange {
                target_ids: Some(vec![target.to_owned()]),
                ..TokenChange::default()
            };
            assert!(world.graph.update_token(token, change));
        }
        assert_eq!(world.get(&format!("https://{host}/v1.0/101"), &a).await.status, 200);
        let foreign = world.get(&format!("https://{host}/v1.0/101"), &b).await;
        assert_eq!(foreign.error_codes(), FOREIGN);
    }
}

#[tokio::test]
async fn a_dead_token_is_dead_before_its_object_is_looked_at() {
    let world = TestGraph::start().await;
    let (_a, b) = (tenant(&world, "a", &["101"]), tenant(&world, "b", &["201"]));
    world.graph.expire(&b);
    assert_eq!(world.get("/101", &b).await.error_codes(), (401, 190, Some(463)));
}

#[tokio::test]
async fn batch_items_are_checked_one_by_one_with_their_own_tokens() {
    let world = TestGraph::start().await;
    let (a, b) = (tenant(&world, "a", &["101"]), tenant(&world, "b", &["201"]));
    let batch = json!({"batch": [
        {"method": "GET", "relative_url": "v26.0/101"},
        {"method": "GET", "relative_url": "201"},
        {"method": "GET", "relative_url": format!("201?access_token={b}")},
        {"method": "GET", "relative_url": format!("?ids=101&access_token={b}")},
        {"method": "POST", "relative_url": "999/messages", "body": "phone_number_id=201"},
    ]});
    let answer = world.post_json("/v26.0", &a, &batch).await.json();
    let codes: Vec<_> = answer
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["code"].as_i64().unwrap())
        .collect();
    assert_eq!(codes, [200, 400, 200, 400, 400]);
    assert!(answer[1]["body"].as_str().unwrap().contains("\"error_subcode\":33"));
}

#[tokio::test]
async fn media_belong_to_the_number_or_the_token_that_they_were_uploaded_with() {
    let world = TestGraph::start().await;
    let (a, b) = (tenant(&world, "a", &["101"]), tenant(&world, "b", &["201"]));
    let (successor, all) = (tenant(&world, "a", &["101"]), world.graph.issue(None));
    for (uploader, phone) in [(&a, "101"), (&all, "101"), (&a, "999")] {
        let id = upload(&world, uploader, phone).await;
        let path = format!("/v26.0/{id}");
        assert_eq!(world.get(&path, &b).await.error_codes(), FOREIGN, "{phone}");
        let deleted = world.send(request("DELETE", &path, &b, &[], "")).await;
        assert_eq!(deleted.error_codes(), FOREIGN);
        let url = world.get(&path, &successor).await.text("url");
        assert_eq!(world.get(&url, &b).await.status, 404, "lookaside says no more");
        assert_eq!(world.get(&url, &successor).await.status, 200);

        let image = json!({"messaging_product": "whatsapp", "to": "15550100", "type": "image", "image": {"id": id}});
        let stolen = world.post_json("/v26.0/201/messages", &b, &image).await;
        assert_eq!(stolen.error_codes(), (400, 100, None));
        assert_eq!(world.post_json("/v26.0/101/messages", &a, &image).await.status, 200);
        let header = json!({"type": "image", "image": {"id": id}});
        let template = json!({"messaging_product": "whatsapp", "to": "15550100", "type": "template",
            "template": {"name": "x", "components": [{"type": "header", "parameters": [header]}]}});
        let stolen = world.post_json("/v26.0/201/messages", &b, &template).await;
        assert_eq!(stolen.error_codes(), (400, 100, None));
        let says = stolen.json()["error"]["message"].clone();
        assert_eq!(
            says,
            "(#100) Param image['id'] is not a valid whatsapp business account media attachment ID"
        );
    }
    let open = upload(&world, &all, "999").await;
    assert_eq!(world.get(&format!("/{open}"), &b).await.status, 200);
    assert_eq!(world.graph.counts().accepted, 3);
}

#[tokio::test]
async fn upload_sessions_belong_to_the_token_that_created_them() {
    let world = TestGraph::start().await;
    let (a, b) = (tenant(&world, "a", &["101"]), tenant(&world, "b", &["201"]));
    let create = "/v26.0/1234567890123456/uploads?file_type=image/png&file_length=3";
    let session = world.post_form(create, &a, "").await.text("id");
    assert_eq!(world.get(&format!("/v26.0/{session}"), &b).await.error_codes(), FOREIGN);
    assert_eq!(world.get(&format!("/v26.0/{session}"), &a).await.status, 200);

    let reel = world
        .post_form("/v26.0/101/video_reels", &a, "upload_phase=start")
        .await;
    let (video, url) = (reel.text("video_id"), reel.text("upload_url"));
    let piece = |token: &str| {
        let oauth = format!("OAuth {token}");
        let headers = [("authorization", oauth.as_str()), ("offset", "0"), ("file_size", "1")];
        request("POST", &url, "", &headers, "x")
    };
    assert_eq!(world.send(piece(&b)).await.status, 404);
    assert_eq!(world.send(piece(&a)).await.status, 200);
    let finish = format!("upload_phase=finish&video_id={video}");
    let stolen = world.post_form("/v26.0/201/video_reels", &b, &finish).await;
    assert_eq!(stolen.error_codes(), FOREIGN);
    let host = "https://graph-video.facebook.com/v26.0";
    let started = world
        .post_form(&format!("{host}/101/videos"), &a, "upload_phase=start&file_size=1")
        .await;
    let finish = format!(
        "upload_phase=finish&upload_session_id={}",
        started.text("upload_session_id")
    );
    let stolen = world.post_form(&format!("{host}/201/videos"), &b, &finish).await;
    assert_eq!(stolen.error_codes(), FOREIGN);
}

#[tokio::test]
async fn an_account_lists_its_phone_numbers_in_pages_and_its_token_acts_on_them() {
    let world = TestGraph::start().await;
    world.graph.set_phone_numbers("500", &["501", "502", "503"]);
    let (a, b) = (tenant(&world, "a", &["500"]), tenant(&world, "b", &["501", "600"]));
    let list = "/v26.0/500/phone_numbers?limit=2";
    let page = world.get(list, &a).await.json();
    let first = json!({
        "verified_name": "Fake Graph", "code_verification_status": "VERIFIED", "quality_rating": "GREEN",
        "display_phone_number": "+1 555-010-0501", "platform_type": "CLOUD_API",
        "throughput": {"level": "STANDARD"}, "id": "501",
    });
    assert_eq!(page["data"][0], first);
    let next = page["paging"]["next"].as_str().unwrap();
    assert!(next.starts_with("https://graph.facebook.com/v26.0/500/phone_numbers?limit=2&after="));
    let rest = world.get(next, &a).await.json();
    assert_eq!(rest["data"].as_array().unwrap().len(), 1);
    assert_eq!(rest["paging"].get("next"), None);
    let fields = world
        .get("/500/phone_numbers?fields=display_phone_number", &a)
        .await
        .json();
    assert_eq!(
        fields["data"][1],
        json!({"display_phone_number": "+1 555-010-0502", "id": "502"})
    );

    assert_eq!(world.get("/501", &a).await.status, 200);
    assert_eq!(world.get("/501", &b).await.status, 200, "it lists the number itself");
    assert_eq!(world.get("/502", &b).await.error_codes(), FOREIGN);
    assert_eq!(world.get(list, &b).await.error_codes(), FOREIGN);
    let unset = world.get("/600/phone_numbers", &b).await.json();
    assert_eq!(unset["data"][0]["id"], "106540352242922");

    let app = "1234567890123456|0123456789abcdef0123456789abcdef";
    let debug = world.get(&format!("/debug_token?input_token={b}"), app).await.json();
    let scopes = debug["data"]["granular_scopes"].as_array().unwrap().clone();
    assert!(
        scopes.iter().all(|scope| scope["target_ids"] == json!(["500", "600"])),
        "{scopes:?}"
    );
}

#[tokio::test]
async fn successors_have_the_objects_of_their_predecessors() {
    let world = TestGraph::start().await;
    let (a, b) = (
        tenant(&world, "a", &["101", "199"]),
        tenant(&world, "b", &["201", "299"]),
    );
    let client = "client_id=1234567890123456&client_secret=0123456789abcdef0123456789abcdef";
    let path = format!("/oauth/access_token?grant_type=fb_exchange_token&{client}&fb_exchange_token={a}");
    let exchanged = world.get(&path, "").await.text("access_token");

    let admin = world.graph.issue(None);
    let proof = super::support::appsecret_proof(&admin);
    let form = format!("business_app=1234567890123456&scope=x&appsecret_proof={proof}");
    let minted = world
        .post_form("/199/access_tokens", &admin, &form)
        .await
        .text("access_token");
    for token in [&exchanged, &minted] {
        assert_eq!(world.get("/101", token).await.status, 200);
        assert_eq!(world.get("/201", token).await.error_codes(), FOREIGN);
        assert_eq!(world.get("/me", token).await.json()["name"], "a");
    }
    let others = world.send(request("DELETE", "/199/access_tokens", &b, &[], "")).await;
    assert_eq!(others.error_codes(), FOREIGN);
    world
        .send(request("DELETE", "/199/access_tokens", &admin, &[], ""))
        .await;
    assert!(!world.graph.is_alive(&a) && !world.graph.is_alive(&minted));
    assert!(
        world.graph.is_alive(&b) && world.graph.is_alive(&admin),
        "only that system user's tokens end"
    );
}

#[tokio::test]
async fn targets_change_at_any_time_and_an_app_token_has_none() {
    let world = TestGraph::start().await;
    let (a, b) = (tenant(&world, "a", &["101"]), tenant(&world, "b", &["201"]));
    let moved = TokenChange {
        target_ids: Some(vec!["102".to_owned()]),
        kind: Some(TokenType::Page),
        ..TokenChange::default()
    };
    assert!(world.graph.update_token(&a, moved));
    assert_eq!(world.get("/101", &b).await.status, 200, "no token lists it any more");
    assert_eq!(world.get("/102", &b).await.error_codes(), FOREIGN);
    let app = "1234567890123456|0123456789abcdef0123456789abcdef";
    assert_eq!(world.get("/102", app).await.status, 200);
}

#[tokio::test]
async fn the_control_api_takes_ten_thousand_tokens_and_accounts_at_once() {
    let control = Control::start().await;
    let tokens: Vec<_> = (0..10_000)
        .map(|n| json!({"token": format!("EAAtenant{n}"), "name": format!("tenant-{n}"), "targets": [format!("7{n:05}")]}))
        .collect();
    let issued = control.ok("POST", "/tokens", Value::Array(tokens)).await;
    assert_eq!(issued["data"].as_array().unwrap().len(), 10_000);
    let accounts: serde_json::Map<String, Value> = (0..10_000)
        .map(|n| (format!("7{n:05}"), json!([format!("8{n:05}")])))
        .collect();
    control.ok("POST", "/accounts", Value::Object(accounts)).await;
    for (path, token, status) in [
        ("/809999", 9999, 200),
        ("/809999", 9998, 400),
        ("/709998/phone_numbers", 9998, 200),
    ] {
        let call = request("GET", path, &format!("EAAtenant{token}"), &[], "");
        assert_eq!(control.graph.handle(call).await.unwrap().status(), status, "{path}");
    }
    let (status, answer) = control.call("POST", "/tokens", json!([{"name": 7}])).await;
    assert_eq!(status, 400, "{answer}");
}
