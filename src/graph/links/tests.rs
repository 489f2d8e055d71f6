mod escaping;

use serde_json::json;

use super::*;
use crate::graph::host::MEDIA_HOST;

const BASE: &str = "http://127.0.0.1:8080";
const TOKEN: &str = "EAAGm0PX4ZCps|B/A+K%=";
/// The same, percent-encoded.
const ENCODED: &str = "EAAGm0PX4ZCps%7CB%2fA%2BK%25%3D";

fn is_graph(authority: &str) -> bool {
    ["graph.facebook.com", "localhost:9443"].contains(&authority)
}

fn is_ours(decoded: &mut dyn Iterator<Item = u8>) -> bool {
    decoded.eq(TOKEN.bytes())
}

fn rewritten_media(body: &str) -> Option<String> {
    let rewritten = rewrite_media_link(body.as_bytes(), BASE, &|authority| authority == MEDIA_HOST)?;
    Some(String::from_utf8(rewritten.into()).unwrap())
}

fn rewritten_paging(body: &str) -> Option<String> {
    let rewritten = rewrite_paging_links(body.as_bytes(), BASE, &is_graph, &is_ours)?;
    Some(String::from_utf8(rewritten.into()).unwrap())
}

#[test]
fn only_a_get_of_an_object_by_its_numeric_id_may_be_a_media_lookup() {
    for path in ["/1", "/v24.0/106540352242922", "/106540352242922/", "/v24.0/1/"] {
        assert!(is_media_lookup(&Method::GET, path), "{path}");
        assert!(!is_media_lookup(&Method::POST, path), "{path}");
        assert!(!is_media_lookup(&Method::HEAD, path), "{path}");
    }
    for path in [
        "/",
        "",
        "/v24.0",
        "/v24.0/",
        "/me",
        "/v24.0/me",
        "/1/media",
        "/v24.0/1/media",
        "//1",
        "/1//",
        "/v24/1",
        "1",
        "/1a",
        "/1_2",
        "/v24.0/v24.0/1",
    ] {
        assert!(!is_media_lookup(&Method::GET, path), "{path:?}");
    }
}

#[test]
fn a_recorded_media_response_points_at_graphward_and_keeps_its_other_bytes() {
    let body = |origin| {
        format!(
            r#"{{"url":"{origin}\/whatsapp_business\/attachments\/?mid=1&ext=1700000300&hash=ATt","mime_type":"image\/jpeg","sha256":"b4d8","file_size":303833,"id":"1","messaging_product":"whatsapp"}}"#
        )
    };
    assert_eq!(
        rewritten_media(&body(r"https:\/\/lookaside.fbsbx.com")),
        Some(body(r"http:\/\/127.0.0.1:8080"))
    );
}

#[test]
fn a_media_link_is_recognized_and_rewritten_in_its_own_escaping() {
    for (link, expected) in [
        ("https://lookaside.fbsbx.com/a", "http://127.0.0.1:8080/a"),
        ("HTTPS://LookAside.FBSBX.com:443/a", "http://127.0.0.1:8080/a"),
        (
            r"https:\u002f\u002Flookaside.fbsbx.com\u002fa",
            r"http:\u002F\u002F127.0.0.1:8080\u002fa",
        ),
        (
            r"https\u003a\/\/l\u006fokaside.fbsbx.com?a\u0026b",
            r"http:\/\/127.0.0.1:8080?a\u0026b",
        ),
        ("https://lookaside.fbsbx.com", "http://127.0.0.1:8080"),
    ] {
        let body = |link| format!(" {{ \"id\" : \"1\", \"\\u0075rl\"\t: \"{link}\" }}\n");
        assert_eq!(rewritten_media(&body(link)), Some(body(expected)), "{link}");
    }
}

#[test]
fn other_links_and_other_places_are_not_touched() {
    for link in [
        "http://lookaside.fbsbx.com/a",
        "https://lookaside.fbsbx.com.evil.example/a",
        "https://evil.example/https://lookaside.fbsbx.com/a",
        "https://lookaside.fbsbx.com@evil.example/a",
        "https://a@lookaside.fbsbx.com/a",
        "https://lookaside.fbsbx.com:8443/a",
        "https://lookaside.fbsbx.com\\\\/a",
        "https://lookaside.fbsbx.com\\u00e9/a",
        " https://lookaside.fbsbx.com/a",
        "https:/lookaside.fbsbx.com/a",
        "https:///a",
        "",
    ] {
        assert_eq!(rewritten_media(&format!(r#"{{"url":"{link}"}}"#)), None, "{link}");
    }
    let link = r#""https:\/\/lookaside.fbsbx.com\/a""#;
    for body in [
        format!(r#"{{"data":{{"url":{link}}}}}"#),
        format!(r#"[{{"url":{link}}}]"#),
        format!(r#"{{"uri":{link}}}"#),
        format!(r#"{{"url":[{link}]}}"#),
        format!(r#"{{{link}:"url"}}"#),
        format!("{{\"url\":{link}"),
        format!("{{\"url\":{link}}}}}"),
        format!("{{\"url\":{link},}}"),
        format!("{{\"url\":{link},\"a\":nul}}"),
        link.to_owned(),
    ] {
        assert_eq!(rewritten_media(&body), None, "{body}");
    }
    let body = format!("{{\"url\":{link}}}");
    assert!(rewritten_media(&body).is_some());
    for base in ["http://a\"b", "http://a\\b", "http://a b", "http://ä", "http://a\nb"] {
        assert_eq!(rewrite_media_link(body.as_bytes(), base, &|_authority| true), None);
    }
}

/// From `template_analytics_with_after_cursor.yml` of ruby_whatsapp_sdk, and with another spelling.
#[test]
fn a_recorded_paging_link_points_at_graphward() {
    let body = |origin: &str| {
        format!(
            r#"{{"data":[],"paging":{{"cursors":{{"before":"QVFI","after":"QVFI"}},"previous":"{origin}\/v24.0\/114\/template_analytics?start=1\u0026template_ids=\u00255B1\u00255D&limit=25&before=QVFI","next":"{origin}\/v24.0\/114\/x?after=QVFI"}}}}"#
        )
    };
    for origin in [
        r"https:\/\/graph.facebook.com",
        r"https:\/\/Graph.Facebook.Com",
        r"https:\/\/localhost:9443",
    ] {
        let expected = body(r"http:\/\/127.0.0.1:8080");
        assert_eq!(rewritten_paging(&body(origin)), Some(expected), "{origin}");
    }
    assert_eq!(rewritten_paging(&body(r"https:\/\/scontent.xx.fbcdn.net")), None);
    assert_eq!(rewritten_paging(&body(r"http:\/\/graph.facebook.com")), None);
}

#[test]
fn our_token_is_cut_out_with_one_separator() {
    let percent = ENCODED.replace('%', r"\u0025");
    for (query, expected) in [
        (format!("?access_token={ENCODED}"), ""),
        (format!("?access_token={ENCODED}#x"), "#x"),
        (format!("?access_token={ENCODED}&limit=25"), "?limit=25"),
        (format!("?limit=25&access_token={ENCODED}"), "?limit=25"),
        (
            format!("?limit=25&access_token={ENCODED}&after=M&b"),
            "?limit=25&after=M&b",
        ),
        (format!("?access_token={ENCODED}&access_token={ENCODED}&a"), "?a"),
        (format!("?a&access_token={ENCODED}&access_token={ENCODED}"), "?a"),
        (format!("?access_token={ENCODED}\\u0026limit=25"), "?limit=25"),
        (
            format!("?a\\u0026access\\u005ftoken\\u003d{percent}\\u0026b"),
            "?a\\u0026b",
        ),
        (format!("?%61ccess_token={ENCODED}&&a"), "?&a"),
        (
            format!("?input_token={ENCODED}"),
            "?input_token=EAAGm0PX4ZCps%7CB%2fA%2BK%25%3D",
        ),
        ("?access_token=EAAGother&a=1".into(), "?access_token=EAAGother&a=1"),
        (
            format!("#?access_token={ENCODED}"),
            "#?access_token=EAAGm0PX4ZCps%7CB%2fA%2BK%25%3D",
        ),
        ("?".into(), "?"),
        ("?&&".into(), "?&&"),
        ("?access_token".into(), "?access_token"),
    ] {
        let body = |rest| format!(r#"{{"paging":{{"next":"{rest}"}}}}"#);
        let before = body(format!("https:\\/\\/graph.facebook.com\\/v24.0{query}"));
        let after = body(format!("http:\\/\\/127.0.0.1:8080\\/v24.0{expected}"));
        assert_eq!(rewritten_paging(&before), Some(after), "{query}");
    }
}

#[test]
fn paging_links_are_found_at_any_depth_and_nowhere_else() {
    let link = "https://graph.facebook.com/v24.0/me";
    let rewritten = "http://127.0.0.1:8080/v24.0/me";
    for (places, expected) in [
        (json!({"paging": {"next": link}}), true),
        (
            json!({"data": [{"likes": {"data": [], "paging": {"previous": link}}}]}),
            true,
        ),
        (json!([[{"paging": {"next": link}}]]), true),
        (json!({"next": link, "previous": link}), false),
        (json!({"paging": link}), false),
        (json!({"paging": [{"next": link}]}), false),
        (json!({"paging": {"cursors": {"next": link}}}), false),
        (json!({"paging": {"first": link, "next": [link]}}), false),
        (json!({"paging": {"next": {"next": link}}}), false),
        (json!({"message": json!({"paging": {"next": link}}).to_string()}), false),
        (
            json!([{"message": json!({"paging": {"next": link}}).to_string()}]),
            false,
        ),
        (json!({"body": json!({"paging": {"next": link}}).to_string()}), false),
        (
            json!([[{"body": json!({"paging": {"next": link}}).to_string()}]]),
            false,
        ),
    ] {
        let body = places.to_string();
        let expected_body = expected.then(|| body.replace(link, rewritten));
        assert_eq!(rewritten_paging(&body), expected_body, "{body}");
    }
}

#[test]
fn a_batch_is_rewritten_inside_its_strings_at_their_depth() {
    let page = format!(
        r#"{{"data":[{{"message":"https:\/\/graph.facebook.com\/"}}],"paging":{{"next":"https:\/\/graph.facebook.com\/v24.0\/me?access_token={}&limit=1"}}}}"#,
        ENCODED.replace('%', r"\u0025")
    );
    let rewritten = r#"{"data":[{"message":"https:\/\/graph.facebook.com\/"}],"paging":{"next":"http:\/\/127.0.0.1:8080\/v24.0\/me?limit=1"}}"#;
    let batch = |page: &str| {
        let page = serde_json::to_string(page).unwrap().replace('/', r"\/");
        format!(
            r#"[null,{{"code":200,"headers":[],"body":{page}}},{{"code":200,"body":"no JSON"}},{{"code":200,"body":{page}}}]"#
        )
    };
    assert!(batch(&page).contains(r#"https:\\\/\\\/graph"#));
    assert_eq!(rewritten_paging(&batch(&page)), Some(batch(rewritten)));
    // What is cut off within an item leaves the item alone.
    assert_eq!(rewritten_paging(&batch(page.trim_end_matches('}'))), None);
}

fn rewritten_upload(body: &str, tenant: Option<&str>) -> Option<String> {
    let base = "http://127.0.0.1:8080/-/acme";
    let rewritten = rewrite_upload_links(body.as_bytes(), base, tenant, &|host| host == "rupload.facebook.com")?;
    Some(String::from_utf8(rewritten.into()).unwrap())
}

#[test]
fn the_steps_of_an_upload_are_known_by_method_and_path() {
    for path in [
        "/v25.0/1/uploads",
        "/app/uploads",
        "/v25.0/1/media",
        "/1/video_reels/",
        "/v25.0/me/video_stories",
    ] {
        assert!(is_upload_step(&Method::POST, path), "{path}");
        assert!(!is_upload_step(&Method::GET, path), "{path}");
    }
    for path in ["/v25.0/upload:MTph==", "/upload:MTph", "/v25.0/upload%3AMTph"] {
        assert!(
            is_upload_step(&Method::POST, path) && is_upload_step(&Method::GET, path),
            "{path}"
        );
    }
    for path in [
        "/",
        "/v25.0/1/messages",
        "/v25.0/uploads:1",
        "/1/uploads/2",
        "/1/videos",
        "/1/Media",
    ] {
        assert!(!is_upload_step(&Method::POST, path), "{path}");
    }
}

#[test]
fn the_url_of_an_upload_points_at_graphward_and_the_id_of_a_session_names_its_tenant() {
    for (body, expected) in [
        (
            r#"{"video_id":"7","upload_url":"https:\/\/rupload.facebook.com\/video-upload\/v25.0\/7"}"#,
            r#"{"video_id":"7","upload_url":"http:\/\/127.0.0.1:8080\/-\/acme\/video-upload\/v25.0\/7"}"#,
        ),
        (
            r#"{"id":"7","uri":"https://rupload.facebook.com/ig-api-upload/v25.0/7"}"#,
            r#"{"id":"7","uri":"http://127.0.0.1:8080/-/acme/ig-api-upload/v25.0/7"}"#,
        ),
        (
            r#"{"id":"upload:MTph==?sig=AR_a-1"}"#,
            r#"{"id":"upload:MTph==?sig=AR_a-1&access_token=tenant:acme"}"#,
        ),
        (
            r#"{ "id" : "upload:MTph", "file_offset":3 }"#,
            r#"{ "id" : "upload:MTph?access_token=tenant:acme", "file_offset":3 }"#,
        ),
        (
            r#"{"id":"upload\u003aMTph?sig=\u0041"}"#,
            r#"{"id":"upload\u003aMTph?sig=\u0041&access_token=tenant:acme"}"#,
        ),
    ] {
        assert_eq!(
            rewritten_upload(body, Some("acme")).as_deref(),
            Some(expected),
            "{body}"
        );
    }
}

#[test]
fn no_other_member_of_an_upload_is_touched_and_a_single_tenant_is_not_named() {
    for body in [
        r#"{"id":"1037543291543636"}"#,
        r#"{"h":"4::aW1h:e:upload:x"}"#,
        r#"{"id":["upload:MTph"]}"#,
        r#"{"data":{"id":"upload:MTph"}}"#,
        r#"{"upload_url":"https://rupload.facebook.com.evil.example/7"}"#,
        r#"{"url":"https://rupload.facebook.com/7"}"#,
        r#"{"id":"upload:MTph?sig=A"} x"#,
        r#"{"id":"upload:MTph?sig=A"#,
    ] {
        assert_eq!(rewritten_upload(body, Some("acme")), None, "{body}");
    }
    assert_eq!(rewritten_upload(r#"{"id":"upload:MTph?sig=A"}"#, None), None);
}
