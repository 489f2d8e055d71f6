use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn fields(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

#[test]
fn names_on_a_second_connection_line_are_dropped_too() {
    let mut headers = fields(&[
        ("connection", "x-one, close"),
        ("connection", "X-Two"),
        ("x-one", "1"),
        ("x-two", "2"),
        ("x-three", "3"),
    ]);
    strip_request_headers(&mut headers, &[]);
    assert_eq!(headers, fields(&[("x-three", "3")]));
}

#[test]
fn a_java_clients_offer_of_h2c_leaves_no_trace() {
    let mut headers = fields(&[
        ("connection", "Upgrade, HTTP2-Settings"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA"),
        ("user-agent", "Java-http-client/17.0.15"),
    ]);
    strip_request_headers(&mut headers, &[]);
    assert_eq!(headers, fields(&[("user-agent", "Java-http-client/17.0.15")]));
}

#[test]
fn more_headers_than_usual_are_all_removed() {
    let mut headers = fields(&[
        ("host", "a"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("content-length", "5"),
        ("expect", "100-continue"),
        ("cookie", "a=b"),
        ("cookie", "c=d"),
        ("forwarded", "for=x"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x_forwarded_for", "1.2.3.4"),
        ("x-forwarded-host", "evil.example"),
        ("x-real-ip", "1.2.3.4"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic x"),
        ("keep-alive", "timeout=5"),
        ("file_offset", "0"),
        ("x-forwarder", "stays"),
    ]);
    strip_request_headers(&mut headers, &[]);
    assert_eq!(headers, fields(&[("file_offset", "0"), ("x-forwarder", "stays")]));
}

#[test]
fn headers_that_the_operator_names_are_removed_however_often_they_stand() {
    let mut headers = fields(&[
        ("baggage", "a=1"),
        ("traceparent", "00-1"),
        ("baggage", "b=2"),
        ("x-id", "1"),
    ]);
    strip_request_headers(&mut headers, &["baggage", "x-id"].map(HeaderName::from_static));
    assert_eq!(headers, fields(&[("traceparent", "00-1")]));
}

#[test]
fn a_response_keeps_usage_and_repeated_headers_and_loses_those_that_bypass_the_proxy() {
    let mut headers = fields(&[
        ("alt-svc", "h3=\":443\"; ma=86400"),
        ("strict-transport-security", "max-age=15552000; preload"),
        ("vary", "Accept-Encoding"),
        ("vary", "Origin"),
        ("x-app-usage", "{}"),
        ("connection", "keep-alive"),
        ("content-length", "5"),
    ]);
    strip_response_headers(&mut headers);
    let kept = fields(&[("vary", "Accept-Encoding"), ("vary", "Origin"), ("x-app-usage", "{}")]);
    assert_eq!(headers, kept);
}

proptest! {
    #[test]
    fn no_hop_by_hop_header_is_forwarded_and_no_other_is_lost(
        listed in proptest::collection::vec("[a-z]{1,6}", 0..6),
        others in proptest::collection::vec(("y-[a-z]{1,6}", "[ -~]{0,12}"), 0..12),
        split in 0_usize..6,
    ) {
        let mut headers = HeaderMap::new();
        let split = split.min(listed.len());
        for line in [&listed[..split], &listed[split..]] {
            headers.append(header::CONNECTION, HeaderValue::from_str(&line.join(" , ")).unwrap());
        }
        for name in &listed {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("x"));
        }
        headers.append(header::UPGRADE, HeaderValue::from_static("h2c"));
        let mut kept = HeaderMap::new();
        for (name, value) in &others {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            let value = HeaderValue::from_str(value).unwrap();
            headers.append(name.clone(), value.clone());
            kept.append(name, value);
        }
        strip_request_headers(&mut headers, &[]);
        prop_assert_eq!(headers, kept);
    }
}
