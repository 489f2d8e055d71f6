//! Secrets whose files change while the process runs: they are used without a signal, and what is no secret changes nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use graphward::source::Fernet;
use graphward::types::Secret;
use rustix::process::Signal;
use tokio::time::sleep;

use crate::postgres::server::Database;
use crate::support::{
    APP_SECRET, Client, Graph, Sidecar, exchange_config, fingerprint, get, graphward_command, network_settings,
    replace_file, settings, text_message, together, wait_until,
};

const APPLIED: &str = "graphward_config_reloads_total{result=\"applied\"} ";
const REJECTED: &str = "graphward_config_reloads_total{result=\"rejected\"} ";
const KEYS: [&str; 3] = [
    "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=",
    "RVhBTVBMRUtFWUVYQU1QTEVLRVlFWEFNUExFS0VZQUE=",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
];

fn seal(key: &str, token: &str) -> String {
    let fernet = Fernet::new(vec![Secret::new(key).unwrap()]).unwrap();
    fernet.encrypt(&Secret::new(token).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_fernet_key_is_taken_before_or_after_the_token_that_it_encrypts() {
    let _turn = together().await;
    let (dir, graph) = (tempfile::tempdir().unwrap(), Graph::start().await);
    let [first, second, third] = [(); 3].map(|()| graph.sim.issue(None));
    let path = |name: &str| dir.path().join(name);
    fs::write(path("key.json"), format!("{{\"key\":\"{}\"}}", KEYS[0])).unwrap();
    fs::write(path("token"), seal(KEYS[0], &first)).unwrap();
    let source = "file = \"token\", fernet_key = { file = \"key.json\", pointer = \"/key\" }";
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, source, "")).await;
    sidecar.wait_until_uses(&graph, &first).await;
    // The token first: it cannot be decrypted yet, and the one before stays in use.
    replace_file(&path("token"), seal(KEYS[1], &second));
    wait_until("it cannot be decrypted", async || {
        sidecar.stdout().contains("no configured Fernet key decrypts it")
    })
    .await;
    assert_eq!(get(sidecar.proxy, "/v26.0/me").await.status, 200);
    graph.assert_last_token(&first);
    replace_file(&path("key.json"), format!("{{\"key\":\"{}\"}}", KEYS[1]));
    sidecar.wait_until_uses(&graph, &second).await;
    // The key first, after a text that is not a key.
    replace_file(&path("key.json"), "{\"key\":\"${FERNET_KEY}\"}");
    wait_until("the key is rejected", async || sidecar.metric(REJECTED).await == 1).await;
    assert_eq!(get(sidecar.proxy, "/v26.0/me").await.status, 200);
    replace_file(&path("key.json"), format!("{{\"key\":\"{}\"}}", KEYS[2]));
    replace_file(&path("token"), seal(KEYS[2], &third));
    sidecar.wait_until_uses(&graph, &third).await;
    sidecar.assert_reveals_none_of(&KEYS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_database_url_is_taken_and_one_that_is_no_url_changes_nothing() {
    let _turn = together().await;
    let (dir, graph) = (tempfile::tempdir().unwrap(), Graph::start().await);
    let [first, second] = [(); 2].map(|()| graph.sim.issue(None));
    let [old, new] = [&first, &second].map(|token| {
        Database::with(&format!(
            "CREATE TABLE t (token text); INSERT INTO t VALUES ('{token}')"
        ))
    });
    let env_file = dir.path().join(".env");
    fs::write(&env_file, format!("DATABASE_URL='{}'\n", old.url())).unwrap();
    let source = "postgres = { file = \".env\", key = \"DATABASE_URL\" }, query = \"SELECT token FROM t\", \
                  poll_interval = \"1d\"";
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, source, "")).await;
    sidecar.wait_until_uses(&graph, &first).await;
    for (faults, text) in ["${POSTGRES_URL}", "postgres://app:$PGPASSWORD@db/app", "mysql://db"]
        .iter()
        .enumerate()
    {
        replace_file(&env_file, format!("DATABASE_URL='{text}'\n"));
        wait_until("it is rejected", async || {
            sidecar.metric(REJECTED).await == faults as u64 + 1
        })
        .await;
        assert_eq!(get(sidecar.proxy, "/v26.0/me").await.status, 200);
    }
    graph.assert_last_token(&first);
    replace_file(&env_file, format!("DATABASE_URL='{}'\n", new.url()));
    sidecar.wait_until_uses(&graph, &second).await;
}

/// Kubernetes replaces all files of a mounted secret at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_faulty_secret_is_logged_once_and_by_its_setting_if_its_neighbors_change_with_it() {
    let _turn = together().await;
    let (dir, graph) = (tempfile::tempdir().unwrap(), Graph::start().await);
    let path = |name: &str| dir.path().join(name);
    for (version, first) in [("v1", "hunter2-1"), ("v2", "${HUNTER2}")] {
        fs::create_dir(path(version)).unwrap();
        for (name, text) in [("a", first), ("b", version), ("c", version)] {
            fs::write(path(version).join(name), text).unwrap();
        }
    }
    symlink("v1", path("data")).unwrap();
    fs::write(path("token"), graph.sim.issue(None)).unwrap();
    let headers = ["a", "b", "c"].map(|name| format!("X-{name} = {{ file = \"data/{name}\" }}"));
    let renewer = format!(
        "renew = {{ http = \"http://127.0.0.1:1/\", headers = {{ {} }} }}",
        headers.join(", ")
    );
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, "file = \"token\"", &renewer)).await;
    symlink("v2", path("next")).unwrap();
    fs::rename(path("next"), path("data")).unwrap();
    wait_until("it is rejected", async || sidecar.metric(REJECTED).await > 0).await;
    // The contents are compared once a second.
    sleep(Duration::from_secs(3)).await;
    let log = sidecar.stdout();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("was not reloaded")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("cannot use token.renew.headers.x-a from the file"),
        "{lines:?}"
    );
    assert!(!log.contains("HUNTER2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_token_that_is_none_is_refused_and_the_one_before_mints_on() {
    let _turn = together().await;
    let (dir, graph) = (tempfile::tempdir().unwrap(), Graph::start().await);
    let (token, admin) = (graph.sim.issue(None), graph.sim.issue(None));
    let path = |name: &str| dir.path().join(name);
    fs::write(path("token"), &token).unwrap();
    fs::write(path("admin"), &admin).unwrap();
    let mint = "renew = { mint = { system_user = \"100001234567890\", token = { file = \"admin\" }, \
                scopes = [\"whatsapp_business_messaging\"], set_token_expires_in_60_days = true } }";
    let app = exchange_config(dir.path());
    let app = app.get(app.find("[app]").unwrap()..).unwrap();
    let file = settings(&graph, "file = \"token\"", &format!("{mint}\n{app}"));
    let sidecar = Sidecar::start(dir.path(), &file).await;
    sidecar.wait_until_uses(&graph, &token).await;
    let refused = [
        "changeme",
        "${META_ADMIN_TOKEN}",
        "op://vault/meta/admin",
        "<ADMIN_TOKEN>",
    ];
    for (faults, text) in refused.iter().enumerate() {
        replace_file(&path("admin"), text);
        wait_until("it is rejected", async || {
            sidecar.metric(REJECTED).await == faults as u64 + 1
        })
        .await;
    }
    assert!(
        sidecar
            .stdout()
            .contains("cannot use token.renew.mint.token from the file")
    );
    assert!(graph.sim.expire(&token));
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("by the next one").await.status, 200);
    let stored = fs::read_to_string(path("token")).unwrap();
    graph.assert_last_token(stored.trim());
    assert_eq!(graph.sim.counts().system_user_tokens, 1);
    sidecar.assert_reveals_none_of(&[&admin, APP_SECRET]).await;
    // A start is refused, and says what is wrong.
    for text in refused {
        fs::write(path("admin"), text).unwrap();
        let output = graphward_command(dir.path(), &["serve"]).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && error.contains("token.renew.mint.token"),
            "{error}"
        );
        assert!(!error.contains(text), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_url_of_the_egress_proxy_is_said_to_need_a_restart() {
    let _turn = together().await;
    let (dir, graph) = (tempfile::tempdir().unwrap(), Graph::start().await);
    let token = graph.sim.issue(None);
    fs::write(dir.path().join("token"), &token).unwrap();
    fs::write(dir.path().join("proxy-url"), "http://app:Hunter2@proxy.example:3128").unwrap();
    let file = settings(&graph, "file = \"token\"", "");
    let (before, upstream) = file.split_once("[upstream]\n").unwrap();
    let file = format!("{before}[upstream]\nproxy = {{ file = \"proxy-url\" }}\n{upstream}");
    let sidecar = Sidecar::start(dir.path(), &file).await;
    sidecar.wait_until_uses(&graph, &token).await;
    replace_file(&dir.path().join("proxy-url"), "http://app:Hunter3@proxy.example:3128");
    wait_until("the restart is advised", async || {
        let log = sidecar.stdout();
        let mut lines = log
            .lines()
            .filter(|line| line.contains("restart graphward to apply them"));
        lines.any(|line| line.contains("\"upstream.proxy\""))
    })
    .await;
    sidecar.assert_reveals_none_of(&["Hunter2", "Hunter3"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_database_url_of_the_tenants_is_taken() {
    let _turn = together().await;
    let (dir, graph) = (tempfile::tempdir().unwrap(), Graph::start().await);
    let [own, first, second] = [(); 3].map(|()| graph.sim.issue(None));
    let [old, new] = [&first, &second].map(|token| {
        Database::with(&format!(
            "CREATE TABLE t (token text); INSERT INTO t VALUES ('{token}')"
        ))
    });
    fs::write(dir.path().join("token"), &own).unwrap();
    let url_file = dir.path().join("url");
    fs::write(&url_file, old.url()).unwrap();
    let tenants = "[routing]\nheader = \"x-tenant-id\"\n[tenants_from]\npostgres = { file = \"url\" }\n\
                   query = \"SELECT 'acme' AS tenant, token FROM t\"\npoll_interval = \"1d\"\n";
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, "file = \"token\"", tenants)).await;
    let mut client = Client::connect(sidecar.proxy).await;
    let mut is_sent_with = async |token: &str| {
        let mut message = text_message("hello");
        message.headers_mut().insert("x-tenant-id", "acme".parse().unwrap());
        client.send(message).await.status == 200 && graph.last_fingerprint() == Some(fingerprint(token))
    };
    assert!(is_sent_with(&first).await);
    replace_file(&url_file, new.url());
    wait_until("the other database is read", async || is_sent_with(&second).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_reads_no_secret_that_nothing_uses() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    replace_file(&dir.path().join("token"), graph.sim.issue(None));
    replace_file(&dir.path().join("secret"), APP_SECRET);
    // Its only tenant has an app of its own.
    let settings = format!(
        "{}[app]\nid = \"1\"\nsecret = {{ file = \"absent\" }}\n[tenants.acme]\nids = [\"106\"]\n\
         source = {{ file = \"token\" }}\napp = {{ id = \"1234567890123456\", secret = {{ file = \"secret\" }} }}\n",
        network_settings(&graph)
    );
    let sidecar = Sidecar::start(dir.path(), &settings).await;
    sidecar.signal(Signal::HUP);
    wait_until("it has reloaded", async || {
        sidecar.metric(APPLIED).await + sidecar.metric(REJECTED).await > 0
    })
    .await;
    assert_eq!(sidecar.metric(REJECTED).await, 0, "{}", sidecar.stdout());
}
