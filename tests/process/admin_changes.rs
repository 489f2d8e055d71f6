//! Changes of the token through the admin listener.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::admin_description::assert_described;
use crate::replicas::SharedRow;
use crate::support::{Graph, Sidecar, fingerprint, get, replace_file, settings, together};

/// What a command line client sends, besides the body.
pub(crate) const LOCAL: &str = "Host: localhost\r\nGraphward-Admin: yes\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_put_is_checked_stored_and_used_and_a_rollback_undoes_it() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let (first, second) = (graph.sim.issue(None), graph.sim.issue(None));
    let path = dir.path().join(".env");
    replace_file(&path, format!("A=1\nTOKEN={first}\n# b\n"));
    let source = "file = \".env\", key = \"TOKEN\"";
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, source, "[state]\ndir = \"state\"\n")).await;
    sidecar.wait_until_uses(&graph, &first).await;

    // As Graph's answer has it.
    let body = serde_json::json!({ "access_token": second, "token_type": "bearer", "expires_in": 5_183_944 });
    let put = put(sidecar.admin, LOCAL, &body.to_string());
    let fingerprints = [&first, &second].map(|token| fingerprint(token));
    assert_eq!(put.json()["token"], fingerprints[1].as_str(), "{}", put.text);
    assert_eq!(put.json()["previous"], fingerprints[0].as_str());
    assert!(put.json()["stored_in"].as_str().unwrap().contains(".env"));
    // It is in use by the time of the answer, and the next start finds it.
    let status = token_status(&sidecar).await;
    assert_eq!(status["tenants"][0]["fingerprint"], fingerprints[1].as_str());
    assert_eq!(status["tenants"][0]["generation"], 2);
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        format!("A=1\nTOKEN={second}\n# b\n")
    );
    sidecar.wait_until_uses(&graph, &second).await;

    let back = send(sidecar.admin, "POST /admin/rollback?tenant=default", LOCAL, "");
    assert_eq!(
        (back.status, &back.json()["token"]),
        (200, &fingerprints[0].as_str().into()),
        "{}",
        back.text
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("A=1\nTOKEN={first}\n# b\n"));
    sidecar.wait_until_uses(&graph, &first).await;

    // A body would be ignored, and the token of another tenant changed.
    for change in [
        "POST /admin/rollback",
        "POST /admin/refresh-token",
        "DELETE /admin/tenants/acme",
    ] {
        let answer = send(sidecar.admin, change, LOCAL, "{\"tenant\": \"shop\"}");
        assert_eq!(answer.status, 400, "{change}: {}", answer.text);
        assert!(answer.message().contains("takes no body"), "{change}: {}", answer.text);
    }
    // The previous token is dead: it is not restored.
    graph.sim.expire(&second);
    let dead = send(sidecar.admin, "POST /admin/rollback", LOCAL, "");
    assert_eq!(dead.status, 409, "{}", dead.text);
    assert!(dead.message().contains("Graph reports it as invalid"), "{}", dead.text);
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("A=1\nTOKEN={first}\n# b\n"));
    sidecar.wait_until_uses(&graph, &first).await;
    for answer in [put, back, dead] {
        assert!(
            !answer.text.contains(&first) && !answer.text.contains(&second),
            "{}",
            answer.text
        );
    }
    sidecar.assert_reveals_none_of(&[&first, &second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_token_or_is_dead_is_refused_with_the_reason_and_the_old_one_stays() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let (living, dead) = (graph.sim.issue(None), graph.sim.issue(None));
    graph.sim.expire(&dead);
    replace_file(&dir.path().join("token"), &living);
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, "file = \"token\"", "")).await;
    sidecar.wait_until_uses(&graph, &living).await;
    let large = document(&"x".repeat(16 * 1024));
    for (body, status, reason) in [
        ("", 400, "the body is empty; expected {\"access_token\""),
        ("EAAGhunter2", 400, "the body is not JSON (line 1, column 1); expected"),
        ("{\"token\": \"EAAGhunter2\"}", 400, "`access_token`, which is missing"),
        ("{}", 400, "`access_token`, which is missing"),
        ("[]", 400, "`access_token`, which is missing"),
        ("\"EAAGhunter2\"", 400, "`access_token`, which is missing"),
        (
            "{\"access_token\": \"EAAGhunter2\", \"access_token\": \"EAAGother\"}",
            400,
            "a field that is not known, or that is there twice",
        ),
        ("{\"access_token\": 7}", 400, "`access_token`, which is not a string"),
        ("{\"access_token\": null}", 400, "`access_token`, which is null"),
        ("{\"access_token\": \"${META_TOKEN}\"}", 400, "variable"),
        ("{\"access_token\": \"<YOUR_TOKEN>\"}", 400, "placeholder"),
        ("{\"access_token\": \"changeme\"}", 400, "placeholder"),
        (
            "{\"access_token\": \"op://vault/meta/token\"}",
            400,
            "address of a secret",
        ),
        ("{\"access_token\": \"EAAG hunter2\"}", 400, "a space"),
        (
            "{\"access_token\": \"EAAGhunter2\", \"tenant\": \"default\"}",
            400,
            "name a tenant by ?tenant=NAME",
        ),
        (
            "{\"access_token\": \"gAAAAhunter2\"}",
            409,
            "Graph reports it as invalid",
        ),
        (&document(&dead), 409, "Graph reports it as invalid"),
        (&document("EAAGneverissuedhunter2"), 409, "Graph reports it as invalid"),
        (&large, 413, "larger than 16 KiB"),
    ] {
        let answer = put(sidecar.admin, LOCAL, body);
        assert_eq!(answer.status, status, "{body:.60}: {}", answer.text);
        assert!(answer.message().contains(reason), "{body:.60}: {}", answer.text);
        assert!(
            !answer.text.contains("hunter2") && !answer.text.contains(&dead),
            "{}",
            answer.text
        );
    }
    assert_eq!(fs::read_to_string(dir.path().join("token")).unwrap(), living);
    sidecar.wait_until_uses(&graph, &living).await;
    sidecar.assert_reveals_none_of(&["hunter2", &dead, &living]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_page_cannot_change_the_token() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let (first, second) = (graph.sim.issue(None), graph.sim.issue(None));
    replace_file(&dir.path().join("token"), &first);
    let sidecar = Sidecar::start(
        dir.path(),
        &settings(&graph, "file = \"token\"", "[state]\ndir = \"state\"\n"),
    )
    .await;
    sidecar.wait_until_uses(&graph, &first).await;
    let body = document(&second);
    let page = "Host: localhost\r\nOrigin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\n";
    for (request, headers, status, words) in [
        // A form or a `fetch` in mode `no-cors`.
        ("POST /admin/rollback", page, 403, "Graphward-Admin: yes"),
        ("PUT /admin/token", page, 403, "Graphward-Admin: yes"),
        (
            "PUT /admin/token",
            "Host: localhost\r\nGraphward-Admin: no\r\n",
            403,
            "Graphward-Admin: yes",
        ),
        // A name that resolves to loopback, as its own page would send it.
        (
            "PUT /admin/token",
            "Host: evil.example\r\nGraphward-Admin: yes\r\n",
            403,
            "Host",
        ),
        (
            "PUT /admin/token",
            "Host: localhost.evil.example\r\nGraphward-Admin: yes\r\n",
            403,
            "Host",
        ),
        (
            "PUT /admin/token",
            "Host: 127.0.0.1.nip.io:9080\r\nGraphward-Admin: yes\r\n",
            403,
            "Host",
        ),
        (
            "PUT /admin/token",
            "Host: localhost\r\nHost: evil.example\r\nGraphward-Admin: yes\r\n",
            403,
            "Host",
        ),
        ("PUT http://evil.example/admin/token", LOCAL, 403, "Host"),
        ("PUT /admin/token?tenant=shop", LOCAL, 404, "no such tenant"),
        ("PUT /admin/token?access_token=x", LOCAL, 400, "parameter"),
    ] {
        let answer = send(sidecar.admin, request, headers, &body);
        assert_eq!(answer.status, status, "{request} {headers}: {}", answer.text);
        assert!(answer.message().contains(words), "{request} {headers}: {}", answer.text);
        assert!(
            !answer.head.to_lowercase().contains("access-control"),
            "{}",
            answer.head
        );
    }
    // The browser asks before it sends the header, and is not answered that it may.
    let preflight = "Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: graphward-admin\r\n";
    let answer = send(sidecar.admin, "OPTIONS /admin/token", &format!("{page}{preflight}"), "");
    assert_eq!(answer.status, 405);
    assert!(
        !answer.head.to_lowercase().contains("access-control"),
        "{}",
        answer.head
    );
    for request in [
        "GET /admin/token",
        "POST /admin/token",
        "GET /admin/rollback",
        "PUT /admin/rollback",
    ] {
        assert_eq!(send(sidecar.admin, request, LOCAL, &body).status, 405, "{request}");
    }
    let status = token_status(&sidecar).await;
    assert_eq!(status["tenants"][0]["generation"], 1);
    assert_eq!(fs::read_to_string(dir.path().join("token")).unwrap(), first);
    for host in ["127.0.0.1:9080", "[::1]:9080", "LOCALHOST", "localhost:1"] {
        let answer = put(
            sidecar.admin,
            &format!("Host: {host}\r\nGraphward-Admin: yes\r\n"),
            &body,
        );
        assert_eq!(answer.status, 200, "{host}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_token_can_be_put_and_a_file_of_another_kind_is_not_overwritten() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let token = graph.sim.issue(None);
    let path = dir.path().join("token");
    let other = "A=1\nB=2\n";
    fs::write(&path, other).unwrap();
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, "file = \"token\"", "")).await;
    let answer = put(sidecar.admin, LOCAL, &document(&token));
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert!(answer.message().contains("set `key`"), "{}", answer.text);
    assert_eq!(fs::read_to_string(&path).unwrap(), other);
    for content in [None, Some(""), Some("<YOUR_TOKEN>\n")] {
        match content {
            Some(content) => fs::write(&path, content).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let answer = put(sidecar.admin, LOCAL, &document(&token));
        assert_eq!(answer.status, 200, "{content:?}: {}", answer.text);
        assert_eq!(fs::read_to_string(&path).unwrap().trim(), token);
    }
    sidecar.wait_until_uses(&graph, &token).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_one_replica_stores_in_the_row_is_used_by_the_other() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let (first, second) = (graph.sim.issue(None), graph.sim.issue(None));
    let row = SharedRow::with(&first);
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let config = settings(&graph, &row.source(), "");
    let one = Sidecar::start(dirs[0].path(), &config).await;
    let other = Sidecar::start(dirs[1].path(), &config).await;
    for sidecar in [&one, &other] {
        sidecar.wait_until_uses(&graph, &first).await;
    }
    let answer = put(one.admin, LOCAL, &document(&second));
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.json()["stored_in"].as_str().unwrap().starts_with("postgres "));
    assert_eq!(
        token_status(&one).await["tenants"][0]["fingerprint"],
        fingerprint(&second).as_str()
    );
    other.wait_until_uses(&graph, &second).await;
    let answer = send(one.admin, "POST /admin/rollback", LOCAL, "");
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert!(answer.message().contains("with SQL"), "{}", answer.text);
    one.assert_reveals_none_of(&[&first, &second]).await;
}

/// An answer of the admin listener.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    /// The body.
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    pub(crate) fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
    }
}

pub(crate) fn document(token: &str) -> String {
    serde_json::json!({ "access_token": token }).to_string()
}

#[track_caller]
pub(crate) fn put(address: SocketAddr, headers: &str, body: &str) -> Answer {
    send(address, "PUT /admin/token", headers, body)
}

/// Sends the bytes of a request, as any client on the machine can.
#[track_caller]
pub(crate) fn send(address: SocketAddr, request: &str, headers: &str, body: &str) -> Answer {
    exchange(TcpStream::connect(address).unwrap(), request, headers, body)
}

/// The same over a connection. The description has such an answer, or this fails.
#[track_caller]
pub(crate) fn exchange(mut stream: impl Read + Write, request: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let text = format!("{request} HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    // A large body may be refused before it is read.
    drop(stream.write_all(text.as_bytes()));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    if let Some(status) = status {
        let fields = head.lines().filter_map(|line| line.split_once(": "));
        let mut types = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        assert_described(request, status, types.next().map_or("", |(_, value)| value), body);
    }
    Answer {
        status: status.unwrap_or_default(),
        head: head.to_owned(),
        text: body.to_owned(),
    }
}

async fn token_status(sidecar: &Sidecar) -> Value {
    let answer = get(sidecar.admin, "/admin/token-status").await;
    assert_eq!(answer.status, 200);
    answer.json()
}
