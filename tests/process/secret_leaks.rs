//! No token in any output, whatever happens.

use std::fs;
use std::slice::SliceIndex;
use std::time::Duration;

use fake_graph::{Effect, Fault, InvalidationReason};
use http::{Request, header};

use crate::postgres::server::Database;
use crate::support::{Body, Client, Graph, Sidecar, TestResponse, get, replace_file, settings, together, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_is_in_any_output_at_the_level_of_trace() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let more = "[heal]\nhold_timeout = \"100ms\"\n[log]\nlevel = \"trace\"\nrequests = \"all\"\n";
    let settings = settings(&graph, &format!("file = {path:?}"), more);
    // A token with characters that look different in base64 and in a URL.
    let first = format!("EAAG+~={}", graph.sim.issue(None));
    graph.sim.register_token(&first, None);
    replace_file(&path, &first);
    let mut tokens = vec![first.clone()];
    let mut outputs = Vec::new();
    let mut sidecar = Sidecar::start(dir.path(), &settings).await;
    let mut client = Client::connect(sidecar.proxy).await;

    // Success; credentials that the app sends; a refusal by graphward.
    assert_eq!(client.text("well").await.status, 200);
    let own = graph.sim.issue(None);
    let presented = Request::get(format!("/v26.0/me?access_token={own}"))
        .header(header::AUTHORIZATION, format!("Bearer {own}"))
        .body(Body::default());
    let response = client.send(presented.unwrap()).await;
    outputs.push(rendered(&response));
    let wrong_host = Request::get(format!("/v26.0/me?access_token={own}"))
        .header(header::HOST, "elsewhere.example")
        .body(Body::default());
    let response = client.send(wrong_host.unwrap()).await;
    assert_eq!(response.status, 421);
    outputs.push(rendered(&response));
    tokens.push(own);

    // Token files that are rejected, with a token in them.
    for suffix in ["\"", " two", "\x07", "\nEAAGmore"] {
        let token = graph.sim.issue(None);
        let rejected = "graphward_token_files_rejected_total{";
        let before = sidecar.metric(rejected).await;
        replace_file(&path, format!("{token}{suffix}"));
        wait_until("it is rejected", async || sidecar.metric(rejected).await > before).await;
        tokens.push(token);
    }

    // A token that is invalidated, first without a newer one, then with one.
    graph.sim.invalidate(&first, InvalidationReason::LoggedOut);
    let response = client.text("unhealed").await;
    assert_eq!(response.status, 401);
    outputs.push(rendered(&response));
    outputs.push(rendered(&get(sidecar.admin, "/readyz").await));
    let second = graph.sim.issue(None);
    replace_file(&path, &second);
    wait_until("it is healed", async || client.text("again").await.status == 200).await;
    tokens.push(second);

    inject_faults(&graph, &sidecar, &mut outputs).await;
    graph.running.stop().await;
    let mut client = Client::connect(sidecar.proxy).await;
    let response = client.text("unreachable").await;
    assert_eq!(response.status, 502);
    outputs.push(rendered(&response));

    outputs.push(rendered(&get(sidecar.admin, "/metrics").await));
    outputs.push(rendered(&get(sidecar.admin, "/readyz").await));
    sidecar.signal(rustix::process::Signal::TERM);
    assert_eq!(sidecar.wait_exit().await.code(), Some(0));
    let log = sidecar.stdout();
    assert!(log.contains("\"level\":\"DEBUG\""), "nothing was logged");
    outputs.push(log);
    outputs.push(sidecar.stderr());

    assert_absent(&tokens, &outputs);
}

#[test]
fn a_token_is_found_in_base64_whatever_stands_before_it() {
    let token = "EAAG+/=0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ";
    for before in ["", "x", "xy", "Bearer ", "user:"] {
        let coded = base64(format!("{before}{token}\n").as_bytes());
        assert!(
            encodings_of(token).iter().any(|encoding| coded.contains(encoding)),
            "{coded}"
        );
    }
}

/// Sends requests to a Graph with each fault that ends.
async fn inject_faults(graph: &Graph, sidecar: &Sidecar, outputs: &mut Vec<String>) {
    for effect in [
        Effect::Reset,
        Effect::Truncate,
        Effect::HtmlPage(http::StatusCode::BAD_GATEWAY),
        Effect::Delay(Duration::from_millis(1)),
    ] {
        graph.sim.fault(Fault::once(effect));
        let mut client = Client::connect(sidecar.proxy).await;
        let request = Request::get("/v26.0/me").body(Body::default()).unwrap();
        if let Ok(response) = client.try_send(request).await {
            outputs.push(rendered(&response));
        }
    }
}

fn assert_absent(tokens: &[String], outputs: &[String]) {
    for token in tokens {
        for encoding in encodings_of(token) {
            for output in outputs {
                if let Some(at) = output.find(&encoding) {
                    let around = output.get(at.saturating_sub(200)..at).unwrap_or_default();
                    panic!("{encoding:?} is in an output, after {around:?}");
                }
            }
        }
    }
}

/// The headers and the body of a response as text.
fn rendered(response: &TestResponse) -> String {
    format!("{:?}\n{}", response.headers, String::from_utf8_lossy(&response.body))
}

/// A token as it is, parts of it, and its encodings.
fn encodings_of(token: &str) -> Vec<String> {
    let mut all = vec![token.to_owned()];
    // The first twelve characters of what is random in it, too.
    all.push(slice(token, ..12));
    all.push(slice(token, 8..20));
    all.push(slice(token, token.len() - 12..));
    let escaped: String = token.bytes().map(|byte| format!("%{byte:02X}")).collect();
    all.push(escaped);
    let escaped = percent_encoding::utf8_percent_encode(token, percent_encoding::NON_ALPHANUMERIC);
    all.push(escaped.to_string());
    // Base64 of it, wherever in a triple it begins: less the first and last letters, which depend on the bytes around it.
    for shift in 0..3 {
        let shifted = format!("{}{token}", "x".repeat(shift));
        let coded = base64(shifted.as_bytes());
        all.push(slice(&coded, 4..coded.len() - 4));
        all.push(slice(&coded, 4..20));
    }
    all.push(token.bytes().map(|byte| format!("{byte:02x}")).collect());
    all
}

fn slice(text: &str, range: impl SliceIndex<str, Output = str>) -> String {
    text.get(range).unwrap().to_owned()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letters = bytes.chunks(3).flat_map(|triple| {
        let all = triple.iter().fold(0_u32, |all, byte| (all << 8) | u32::from(*byte));
        let all = all << (8 * (3 - triple.len()));
        (0..=triple.len()).map(move |position| {
            let six = (all >> (18 - 6 * position)) & 63;
            char::from(LETTERS[six as usize])
        })
    });
    letters.collect()
}

/// Spellings of the password `mouse`, and of `correct horse`.
const SPELLINGS: [&str; 7] = [
    "password: mouse",
    "db_password: correct horse",
    "{\"password\": \"correct horse\", \"code\": 7}",
    "Authorization: Bearer mouse",
    "cannot reach postgres://app:mo/use@db/shop",
    "PGPASSWORD=\"correct horse\" psql",
    "refused: api_key = mouse",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_commands_and_databases_say_is_shown_without_the_passwords_in_it() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    let quoted: Vec<_> = SPELLINGS.iter().map(|spelling| format!("'{spelling}'")).collect();
    let database = Database::with(&format!(
        "CREATE FUNCTION refuse(number text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
            RAISE insufficient_privilege USING MESSAGE = 'the database says ' || (ARRAY[{}])[number::int];
        END $$",
        quoted.join(", ")
    ));
    fs::write(dir.path().join("url"), database.url()).unwrap();
    for (number, spelling) in (1..).zip(SPELLINGS) {
        fs::write(dir.path().join("said"), format!("the vault says {spelling}\n")).unwrap();
        let command = "exec = [\"/bin/sh\", \"-c\", \"cat said >&2; exit 1\"]";
        let row = format!("postgres = {{ file = \"url\" }}, query = \"SELECT refuse($1)\", params = [\"{number}\"]");
        for (source, told) in [(command, "the vault says"), (&row, "the database says")] {
            let sidecar = Sidecar::start(dir.path(), &settings(&graph, source, "")).await;
            wait_until("it has failed", async || sidecar.stdout().contains(told)).await;
            let parts = ["mouse", "mo/use", "correct", "horse"];
            sidecar.assert_reveals_none_of(&parts).await;
        }
    }
}
