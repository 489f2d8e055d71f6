//! `listen` through a connection pooler, against a real PgBouncer.

use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};

use super::server::{Database, Server};
use crate::support::{Graph, Sidecar, settings, wait_until};

/// A pooler in front of a database. It stops when this is dropped or this process ends.
struct Pooler {
    supervisor: Child,
    stdin: Option<ChildStdin>,
}

impl Pooler {
    async fn start(database: &Database, mode: &str) -> Self {
        let (server, name) = (&database.server, &database.name);
        let sockets = server.sockets().display();
        let settings = format!(
            "[databases]\n{name} = host={sockets} dbname={name} user=postgres\n\
             [pgbouncer]\nunix_socket_dir = {sockets}\nlisten_port = 6432\npool_mode = {mode}\nauth_type = any\n"
        );
        let file = server.write("pgbouncer.ini", &settings);
        let mut command = server.supervised(Path::new("/usr/sbin/pgbouncer"), "TERM");
        let mut supervisor = command
            .arg(file)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = supervisor.stdin.take();
        let socket = server.sockets().join(".s.PGSQL.6432");
        wait_until("the pooler listens", async || {
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        })
        .await;
        Self { supervisor, stdin }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.stdin.take());
        drop(self.supervisor.wait());
    }
}

/// The log of a sidecar that listens through a pooler in this mode, once it knows whether notifications arrive.
async fn log_through_pooler(mode: &str) -> String {
    let database = Database {
        server: Server::new().into(),
        name: "postgres".to_owned(),
    };
    let _pooler = Pooler::start(&database, mode).await;
    let sockets = database.server.sockets().display();
    let source = format!(
        "postgres = \"host={sockets} port=6432 user=postgres dbname=postgres pgbouncer=true\", \
         query = \"SELECT 'EAAGpooled0123456789012345'\", \
         listen = \"tokens\""
    );
    let (dir, graph) = (tempfile::tempdir().unwrap(), Graph::start().await);
    let log = "[log]\nlevel = \"debug\"";
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, &source, log)).await;
    wait_until("the notification has arrived or not", async || {
        ["notifications arrive\"", "`listen` has no effect"]
            .iter()
            .any(|line| sidecar.stdout().contains(line))
    })
    .await;
    sidecar.stdout()
}

#[tokio::test]
async fn a_pooler_that_drops_notifications_is_told_at_the_start() {
    let log = log_through_pooler("transaction").await;
    assert!(log.contains("`listen` has no effect"), "{log}");
    assert!(log.contains("connection pooler in transaction mode"), "{log}");
    // The parameter that the app needs has no effect here, which is told as well.
    assert!(log.contains("\"parameters\":\"pgbouncer\""), "{log}");
}

#[tokio::test]
async fn a_pooler_that_keeps_sessions_is_not_warned_about() {
    let log = log_through_pooler("session").await;
    assert!(!log.contains("`listen` has no effect"), "{log}");
}

#[tokio::test]
async fn what_a_pooler_or_the_server_refuses_while_it_connects_is_no_fault_of_the_statement() {
    let database = Database {
        server: Server::new().into(),
        name: "postgres".to_owned(),
    };
    let _pooler = Pooler::start(&database, "transaction").await;
    let sockets = database.server.sockets().display();
    let graph = Graph::start().await;
    for (parameters, cause) in [
        (
            "port=6432 dbname=postgres options='-csearch_path=tn'",
            "unsupported startup parameter",
        ),
        ("port=6432 dbname=unknown", "bouncer config error"),
        (
            "dbname=postgres options='-c no_such=5'",
            "unrecognized configuration parameter",
        ),
        ("dbname=unknown", "does not exist"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let source = format!("postgres = \"host={sockets} user=postgres {parameters}\", query = \"SELECT 'x'\"");
        let sidecar = Sidecar::start(dir.path(), &settings(&graph, &source, "")).await;
        wait_until("the failure is logged", async || {
            sidecar.stdout().contains("cannot connect to")
        })
        .await;
        let log = sidecar.stdout();
        assert!(log.contains(cause) && log.contains("in the URL"), "{parameters}: {log}");
        assert!(!log.contains("the statement"), "{parameters}: {log}");
    }
}
