use proptest::prelude::*;

use super::*;
use crate::graph::{ClientCredentialPolicy, ParameterCredential, SignPolicy};

const fn rules(credentials: ClientCredentialPolicy) -> ScrubRules {
    ScrubRules::new(credentials, SignPolicy::Read)
}

fn from_app(target: &str, policy: ClientCredentialPolicy) -> Result<(String, ParameterCredential), TargetError> {
    let uri: Uri = target.parse().unwrap();
    let cleaned = Target::from_app(&uri, rules(policy))?;
    Ok((cleaned.target.0.to_string(), cleaned.report.credential))
}

fn scrubbed(target: &str) -> (String, ParameterCredential) {
    from_app(target, ClientCredentialPolicy::Replace).unwrap()
}

#[test]
fn path_and_query_are_passed_byte_for_byte() {
    for sent in [
        "/",
        "/a%2Fb%2fc%3Ad%25",
        "/x?",
        "/?a=1&a=2&&=v",
        "//d//",
        "/;p",
        "/%zz?%zz",
        "/./a/../b?q=../..",
        "/v19.0/upload:MTphdHRhY2g=?sig=ARZqkGCA&x=a%7Cb",
        "/v19.0/1/insights?metric[0]=a&filters=[{%22f%22:1}]&since=+2d",
        "/?a=ä&b=%C3%A4",
        "/me?input_token=EAAG&fb_exchange_token=EAAG&revoke_token=EAAG&xaccess_token=1&access_tokens=1",
        "/me?access_token_x=1&accesstoken=1&ACCESS_TOKEN=1&access.tokens=1&_access_token=1&a=access_token%3D1",
        "/access_token=1",
        "/me?a?access_token=1",
        "/me?access%255Ftoken=1",
        "/me?access-token=1&access_token%01=1&access_token%=1&access_token%2=1",
        "/me?appsecret=1&appsecret_proofs=1&appsecret%2Dproof=1",
    ] {
        assert_eq!(scrubbed(sent), (sent.to_owned(), ParameterCredential::None));
    }
}

#[test]
fn a_target_without_credentials_is_the_apps_own_buffer() {
    let sent = Bytes::from("/v19.0/1/messages?a=1".to_owned());
    let uri = Uri::from_maybe_shared(sent.clone()).unwrap();
    let cleaned = Target::from_app(&uri, rules(ClientCredentialPolicy::Replace)).unwrap();
    let outgoing = cleaned.target.to_uri();
    assert_eq!(outgoing, "/v19.0/1/messages?a=1");
    assert_eq!(outgoing.path().as_ptr(), sent.as_ptr());
}

#[test]
fn a_token_is_removed_with_one_ampersand_and_nothing_else() {
    for (sent, left) in [
        ("/me?access_token=EAAG", "/me"),
        ("/me?a=1&access_token=EAAG", "/me?a=1"),
        ("/me?access_token=EAAG&a=1", "/me?a=1"),
        ("/me?a=1&access_token=EAAG&b=%20", "/me?a=1&b=%20"),
        ("/me?&access_token=EAAG", "/me"),
        ("/me?access_token=EAAG&", "/me"),
        ("/me?a&&access_token=EAAG&&b", "/me?a&&&b"),
        ("/me?%61ccess_token=EAAG&b", "/me?b"),
        ("/me?%61%63%63%65%73%73%5f%74%6F%6b%65%6e=EAAG", "/me"),
        ("/me?access_token=EAAG&a=1&access_token=EAAH", "/me?a=1"),
        ("/me?access_token=EAAG=b=c", "/me"),
        ("/me?access_token=EAAG&appsecret_proof=ab&appsecret_time=1", "/me"),
        (
            "/me?access_token=EAAG&access_token=&fields=id,name",
            "/me?fields=id,name",
        ),
        ("/me?access_token=EAAG&access_token=1%7Cs", "/me"),
        ("/upload:YQ==?sig=A&access_token=EAAG", "/upload:YQ==?sig=A"),
    ] {
        assert_eq!(
            scrubbed(sent),
            (left.to_owned(), ParameterCredential::Removed),
            "{sent}"
        );
        assert_eq!(
            from_app(sent, ClientCredentialPolicy::Refuse),
            Err(TargetError::Scrub(ScrubError::ClientCredential)),
            "{sent}"
        );
    }
}

#[test]
fn placeholders_are_removed_under_every_policy_and_never_refused() {
    for value in [
        "",
        "=",
        "=null",
        "=None",
        "=undefined",
        "=NULL",
        "=%6Eull",
        "=+",
        "=%20",
    ] {
        let sent = format!("/me?a=1&access_token{value}&appsecret_proof=ab");
        for policy in [
            ClientCredentialPolicy::Replace,
            ClientCredentialPolicy::Refuse,
            ClientCredentialPolicy::Keep,
        ] {
            let expected = ("/me?a=1".to_owned(), ParameterCredential::Placeholder);
            assert_eq!(from_app(&sent, policy), Ok(expected), "{sent} {policy:?}");
        }
    }
}

#[test]
fn a_proof_without_a_token_is_removed_because_graphwards_token_has_another() {
    for policy in [
        ClientCredentialPolicy::Replace,
        ClientCredentialPolicy::Refuse,
        ClientCredentialPolicy::Keep,
    ] {
        let expected = ("/me?a=1".to_owned(), ParameterCredential::None);
        let sent = "/me?appsecret_time=1&a=1&appsecret%5Fproof=ab";
        assert_eq!(from_app(sent, policy), Ok(expected));
    }
}

#[test]
fn an_app_token_stays_with_its_proof_under_every_policy() {
    for sent in [
        "/1/subscriptions?access_token=123|abc&appsecret_proof=ab",
        "/1/subscriptions?access_token=123%7Cabc",
        "/1/subscriptions?a&%61ccess_token=%31%7c&access_token=2|b",
    ] {
        for policy in [
            ClientCredentialPolicy::Replace,
            ClientCredentialPolicy::Refuse,
            ClientCredentialPolicy::Keep,
        ] {
            let expected = (sent.to_owned(), ParameterCredential::AppToken);
            assert_eq!(from_app(sent, policy), Ok(expected), "{sent} {policy:?}");
        }
    }
    // Unless a placeholder after it would win.
    let mixed = scrubbed("/1?access_token=1|s&access_token=null");
    assert_eq!(mixed, ("/1?access_token=1|s".to_owned(), ParameterCredential::AppToken));
}

#[test]
fn a_kept_token_stays_with_its_proof() {
    let sent = "/me?access_token=EAAG&appsecret_proof=ab&appsecret_time=1&a";
    let expected = (sent.to_owned(), ParameterCredential::Kept);
    assert_eq!(from_app(sent, ClientCredentialPolicy::Keep), Ok(expected));
}

#[test]
fn requests_to_token_endpoints_are_unchanged_except_for_names_of_tenants() {
    let query = "grant_type=fb_exchange_token&access_token=EAAG&appsecret_proof=ab";
    for path in [
        "/oauth/access_token",
        "/v19.0/oauth/access_token",
        "//v2.3//OAuth",
        "/%6Fauth/x",
    ] {
        let sent = format!("{path}?{query}");
        for policy in [
            ClientCredentialPolicy::Replace,
            ClientCredentialPolicy::Refuse,
            ClientCredentialPolicy::Keep,
        ] {
            let unchanged = (sent.clone(), ParameterCredential::Kept);
            assert_eq!(from_app(&sent, policy), Ok(unchanged.clone()), "{sent}");
            let named = format!("{sent}&access_token=tenant:acme&access_token=");
            assert_eq!(from_app(&named, policy), Ok(unchanged), "{named}");
            let rules = ScrubRules::new(policy, SignPolicy::Ignore);
            let single = Target::from_app(&named.parse().unwrap(), rules).unwrap();
            assert_eq!(single.target.0, *named, "with one tenant, it is a token");
        }
    }
    for path in [
        "/me/oauth",
        "/oauth2/x",
        "/v19.0/me/oauth",
        "/v1x/oauth",
        "/v19.0/v19.0/oauth",
        "/",
    ] {
        let uri: Uri = path.parse().unwrap();
        assert!(!Target::from_uri(&uri).unwrap().is_token_endpoint(), "{path}");
    }
}

#[test]
fn a_target_that_is_not_a_path_is_refused() {
    for text in ["*", "graph.facebook.com:443", "localhost"] {
        assert_eq!(
            from_app(text, ClientCredentialPolicy::Replace),
            Err(TargetError::NotAPath),
            "{text}"
        );
    }
    assert_eq!(scrubbed("http://127.0.0.1:8080/me?a").0, "/me?a");
    assert_eq!(scrubbed("http://127.0.0.1:8080?access_token=x&a").0, "/?a");
    assert_eq!(scrubbed("http://127.0.0.1:8080").0, "/");
}

#[test]
fn a_path_template_shows_edge_names_and_versions_only() {
    for (sent, shown) in [
        ("/", "/"),
        (
            "/v19.0/106540352242922/messages?access_token=EAAG",
            "/v19.0/{id}/messages",
        ),
        ("/v19.0/me/message_templates", "/v19.0/me/message_templates"),
        ("/act_123/campaigns", "/{id}/campaigns"),
        ("/123_456", "/{id}"),
        ("/upload:MTphdHRhY2g=?sig=ARZ", "/{id}"),
        ("/v19.0/EAABsbCS1iHgBAKZC/x", "/v19.0/{id}/x"),
        ("/abcdefghijklmnopqrstuvwxyzabcdefg", "/{id}"),
        ("/a%2Fb/c", "/{id}/c"),
        ("//d//", "//d//"),
        ("/a/b/c/d/e/f/g/h", "/a/b/c/d/e/f/…"),
        ("/v19.0123456789/x", "/{id}/x"),
    ] {
        let target = Target::from_uri(&sent.parse().unwrap()).unwrap();
        assert_eq!(target.path_template().to_string(), shown);
        assert_eq!(format!("{target:?}"), format!("Target({shown})"));
    }
}

/// Parameters that matter, in many spellings, between others that do not.
fn parameter() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("access_token"),
        Just("%61ccess_token"),
        Just("access%5ftoken"),
        Just("appsecret_proof"),
        Just("appsecret_time"),
        Just("input_token"),
        Just("access_tokens"),
        Just("a"),
        Just(""),
        Just("%zz+"),
    ];
    let value = prop_oneof![
        Just(""),
        Just("=null"),
        Just("=EAAG"),
        Just("=1|s"),
        Just("=1%7Cs"),
        Just("=%"),
        Just("=+="),
        Just("="),
    ];
    (name, value).prop_map(|(name, value)| format!("{name}{value}"))
}

proptest! {
    #[test]
    fn no_credential_survives_replacing_and_nothing_else_is_lost(
        parameters in prop::collection::vec(parameter(), 1..8),
        path in "(/v19\\.0)?/[a-z0-9:;%./]{0,20}",
    ) {
        prop_assume!(!path.to_lowercase().contains("oauth"));
        let sent = format!("{path}?{}", parameters.join("&"));
        let (left, credential) = scrubbed(&sent);
        let (left_path, left_query) = left.split_once('?').unwrap_or((&left, ""));
        prop_assert_eq!(left_path, &path);

        let is_credential = |parameter: &&str| {
            let name = parameter.split('=').next().unwrap_or_default();
            let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
            ["access_token", "appsecret_proof", "appsecret_time"].contains(&&*name)
        };
        let data = |query: &str| -> Vec<String> {
            query.split('&').filter(|p| !p.is_empty() && !is_credential(p)).map(str::to_owned).collect()
        };
        prop_assert_eq!(data(left_query), data(&parameters.join("&")));
        if credential != ParameterCredential::AppToken {
            prop_assert!(!left_query.split('&').any(|parameter| is_credential(&parameter)));
        }
        prop_assert!(!left_query.split('&').any(|parameter| is_credential(&parameter) && parameter.ends_with("=EAAG") && !parameter.contains("secret")));
        prop_assert_eq!(&scrubbed(&left).0, &left);
    }

    #[test]
    fn any_target_is_cleaned_or_refused(text in "[/?&=%+#a-z_:|\\[\\]{}\"A-Z0-9]{0,60}") {
        if let Ok(uri) = format!("/{text}").parse::<Uri>() {
            for policy in [ClientCredentialPolicy::Replace, ClientCredentialPolicy::Refuse, ClientCredentialPolicy::Keep] {
                drop(Target::from_app(&uri, rules(policy)));
            }
        }
    }
}

#[test]
fn a_batch_in_the_query_is_seen_by_its_whole_name_and_its_items_are_cleaned() {
    let scrub = |target: &str| {
        let cleaned = Target::from_app(&target.parse().unwrap(), rules(ClientCredentialPolicy::Replace)).unwrap();
        (cleaned.target.0.to_string(), cleaned.report)
    };
    for target in ["/?batch=[]", "/v25.0?a=1&batch=%5B%5D", "/?%62atch"] {
        let (left, found) = scrub(target);
        assert_eq!(left, target);
        assert!(found.has_batch && !found.has_item_tokens, "{target}");
    }
    for target in ["/batch", "/?a=batch", "/?batched=1&xbatch=2", "/"] {
        assert!(!scrub(target).1.has_batch, "{target}");
    }
    let stale = "/?batch=%5B%7B%22relative_url%22%3A%22me%3Faccess_token%3DEAAG%26a%3D1%22%7D%5D&b=2";
    let (left, found) = scrub(stale);
    assert!(left.ends_with("&b=2") && !left.contains("EAAG") && !left.contains("access_token"));
    assert!(found.has_batch && found.is_changed && !found.has_item_tokens);
    let own = "/?batch=%5B%7B%22relative_url%22%3A%22me%3Faccess_token%3D12%257Cs%22%7D%5D";
    let (left, found) = scrub(own);
    assert_eq!(left, own);
    assert!(found.has_batch && found.has_item_tokens);
}
