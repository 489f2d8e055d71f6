//! The configurations of tables, and the statements and answers that the pages show with them.

use std::fs;

use super::{place, settings_in, start, who};
use crate::postgres::server::Database;
use crate::support::{Client, Graph, Sidecar, TestResponse, block, fingerprint, get, together, wait_until};
use crate::tenants_from::support::{NOTIFY, Service, TABLE, assert_is, config, insertion, issue, me, table_settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_of_the_page_serves_its_tenants_and_is_kept_for_a_restart() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let database = Database::with(&format!("{TABLE}{NOTIFY}"));
    let shell = place(&graph);
    shell.write("run/database-url", &database.url());
    let token = issue(&graph, "acme", &["106", "206"]);
    database.psql(&insertion("acme", "106", "206", &token));
    let settings = settings_in(shell.path(), "docs/tenants-from.md#A table in PostgreSQL toml");
    let sidecar = start(&shell, &settings).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_is(&me(&mut client, "acme").await, "acme");
    let token = issue(&graph, "shop", &["107", "207"]);
    database.psql(&insertion("shop", "107", "207", &token));
    wait_until("the new row is known by its id", async || {
        client.get("/v26.0/107?fields=id").await.status == 200
    })
    .await;
    let cache = shell.path().join("lib/tenants");
    wait_until("the tenants are kept", async || cache.exists()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_put_into_the_table_and_removed_by_the_statements_of_the_page() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let database = Database::with(TABLE);
    let shell = place(&graph);
    shell.write("run/database-url", &database.url());
    let sidecar = start(&shell, &settings_in(shell.path(), "docs/admin.md#Tenants toml")).await;
    let commands = block("docs/admin.md#Tenants sh").replace("127.0.0.1:9080", &sidecar.admin.to_string());
    let (put, delete) = commands.split_once("\ncurl -X DELETE").unwrap();
    let ids = ["106540352242922", "102290129340398"];
    let body = put.split_once("# ").unwrap().1;
    assert!(ids.iter().all(|id| body.contains(id)), "{body}");
    shell.write("acme.json", &body.replace("EAAG…", &issue(&graph, "acme", &ids)));
    shell.run(put, "");
    let mut client = Client::connect(sidecar.proxy).await;
    let response = client.get(&format!("/v26.0/{}?fields=id", ids[0])).await;
    assert_eq!(response.status, 200, "{}", response.json());
    let row = "SELECT phone_number_id, waba_id, is_active FROM tenant_whatsapp_config WHERE tenant_id = 'acme'";
    assert_eq!(database.psql(row), format!("{}|{}|t", ids[0], ids[1]));
    shell.run(&format!("curl -X DELETE{delete}"), "");
    assert!(database.psql(row).ends_with("|f"));
    assert_eq!(who(&mut client, "acme").await.json()["error"]["code"], 990_026);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recipes_for_databases_read_their_tables() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let database = Database::with(&format!(
        "{TABLE} CREATE TABLE settings (name text, access_token text);"
    ));
    let token = issue(&graph, "acme", &[]);
    database.psql(&format!(
        "INSERT INTO tenant_whatsapp_config (tenant_id, access_token) VALUES ('acme', '{token}');
         INSERT INTO settings VALUES ('whatsapp', '{token}')"
    ));
    let shell = place(&graph).with("DATABASE_URL", database.url());
    shell.write("run/database-url", &database.url());
    let sidecar = start(&shell, &settings_in(shell.path(), "docs/recipes.md#PgBouncer toml")).await;
    assert_is(&who(&mut Client::connect(sidecar.proxy).await, "acme").await, "acme");
    let name = "docs/recipes.md#Render, Heroku and other platforms without files toml";
    let sidecar = start(&shell, &settings_in(shell.path(), name)).await;
    assert_eq!(get(sidecar.proxy, "/v25.0/me").await.status, 200);
    assert_eq!(graph.last_data_fingerprint(), Some(fingerprint(&token)));
}

/// The statements of a page with which the admin listener changes tenants.
fn changes_by_admin() -> String {
    let settings = block("docs/admin.md#Tenants toml");
    let (_, changes) = settings.split_once("\nupsert = ").unwrap();
    format!("\nupsert = {changes}\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_with_the_privileges_of_the_page_renews_puts_and_removes() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let database = Database::with(TABLE);
    database.psql("DO $$ BEGIN CREATE ROLE graphward LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$");
    database.psql(&block("docs/tenants-from.md#The role in the database sql"));
    let token = issue(&graph, "acme", &["106", "206"]);
    graph.set_nearly_expired(&token);
    database.psql(&format!(
        "INSERT INTO tenant_whatsapp_config (tenant_id, phone_number_id, waba_id, access_token, expires_at)
         VALUES ('acme', '106', '206', '{token}', now() + interval '6 seconds')"
    ));
    let shell = place(&graph);
    shell.write("run/database-url", &database.url_of("graphward"));
    let name = "docs/tenants-from.md#Renewed tokens in the table toml";
    let settings = settings_in(shell.path(), name) + &changes_by_admin();
    let sidecar = start(&shell, &settings).await;
    assert_is(&me(&mut Client::connect(sidecar.proxy).await, "acme").await, "acme");
    let renewed = format!(
        "SELECT expires_at IS NULL OR expires_at > now() + interval '2 minutes' FROM tenant_whatsapp_config
         WHERE tenant_id = 'acme' AND access_token <> '{token}'"
    );
    wait_until("the renewed token has its end", async || database.psql(&renewed) == "t").await;

    let url = format!("http://{}/admin/tenants/shop", sidecar.admin);
    let body = format!(
        r#"{{"phoneNumberId": "107", "accessToken": "{}"}}"#,
        issue(&graph, "shop", &["107"])
    );
    let put = shell.run(&format!("curl -sS -X PUT -H 'Graphward-Admin: yes' {url} -d @-"), &body);
    assert!(put.contains("stored_in") && !put.contains("error"), "{put}");
    let deleted = shell.run(&format!("curl -sS -X DELETE -H 'Graphward-Admin: yes' {url}"), "");
    assert!(!deleted.contains("error"), "{deleted}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_a_tenant_without_a_usable_token_has_the_answer_of_the_page() {
    let _turn = together().await;
    let service = Service::start().await;
    for (number, tenant) in ["active", "deactivated", "empty", "sealed"].into_iter().enumerate() {
        service.insert(tenant, &format!("10{number}"), &format!("20{number}"));
    }
    service.set("empty", "access_token = NULL");
    service.set("sealed", "access_token = 'gAAAAABsealed0elsewhere'");
    let (_dir, sidecar) = service.sidecar("").await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_is(&me(&mut client, "deactivated").await, "deactivated");
    service.set("deactivated", "is_active = false");
    wait_until("it is withdrawn", async || {
        me(&mut client, "deactivated").await.status == 403
    })
    .await;
    let mut answers = Vec::new();
    for tenant in ["deactivated", "unknown", "empty", "sealed"] {
        answers.push(answer(&me(&mut client, tenant).await));
    }
    // The server is not there.
    let dir = tempfile::tempdir().unwrap();
    let nowhere = table_settings(dir.path(), "postgres://127.0.0.1:1/none");
    let nowhere = config(
        &service.graph,
        dir.path(),
        &format!("{nowhere}[heal]\ntoken_wait = \"300ms\"\n"),
    );
    let unread = Sidecar::start(dir.path(), &nowhere).await;
    answers.push(answer(&me(&mut Client::connect(unread.proxy).await, "active").await));

    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/consumers.md")).unwrap();
    let (_, table) = page
        .split_once("| the tenant's row | answer | `is_transient` |")
        .unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let shown: Vec<_> = rows
        .map(|row| row.split(" | ").skip(1).take(2).collect::<Vec<_>>().join(", "))
        .collect();
    assert_eq!(answers, shown);
}

/// An answer as the page shows it.
fn answer(response: &TestResponse) -> String {
    let error = &response.json()["error"];
    format!("{}, code {}, {}", response.status, error["code"], error["is_transient"])
}
