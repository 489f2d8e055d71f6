//! Bodies as client libraries send them.

use super::*;

const MULTIPART: &str = "multipart/form-data; boundary=";

/// Every body is cleaned in memory; a multipart form also byte by byte and in one chunk.
fn assert_scrubbed(content_type: &str, sent: &str, left: &str, credential: ParameterCredential) {
    let (body, scrubbed) = scrub_in_memory(content_type, ClientCredentialPolicy::Replace, sent.as_bytes()).unwrap();
    assert_eq!(std::str::from_utf8(&body).unwrap(), left);
    assert_eq!(scrubbed.credential, credential);
    if !content_type.starts_with(MULTIPART) {
        return;
    }
    for lengths in [&[1][..], &[7, 1, 30], &[usize::MAX]] {
        let (body, scrubbed) = scrub_in_chunks(
            content_type,
            ClientCredentialPolicy::Replace,
            ScrubMode::Remove,
            sent.as_bytes(),
            lengths,
        )
        .unwrap();
        assert_eq!(std::str::from_utf8(&body).unwrap(), left);
        assert_eq!(scrubbed.credential, credential);
    }
}

#[test]
fn php_graph_sdk_posts_a_form_with_a_proof() {
    assert_scrubbed(
        "application/x-www-form-urlencoded",
        "message=My+awesome+photo+upload+%C3%A4&access_token=EAAGm0PX4ZCps&appsecret_proof=\
         857d5f035a894f16b4180f19966e055cdeab92d4d53017b13dccd6d43b6497af",
        "message=My+awesome+photo+upload+%C3%A4",
        ParameterCredential::Removed,
    );
}

#[test]
fn php_graph_sdk_uploads_with_the_fields_first() {
    let file = "--CURL123\r\nContent-Disposition: form-data; name=\"source\"; filename=\"a.png\"\r\n\
                Content-Type: image/png\r\n\r\n\x01PNG\r\n\r\n--CURL12\r\n--CURL1234\r\n";
    let sent = format!(
        "--CURL123\r\nContent-Disposition: form-data; name=\"message\"\r\n\r\nhi\r\n\
         --CURL123\r\nContent-Disposition: form-data; name=\"access_token\"\r\n\r\nEAAG\r\n\
         --CURL123\r\nContent-Disposition: form-data; name=\"appsecret_proof\"\r\n\r\nab12\r\n\
         {file}--CURL123--\r\n"
    );
    let left = format!(
        "--CURL123\r\nContent-Disposition: form-data; name=\"message\"\r\n\r\nhi\r\n\
         {file}--CURL123--\r\n"
    );
    let content_type = format!("{MULTIPART}CURL123");
    assert_scrubbed(&content_type, &sent, &left, ParameterCredential::Removed);
}

#[test]
fn huandu_sends_the_file_first() {
    let boundary = "e59a0b7a45e54d1ea1b0e4b0d0b1a4f6a4b7c0e9f2d3b5c1a8e7d6f5c4b3";
    let file = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"source\"; filename=\"cat.jpg\"\r\n\
         Content-Type: application/octet-stream\r\n\r\njpeg\r\n"
    );
    let field =
        |name, value| format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let sent = file.clone()
        + &field("access_token", "EAAG")
        + &field("format", "json")
        + &field("appsecret_proof", "ab")
        + &format!("--{boundary}--\r\n");
    let left = file + &field("format", "json") + &format!("--{boundary}--\r\n");
    assert_scrubbed(
        &format!("{MULTIPART}{boundary}"),
        &sent,
        &left,
        ParameterCredential::Removed,
    );
}

#[test]
fn java_business_sdk_deletes_with_a_multipart_body() {
    // A boundary of its own making, and null for a token that it does not have.
    let boundary = "===1500000000000===";
    let field = |name, value| {
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\
             Content-Type: text/plain; charset=UTF-8\r\n\r\n{value}\r\n"
        )
    };
    let end = format!("--{boundary}--\r\n");
    let content_type = format!("{MULTIPART}{boundary}");
    for (token, credential) in [
        ("null", ParameterCredential::Placeholder),
        ("EAAG", ParameterCredential::Removed),
    ] {
        let sent = field("access_token", token) + &field("appsecret_proof", "ab") + &end;
        assert_scrubbed(&content_type, &sent, &end, credential);
        let sent = field("a", "1") + &sent;
        assert_scrubbed(&content_type, &sent, &(field("a", "1") + &end), credential);
    }
}

#[test]
fn koala_and_restfb_post_forms_with_a_method() {
    assert_scrubbed(
        "application/x-www-form-urlencoded",
        "access_token=EAAG&appsecret_proof=ab&method=delete",
        "method=delete",
        ParameterCredential::Removed,
    );
    assert_scrubbed(
        "application/x-www-form-urlencoded;charset=UTF-8",
        "format=json&access_token=&message=%F0%9F%98%80",
        "format=json&message=%F0%9F%98%80",
        ParameterCredential::Placeholder,
    );
}

#[test]
fn facebook_sdk_posts_a_photo_with_requests() {
    let boundary = "0123456789abcdef0123456789abcdef";
    let sent = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"access_token\"\r\n\r\nundefined\r\n\
         --{boundary}\r\nContent-Disposition: form-data; name=\"source\"; filename=\"source\"\r\n\r\n\
         \r\n\r\n--\r\n--{boundary}--\r\n"
    );
    let left = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"source\"; filename=\"source\"\r\n\r\n\
         \r\n\r\n--\r\n--{boundary}--\r\n"
    );
    assert_scrubbed(
        &format!("{MULTIPART}{boundary}"),
        &sent,
        &left,
        ParameterCredential::Placeholder,
    );
}

#[test]
fn pywa_and_curl_upload_media_without_a_token() {
    let boundary = "------------------------d74496d66958873e";
    let sent = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"messaging_product\"\r\n\r\nwhatsapp\r\n\
         --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a;name=access_token.ogg\"\r\n\
         Content-Type: audio/ogg\r\n\r\nOggS\r\n--{boundary}--\r\n"
    );
    assert_scrubbed(
        &format!("{MULTIPART}{boundary}"),
        &sent,
        &sent,
        ParameterCredential::None,
    );
}

#[test]
fn app_tokens_and_parameters_that_mention_tokens_are_kept() {
    assert_scrubbed(
        "application/x-www-form-urlencoded",
        "object=whatsapp_business_account&callback_url=https%3A%2F%2Fe.com&verify_token=x&input_token=EAAG",
        "object=whatsapp_business_account&callback_url=https%3A%2F%2Fe.com&verify_token=x&input_token=EAAG",
        ParameterCredential::None,
    );
    assert_scrubbed(
        "application/x-www-form-urlencoded",
        "object=page&access_token=123456%7Cs3cret",
        "object=page&access_token=123456%7Cs3cret",
        ParameterCredential::AppToken,
    );
}

#[test]
fn the_items_of_a_batch_are_cleaned_in_a_form_and_in_a_multipart_form() {
    let batch = r#"[{"method":"GET","relative_url":"me?access_token=EAAG&a=%20"}]"#;
    let left = r#"[{"method":"GET","relative_url":"me?a=%20"}]"#;
    let encoded =
        |text: &str| percent_encoding::percent_encode(text.as_bytes(), percent_encoding::NON_ALPHANUMERIC).to_string();
    let decoded = |body: &[u8]| percent_encoding::percent_decode(body).collect::<Vec<_>>();
    let form = format!("batch={}&a=%7e", encoded(batch));
    let part = |text: &str| format!("--b\r\nContent-Disposition: form-data; name=\"batch\"\r\n\r\n{text}\r\n--b--\r\n");
    let assert_reported = |report: &ScrubReport| {
        assert!(report.has_batch && report.is_changed);
        assert_eq!(report.credential, ParameterCredential::None);
    };
    let (body, report) = scrub_in_memory(FORM, ClientCredentialPolicy::Replace, form.as_bytes()).unwrap();
    assert_reported(&report);
    assert_eq!(decoded(&body), format!("batch={left}&a=~").into_bytes());
    assert!(body.ends_with(b"&a=%7e"), "nothing is encoded anew");

    let multipart = format!("{MULTIPART}b");
    for lengths in [&[1][..], &[usize::MAX]] {
        let cleaned = |mode| {
            let (policy, body) = (ClientCredentialPolicy::Replace, part(batch));
            let (left, report) = scrub_in_chunks(&multipart, policy, mode, body.as_bytes(), lengths).unwrap();
            assert_reported(&report);
            String::from_utf8(left).unwrap()
        };
        assert_eq!(cleaned(ScrubMode::Remove), part(left));
        // What keeps its length is filled up after the batch.
        let filled = format!("{left}{}", " ".repeat(batch.len() - left.len()));
        assert_eq!(cleaned(ScrubMode::Mask), part(&filled));
    }
    // A batch without credentials is not encoded anew.
    let clean = "batch=%5B{\"relative_url\":\"me\"}]";
    assert_scrubbed(FORM, clean, clean, ParameterCredential::None);
}
