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
            assert_eq!(*report.signs.unwrap().token_slots, ["acme"], "{body}");
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
    assert_eq!(*report.signs.unwrap().token_slots, ["a"]);
}

#[test]
fn several_names_and_the_ids_of_batch_items_are_reported_once_each() {
    let batch = r#"{"batch":[
        {"relative_url":"106/messages?access_token=tenant:a"},
        {"relative_url":"https://graph.facebook.com/v25.0/106?access_token=tenant:b"},
        "{\"relative_url\":\"99?phone_number_id=107\"}"]}"#;
    let (_, report) = scrub_in_memory(JSON, ClientCredentialPolicy::Replace, batch.as_bytes()).unwrap();
    let signs = report.signs.unwrap();
    assert_eq!(*signs.token_slots, ["a", "b"]);
    assert_eq!(*signs.object_ids, ["106", "107", "99"]);
}

#[test]
fn a_form_that_streams_reports_the_name_at_its_end() {
    let form = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nx\r\n\
                --b\r\nContent-Disposition: form-data; name=\"access_token\"\r\n\r\ntenant:acme\r\n--b--\r\n";
    for length in [1, 7, 1000] {
        for mode in [ScrubMode::Remove, ScrubMode::Mask] {
            let policy = ClientCredentialPolicy::Replace;
            let (left, report) = scrub_in_chunks(MULTIPART, policy, mode, form.as_bytes(), &[length]).unwrap();
            assert_eq!(*report.signs.unwrap().token_slots, ["acme"]);
            assert!(!String::from_utf8_lossy(&left).contains("tenant"));
        }
    }
}

#[test]
fn ids_are_reported_from_bodies_of_each_kind_and_stay_in_them() {
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n--b--\r\n")
    };
    for (content_type, body) in [
        (FORM, "a=1&ids[]=107&id=106".to_owned()),
        (FORM, "%69ds=%5B%22106%22,'107'%5D".to_owned()),
        (JSON, r#"{"a":{"id":"1"},"ids":["106", 107]}"#.to_owned()),
        (JSON, r#"{"phone_number_id":106,"i\u0064":"107"}"#.to_owned()),
        (JSON, "{id:106,'ids':'107'}".to_owned()),
        (JSON, r#"{"id":["\u003106",["10\u0037"]]}"#.to_owned()),
        (JSON, r#"{"ids":"[\"\\u003106\",\"107\"]"}"#.to_owned()),
        (FORM, "+ids=106&phone.number.id=107".to_owned()),
        (
            FORM,
            r#"+batch=[{"body":"+ids=106","relative_url":"?phone.number.id=107"}]"#.to_owned(),
        ),
        (MULTIPART, part("phone.number id", "106,107")),
        (
            JSON,
            r#"{"id":"107","a":{"id":"1"}, "phone_number_id" : "106"}"#.to_owned(),
        ),
        (JSON, "\r\n {\"ids\":\"106,107\"}".to_owned()),
        (JSON, "{\n \"ids\":\"106\",\n \"id\":\"107\"}".to_owned()),
        (MULTIPART, part("ids", " 106,\n107")),
        (
            MULTIPART,
            part(
                "ids[1]\"; name*=\"UTF-8''batch\"; x=\"",
                r#"[{"body":"id=106","relative_url":"107"}]"#,
            ),
        ),
        (
            JSON,
            r#"{"batch":[{"id":"1","body":{"id":"106","a":{"id":"2"}},"relative_url":"?ids=107"}]}"#.to_owned(),
        ),
        (
            FORM,
            r#"batch=[{"body":"{\"id\":\"106\"}"},{"body":"ids=107"}]"#.to_owned(),
        ),
    ] {
        for policy in POLICIES {
            let (left, report) = scrub_in_memory(content_type, policy, body.as_bytes()).unwrap();
            assert_eq!(left, body.as_bytes());
            let signs = report.signs.unwrap();
            assert_eq!(*signs.object_ids, ["106", "107"], "{body}");
            assert!(signs.token_slots.is_empty());
            if content_type == MULTIPART {
                for length in [1, 7, 1000] {
                    let mode = ScrubMode::Mask;
                    let (left, report) =
                        scrub_in_chunks(content_type, policy, mode, body.as_bytes(), &[length]).unwrap();
                    assert_eq!((left, report.signs), (body.clone().into_bytes(), Some(signs.clone())));
                }
            }
        }
    }
}

#[test]
fn a_part_with_a_file_or_a_token_by_another_reading_of_its_name_is_no_list_of_ids() {
    let form = "--b\r\nContent-Disposition: form-data; name=id; name=access_token\r\n\r\ntenant:106\r\n\
                --b\r\nContent-Disposition: form-data; name=id; filename=a\r\n\r\n107\r\n--b--\r\n";
    let (left, report) = scrub_in_memory(MULTIPART, ClientCredentialPolicy::Replace, form.as_bytes()).unwrap();
    assert!(!String::from_utf8_lossy(&left).contains("106"));
    let signs = report.signs.unwrap();
    assert_eq!(
        (&*signs.token_slots, &*signs.object_ids),
        (&["106".into()][..], &[][..])
    );
}

#[test]
fn where_no_signs_are_read_a_name_is_a_token_and_ids_are_data() {
    let long = "1,".repeat(20_000);
    for (content_type, body, left) in [
        (FORM, format!("access_token=tenant:a&ids={long}"), format!("ids={long}")),
        (
            JSON,
            format!(r#"{{"access_token":"tenant:a","ids":"{long}"}}"#),
            format!(r#"{{"ids":"{long}"}}"#),
        ),
        (
            JSON,
            r#"{"batch":[{"relative_url":"106?access_token=tenant:a","body":{"access_token":"tenant:a"}}]}"#.to_owned(),
            r#"{"batch":[{"relative_url":"106","body":{}}]}"#.to_owned(),
        ),
        (
            MULTIPART,
            format!(
                "--b\r\nContent-Disposition: form-data; name=access_token\r\n\r\ntenant:a\r\n--b\r\nContent-Disposition: form-data; name=ids\r\n\r\n{long}\r\n--b--"
            ),
            format!("--b\r\nContent-Disposition: form-data; name=ids\r\n\r\n{long}\r\n--b--"),
        ),
    ] {
        let format = BodyFormat::from_headers(&headers(content_type)).unwrap();
        let scrub = |credentials| {
            let rules = ScrubRules::new(credentials, SignPolicy::Ignore);
            scrub(&format, rules, Bytes::copy_from_slice(body.as_bytes()))
        };
        let (replaced, report) = scrub(ClientCredentialPolicy::Replace).unwrap();
        assert!(replaced == left && report.signs.is_none(), "{replaced:?}");
        let (kept, report) = scrub(ClientCredentialPolicy::Keep).unwrap();
        assert!(kept == body && report.signs.is_none(), "{kept:?}");
        assert_eq!(scrub(ClientCredentialPolicy::Refuse), Err(ScrubError::ClientCredential));
    }
}
