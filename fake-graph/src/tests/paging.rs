use serde_json::{Value, json};

use super::support::TestGraph;

#[tokio::test]
async fn pages_lead_on_by_absolute_urls_with_the_token_only_if_it_was_a_parameter() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let path = "/v19.0/555/message_templates?limit=20&fields=name";
    let next = |answer: &Value| answer["paging"]["next"].as_str().map(str::to_owned);

    let mut page = world.get(path, &token).await.json();
    let mut seen = page["data"].as_array().unwrap().len();
    assert!(page["paging"].get("previous").is_none());
    while let Some(url) = next(&page) {
        assert!(url.starts_with("https://graph.facebook.com/v24.0/555/message_templates?"));
        assert!(!url.contains("access_token"));
        page = world.get(&url, &token).await.json();
        seen += page["data"].as_array().unwrap().len();
    }
    assert_eq!(seen, 57);
    let back = page["paging"]["previous"].as_str().unwrap();
    let back = world.get(back, &token).await.json();
    assert_eq!(back["data"][0]["name"], "fake_template_20");

    let with = world.get(&format!("{path}&access_token={token}"), "").await.json();
    let url = next(&with).unwrap();
    assert!(url.contains(&format!("access_token={token}")));
    assert_eq!(world.get(&url, "").await.status, 200);
    let wrong = world.get("/555/message_templates?after=nonsense", &token).await;
    assert_eq!(wrong.error_codes(), (400, 100, None));
}

const LIST: &str = "555/message_templates?limit=2&fields=name";

#[tokio::test]
async fn links_are_escaped_as_php_does_and_proofs_are_not_in_them() {
    let world = TestGraph::start().await;
    let token = "1234567890123456|0123456789abcdef0123456789abcdef";
    let target = format!("/v26.0/{LIST}&access_token={}", token.replace('|', "%7C"));
    let page = world.get(&target, "").await;
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(text.contains("https:\\/\\/graph.facebook.com\\/v26.0\\/555\\/message_templates?"));
    assert!(text.contains("access_token=1234567890123456\\u00257C0123456789abcdef"));
    let proof = super::support::appsecret_proof(token);
    let page = world.get(&format!("{target}&appsecret_proof={proof}"), "").await;
    let next = page.json()["paging"]["next"].as_str().unwrap().to_owned();
    assert!(!next.contains("proof"), "{next}");
    assert_eq!(page.json()["data"][0]["name"], "fake_template_0");
    assert!(page.json()["data"][0].get("language").is_none());
    assert_eq!(world.get(&next, "").await.status, 200);
}

#[tokio::test]
async fn links_in_a_batch_are_escaped_twice_and_have_the_batchs_token_if_it_was_a_parameter() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let batch = json!([{"method": "GET", "relative_url": LIST}]);
    let by_body = json!({"batch": batch, "access_token": token});
    for (header, body, within) in [("", by_body, true), (&token, json!({"batch": batch}), false)] {
        let answer = world.post_json("/v26.0", header, &body).await;
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let start = "\\\"next\\\":\\\"https:\\\\\\/\\\\\\/graph.facebook.com\\\\\\/v26.0\\\\\\/555";
        assert!(text.contains(start), "{text}");
        assert_eq!(text.contains(&format!("access_token={token}")), within);
    }
}

#[tokio::test]
async fn a_list_nested_in_its_account_has_pages_too() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let fields = "id,message_templates.limit(30)%7Bname,status%7D";
    let target = format!("/v26.0/555?fields={fields}&access_token={token}");
    let account: Value = world.get(&target, "").await.json();
    let list = &account["message_templates"];
    assert_eq!(list["data"].as_array().unwrap().len(), 30);
    assert!(list["data"][0]["category"].is_null());
    let next = list["paging"]["next"].as_str().unwrap();
    assert!(next.contains(&format!("access_token={token}&fields=name%2Cstatus&limit=30&after=")));
    let rest = world.get(next, "").await.json();
    assert_eq!(rest["data"].as_array().unwrap().len(), 27);
    assert!(rest["paging"].get("next").is_none());
    let bare = world.get(&format!("/555?fields={fields}"), &token).await.json();
    assert!(!bare.to_string().contains("access_token"));
}

#[tokio::test]
async fn a_summary_of_the_templates_has_the_fields_that_are_asked_for() {
    let world = TestGraph::start().await;
    let token = world.graph.issue(None);
    let path = "/v26.0/555/message_templates?limit=1";
    let plain = world.get(path, &token).await.json();
    assert!(plain.get("summary").is_none());
    assert_eq!(plain["data"][0]["parameter_format"], "POSITIONAL");
    let asked = format!("{path}&summary=total_count,are_translations_complete");
    let summed = world.get(&asked, &token).await.json();
    assert_eq!(
        summed["summary"],
        json!({"total_count": 57, "are_translations_complete": true})
    );
}
