//! No token, ours or the app's, ever shows: not in a log, a metric, an answer of our own, or a `Debug`.

use std::fmt::Write as _;
use std::time::Duration;

use graphward::graph::Presented;
use graphward::token::Token;
use graphward::types::Secret;
use tokio::time::timeout;

use crate::support::{
    Dial, Home, House, Logged, Reply, WAYS, chunked, get, post, request, sized, stalled,
};

/// A token nobody has seen before. `+` and `/` make its URL-escaped form another one.
fn token(random: &mut fastrand::Rng) -> String {
    let text: String = (0..60).map(|_| random.alphanumeric()).collect();
    format!("EAA{text}+/=")
}

/// Every form under which a token could get out.
fn forms(token: &str) -> Vec<String> {
    let escaped: String =
        percent_encoding::utf8_percent_encode(token, percent_encoding::NON_ALPHANUMERIC).collect();
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
        let bits = chunk
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        (0..=chunk.len()).map(move |place| DIGITS[(bits >> (18 - 6 * place) & 63) as usize] as char)
    });
    sextets.collect()
}

#[track_caller]
fn is_clean(text: &str, tokens: &[String]) {
    for token in tokens {
        for form in forms(token) {
            let found = text.lines().find(|line| line.contains(&form));
            assert!(found.is_none(), "{form} in {found:?}");
        }
    }
}

fn presenting(credential: &str) -> http::Request<crate::support::Sent> {
    let escaped: String =
        percent_encoding::utf8_percent_encode(credential, percent_encoding::NON_ALPHANUMERIC)
            .collect();
    let mut request = get(&format!("/v21.0/{escaped}/x?access_token={escaped}&a=1"));
    let header = format!("Bearer {credential}").parse().unwrap();
    request.headers_mut().insert("authorization", header);
    request
}

/// All that operators can read, and all answers that graphward itself gave.
async fn mixed(home: &Home, seen: &mut String, first: &str, second: &str, apps: &str) {
    let app = &home.app;
    let repeating = format!(
        r#"{{"error":{{"message":"Malformed access token {first}","code":190,"fbtrace_id":"A"}}}}"#
    );
    app.ask(presenting(apps)).await;
    home.graph.next(Reply::json(400, repeating));
    home.expires_to(second);
    app.ask(presenting(apps)).await;
    for reply in [
        Reply::lost(),
        Reply::never(),
        Reply::json(401, "{").cut(),
        Reply::error(500, 1),
    ] {
        home.graph.next(reply);
        seen.push_str(app.ask(presenting(apps)).await.text());
    }
    for dial in [Dial::Refused, Dial::Late, Dial::Untrusted] {
        home.graph.leave();
        tokio::time::sleep(Duration::from_millis(1)).await;
        home.graph.dial(dial);
        seen.push_str(app.ask(presenting(apps)).await.text());
    }
    for refused in [
        post(stalled(b"x")),
        request("TRACE", &format!("/{apps}"), sized("")),
        request("GET", "*", sized("")),
    ] {
        if let Ok(answer) = timeout(Duration::from_secs(70), app.send(refused))
            .await
            .unwrap()
        {
            seen.push_str(crate::support::Answer::of(answer).await.text());
        }
    }
    app.ask(post(chunked("x".repeat(3_000), 700))).await;
    home.graph.expire_all();
    home.drop.shows_nothing(true);
    // Graph's own words about the token are the app's to read; what is kept of them is not.
    app.ask(presenting(apps)).await;
    for target in ["/readyz", "/metrics", "/livez", "/startupz", "/nowhere"] {
        seen.push_str(home.operator(target).await.text());
    }
    write!(
        seen,
        "{:?} {:?} {:?}",
        home.tokens,
        home.tokens.current(),
        home.stages
    )
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_credential_shows_anywhere_at_any_level() {
    let mut random = fastrand::Rng::with_seed(7);
    for way in WAYS {
        for presented in [Presented::Replace, Presented::Refuse, Presented::Keep] {
            let tokens = [token(&mut random), token(&mut random), token(&mut random)];
            let [first, second, apps] = &tokens;
            let log = Logged::at_trace();
            let house = House::new().over(way).with(|config| {
                config.heal.presented = presented;
                config.heal.body_memory = 1_000;
                config.log.requests = graphward::proxy::Requests::All;
            });
            let home = house.showing(first).start().await;
            let mut seen = String::new();
            mixed(&home, &mut seen, first, second, apps).await;
            home.leave().await;
            let logged = log.text();
            assert!(logged.lines().count() > 15, "{logged}");
            is_clean(&logged, &tokens);
            is_clean(&seen, &tokens);
        }
    }
}

#[test]
fn no_public_type_shows_a_token_in_its_debug_form() {
    let mut random = fastrand::Rng::with_seed(11);
    let text = token(&mut random);
    let secret = Secret::new(&text).unwrap();
    let uri: http::Uri = format!("/{text}?access_token={text}").parse().unwrap();
    let cleaned = graphward::graph::Target::from_app(&uri, Presented::Keep).unwrap();
    let envelope =
        format!(r#"{{"error":{{"message":"Malformed access token {text}","code":190}}}}"#);
    let error = graphward::graph::GraphError::parse(envelope.as_bytes()).unwrap();
    let (writer, tokens) = graphward::token::pair();
    let credential = writer.publish(Token::lasting(secret.clone())).unwrap();
    let mut shown = format!(
        "{secret:?} {:?} {cleaned:?} {error:?}",
        Token::lasting(secret.clone())
    );
    write!(
        shown,
        "{writer:?} {tokens:?} {credential:?} {:?} {:?}",
        credential.bearer(),
        credential.oauth()
    )
    .unwrap();
    write!(
        shown,
        "{:?} {}",
        tokens.progress(),
        cleaned.target.template()
    )
    .unwrap();
    is_clean(&shown, &[text]);
}

#[test]
fn the_search_for_tokens_finds_them() {
    assert_eq!(base64(b"EAAG"), "RUFBRw");
    for form in forms("EAAGm0PX4ZCpsBAKZA0123456789+/=") {
        let text = format!("a line\nwith {form} in it");
        let found = std::panic::catch_unwind(|| {
            is_clean(&text, &["EAAGm0PX4ZCpsBAKZA0123456789+/=".to_owned()]);
        });
        assert!(found.is_err(), "{form}");
    }
}
