//! No token, ours or the app's, ever shows: not in a log, a metric, an answer of our own, or a `Debug`.

use std::fmt::Write as _;
use std::time::Duration;

use graphward::graph::ClientCredentialPolicy;
use graphward::token::Token;
use graphward::types::Secret;
use tokio::time::timeout;

use crate::support::{
    ConnectOutcome, LogCapture, PROTOCOL_PAIRS, ScriptedResponse, ScriptedTable, TestProxy, TestProxyBuilder, chunked,
    get, post, request, sized, stalled, with,
};

/// A token that graphward has not seen before. `+` and `/` make its URL-escaped form another one.
fn random_token(random: &mut fastrand::Rng) -> String {
    let text: String = (0..60).map(|_| random.alphanumeric()).collect();
    format!("EAA{text}+/=")
}

/// Every form under which a token could get out.
fn encodings_of(token: &str) -> Vec<String> {
    let escaped: String = percent_encoding::utf8_percent_encode(token, percent_encoding::NON_ALPHANUMERIC).collect();
    let mut forms = vec![token.to_owned(), escaped, token.chars().take(12).collect()];
    // With the three alignments in which it can stand inside of something longer; the ends depend on neighbours.
    for offset in 0..3 {
        let encoded = base64(&[&b"\0\0"[..offset], token.as_bytes()].concat());
        let middle = encoded.as_bytes().get(4..encoded.len() - 4).unwrap();
        forms.push(String::from_utf8(middle.to_vec()).unwrap());
    }
    let hex: String = token.bytes().map(|byte| format!("{byte:02x}")).collect();
    forms.push(hex);
    forms
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let sextets = bytes.chunks(3).flat_map(|chunk| {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..=chunk.len()).map(move |place| DIGITS[(bits >> (18 - 6 * place) & 63) as usize] as char)
    });
    sextets.collect()
}

#[track_caller]
fn assert_no_token(text: &str, tokens: &[String]) {
    for token in tokens {
        for form in encodings_of(token) {
            let found = text.lines().find(|line| line.contains(&form));
            assert!(found.is_none(), "{form} in {found:?}");
        }
    }
}

fn request_with(credential: &str) -> http::Request<crate::support::TestBody> {
    let escaped: String =
        percent_encoding::utf8_percent_encode(credential, percent_encoding::NON_ALPHANUMERIC).collect();
    let mut request = get(&format!("/v21.0/{escaped}/x?access_token={escaped}&a=1"));
    let header = format!("Bearer {credential}").parse().unwrap();
    request.headers_mut().insert("authorization", header);
    request
}

/// All that operators can read, and all answers that graphward itself gave.
async fn collect_outputs(proxy: &TestProxy, seen: &mut String, first: &str, second: &str, apps: &str) {
    let app = &proxy.app;
    let repeating =
        format!(r#"{{"error":{{"message":"Malformed access token {first}","code":190,"fbtrace_id":"A"}}}}"#);
    app.fetch(request_with(apps)).await;
    proxy.script(ScriptedResponse::json(400, repeating));
    proxy.rotate_token_to(second);
    app.fetch(request_with(apps)).await;
    for reply in [
        ScriptedResponse::connection_lost(),
        ScriptedResponse::no_response(),
        ScriptedResponse::json(401, "{").truncated(),
        ScriptedResponse::error(500, 1),
    ] {
        proxy.script(reply);
        seen.push_str(app.fetch(request_with(apps)).await.text());
    }
    for dial in [
        ConnectOutcome::Refused,
        ConnectOutcome::TimedOut,
        ConnectOutcome::UntrustedCert,
    ] {
        proxy.graph.close_connections();
        tokio::time::sleep(Duration::from_millis(1)).await;
        proxy.graph.next_connect(dial);
        seen.push_str(app.fetch(request_with(apps)).await.text());
    }
    for refused in [
        post(stalled(b"x")),
        request("TRACE", &format!("/{apps}"), sized("")),
        request("GET", "*", sized("")),
    ] {
        if let Ok(answer) = timeout(Duration::from_secs(70), app.send(refused)).await.unwrap() {
            seen.push_str(crate::support::TestResponse::read(answer).await.text());
        }
    }
    app.fetch(post(chunked("x".repeat(3_000), 700))).await;
    proxy.graph.expire_all();
    proxy.source.set_empty(true);
    // Graph's own words about the token are the app's to read; what is kept of them is not.
    app.fetch(request_with(apps)).await;
    for target in ["/readyz", "/metrics", "/livez", "/startupz", "/nowhere"] {
        seen.push_str(proxy.admin_get(target).await.text());
    }
    write!(
        seen,
        "{:?} {:?} {:?}",
        proxy.tokens,
        proxy.tokens.current(),
        proxy.stages
    )
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_credential_shows_anywhere_at_any_level() {
    let mut random = fastrand::Rng::with_seed(7);
    for protocols in PROTOCOL_PAIRS {
        for presented in [
            ClientCredentialPolicy::Replace,
            ClientCredentialPolicy::Refuse,
            ClientCredentialPolicy::Keep,
        ] {
            let tokens = [
                random_token(&mut random),
                random_token(&mut random),
                random_token(&mut random),
            ];
            let [first, second, apps] = &tokens;
            let log = LogCapture::at_trace();
            let builder = TestProxyBuilder::over(protocols).with(|config| {
                config.heal.client_credentials = presented;
                config.heal.body_memory = 1_000;
                config.log.requests = graphward::proxy::AccessLogFilter::All;
            });
            let proxy = builder.with_token(first).start().await;
            let mut seen = String::new();
            collect_outputs(&proxy, &mut seen, first, second, apps).await;
            proxy.shutdown().await;
            let logged = log.text();
            assert!(logged.lines().count() > 15, "{logged}");
            assert_no_token(&logged, &tokens);
            assert_no_token(&seen, &tokens);
        }
    }
}

/// Tokens and what people write around them, in the place of a tenant's name. They have `hunter2` in common.
fn misplaced_tokens() -> Vec<String> {
    let token = "EAAGm0PX4ZCpsBAKZAhunter2hunter2";
    let spellings = [
        "{}",
        "Bearer {}",
        "\"{}\"",
        "{},",
        "tenant:{}",
        "tenant:Bearer {}",
        "access_token:{}",
        "access_token={}",
        "access_token%3D{}",
        "access_token%253D{}",
    ];
    let spellings = spellings.map(|spelling| spelling.replace("{}", token));
    let of_apps = ["1234567890|hunter2hunter2", "tenant:1234567890%7Chunter2hunter2"];
    [spellings.to_vec(), of_apps.map(str::to_owned).to_vec()].concat()
}

#[tokio::test(start_paused = true)]
async fn a_token_in_the_place_of_a_tenants_name_is_neither_shown_nor_looked_up() {
    let log = LogCapture::at_trace();
    let table = ScriptedTable::default();
    // Its rows are looked up by name, as programs and URLs with `{tenant}` are.
    table.hide_list();
    let builder = TestProxyBuilder::new().with(|config| config.routing.header = Some("x-tenant-id".to_owned()));
    let proxy = builder.with_table(table.clone()).start().await;
    let (mut seen, mut refused) = (String::new(), 0);
    for text in misplaced_tokens() {
        let escaped = percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC);
        for request in [
            with(get("/me"), &[("x-tenant-id", &text)]),
            with(get("/me"), &[("authorization", &format!("Bearer tenant:{text}"))]),
            get(&format!("/-/{escaped}/me")),
        ] {
            let answer = proxy.app.fetch(request).await;
            assert_eq!((answer.status, answer.code()), (404, 990_025), "{text}: {answer:?}");
            seen.push_str(answer.text());
            refused += 1;
            // At most five of these are logged in a second.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    assert_eq!(table.row_reads(), 0, "no place is asked for a token");
    proxy.shutdown().await;
    assert_eq!(log.lines_containing(r#""message":"request""#).len(), refused);
    assert!(!(log.text() + &seen).contains("hunter2"), "{seen} {}", log.text());
}

#[tokio::test(start_paused = true)]
async fn a_token_in_the_path_of_a_change_of_tenants_is_refused_and_not_shown() {
    let log = LogCapture::at_trace();
    let table = ScriptedTable::default();
    let proxy = TestProxyBuilder::new().with_table(table.clone()).start().await;
    let headers = [("host", "localhost"), ("graphward-admin", "yes")];
    let (mut seen, mut refused) = (String::new(), 0);
    for text in misplaced_tokens() {
        let escaped = percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC);
        let path = format!("/admin/tenants/{escaped}");
        let unproven = proxy.admin().fetch(request("DELETE", &path, sized(""))).await;
        assert_eq!(unproven.status, 403);
        seen.push_str(unproven.text());
        for (method, body) in [("PUT", r#"{"accessToken":"EAAGhunter2"}"#), ("DELETE", "")] {
            let change = request(method, &path, sized(body));
            let answer = proxy.admin().fetch(with(change, &headers)).await;
            assert_eq!(answer.status, 400, "{method} {text}: {answer:?}");
            seen.push_str(answer.text());
            refused += 1;
        }
        // At most five of these are logged in a second.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(table.row_reads(), 0, "no place is asked for a token");
    proxy.shutdown().await;
    assert_eq!(log.lines_containing("refused a request of the operator").len(), refused);
    assert!(!(log.text() + &seen).contains("hunter2"), "{seen} {}", log.text());
}

#[test]
fn no_public_type_shows_a_token_in_its_debug_form() {
    let mut random = fastrand::Rng::with_seed(11);
    let text = random_token(&mut random);
    let secret = Secret::new(&text).unwrap();
    let uri: http::Uri = format!("/{text}?access_token={text}").parse().unwrap();
    let rules = graphward::graph::ScrubRules::new(ClientCredentialPolicy::Keep, graphward::graph::SignPolicy::Read);
    let cleaned = graphward::graph::Target::from_app(&uri, rules).unwrap();
    let envelope = format!(r#"{{"error":{{"message":"Malformed access token {text}","code":190}}}}"#);
    let error = graphward::graph::GraphError::parse(envelope.as_bytes()).unwrap();
    let (writer, tokens) = graphward::token::channel();
    let credential = writer.publish(Token::without_expiry(secret.clone()), None).unwrap();
    let mut shown = format!(
        "{secret:?} {:?} {cleaned:?} {error:?}",
        Token::without_expiry(secret.clone())
    );
    write!(
        shown,
        "{writer:?} {tokens:?} {credential:?} {:?} {:?}",
        credential.bearer,
        credential.oauth()
    )
    .unwrap();
    write!(shown, "{:?} {}", tokens.progress(), cleaned.target.path_template()).unwrap();
    assert_no_token(&shown, &[text]);
}

#[test]
fn the_search_for_tokens_finds_them() {
    assert_eq!(base64(b"EAAG"), "RUFBRw");
    for form in encodings_of("EAAGm0PX4ZCpsBAKZA0123456789+/=") {
        let text = format!("a line\nwith {form} in it");
        let found = std::panic::catch_unwind(|| {
            assert_no_token(&text, &["EAAGm0PX4ZCpsBAKZA0123456789+/=".to_owned()]);
        });
        assert!(found.is_err(), "{form}");
    }
}
