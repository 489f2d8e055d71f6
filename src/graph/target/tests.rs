use proptest::prelude::*;

use super::*;
use crate::graph::QueryCredential;

fn from_app(target: &str, policy: Presented) -> Result<(String, QueryCredential), TargetError> {
    let uri: Uri = target.parse().unwrap();
    let cleaned = Target::from_app(&uri, policy)?;
    Ok((cleaned.target.0.to_string(), cleaned.found.credential))
}

fn replaced(target: &str) -> (String, QueryCredential) {
    from_app(target, Presented::Replace).unwrap()
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
        "/me?access_token_x=1&accesstoken=1&ACCESS_TOKEN=1&access.token=1&_access_token=1&a=access_token%3D1",
        "/access_token=1",
        "/me?a?access_token=1",
        "/me?access%255Ftoken=1",
        "/me?access+token=1&access_token%00=1&access_token%=1&access_token%2=1",
        "/me?appsecret=1&appsecret_proofs=1&appsecret%2Dproof=1",
    ] {
        assert_eq!(replaced(sent), (sent.to_owned(), QueryCredential::None));
    }
}

#[test]
fn a_target_without_credentials_is_the_apps_own_buffer() {
    let sent = Bytes::from("/v19.0/1/messages?a=1".to_owned());
    let uri = Uri::from_maybe_shared(sent.clone()).unwrap();
    let cleaned = Target::from_app(&uri, Presented::Replace).unwrap();
    let origin = Origin::parse("https://graph.facebook.com").unwrap();
    let outgoing = cleaned.target.to_uri(&origin);
    assert_eq!(outgoing, "https://graph.facebook.com/v19.0/1/messages?a=1");
    assert_eq!(outgoing.path().as_ptr(), sent.as_ptr());
}

#[test]
fn a_stale_token_goes_with_one_ampersand_and_nothing_else() {
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
        (
            "/me?access_token=EAAG&appsecret_proof=ab&appsecret_time=1",
            "/me",
        ),
        (
            "/me?access_token=EAAG&access_token=&fields=id,name",
            "/me?fields=id,name",
        ),
        ("/me?access_token=EAAG&access_token=1%7Cs", "/me"),
        ("/upload:YQ==?sig=A&access_token=EAAG", "/upload:YQ==?sig=A"),
    ] {
        assert_eq!(
            replaced(sent),
            (left.to_owned(), QueryCredential::Stale),
            "{sent}"
        );
        assert_eq!(
            from_app(sent, Presented::Refuse),
            Err(TargetError::Presented),
            "{sent}"
        );
    }
}

#[test]
fn placeholders_go_under_every_policy_and_are_never_refused() {
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
        for policy in [Presented::Replace, Presented::Refuse, Presented::Keep] {
            let expected = ("/me?a=1".to_owned(), QueryCredential::Placeholder);
            assert_eq!(from_app(&sent, policy), Ok(expected), "{sent} {policy:?}");
        }
    }
}

#[test]
fn a_proof_without_a_token_goes_because_ours_has_another() {
    for policy in [Presented::Replace, Presented::Refuse, Presented::Keep] {
        let expected = ("/me?a=1".to_owned(), QueryCredential::None);
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
        for policy in [Presented::Replace, Presented::Refuse, Presented::Keep] {
            let expected = (sent.to_owned(), QueryCredential::AppToken);
            assert_eq!(from_app(sent, policy), Ok(expected), "{sent} {policy:?}");
        }
    }
    // Unless a placeholder after it would win.
    let mixed = replaced("/1?access_token=1|s&access_token=null");
    assert_eq!(
        mixed,
        ("/1?access_token=1|s".to_owned(), QueryCredential::AppToken)
    );
}

#[test]
fn a_kept_token_stays_with_its_proof() {
    let sent = "/me?access_token=EAAG&appsecret_proof=ab&appsecret_time=1&a";
    let expected = (sent.to_owned(), QueryCredential::Kept);
    assert_eq!(from_app(sent, Presented::Keep), Ok(expected));
}

#[test]
fn token_endpoints_are_left_entirely_alone() {
    let query = "grant_type=fb_exchange_token&access_token=EAAG&appsecret_proof=ab&access_token=";
    for path in [
        "/oauth/access_token",
        "/v19.0/oauth/access_token",
        "//v2.3//OAuth",
        "/%6Fauth/x",
    ] {
        let sent = format!("{path}?{query}");
        for policy in [Presented::Replace, Presented::Refuse, Presented::Keep] {
            let expected = (sent.clone(), QueryCredential::None);
            assert_eq!(from_app(&sent, policy), Ok(expected), "{sent}");
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
        assert!(
            !Target::as_sent(&uri).unwrap().is_token_endpoint(),
            "{path}"
        );
    }
}

#[test]
fn what_is_no_path_is_refused() {
    for text in ["*", "graph.facebook.com:443", "localhost"] {
        assert_eq!(
            from_app(text, Presented::Replace),
            Err(TargetError::Form),
            "{text}"
        );
    }
    assert_eq!(replaced("http://127.0.0.1:8080/me?a").0, "/me?a");
    assert_eq!(replaced("http://127.0.0.1:8080?access_token=x&a").0, "/?a");
    assert_eq!(replaced("http://127.0.0.1:8080").0, "/");
}

#[test]
fn a_template_shows_words_and_versions_and_nothing_else() {
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
        let target = Target::as_sent(&sent.parse().unwrap()).unwrap();
        assert_eq!(target.template().to_string(), shown);
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
        let (left, credential) = replaced(&sent);
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
        if credential != QueryCredential::AppToken {
            prop_assert!(!left_query.split('&').any(|parameter| is_credential(&parameter)));
        }
        prop_assert!(!left_query.split('&').any(|parameter| is_credential(&parameter) && parameter.ends_with("=EAAG") && !parameter.contains("secret")));
        prop_assert_eq!(&replaced(&left).0, &left);
    }

    #[test]
    fn any_target_is_cleaned_or_refused(text in "[/?&=%+#a-z_:|\\[\\]{}\"A-Z0-9]{0,60}") {
        if let Ok(uri) = format!("/{text}").parse::<Uri>() {
            for policy in [Presented::Replace, Presented::Refuse, Presented::Keep] {
                drop(Target::from_app(&uri, policy));
            }
        }
    }
}

#[test]
fn a_batch_in_the_query_is_seen_by_its_whole_name_and_its_items_are_cleaned() {
    let clean = |target: &str| {
        let cleaned = Target::from_app(&target.parse().unwrap(), Presented::Replace).unwrap();
        (cleaned.target.0.to_string(), cleaned.found)
    };
    for target in ["/?batch=[]", "/v25.0?a=1&batch=%5B%5D", "/?%62atch"] {
        let (left, found) = clean(target);
        assert_eq!(left, target);
        assert!(found.batch && !found.own_items, "{target}");
    }
    for target in ["/batch", "/?a=batch", "/?batched=1&xbatch=2", "/"] {
        assert!(!clean(target).1.batch, "{target}");
    }
    let stale =
        "/?batch=%5B%7B%22relative_url%22%3A%22me%3Faccess_token%3DEAAG%26a%3D1%22%7D%5D&b=2";
    let (left, found) = clean(stale);
    assert!(left.ends_with("&b=2") && !left.contains("EAAG") && !left.contains("access_token"));
    assert!(found.batch && found.changed && !found.own_items);
    let own = "/?batch=%5B%7B%22relative_url%22%3A%22me%3Faccess_token%3D12%257Cs%22%7D%5D";
    let (left, found) = clean(own);
    assert_eq!(left, own);
    assert!(found.batch && found.own_items);
}
