//! The comparison of a token that is put through the admin listener with the one in use.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use bytes::Bytes;
use fake_graph::{Effect, EndpointKind, Fault, TokenChange, TokenType};
use http::Request;
use http_body_util::{BodyExt as _, Full};

use crate::admin_changes::{Answer, LOCAL, document, send};
use crate::support::place::{APP, NUMBER, Place, targets, text};
use crate::support::{
    Client, Sidecar, TIMEOUT, fingerprint, get, refusing_address, replace_file, settings, together, wait_until,
};
use crate::tenants_from::support::{assert_is, config as tenants_config, issue as issue_named, me, wait_until_started};

fn put(sidecar: &Sidecar, query: &str, token: &str) -> Answer {
    send(
        sidecar.admin,
        &format!("PUT /admin/token{query}"),
        LOCAL,
        &document(token),
    )
}

/// The token in the file of the sidecar.
fn current(place: &Place) -> String {
    let text = fs::read_to_string(place.dir.path().join("token")).unwrap();
    text.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_another_kind_app_account_or_number_is_put_only_by_force() {
    let _turn = together().await;
    let place = Place::new().await;
    let issue = |change: TokenChange| {
        let token = place.graph.sim.issue(None);
        assert!(place.graph.sim.update_token(&token, change));
        token
    };
    let page = issue(TokenChange {
        kind: Some(TokenType::Page),
        ..targets("500")
    });
    let app = issue(TokenChange {
        app_id: Some("77".to_owned()),
        ..targets("500")
    });
    let (account, like) = (issue(targets("600")), issue(targets("500")));
    let config = settings(
        &place.graph,
        "file = \"token\"",
        &format!("{APP}[check]\nphone_number_id = \"{NUMBER}\"\n"),
    );
    let sidecar = Sidecar::start(place.dir.path(), &config).await;
    sidecar.wait_until_uses(&place.graph, &place.token).await;
    let number = format!("number: none (current: {NUMBER})");
    for (candidate, words) in [
        (&page, &["kind: page (current: system user)"][..]),
        (&account, &["accounts: 600 (current: 500)", &number]),
        (&app, &["app: another one (current: 1234567890123456)"]),
    ] {
        for query in ["", "?tenant=default"] {
            let answer = put(&sidecar, query, candidate);
            assert_eq!(answer.status, 409, "{}", answer.text);
            let differences = answer.json()["error"]["differences"].as_str().unwrap().to_owned();
            for words in words {
                assert!(differences.contains(words), "{differences}");
            }
            assert!(answer.message().contains(&differences), "{}", answer.text);
            assert!(answer.message().contains("?force=yes"), "{}", answer.text);
            assert_eq!(current(&place), place.token);
        }
    }
    for query in ["?force=no", "?force", "?tenant=default&forced=yes"] {
        let answer = put(&sidecar, query, &account);
        assert_eq!(answer.status, 400, "{query}: {}", answer.text);
        assert!(answer.message().contains("force=yes"), "{}", answer.text);
    }
    assert_eq!(put(&sidecar, "?tenant=default", &like).status, 200);
    assert_eq!(current(&place), like);
    // The command compares and forces as the listener does.
    let running = config.replace("admin = \"127.0.0.1:0\"", &format!("admin = \"{}\"", sidecar.admin));
    place.write("running.toml", &running);
    let set = ["token", "set", "--config", "running.toml"];
    let refused = place.run(&set, &account);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("--force"), "{}", text(&refused.stderr));
    assert_eq!(current(&place), like);
    let forced = place.run(&[&set[..], &["--force"]].concat(), &account);
    assert_eq!(forced.status.code(), Some(0), "{}", text(&forced.stderr));
    assert!(
        text(&forced.stdout).contains("by the sidecar"),
        "{}",
        text(&forced.stdout)
    );
    assert_eq!(current(&place), account);
    let answer = put(&sidecar, "?force=yes&tenant=default", &page);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["previous"], fingerprint(&account).as_str());
    assert_eq!(current(&place), page);
    sidecar
        .assert_reveals_none_of(&[&place.token, &page, &app, &account, &like])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_could_not_be_compared_is_put_only_by_force() {
    let _turn = together().await;
    let place = Place::new().await;
    let like = place.graph.sim.issue(None);
    place.graph.sim.update_token(&like, targets("500"));
    let (_closed, closed) = refusing_address();
    let config = settings(&place.graph, "file = \"token\"", APP);
    let unreachable = config.replace(&place.graph.running.address.to_string(), &closed.to_string());
    for (verify, needs_force) in [("verify = true\n", true), ("verify = false\n", false)] {
        place.write("token", &place.token);
        let config = unreachable.replace("[app]", &format!("{verify}[app]"));
        let sidecar = Sidecar::start(place.dir.path(), &config).await;
        wait_until("the token is in use", async || {
            get(sidecar.admin, "/readyz").await.status == 200
        })
        .await;
        if needs_force {
            let answer = put(&sidecar, "", &like);
            assert_eq!(answer.status, 409, "{}", answer.text);
            assert!(answer.message().contains("they were not compared"), "{}", answer.text);
            assert_eq!(current(&place), place.token);
            assert_eq!(put(&sidecar, "?force=yes", &like).status, 200);
        } else {
            assert_eq!(put(&sidecar, "", &like).status, 200, "Graph is not asked about tokens");
        }
        assert_eq!(current(&place), like);
    }
}

/// Sends the start of a change to the listener, and does not wait for the answer.
fn begin_to_put(sidecar: &Sidecar, token: &str) -> TcpStream {
    let body = document(token);
    let mut stream = TcpStream::connect(sidecar.admin).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let length = body.len();
    let head =
        format!("PUT /admin/token HTTP/1.1\r\n{LOCAL}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_whose_client_leaves_while_it_is_compared_is_not_put() {
    let _turn = together().await;
    let place = Place::new().await;
    let like = place.graph.sim.issue(None);
    assert!(place.graph.sim.update_token(&like, targets("500")));
    let config = settings(&place.graph, "file = \"token\"", APP);
    let sidecar = Sidecar::start(place.dir.path(), &config).await;
    sidecar.wait_until_uses(&place.graph, &place.token).await;
    let held = Fault::once(Effect::Hold).times(u32::MAX);
    place.graph.sim.inject_fault_on(EndpointKind::DebugToken, held);
    let before = place.graph.sim.counts().faults_injected;
    let mut client = begin_to_put(&sidecar, &like);
    wait_until("Graph is asked about the token", async || {
        place.graph.sim.counts().faults_injected > before
    })
    .await;
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "");
    assert_eq!(send(sidecar.admin, "GET /livez", LOCAL, "").status, 200);
    place.graph.sim.release_held(1_000_000);
    wait_until("the events say so", async || {
        let events = send(sidecar.admin, "GET /admin/events", LOCAL, "").text;
        events.contains("the client left before the token had been compared")
    })
    .await;
    assert_eq!(current(&place), place.token);
    assert_eq!(put(&sidecar, "", &like).status, 200);
    assert_eq!(current(&place), like);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_graph_does_not_answer_about_tokens_that_are_put_new_files_are_used_and_uploads_go_through() {
    /// More than there are threads.
    const CLIENTS: usize = 120;
    let _turn = together().await;
    let place = Place::new().await;
    let issue = || {
        let token = place.graph.sim.issue(None);
        assert!(place.graph.sim.update_token(&token, targets("500")));
        token
    };
    let (like, next) = (issue(), issue());
    let more = format!("{APP}[heal]\nbody_memory = \"64KiB\"\n");
    let config = settings(&place.graph, "file = \"token\"", &more);
    let sidecar = Sidecar::start(place.dir.path(), &config).await;
    sidecar.wait_until_uses(&place.graph, &place.token).await;
    let held = Fault::once(Effect::Hold).times(u32::MAX);
    place.graph.sim.inject_fault_on(EndpointKind::DebugToken, held);
    let before = place.graph.sim.counts().faults_injected;
    let gone: Vec<_> = (0..2).map(|_| begin_to_put(&sidecar, &like)).collect();
    wait_until("Graph is asked about two tokens", async || {
        place.graph.sim.counts().faults_injected >= before + 2
    })
    .await;
    // Each comparison goes on, though its client has left.
    drop(gone);
    let clients: Vec<_> = (0..CLIENTS).map(|_| begin_to_put(&sidecar, &like)).collect();

    replace_file(&place.dir.path().join("token"), &next);
    sidecar.wait_until_uses(&place.graph, &next).await;
    let body = Bytes::from(vec![b'x'; 1 << 20]);
    let upload = Request::post(format!("/v26.0/{NUMBER}/media"))
        .header("Content-Type", "application/octet-stream")
        .body(Full::new(body).boxed())
        .unwrap();
    let uploaded = Client::connect(sidecar.proxy).await.send(upload).await;
    assert!(uploaded.status < 500, "{uploaded:?}");
    let answers = clients.into_iter().map(|mut client| {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    });
    let busy = answers.filter(|answer| answer.starts_with("HTTP/1.1 503") && answer.contains("retry"));
    assert!(busy.count() > CLIENTS / 2);
    // A busy moment is nothing that an operator must see among the events, and no flood of lines.
    let events = send(sidecar.admin, "GET /admin/events", LOCAL, "").text;
    assert!(!events.contains("busy with other comparisons"));
    let lines = sidecar.stdout().matches("busy with other comparisons").count();
    assert!((1..CLIENTS / 2).contains(&lines), "{lines}");

    place.graph.sim.release_held(1_000_000);
    wait_until("a token is compared again", async || {
        put(&sidecar, "", &like).status == 200
    })
    .await;
    assert_eq!(current(&place), like);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_graph_rejects_replaces_none_of_a_row_with_a_sidecar_and_without() {
    /// A token that Graph never issued.
    const INVALID: &str = "EAAGneverissuedhunter2";
    let _turn = together().await;
    let place = Place::new().await;
    let (good, next) = (
        issue_named(&place.graph, "acme", &[]),
        issue_named(&place.graph, "next", &[]),
    );
    fs::create_dir(place.dir.path().join("tokens")).unwrap();
    place.write("tokens/acme", &good);
    let config = tenants_config(&place.graph, place.dir.path(), "file = \"tokens/{tenant}\"");
    let sidecar = Sidecar::start(place.dir.path(), &config).await;
    wait_until_started(&sidecar).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_is(&me(&mut client, "acme").await, "acme");
    let running = config.replace("admin = \"127.0.0.1:0\"", &format!("admin = \"{}\"", sidecar.admin));
    place.write("graphward.toml", &running);

    for query in ["?tenant=acme", "?tenant=acme&force=yes"] {
        let answer = put(&sidecar, query, INVALID);
        assert_eq!(answer.status, 409, "{query}: {}", answer.text);
    }
    let refused = |token: &str| {
        for args in [
            &["token", "set", "--tenant", "acme"][..],
            &["token", "set", "--tenant", "acme", "--force"],
        ] {
            let output = place.run(args, token);
            assert_eq!(output.status.code(), Some(1), "{args:?}: {}", text(&output.stdout));
            let shown = text(&output.stderr);
            assert!(shown.contains("rejected"), "{args:?}: {shown}");
        }
    };
    refused(INVALID);
    assert_is(&me(&mut client, "acme").await, "acme");
    let answer = put(&sidecar, "?tenant=acme", &next);
    assert_eq!(
        (answer.status, &answer.json()["inspected"]),
        (200, &true.into()),
        "{}",
        answer.text
    );
    assert_is(&me(&mut client, "acme").await, "next");
    drop(client);
    drop(sidecar);
    refused(INVALID);
    assert_eq!(
        fs::read_to_string(place.dir.path().join("tokens/acme")).unwrap().trim(),
        next
    );
}
