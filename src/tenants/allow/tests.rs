use proptest::prelude::*;

use super::*;

fn rules(rules: &[&str]) -> Arc<AllowRules> {
    let rules: Vec<AllowRule> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    AllowRules::limiting(&rules).unwrap()
}

fn allows(rules: &AllowRules, method: &str, path: &str) -> bool {
    rules.check(method, path, &Calls::default()).is_ok()
}

/// The calls of a form.
fn calls(form: &str) -> Calls {
    let mut calls = Calls::default();
    calls.add_form(form.as_bytes());
    calls
}

#[test]
fn a_rule_says_what_is_wrong_with_it() {
    for (text, expected) in [
        ("", AllowRuleError::Shape),
        ("/{id}", AllowRuleError::Shape),
        ("sendonly", AllowRuleError::Shape),
        ("post /{id}", AllowRuleError::Method),
        ("HEAD /{id}", AllowRuleError::Method),
        ("GET {id}", AllowRuleError::NoSlash),
        ("GET  /{id}", AllowRuleError::NoSlash),
        ("GET /{id}?fields=id", AllowRuleError::Query),
        ("GET /v25.0/{id}", AllowRuleError::Version),
        ("GET /{phone}", AllowRuleError::Segment),
        ("GET /{id}x", AllowRuleError::Segment),
        ("GET /{id}//messages", AllowRuleError::Segment),
        ("GET /../me", AllowRuleError::Segment),
        ("GET /m%65", AllowRuleError::Segment),
        ("GET /**/messages", AllowRuleError::Segment),
        ("GET /a**", AllowRuleError::Segment),
        ("GET /me ", AllowRuleError::Segment),
    ] {
        assert_eq!(text.parse::<AllowRule>().unwrap_err(), expected, "{text}");
    }
    let rule = "POST /{id}/messages".parse::<AllowRule>().unwrap();
    assert_eq!(rule.to_string(), "POST /{id}/messages");
}

#[test]
fn a_path_is_allowed_in_each_version_and_in_no_other_shape() {
    let rules = rules(&[
        "POST /{id}/messages",
        "GET /{id}",
        "GET /me",
        "POST /upload:{id}",
        "GET /act_{id}",
    ]);
    for (method, path) in [
        ("POST", "/v25.0/106540352242922/messages"),
        ("POST", "/106540352242922/messages/"),
        ("POST", "/v25.0//10%36/m%65ssages"),
        ("GET", "/v25.0/1784_99"),
        ("HEAD", "/1"),
        ("GET", "/v1.0/me"),
        ("GET", "/act_17"),
        ("POST", "/v25.0/upload:MTphdHRh="),
    ] {
        assert!(allows(&rules, method, path), "{method} {path}");
    }
    for (method, path) in [
        ("POST", "/"),
        ("POST", "/v25.0/1"),
        ("DELETE", "/v25.0/1"),
        ("OPTIONS", "/v25.0/1/messages"),
        ("post", "/v25.0/me/messages"),
        ("POST", "/v25.0/1/Messages"),
        ("POST", "/v25.0/messages"),
        ("POST", "/V25.0/messages"),
        ("POST", "/v25.0/v24.0/messages"),
        ("POST", "/v25.0/1/messages/2"),
        ("POST", "/v25.0/1/register/../messages"),
        ("POST", "/v25.0/../1/messages/.."),
        ("POST", "/v25.0/1%2Fmessages"),
        ("POST", "/v25.0/1/messages%2F..%2Fregister"),
        ("POST", "/v25.0/1/m%2565ssages"),
        ("POST", "/v25.0/1;x/messages"),
        ("POST", "/v25.0/1/messages%00"),
        ("POST", "/v25.0/1/messages;a=b"),
        ("POST", "/v25.0/1\\..\\2/messages"),
        ("GET", "/debug_token"),
        ("GET", "/v25.0/oauth/access_token"),
        ("GET", "/upload:MTph"),
        ("POST", "/upload:"),
    ] {
        assert!(!allows(&rules, method, path), "{method} {path}");
    }
}

#[test]
fn another_method_must_be_allowed_besides_the_requests_own() {
    let reading = rules(&["read-only"]);
    assert!(reading.check("GET", "/1", &calls("method=get")).is_ok());
    for (method, form) in [
        ("GET", "method=delete"),
        ("POST", "method=get"),
        ("GET", "method=get&method=post"),
        ("GET", "method=x"),
    ] {
        assert!(reading.check(method, "/1", &calls(form)).is_err(), "{method} {form}");
    }
    assert!(rules(&["* /{id}"]).check("GET", "/1", &calls("method=x")).is_ok());
}

#[test]
fn a_batch_is_allowed_if_each_item_is_and_the_first_other_one_is_named() {
    let sending = rules(&["send-only"]);
    let send = r#"{"method":"POST","relative_url":"v25.0/1/messages","body":"to=1"}"#;
    let good = calls(&format!("batch=[{send},{send}]"));
    assert!(sending.check("POST", "/v25.0/", &good).is_ok());
    let bad = calls(&format!(
        r#"batch=[{send},{{"method":"DELETE","relative_url":"1?x=1"}}]"#
    ));
    let refused = sending.check("POST", "/", &bad).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "it does not allow DELETE /{id} in item 2 of the batch"
    );
    for (method, path, form) in [
        ("POST", "/", "a=b".to_owned()),
        ("POST", "/", "batch=[]".to_owned()),
        ("POST", "/", format!("batch=[{send}]&ids=1,2")),
        ("POST", "/", format!("batch=[{send}]&method=delete")),
        ("DELETE", "/", format!("batch=[{send}]")),
        ("POST", "/2/register", format!("batch=[{send}]")),
        ("POST", "/", format!("batch=[{send}]&batch=[7]")),
    ] {
        assert!(
            sending.check(method, path, &calls(&form)).is_err(),
            "{method} {path} {form}"
        );
    }
}

#[test]
fn the_sets_allow_what_their_names_say() {
    let (sending, reading) = (rules(&["send-only"]), rules(&["read-only"]));
    for (method, path, sends, reads) in [
        ("POST", "/v25.0/1/messages", true, false),
        ("POST", "/me/messages", true, false),
        ("POST", "/1/media", true, false),
        ("GET", "/1", false, true),
        ("GET", "/whatsapp_business/attachments/", false, true),
        ("GET", "/", false, true),
        ("DELETE", "/1", false, false),
        ("POST", "/1/register", false, false),
        ("GET", "/oauth/access_token", false, false),
        ("GET", "/v25.0/refresh_access_token", false, false),
    ] {
        assert_eq!(allows(&sending, method, path), sends, "{method} {path}");
        assert_eq!(allows(&reading, method, path), reads, "{method} {path}");
    }
    let everything = ["send-only", "everything"].map(|rule| rule.parse().unwrap());
    assert!(AllowRules::limiting(&everything).is_none());
}

/// The same rule by texts: what a path looks like once each id of it is `{id}`.
fn naive(template: &str, path: &str) -> bool {
    let shape: Vec<&str> = path
        .split('/')
        .filter(|segment| !segment.is_empty() && *segment != "v25.0")
        .map(|segment| {
            if segment.contains(|letter: char| letter.is_ascii_digit()) {
                "{id}"
            } else {
                segment
            }
        })
        .collect();
    format!("/{}", shape.join("/")) == template
}

proptest! {
    #[test]
    fn a_rule_allows_what_looks_like_it(
        template in prop::collection::vec(prop::sample::select(vec!["{id}", "me", "messages"]), 0..4),
        path in prop::collection::vec(prop::sample::select(vec!["1", "a2_b", "me", "messages", ""]), 0..5),
        version in prop::sample::select(vec!["", "/v25.0"]),
    ) {
        let template = format!("/{}", template.join("/"));
        let path = format!("{version}/{}", path.join("/"));
        let rules = rules(&[&format!("GET {template}")]);
        prop_assert_eq!(allows(&rules, "GET", &path), naive(&template, &path), "{} {}", template, path);
    }
}
