use super::super::scrub::{BodyFormat, find_calls};
use super::*;

fn form(text: &str) -> Calls {
    let mut calls = Calls::default();
    calls.add_form(text.as_bytes());
    calls
}

fn json(text: &str) -> Calls {
    let mut calls = Calls::default();
    calls.add_json(text.as_bytes());
    calls
}

fn multipart(field: &str) -> Calls {
    let body = format!("--b\r\n{field}\r\n--b--\r\n");
    let boundary = Box::from(*b"b");
    find_calls(&BodyFormat::Multipart { boundary }, body.as_bytes()).unwrap()
}

/// `DELETE 1, GET me`: the methods and paths of each item.
fn items(calls: &Calls) -> String {
    assert_eq!(calls.unreadable, None);
    let shown = |item: &ItemCall| format!("{} {}", item.methods.join("|"), item.paths.join("|"));
    calls.items.iter().map(shown).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_method_is_found_in_each_spelling_that_a_parser_may_read() {
    for text in [
        "method=delete",
        "a=b&%6Dethod=DELETE",
        "METHOD=Delete",
        "method[]=delete",
        "method%5B0%5D=delete",
        "a=b;method=delete",
        "+method=+delete+",
        "method+=delete",
        "method%00x=delete",
        "%20%09method=delete",
    ] {
        assert_eq!(*form(text).methods, ["DELETE".into()], "{text}");
    }
    for text in [
        r#"{"method":"delete"}"#,
        r#"{"m\u0065thod":"DEL\u0045TE"}"#,
        "\u{FEFF}{\"Method\":\"delete\"}",
        r#"{method:'delete'}"#,
        r#" {"a":{"method":"get"},"method[]":"delete"}"#,
        r#"{"a":1}{"method":"delete"}"#,
    ] {
        assert_eq!(*json(text).methods, ["DELETE".into()], "{text}");
    }
    for (text, method) in [
        ("method=head", "GET"),
        ("method=", "?"),
        ("method", "?"),
        ("method=purge", "?"),
    ] {
        assert_eq!(*form(text).methods, [method.into()], "{text}");
    }
    assert_eq!(*json(r#"{"method":["delete"]}"#).methods, ["?".into()]);
    assert_eq!(
        *form("method=get&method=delete").methods,
        ["GET".into(), "DELETE".into()]
    );
    for text in ["", "fields=method", "payment_method=x", "a=method=delete"] {
        assert!(form(text).is_empty(), "{text}");
    }
    assert!(json(r#"{"to":{"method":"delete"},"text":"method=delete"}"#).is_empty());
    assert!(json("").is_empty());
}

#[test]
fn a_field_of_a_multipart_form_is_found_by_each_of_its_names() {
    for head in [
        "Content-Disposition: form-data; name=\"method\"",
        "content-disposition:form-data;name=method",
        "Content-Disposition: form-data; name='method'",
        "Content-Disposition: form-data; name=\"m\\ethod\"",
        "Content-Disposition: form-data;\r\n name=\"Method\"",
        "Content-Disposition: form-data; name*=UTF-8''m%65thod",
        "Content-Disposition: form-data; name=\"method[]\"",
        "Content-Disposition: form-data; name=\"a\"; name=\"method\"",
    ] {
        let calls = multipart(&format!("{head}\r\n\r\ndelete"));
        assert!(calls.methods.contains(&"?".into()), "{head}");
    }
    let file = "Content-Disposition: form-data; name=\"method\"; filename=\"a\"\r\n\r\ndelete";
    assert!(multipart(file).is_empty(), "a file is no parameter");
    let batch = "Content-Disposition: form-data; name=\"batch\"\r\n\r\n[{\"method\":\"GET\",\"relative_url\":\"me\"}]";
    assert_eq!(items(&multipart(batch)), "GET me");
    let list = "Content-Disposition: form-data; name=\"batch[0][method]\"\r\n\r\nGET";
    assert!(multipart(list).unreadable.is_some());
    let endless = format!(
        "X: {}\r\nContent-Disposition: form-data; name=\"method\"\r\n\r\nx",
        "x".repeat(1 << 20)
    );
    assert!(!multipart(&endless).is_empty(), "its head is not read");
}

#[test]
fn each_item_of_a_batch_is_found_with_all_that_it_may_mean() {
    for (batch, expected) in [
        (r#"[{"method":"GET","relative_url":"me?fields=id#x"}]"#, "GET me"),
        (r#"["{\"method\":\"DELETE\",\"relative_url\":\"1\"}"]"#, "DELETE 1"),
        (
            r#"[{"method":"GET","relative_url":"https://graph.facebook.com/v25.0/1"}]"#,
            "GET /v25.0/1",
        ),
        (r#"[{"method":"GET","relative_url":"1?x=https://a/b"}]"#, "GET 1"),
        (r#"[{"method":"GET","relative_url":"1?method=delete"}]"#, "DELETE|GET 1"),
        (
            r#"[{"method":"GET","relative_url":"1","body":"a=b&method=delete"}]"#,
            "GET|DELETE 1",
        ),
        (
            r#"[{"method":"GET","relative_url":"1","body":{"method":"delete"}}]"#,
            "GET|DELETE 1",
        ),
        (
            r#"[{"method":"GET","relative_url":"1","body":"{\"method\":\"delete\"}"}]"#,
            "GET|DELETE 1",
        ),
        (
            r#"[{"method":"GET","method":"POST","relative_url":"1","relative_url":"2"}]"#,
            "GET|POST 1|2",
        ),
        (r#"[{"METHOD":"DELETE","relative\u005furl":"1"}]"#, "DELETE 1"),
        (r#"[{"relative_url":"1"}]"#, "? 1"),
        (r#"[{"method":"GET"}]"#, "GET /"),
        (
            r#"{"0":{"method":"GET","relative_url":"1"},"1":{"method":"PUT","relative_url":"2"}}"#,
            "GET 1, PUT 2",
        ),
    ] {
        let sorted = |text: String| text.replace("GET|DELETE", "DELETE|GET");
        let expected = sorted(expected.to_owned());
        let quoted = serde_json::to_string(batch).unwrap();
        for body in [
            format!(r#"{{"batch":{batch}}}"#),
            format!(r#"{{"b\u0061tch":{quoted}}}"#),
        ] {
            assert_eq!(sorted(items(&json(&body))), expected, "{body}");
        }
        let encoded = percent_encoding::utf8_percent_encode(batch, percent_encoding::NON_ALPHANUMERIC);
        assert_eq!(
            sorted(items(&form(&format!("a=b&batch={encoded}")))),
            expected,
            "{batch}"
        );
    }
}

#[test]
fn what_cannot_be_read_is_said_to_be_so() {
    for batch in [
        "7",
        "[7]",
        r#"["me"]"#,
        r#"[[{"method":"GET","relative_url":"me"}]]"#,
        r#"[{"method":"GET","relative_url":["me"]}]"#,
        r#"[{"method":"GET","relative_url":"//graph.facebook.com/me"}]"#,
        r#"[{"method":"GET","relative_url":"1\\..\\me"}]"#,
        r#"[{"method":"GET","relative_url":"1 /me"}]"#,
        r#"[{"method":"POST","relative_url":"1","body":"batch=[]"}]"#,
        r#"[{"method":"POST","relative_url":"1","body":[1]}]"#,
        r#"[{"method":"POST","relative_url":"?batch=[]"}]"#,
    ] {
        let body = format!(r#"{{"batch":{batch}}}"#);
        assert!(json(&body).unreadable.is_some(), "{body}");
    }
    assert!(
        form("batch[0][method]=GET&batch[0][relative_url]=me")
            .unreadable
            .is_some()
    );
    assert!(json(r#"[{"method":"GET","relative_url":"me"}]"#).unreadable.is_some());
    assert!(json("method=delete").unreadable.is_some());
}
