//! Names of tenants in the place of a token.

use super::*;

const JSON: &str = "application/json";
const MULTIPART: &str = "multipart/form-data; boundary=b";

#[test]
fn a_tenants_name_in_the_place_of_a_token_is_removed_under_every_policy_and_reported() {
    for (content_type, body, forwarded) in [
        (FORM, "a=1&access_token=tenant%3aacme&b=2", "a=1&b=2"),
        (FORM, "%61ccess_token=tenant:acme", ""),
        (JSON, r#"{"access_token":"tenant:acme","a":1}"#, r#"{"a":1}"#),
        (JSON, r#"{"a":1,"access_token":"\u0074enant:acme"}"#, r#"{"a":1}"#),
        (
            MULTIPART,
            "--b\r\nContent-Disposition: form-data; name=\"access_token\"\r\n\r\ntenant:acme\r\n--b--\r\n",
            "--b--\r\n",
        ),
        (
            JSON,
            r#"{"batch":[{"relative_url":"me?access_token=tenant:acme"}]}"#,
            r#"{"batch":[{"relative_url":"me"}]}"#,
        ),
        (
            JSON,
            r#"{"batch":[{"access_token":"tenant:acme","relative_url":"me"}]}"#,
            r#"{"batch":[{"relative_url":"me"}]}"#,
        ),
        (
            JSON,
            r#"{"batch":[{"relative_url":"me","body":"a=1&access_token=tenant%3Aacme"}]}"#,
            r#"{"batch":[{"relative_url":"me","body":"a=1"}]}"#,
        ),
        (
            FORM,
            "batch=[{\"relative_url\":\"me\",\"body\":{\"access_token\":\"tenant:acme\",\"a\":1}}]",
            "batch=[{\"relative_url\":\"me\",\"body\":{\"a\":1}}]",
        ),
    ] {
        for policy in POLICIES {
            let (left, report) = scrub_in_memory(content_type, policy, body.as_bytes()).unwrap();
            assert_eq!(String::from_utf8_lossy(&left), forwarded, "{body}");
            assert!(!report.credential.is_forwarded(), "{body}");
            let is_kept_elsewhere = policy == ClientCredentialPolicy::KeepAll && body.contains("batch");
            assert_eq!(report.has_item_tokens, is_kept_elsewhere, "{body}");
            assert_eq!(report.signs.unwrap().token_slots, ["acme".into()], "{body}");
        }
    }
}

#[test]
fn a_proof_of_the_name_goes_with_it_and_real_credentials_keep_their_rules() {
    let scrub = |policy, form: &str| scrub_in_memory(FORM, policy, form.as_bytes());
    let (replace, keep) = (ClientCredentialPolicy::Replace, ClientCredentialPolicy::Keep);
    let (left, _) = scrub(replace, "access_token=tenant:a&appsecret_proof=1f&b=2").unwrap();
    assert_eq!(left, b"b=2");
    let (left, report) = scrub(replace, "access_token=tenant:a&access_token=1|s").unwrap();
    assert_eq!(left, b"access_token=1|s");
    assert_eq!(report.credential, ParameterCredential::AppToken);
    let (left, report) = scrub(keep, "access_token=tenant:a&access_token=EAAG").unwrap();
    assert_eq!(left, b"access_token=EAAG");
    assert_eq!(report.signs.unwrap().token_slots, ["a".into()]);
}

#[test]
fn several_names_and_the_ids_of_batch_items_are_reported_once_each() {
    let batch = r#"{"batch":[
        {"relative_url":"106/messages?access_token=tenant:a"},
        {"relative_url":"https://graph.facebook.com/v25.0/106?access_token=tenant:b"},
        "{\"relative_url\":\"99?phone_number_id=107\"}"]}"#;
    let (_, report) = scrub_in_memory(JSON, ClientCredentialPolicy::Replace, batch.as_bytes()).unwrap();
    let signs = report.signs.unwrap();
    assert_eq!(signs.token_slots, ["a".into(), "b".into()]);
    assert_eq!(signs.object_ids, ["106".into(), "99".into(), "107".into()]);
}

#[test]
fn a_form_that_streams_reports_the_name_at_its_end() {
    let form = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nx\r\n\
                --b\r\nContent-Disposition: form-data; name=\"access_token\"\r\n\r\ntenant:acme\r\n--b--\r\n";
    for length in [1, 7, 1000] {
        for mode in [ScrubMode::Remove, ScrubMode::Mask] {
            let policy = ClientCredentialPolicy::Replace;
            let (left, report) = scrub_in_chunks(MULTIPART, policy, mode, form.as_bytes(), &[length]).unwrap();
            assert_eq!(report.signs.unwrap().token_slots, ["acme".into()]);
            assert!(!String::from_utf8_lossy(&left).contains("tenant"));
        }
    }
}
