//! Credentials of the app's in request bodies: gone before Graph sees them, and every other byte stays.

use bytes::Bytes;
use graphward::graph::{Presented, Proving};

use crate::bodies::{MIB, heals, small};
use crate::support::{
    FIRST, Home, House, Http, SECOND, Seen, Sent, WAYS, chunked, post, request, sized, with,
};

/// What an app sends that knows a token of its own.
const STALE: &str = "EAAstale0token0of0the0app";

const FORM: &str = "application/x-www-form-urlencoded; charset=UTF-8";
const MULTIPART: &str = "multipart/form-data; boundary=----Boundary7MA4";
const JSON: &str = "application/json";

/// A body with a token in it, and without.
struct Case {
    kind: &'static str,
    sent: Bytes,
    clean: Bytes,
}

/// The same in every form, with so many bytes of other things before the token.
fn cases(token: &str, fill: usize) -> [Case; 3] {
    [form(token, fill), multipart(token, fill), json(token, fill)]
}

fn form(token: &str, fill: usize) -> Case {
    let before = format!("to=49%20151&text={}", "y+%26".repeat(fill / 5));
    let of = |middle: &str| Bytes::from(format!("{before}{middle}&type=text&&last="));
    Case {
        kind: FORM,
        sent: of(&format!("&access_token={token}")),
        clean: of(""),
    }
}

fn part(name: &str, value: &str) -> String {
    format!(
        "------Boundary7MA4\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
    )
}

/// The file comes first, and holds what looks like a field.
fn multipart(token: &str, fill: usize) -> Case {
    let decoy = "\r\n--Boundary\r\n\r\naccess_token=EAAdata\r\n------";
    let file = format!("{decoy}{}", "\r\n--".repeat(fill / 4));
    let file = part("file\"; filename=\"a.bin", &file);
    let of = |middle: &str| {
        let behind = part("messaging_product", "whatsapp");
        Bytes::from(format!("{file}{middle}{behind}------Boundary7MA4--\r\n"))
    };
    Case {
        kind: MULTIPART,
        sent: of(&part("access_token", token)),
        clean: of(""),
    }
}

fn json(token: &str, fill: usize) -> Case {
    let before = format!(
        r#"{{ "text" : {{"body":"{}","access_token":"EAAdata"}}"#,
        r"\u00e9y".repeat(fill / 7)
    );
    let of = |middle: &str| Bytes::from(format!(r#"{before}{middle}, "type":"text", "n":1.0e0}}"#));
    Case {
        kind: JSON,
        sent: of(&format!(r#", "access_token":"{token}""#)),
        clean: of(""),
    }
}

fn typed(kind: &str, body: Sent) -> http::Request<Sent> {
    with(post(body), &[("content-type", kind)])
}

async fn presented(home: &Home) -> i64 {
    let series = r#"graphward_presented_credentials_total{tenant="default",place="body"}"#;
    home.count(series).await
}

#[tokio::test(start_paused = true)]
async fn a_token_in_a_small_body_goes_and_what_is_left_is_replayed_as_it_was_sent() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        for (number, case) in cases(STALE, 100).into_iter().enumerate() {
            let known = typed(case.kind, sized(case.sent.clone()));
            heals(&home, 10 * number, known, &case.clean).await;
            for step in [1, 7, 60] {
                let unknown = typed(case.kind, chunked(case.sent.clone(), step));
                heals(&home, 10 * number + step % 9, unknown, &case.clean).await;
            }
        }
        assert_eq!(presented(&home).await, 12);
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_behind_a_megabyte_goes_on_its_way_to_the_disk() {
    for way in [WAYS[0], WAYS[1]] {
        let home = House::new().over(way).start().await;
        for (number, case) in cases(STALE, 2 * MIB).into_iter().enumerate() {
            let known = typed(case.kind, sized(case.sent.clone()));
            heals(&home, 2 * number, known, &case.clean).await;
            let unknown = typed(case.kind, chunked(case.sent.clone(), 100_003));
            heals(&home, 2 * number + 1, unknown, &case.clean).await;
        }
        assert_eq!(presented(&home).await, 6);
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_which_nothing_has_to_go_is_what_it_was() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        for (number, case) in cases(STALE, 100).into_iter().enumerate() {
            let request = typed(case.kind, sized(case.clean.clone()));
            heals(&home, number, request, &case.clean).await;
        }
        assert_eq!(presented(&home).await, 0);
        home.leave().await;
    }
}

/// Whether this is what was sent with the token and its name overwritten.
fn is_masked(seen: &Seen, sent: &Bytes, token: &str) {
    let sent = std::str::from_utf8(sent).unwrap();
    let (before, behind) = sent.split_once(token).unwrap();
    let (before, between) = before.rsplit_once("access_token").unwrap();
    let mask = |length: usize| "x".repeat(length);
    let (name, value) = (mask("access_token".len()), mask(token.len()));
    let expected = format!("{before}{name}{between}{value}{behind}");
    let arrived = seen.body.as_ref().unwrap();
    assert!(*arrived == expected, "{between}{token}");
    assert_eq!(seen.all("content-length"), [expected.len().to_string()]);
    assert!(seen.all("transfer-encoding").is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_streams_with_a_promised_length_keeps_it_and_the_token_is_masked() {
    for way in WAYS {
        let home = House::new().over(way).with(small).start().await;
        for case in cases(STALE, 20_000) {
            let known = typed(case.kind, sized(case.sent.clone()));
            assert_eq!(home.app.ask(known).await.status, 200);
            is_masked(&home.graph.last(), &case.sent, STALE);
        }
        assert_eq!(presented(&home).await, 3);
        assert_eq!(home.graph.attempts(), 3);
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_streams_without_one_is_shorter_than_it_was() {
    for way in WAYS {
        let home = House::new().over(way).with(small).start().await;
        for case in cases(STALE, 20_000) {
            let unknown = typed(case.kind, chunked(case.sent.clone(), 1_003));
            assert_eq!(home.app.ask(unknown).await.status, 200);
            let seen = home.graph.last();
            assert!(seen.body.as_ref() == Some(&case.clean), "{}", case.kind);
            assert!(seen.all("content-length").is_empty());
            if way.graph == Http::One {
                assert_eq!(seen.all("transfer-encoding"), ["chunked"]);
            }
        }
        assert_eq!(presented(&home).await, 3);
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cleaned_body_that_streams_has_no_second_chance() {
    let home = House::new().with(small).start().await;
    home.expires();
    let Case { kind, sent, .. } = form(STALE, 20_000);
    assert_eq!(home.app.ask(typed(kind, sized(sent))).await.status, 401);
    assert_eq!(home.graph.attempts(), 1);
    assert_eq!(home.ended("unhealed_not_replayable").await, 1);
    home.leave().await;
}

#[tokio::test(start_paused = true)]
async fn an_app_token_in_a_body_stays_and_nothing_of_ours_is_added() {
    for way in WAYS {
        let house = House::new().over(way).proving(Proving::Lasting);
        let home = house.start().await;
        for case in cases("123|abc", 100) {
            let own = typed(case.kind, sized(case.sent.clone()));
            let own = with(own, &[("authorization", &format!("Bearer {STALE}"))]);
            assert_eq!(home.app.ask(own).await.status, 401, "Graph reads headers");
            let seen = home.graph.last();
            assert_eq!(seen.body.as_ref(), Some(&case.sent), "{}", case.kind);
            assert!(seen.all("authorization").is_empty());
            assert_eq!(seen.target(), "/v21.0/106540352242922/messages");
        }
        assert_eq!((home.graph.attempts(), home.drop.looks()), (3, 1));
        assert_eq!(presented(&home).await, 0);
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_stands_for_no_token_goes_and_is_none() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        for nothing in ["null", "undefined", "None", ""] {
            for case in cases(nothing, 100) {
                let request = typed(case.kind, sized(case.sent));
                assert_eq!(home.app.ask(request).await.status, 200);
                let seen = home.graph.last();
                assert_eq!(seen.body.as_ref(), Some(&case.clean), "{nothing:?}");
                assert_eq!(seen.all("authorization"), [format!("Bearer {FIRST}")]);
            }
        }
        assert_eq!(presented(&home).await, 0);
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_with_a_token_is_refused_where_that_is_asked_for() {
    for way in WAYS {
        let house = House::new().over(way).with(|config| {
            small(config);
            config.heal.presented = Presented::Refuse;
        });
        let home = house.start().await;
        // In memory, on disk, and on the wire.
        for fill in [100, 2_000, 20_000] {
            for case in cases(STALE, fill) {
                let answer = home.app.ask(typed(case.kind, sized(case.sent))).await;
                answer.refused(403, "http_request_denied");
                assert_eq!(answer.code(), 990_009);
                assert!(answer.text().contains("body"));
            }
            if fill < 20_000 {
                assert_eq!(home.graph.attempts(), 0, "{fill}");
            }
        }
        assert_eq!(home.ended("refused_presented").await, 9);
        assert!(home.graph.accepted().is_empty());
        let placeholder = form("null", 100);
        let request = typed(placeholder.kind, sized(placeholder.sent));
        assert_eq!(home.app.ask(request).await.status, 200);
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_with_a_token_is_kept_where_that_is_asked_for_and_never_healed() {
    for way in WAYS {
        let house = House::new().over(way).proving(Proving::Lasting);
        let house = house.with(|config| config.heal.presented = Presented::Keep);
        let home = house.start().await;
        for case in cases(STALE, 100) {
            let request = typed(case.kind, sized(case.sent.clone()));
            assert_eq!(home.app.ask(request).await.status, 401);
            let seen = home.graph.last();
            assert_eq!(seen.body.as_ref(), Some(&case.sent));
            assert!(seen.all("authorization").is_empty());
            assert_eq!(seen.head.uri.query(), None);
        }
        assert_eq!((home.graph.attempts(), home.drop.looks()), (3, 1));
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_of_other_kinds_and_of_token_endpoints_are_not_looked_at() {
    for way in WAYS {
        let home = House::new().over(way).start().await;
        for (kind, coding) in [
            ("text/csv", None),
            ("application/octet-stream", None),
            (FORM, Some("gzip")),
        ] {
            let mut fields = vec![("content-type", kind)];
            fields.extend(coding.map(|coding| ("content-encoding", coding)));
            let sent = form(STALE, 100).sent;
            let request = with(post(sized(sent.clone())), &fields);
            assert_eq!(home.app.ask(request).await.status, 200);
            let seen = home.graph.last();
            assert_eq!(seen.body.as_ref(), Some(&sent), "{kind}");
            assert_eq!(seen.all("authorization"), [format!("Bearer {FIRST}")]);
        }
        for case in cases(STALE, 100) {
            let call = request("POST", "/oauth/access_token", sized(case.sent.clone()));
            home.app
                .ask(with(call, &[("content-type", case.kind)]))
                .await;
            let seen = home.graph.last();
            assert_eq!(seen.body.as_ref(), Some(&case.sent));
            assert!(seen.all("authorization").is_empty());
        }
        home.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn other_parameters_that_hold_tokens_are_data() {
    let data = "input_token=EAAa&fb_exchange_token=EAAb&revoke_token=EAAc&code=AQ&client_secret=s";
    for way in WAYS {
        let home = House::new().over(way).start().await;
        home.expires();
        let request = typed(FORM, sized(data));
        assert_eq!(home.app.ask(request).await.status, 200);
        for (seen, token) in home.graph.seen().iter().zip([FIRST, SECOND]) {
            assert_eq!(seen.body.as_deref(), Some(data.as_bytes()));
            assert_eq!(seen.all("authorization"), [format!("Bearer {token}")]);
        }
        home.leave().await;
    }
}
