//! A new token for a source that cannot store one, through the admin listener.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::thread;

use crate::admin_changes::{LOCAL, document, put, send};
use crate::postgres::server::Database;
use crate::support::{Graph, Sidecar, graphward_command, settings, together};

/// A credential service with one token. It runs until the tests end.
fn service(token: &str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let response = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{token}",
        token.len()
    );
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut request = String::new();
            while !request.ends_with("\r\n\r\n") && reader.read_line(&mut request).unwrap_or_default() > 0 {}
            // The client may have given up.
            drop(reader.get_mut().write_all(response.as_bytes()));
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_token_can_be_stored_the_answer_says_where_to_put_it() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let (first, second) = (graph.sim.issue(None), graph.sim.issue(None));
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    fs::write(dir.join("print"), &first).unwrap();
    let database = Database::with(&format!(
        "CREATE TABLE t (token text); INSERT INTO t VALUES ('{first}')"
    ));
    let row = format!("postgres = \"{}\", query = \"SELECT token FROM t\"", database.url());
    let port = service(&first);
    let service = format!("http = \"http://127.0.0.1:{port}/token\"");
    let address = format!("http://127.0.0.1:{port}");
    for (source, words) in [
        ("env = \"META_TOKEN\"", "META_TOKEN"),
        ("exec = [\"cat\", \"print\"]", "cat"),
        (
            &row,
            "set `update` (UPDATE … SET access_token = $1 WHERE … = $2) on the source",
        ),
        (&service, &address),
    ] {
        let mut command = graphward_command(dir, &["serve"]);
        command.env("META_TOKEN", &first).env("PATH", "/usr/bin:/bin");
        let sidecar = Sidecar::start_with(dir, &settings(&graph, source, ""), &mut command).await;
        sidecar.wait_until_uses(&graph, &first).await;
        let answer = put(sidecar.admin, LOCAL, &document(&second));
        assert_eq!(answer.status, 409, "{}", answer.text);
        for words in [words, "read-only", "token.store"] {
            assert!(answer.message().contains(words), "{words}: {}", answer.text);
        }
        assert!(!answer.text.contains(&second), "{}", answer.text);
        let answer = send(sidecar.admin, "POST /admin/rollback", LOCAL, "");
        assert_eq!(answer.status, 409, "{}", answer.text);
        assert!(answer.message().contains("read-only"), "{}", answer.text);
        // The token that was there is still in use.
        sidecar.wait_until_uses(&graph, &first).await;
        drop(sidecar);

        // With a store it can, and the next start finds it.
        let config = settings(&graph, source, "[token.store]\nfile = \"renewed\"\n");
        let sidecar = Sidecar::start_with(dir, &config, &mut command).await;
        sidecar.wait_until_uses(&graph, &first).await;
        let answer = put(sidecar.admin, LOCAL, &document(&second));
        assert_eq!(answer.status, 200, "{}", answer.text);
        sidecar.wait_until_uses(&graph, &second).await;
        drop(sidecar);
        let sidecar = Sidecar::start_with(dir, &config, &mut command).await;
        sidecar.wait_until_uses(&graph, &second).await;
        drop(sidecar);
        fs::remove_file(dir.join("renewed")).unwrap();
    }
    assert_eq!(database.psql("SELECT token FROM t"), first);
}
