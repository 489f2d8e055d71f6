//! Forms.

use proptest::prelude::*;

use super::*;

fn replaced(body: &str) -> (String, ParameterCredential) {
    let (left, scrubbed) = scrub_in_memory(FORM, ClientCredentialPolicy::Replace, body.as_bytes()).unwrap();
    (String::from_utf8(left).unwrap(), scrubbed.credential)
}

#[test]
fn a_token_is_removed_with_one_ampersand_and_nothing_else() {
    for (sent, left) in [
        ("access_token=EAAG", ""),
        ("a=1&access_token=EAAG", "a=1"),
        ("access_token=EAAG&a=1", "a=1"),
        ("a=1&access_token=EAAG&b=%20", "a=1&b=%20"),
        ("&access_token=EAAG", ""),
        ("access_token=EAAG&", ""),
        ("a&&access_token=EAAG&&b", "a&&&b"),
        ("%61ccess_token=EAAG&b", "b"),
        ("a=1&access%5Ftoken=EAAG\r\n", "a=1"),
        ("+access_token=EAAG&a=1&\naccess.token=EAAG", "a=1"),
        ("access_token%00=EAAG&access_token[]=EAAG&access[token=EAAG&b", "b"),
        ("access_token=EAAG&appsecret_proof=ab&appsecret_time=1", ""),
        ("access_token=EAAG&access_token=&b=id,name", "b=id,name"),
        ("access_token=1%7Cs&access_token=EAAG&b", "b"),
    ] {
        let expected = (left.to_owned(), ParameterCredential::Removed);
        assert_eq!(replaced(sent), expected, "{sent}");
    }
}

#[test]
fn data_is_left_alone() {
    for sent in [
        "",
        "&",
        "a",
        "=",
        "a=1&a=1&&b&=c&",
        "input_token=EAAG&fb_exchange_token=EAAG&revoke_token=EAAG&code=EAAG&client_secret=EAAG",
        "access_tokens=EAAG&access_toke=EAAG&accesstoken&ACCESS_TOKEN=EAAG&a=access_token=EAAG",
        "access_token%=EAAG&%2561ccess_token=EAAG&access-token=EAAG",
        "appsecret_proofs=1&b=1&batches=1&%",
        "text=%zz%&url=https://e.com/?access_token%3DEAAG",
        "{\"access_token\":\"EAAG\"}",
    ] {
        assert_eq!(replaced(sent), (sent.to_owned(), ParameterCredential::None));
    }
}

#[test]
fn a_lone_app_token_keeps_its_place() {
    for (sent, left) in [
        (
            "access_token=12%7Cs&appsecret_proof=ab&a=1",
            "access_token=12%7Cs&appsecret_proof=ab&a=1",
        ),
        ("access_token=12|s&access_token=null&a=1", "access_token=12|s&a=1"),
    ] {
        assert_eq!(replaced(sent), (left.to_owned(), ParameterCredential::AppToken));
    }
    let many = "access_token=1|s&".repeat(8 * 1024);
    assert_eq!(replaced(&many), (many.clone(), ParameterCredential::AppToken));
}

#[test]
fn a_credential_that_is_too_long_is_refused() {
    let long = "a".repeat(17 * 1024);
    for body in [
        format!("access_token={long}"),
        format!("b&appsecret_proof={long}&c"),
        format!("batch={}", long.repeat(64)),
    ] {
        let left = scrub_in_memory(FORM, ClientCredentialPolicy::Replace, body.as_bytes());
        assert!(matches!(left, Err(ScrubError::CannotScrub(_))));
    }
    // Of any other length there may be any number.
    let many = "access_token=EAAG&".repeat(8 * 1024);
    let (left, _) = scrub_in_memory(FORM, ClientCredentialPolicy::Replace, many.as_bytes()).unwrap();
    assert_eq!(left, b"");
}

#[test]
fn other_parameters_may_have_any_length() {
    let long = "a".repeat(3 * 1024 * 1024);
    let sent = format!("access_token=E&text={long}&{long}");
    assert!(replaced(&sent).0 == format!("text={long}&{long}"));
}

#[test]
fn a_batch_is_reported() {
    for body in ["batch=[]", "a=1&%62atch=%5B%5D&b"] {
        let (left, scrubbed) = scrub_in_memory(FORM, ClientCredentialPolicy::Replace, body.as_bytes()).unwrap();
        assert_eq!(left, body.as_bytes());
        assert!(scrubbed.has_batch);
    }
    let (_, scrubbed) = scrub_in_memory(FORM, ClientCredentialPolicy::Replace, b"a=batch&batches").unwrap();
    assert!(!scrubbed.has_batch);
}

/// A parameter of each kind.
fn parameter() -> impl Strategy<Value = (TestParameter, Vec<u8>)> {
    let name = |name: &'static str| {
        proptest::collection::vec(0..3_u8, name.len()).prop_map(move |how| {
            let byte = |(byte, how): (u8, &u8)| match how {
                0 => format!("%{byte:02x}"),
                _ => char::from(byte).to_string(),
            };
            name.bytes().zip(&how).map(byte).collect::<String>()
        })
    };
    let proof = prop_oneof![name("appsecret_proof"), name("appsecret_time")];
    prop_oneof![
        "[abc%=+_ -~&&[^&]]{0,8}"
            .prop_filter("it would be a credential", |text| !text.contains("acc"))
            .prop_map(|text| (TestParameter::Data, text)),
        "(input_token|access_tokens|appsecret|batches|access_toke|b)(=[a-zA-Z0-9%=]{0,50})?"
            .prop_map(|text| (TestParameter::Data, text)),
        (proof, "(=[a-f0-9]{0,64})?").prop_map(|(name, value)| (TestParameter::Proof, name + &value)),
        (name("access_token"), "|=|=null|=None|=%20|=\\+|=undefine%64")
            .prop_map(|(name, value)| (TestParameter::Placeholder, name + &value)),
        (name("access_token"), "=[0-9]{1,9}(\\||%7c)[a-z=]{0,9}")
            .prop_map(|(name, value)| (TestParameter::App, name + &value)),
        (name("access_token"), "=(EAA|IGAA|%45)[a-zA-Z0-9=]{9,60}")
            .prop_map(|(name, value)| (TestParameter::Token, name + &value)),
    ]
    .prop_map(|(kind, text)| (kind, text.into_bytes()))
}

proptest! {
    #[test]
    fn a_scrubbed_form_equals_the_form_without_its_credentials(
        pieces in proptest::collection::vec(parameter(), 0..9),
    ) {
        let join = |pieces: &[&[u8]]| pieces.join(&b'&');
        // One parameter that is empty and none are the same form.
        prop_assume!(pieces.len() != 1 || !pieces[0].1.is_empty());
        assert_follows_rules_in_memory(&PiecewiseBody { content_type: FORM, pieces: &pieces, join: &join });
    }

    #[test]
    fn no_secret_survives_replacement(
        text in "([a&=%6]|access_token|access_token=|%61ccess_token=|&access_token=|EAAGSECRET|appsecret_proof=){0,12}",
    ) {
        let (left, _) = replaced(&text);
        for parameter in left.split('&') {
            let text = parameter.replace("%61", "a");
            prop_assert!(!text.starts_with("access_token=") && text != "access_token");
        }
    }
}
