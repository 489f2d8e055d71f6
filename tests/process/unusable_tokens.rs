//! A token that cannot be used is replaced by the operator, wherever it is.

use std::fs;
use std::path::Path;

use crate::admin_changes::{LOCAL, document, send};
use crate::postgres::server::Database;
use crate::support::{Client, Graph, Sidecar, network_settings, settings, together};
use crate::tenants_from::support::{Service, assert_is, config, issue, me, refusal, seal, wait_until_started};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_without_a_usable_token_gets_the_one_of_the_operator() {
    let _turn = together().await;
    let service = Service::start().await;
    for (name, value) in [
        ("null", "NULL".to_owned()),
        ("empty", "''".to_owned()),
        ("sealed", "'gAAAAABmZm9vYmFy'".to_owned()),
        ("garbage", format!("'{}'", seal("changeme"))),
    ] {
        service.insert(name, &format!("1{}", name.len()), &format!("2{}", name.len()));
        service.set(name, &format!("access_token = {value}"));
    }
    let (_dir, sidecar) = service.sidecar("").await;
    let mut client = Client::connect(sidecar.proxy).await;
    for name in ["null", "empty", "sealed", "garbage"] {
        assert_ne!(me(&mut client, name).await.status, 200, "{name}");
        let token = issue(&service.graph, name, &[]);
        let put = format!("PUT /admin/token?tenant={name}");
        let answer = send(sidecar.admin, &put, LOCAL, &document(&token));
        assert_eq!(answer.status, 200, "{name}: {}", answer.text);
        assert_eq!(service.token_of(name), token, "{name}");
        assert_is(&me(&mut client, name).await, name);
    }
    // What the operator cannot have meant is refused as before: there is no such row.
    let token = issue(&service.graph, "nosuch", &[]);
    let answer = send(
        sidecar.admin,
        "PUT /admin/token?tenant=nosuch",
        LOCAL,
        &document(&token),
    );
    assert_eq!(answer.status, 404, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_a_usable_token_gets_the_one_of_the_operator() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    let tokens = dir.path().join("tokens");
    fs::create_dir(&tokens).unwrap();
    for (name, text) in [
        ("empty", ""),
        ("garbage", "no token at all\n"),
        ("placeholder", "<YOUR_TOKEN>"),
    ] {
        fs::write(tokens.join(name), text).unwrap();
    }
    fs::write(tokens.join("shop"), issue(&graph, "shop", &[])).unwrap();
    let sidecar = Sidecar::start(dir.path(), &config(&graph, dir.path(), "file = \"tokens/{tenant}\"")).await;
    wait_until_started(&sidecar).await;
    let mut client = Client::connect(sidecar.proxy).await;
    for name in ["empty", "garbage", "placeholder"] {
        assert_ne!(refusal(&me(&mut client, name).await).0, 200, "{name}");
        let status = send(
            sidecar.admin,
            &format!("GET /admin/token-status?tenant={name}"),
            LOCAL,
            "",
        );
        let advice = status.json()["tenants"][0]["advice"].to_string();
        assert!(!advice.contains("row"), "{name}: {advice}");
        let token = issue(&graph, name, &[]);
        let put = format!("PUT /admin/token?tenant={name}");
        let answer = send(sidecar.admin, &put, LOCAL, &document(&token));
        assert_eq!(answer.status, 200, "{name}: {}", answer.text);
        assert_eq!(fs::read_to_string(tokens.join(name)).unwrap().trim(), token, "{name}");
        assert_is(&me(&mut client, name).await, name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_row_without_a_usable_token_gets_the_one_of_the_operator() {
    let _turn = together().await;
    let graph = Graph::start().await;
    for value in ["NULL", "'no token at all'"] {
        let database = Database::with("CREATE TABLE config (id int PRIMARY KEY, token text)");
        database.psql(&format!("INSERT INTO config VALUES (1, {value})"));
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("url"), database.url()).unwrap();
        let source = r#"postgres = { file = "url" }, query = "SELECT token FROM config WHERE id = 1", update = "UPDATE config SET token = $1 WHERE id = 1""#;
        let sidecar = Sidecar::start(dir.path(), &settings(&graph, source, "")).await;
        let token = graph.sim.issue(None);
        let answer = send(sidecar.admin, "PUT /admin/token", LOCAL, &document(&token));
        assert_eq!(answer.status, 200, "{value}: {}", answer.text);
        assert_eq!(database.psql("SELECT token FROM config"), token);
        sidecar.wait_until_uses(&graph, &token).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_beside_a_source_without_a_usable_token_gets_the_one_of_the_operator() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    let database = Database::with("CREATE TABLE config (id int PRIMARY KEY, token text)");
    database.psql("INSERT INTO config VALUES (1, 'no token at all')");
    fs::write(dir.path().join("url"), database.url()).unwrap();
    let source =
        r#"postgres = { file = "url" }, query = "SELECT token FROM config WHERE id = 1", poll_interval = "1s""#;
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, source, "store = { file = \"renewed\" }")).await;
    let (token, newer) = (graph.sim.issue(None), graph.sim.issue(None));
    let answer = send(sidecar.admin, "PUT /admin/token", LOCAL, &document(&token));
    assert_eq!(answer.status, 200, "{}", answer.text);
    sidecar.wait_until_uses(&graph, &token).await;
    // As soon as the source has a token, that is used.
    database.psql(&format!("UPDATE config SET token = '{newer}'"));
    sidecar.wait_until_uses(&graph, &newer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configuration_of_the_package_takes_tokens_although_its_directory_is_read_only() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    let etc = dir.path().join("etc");
    fs::create_dir(&etc).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/systemd/graphward.toml");
    let shipped = fs::read_to_string(shipped).unwrap();
    let shipped = shipped.replace("/etc/graphward/token", &etc.display().to_string());
    let shipped = shipped.replace("/var/lib/graphward", &dir.path().display().to_string());
    let config = format!("{}{shipped}", network_settings(&graph));
    let (first, second, dropped) = (graph.sim.issue(None), graph.sim.issue(None), graph.sim.issue(None));
    let sidecar = Sidecar::start(dir.path(), &config).await;
    for token in [&first, &second] {
        let answer = send(sidecar.admin, "PUT /admin/token?force=yes", LOCAL, &document(token));
        assert_eq!(answer.status, 200, "{}", answer.text);
        sidecar.wait_until_uses(&graph, token).await;
    }
    assert_eq!(fs::read_dir(&etc).unwrap().count(), 0, "it is read-only");
    drop(sidecar);
    let sidecar = Sidecar::start(dir.path(), &config).await;
    sidecar.wait_until_uses(&graph, &second).await;
    fs::write(etc.join("next"), &dropped).unwrap();
    fs::rename(etc.join("next"), etc.join("token")).unwrap();
    sidecar.wait_until_uses(&graph, &dropped).await;
}
