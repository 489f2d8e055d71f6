use super::*;
use crate::graph::ClientCredentialPolicy;
use crate::graph::edit::apply;

fn scrubbed_by(batch: &str, policy: ClientCredentialPolicy) -> Result<(String, bool), ScrubError> {
    let mut report = ScrubReport::default();
    let rules = ScrubRules::new(policy, SignPolicy::Read);
    let edits = find_edits(&SourceText::from_slice(batch.as_bytes(), 0), rules, &mut report)?;
    let is_clean = edits.is_empty();
    let clean = String::from_utf8(apply(batch.as_bytes(), edits)).unwrap();
    assert!(report.has_batch);
    assert_eq!(is_clean, clean == batch);
    Ok((clean, report.has_item_tokens))
}

fn replaced(batch: &str) -> (String, bool) {
    scrubbed_by(batch, ClientCredentialPolicy::Replace).unwrap()
}

#[test]
fn an_items_token_is_removed_with_its_proof_wherever_it_is() {
    for (sent, left) in [
        (
            r#"[{"method":"GET","relative_url":"me?access_token=EAA&appsecret_proof=ab"}]"#,
            r#"[{"method":"GET","relative_url":"me"}]"#,
        ),
        (
            r#"[{"relative_url":"me?fields=id\u0026access_token=EAA\u0026limit=5"}]"#,
            r#"[{"relative_url":"me?fields=id\u0026limit=5"}]"#,
        ),
        (
            r#"[{"relative_url":"v19.0\/me?%61ccess_token=EAA&a=%20\u00e9"}]"#,
            r#"[{"relative_url":"v19.0\/me?a=%20\u00e9"}]"#,
        ),
        (
            r#"[{"relative_\u0075rl":"\u006de?a&acc\u0065ss_token=EAA"}]"#,
            r#"[{"relative_\u0075rl":"\u006de?a"}]"#,
        ),
        (
            r#"[ {"body":"message=a%26b&access_token=EAA&appsecret_time=1&appsecret_proof=ab", "x":1} ]"#,
            r#"[ {"body":"message=a%26b", "x":1} ]"#,
        ),
        (r#"[{"body":"access_token=EAA"}]"#, r#"[{"body":""}]"#),
        (
            r#"[{"body":"{\"access_token\":\"EAA\", \"a\":\"\\u0041\"}"}]"#,
            r#"[{"body":"{ \"a\":\"\\u0041\"}"}]"#,
        ),
        (
            r#"[{"body":{"a":1 , "access_token" : "EAA","b":2}}]"#,
            r#"[{"body":{"a":1 ,"b":2}}]"#,
        ),
        (
            r#"[{"access_token":"EAA","method":"GET","relative_url":"me?a=1&appsecret_proof=ab"}]"#,
            r#"[{"method":"GET","relative_url":"me?a=1"}]"#,
        ),
        (
            r#"[{"method":"GET","access_token":123,"appsecret_proof":"ab"},null,{"relative_url":"x"}]"#,
            r#"[{"method":"GET"},null,{"relative_url":"x"}]"#,
        ),
        // What only tolerant parsers read.
        (
            "[{method:'GET',relative_url:'me?access_token=EAA',access_token:EAA},]",
            "[{method:'GET',relative_url:'me'},]",
        ),
        (
            r#"["{\"relative_url\":\"me?access_token=EAA\"}"]"#,
            r#"["{\"relative_url\":\"me\"}"]"#,
        ),
        (
            r#"{"0":{"relative_url":"me?access_token=EAA"}}"#,
            r#"{"0":{"relative_url":"me"}}"#,
        ),
        (r#"[{"relative_url":"me?access_token=EAA"#, r#"[{"relative_url":"me"#),
    ] {
        assert_eq!(replaced(sent), (left.to_owned(), false));
        let refused = scrubbed_by(sent, ClientCredentialPolicy::Refuse);
        assert_eq!(refused, Err(ScrubError::ClientCredential), "{sent}");
    }
}

#[test]
fn placeholders_are_removed_under_every_policy() {
    let sent = r#"[{"relative_url":"me?access_token=null&a","access_token":null},{"body":"access_token=&b"}]"#;
    let left = r#"[{"relative_url":"me?a"},{"body":"b"}]"#;
    for policy in [
        ClientCredentialPolicy::Replace,
        ClientCredentialPolicy::Refuse,
        ClientCredentialPolicy::Keep,
    ] {
        let cleaned = scrubbed_by(sent, policy);
        assert_eq!(cleaned, Ok((left.to_owned(), false)));
    }
}

#[test]
fn each_item_is_scrubbed_by_itself() {
    let sent = r#"[{"relative_url":"a?access_token=1|s&appsecret_proof=ab"},{"relative_url":"b?access_token=EAA&appsecret_proof=cd"}]"#;
    let left = r#"[{"relative_url":"a?access_token=1|s&appsecret_proof=ab"},{"relative_url":"b"}]"#;
    assert_eq!(replaced(sent), (left.to_owned(), true));
    let kept = scrubbed_by(sent, ClientCredentialPolicy::Keep);
    assert_eq!(kept, Ok((sent.to_owned(), true)));
}

#[test]
fn an_app_token_is_removed_with_a_real_one_beside_it() {
    let sent = r#"[{"relative_url":"a?access_token=1%7Cs","body":"access_token=EAA&x"}]"#;
    assert_eq!(
        replaced(sent),
        (r#"[{"relative_url":"a","body":"x"}]"#.to_owned(), false)
    );
}

#[test]
fn parameters_that_are_not_credentials_are_unchanged() {
    for sent in [
        "",
        "[]",
        "null",
        "[1,\"access_token=EAA\",[{\"access_token\":\"EAA\"}]]",
        r#"[{"relative_url":"me?input_token=EAA&fb_exchange_token=EAA","name":"access_token"}]"#,
        r#"[{"relative_url":"access_token=EAA"}]"#,
        r#"[{"body":"a=access_token%3DEAA","attached_files":"access_token=EAA"}]"#,
        r#"[{"body":{"a":{"access_token":"EAA"}}}]"#,
        r#"[{"headers":["access_token: EAA"],"nested":{"access_token":"EAA"}}]"#,
    ] {
        assert_eq!(replaced(sent), (sent.to_owned(), false));
    }
}

#[test]
fn an_item_that_calls_a_token_endpoint_is_unchanged() {
    for (url, own) in [
        ("oauth/access_token?grant_type=fb_exchange_token&access_token=EAA", true),
        ("/v19.0/oauth/access_token?access_token=", false),
        ("https://graph.facebook.com/oauth/access_token?access_token=1|s", true),
    ] {
        let sent = format!(r#"[{{"relative_url":"{url}"}}]"#);
        assert_eq!(replaced(&sent), (sent.clone(), own), "{url}");
    }
}
