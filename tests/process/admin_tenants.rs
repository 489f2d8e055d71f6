//! Tenants that the operator puts and withdraws through the admin listener.

use std::fs;
use std::os::unix::fs::symlink;

use fake_graph::{Effect, EndpointKind, Fault};
use serde_json::json;
use tokio::task::block_in_place;

use crate::admin_changes::{Answer, LOCAL, document, send};
use crate::postgres::server::Server;
use crate::support::{Client, Graph, Sidecar, fingerprint, settings, together, wait_until};
use crate::tenants_from::support::{
    NOTIFY, Service, TABLE, assert_is, config, insertion, issue, me, refusal, table_settings, wait_until_started,
};

fn put(sidecar: &Sidecar, name: &str, token: &str) -> Answer {
    let body = json!({ "wabaId": "206", "phoneNumberId": "106", "accessToken": token }).to_string();
    send(sidecar.admin, &format!("PUT /admin/tenants/{name}"), LOCAL, &body)
}

/// The same in a place that has no ids.
fn put_without_ids(sidecar: &Sidecar, name: &str, token: &str) -> Answer {
    let body = json!({ "accessToken": token }).to_string();
    send(sidecar.admin, &format!("PUT /admin/tenants/{name}"), LOCAL, &body)
}

fn withdraw(sidecar: &Sidecar, name: &str) -> Answer {
    send(sidecar.admin, &format!("DELETE /admin/tenants/{name}"), LOCAL, "")
}

pub(crate) const STATEMENTS: &str = r#"
upsert = """
    INSERT INTO tenant_whatsapp_config (tenant_id, access_token, waba_id, phone_number_id) VALUES ($2, $1, $3, $4)
    ON CONFLICT (tenant_id) DO UPDATE SET access_token = $1, waba_id = $3, phone_number_id = $4, is_active = true, updated_at = now()"""
withdraw = "UPDATE tenant_whatsapp_config SET is_active = false WHERE tenant_id = $1"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_is_put_into_a_table_is_served_at_once_and_withdrawn_at_once() {
    let _turn = together().await;
    let service = Service::start().await;
    service.insert("shop", "107", "207");
    let (_dir, sidecar) = service.sidecar(STATEMENTS).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_is(&me(&mut client, "shop").await, "shop");
    assert_eq!(refusal(&me(&mut client, "acme").await).0, 404);

    let (token, second) = (
        issue(&service.graph, "acme", &["106", "206"]),
        issue(&service.graph, "acme-2", &["106"]),
    );
    let answer = put(&sidecar, "acme", &token);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["token"], fingerprint(&token).as_str());
    assert_eq!(
        (service.token_of("acme"), answer.json()["tenant"].as_str()),
        (token.clone(), Some("acme"))
    );
    assert_is(&me(&mut client, "acme").await, "acme");
    assert_eq!(
        client.get("/v26.0/106?fields=id").await.status,
        200,
        "its ids were stored"
    );
    // A token for other accounts replaces the one that is there only by force.
    let answer = put(&sidecar, "acme", &second);
    assert_eq!(answer.status, 409, "{}", answer.text);
    let differences = "accounts: 106 (current: 106, 206); number: 106 (current: 106, 206)";
    assert_eq!(answer.json()["error"]["differences"], differences);
    assert_eq!(service.token_of("acme"), token);
    let body = document(&second);
    let answer = send(sidecar.admin, "PUT /admin/token?tenant=acme", LOCAL, &body);
    assert_eq!(answer.json()["error"]["differences"], differences, "{}", answer.text);
    let answer = put(&sidecar, "acme?force=yes", &second);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_is(&me(&mut client, "acme").await, "acme-2");
    let answer = put(&sidecar, "acme?tenant=acme&by=force", &second);
    assert_eq!(answer.status, 400, "{}", answer.text);

    // What Graph says is no token changes nothing.
    let dead = issue(&service.graph, "dead", &[]);
    service.graph.sim.expire(&dead);
    for token in [dead.as_str(), "EAAGneverissuedhunter2"] {
        let body = document(token);
        for answer in [
            put(&sidecar, "acme", token),
            send(sidecar.admin, "PUT /admin/token?tenant=acme", LOCAL, &body),
            send(sidecar.admin, "PUT /admin/token?tenant=acme&force=yes", LOCAL, &body),
        ] {
            assert_eq!(answer.status, 409, "{}", answer.text);
            assert!(answer.message().contains("rejected"), "{}", answer.text);
        }
    }
    assert_eq!(service.token_of("acme"), second);

    let answer = withdraw(&sidecar, "acme");
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(refusal(&me(&mut client, "acme").await), (403, 990_026));
    assert_eq!(withdraw(&sidecar, "acme").status, 404);
    assert_is(&me(&mut client, "shop").await, "shop");
    assert_eq!(put(&sidecar, "acme", &token).status, 200);
    assert_is(&me(&mut client, "acme").await, "acme");
    let events = send(sidecar.admin, "GET /admin/events", LOCAL, "").json().to_string();
    for kind in ["tenant_put", "tenant_withdrawn"] {
        assert!(events.contains(kind), "{kind}: {events}");
    }
    // Two that are for other accounts, and two that are no tokens for Graph, each put in three ways. The parameter that is
    // unknown is no event.
    assert_eq!(events.matches("\"change_refused\"").count(), 8, "{events}");
    sidecar.assert_reveals_none_of(&[&token, &second, &dead]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_does_not_do_what_it_should_changes_nothing() {
    let _turn = together().await;
    let service = Service::start().await;
    service.insert("shop", "107", "207");
    let token = issue(&service.graph, "acme", &["106"]);
    for (statements, put_words, withdraw_words) in [
        ("", "without `upsert`", "without `withdraw`"),
        (
            "upsert = \"INSERT INTO tenant_whatsapp_config (tenant_id, access_token, is_active, waba_id, phone_number_id) VALUES ($2, $1, false, $3, $4)\"\nwithdraw = \"UPDATE tenant_whatsapp_config SET waba_id = '1' WHERE tenant_id = $1\"",
            "`query` does not return the tenant",
            "`query` returns the tenant after it",
        ),
        (
            "upsert = \"UPDATE tenant_whatsapp_config SET access_token = $1, waba_id = $3, phone_number_id = $4 WHERE tenant_id <> $2\"\nwithdraw = \"UPDATE tenant_whatsapp_config SET nosuch = 1 WHERE tenant_id = $1\"",
            "`query` does not return the tenant",
            "column that does not exist",
        ),
        (
            "upsert = \"INSERT INTO tenant_whatsapp_config (tenant_id, access_token, waba_id) VALUES ($2, $1, $3)\"\nwithdraw = \"SELECT $1::text\"",
            "does not store `phoneNumberId`: use $4 in it",
            "`query` returns the tenant after it",
        ),
    ] {
        let (_dir, sidecar) = service.sidecar(statements).await;
        let before = service
            .database
            .psql("SELECT count(*), max(access_token) FROM tenant_whatsapp_config");
        let answer = put(&sidecar, "acme", &token);
        assert_eq!(answer.status, 409, "{statements}: {}", answer.text);
        assert!(answer.message().contains(put_words), "{statements}: {}", answer.text);
        let answer = withdraw(&sidecar, "shop");
        assert_eq!(answer.status, 409, "{statements}: {}", answer.text);
        assert!(
            answer.message().contains(withdraw_words),
            "{statements}: {}",
            answer.text
        );
        let after = service
            .database
            .psql("SELECT count(*), max(access_token) FROM tenant_whatsapp_config");
        assert_eq!(before, after, "{statements}");
        sidecar.assert_reveals_none_of(&[&token]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_down_each_change_is_503_and_afterwards_it_is_made() {
    let _turn = together().await;
    let (graph, server, dir) = (Graph::start().await, Server::new(), tempfile::tempdir().unwrap());
    let first = issue(&graph, "shop", &[]);
    let row = insertion("shop", "107", "207", &first);
    server.psql("postgres", &format!("{TABLE}{NOTIFY}{row};"));
    let table = table_settings(dir.path(), &server.url_of("postgres", "postgres"));
    let config = config(&graph, dir.path(), &format!("{table}{STATEMENTS}"));
    let sidecar = Sidecar::start(dir.path(), &config).await;
    wait_until_started(&sidecar).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_is(&me(&mut client, "shop").await, "shop");
    let tokens = ["acme", "shop-2", "shop-3"].map(|name| issue(&graph, name, &[]));
    let set = || {
        let body = document(&tokens[1]);
        send(sidecar.admin, "PUT /admin/token?tenant=shop&force=yes", LOCAL, &body)
    };
    let changes: [(&str, &dyn Fn() -> Answer); 4] = [
        ("a new tenant", &|| put(&sidecar, "acme", &tokens[0])),
        ("a token", &set),
        ("a tenant that is there", &|| {
            put(&sidecar, "shop?force=yes", &tokens[2])
        }),
        ("a withdrawal", &|| withdraw(&sidecar, "acme")),
    ];
    block_in_place(|| server.stop());
    for (change, make) in &changes {
        let answer = block_in_place(make);
        assert_eq!(answer.status, 503, "{change}: {}", answer.text);
        assert!(
            answer.message().contains("was not changed: "),
            "{change}: {}",
            answer.text
        );
    }
    assert_is(&me(&mut client, "shop").await, "shop");
    let events = send(sidecar.admin, "GET /admin/events", LOCAL, "").text;
    assert_eq!(events.matches("\"change_refused\"").count(), changes.len(), "{events}");
    block_in_place(|| server.start());
    for (change, make) in &changes {
        let answer = block_in_place(make);
        assert_eq!(answer.status, 200, "{change}: {}", answer.text);
    }
    let name = me(&mut client, "shop").await.json()["name"].clone();
    assert_eq!(name, "shop-3");
    assert_eq!(refusal(&me(&mut client, "acme").await), (403, 990_026));
    let secrets: Vec<_> = tokens.iter().chain([&first]).map(String::as_str).collect();
    sidecar.assert_reveals_none_of(&secrets).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_takes_tenants_as_files_and_loses_them() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    let tokens = dir.path().join("tokens");
    fs::create_dir(&tokens).unwrap();
    let sidecar = Sidecar::start(dir.path(), &config(&graph, dir.path(), "file = \"tokens/{tenant}\"")).await;
    wait_until_started(&sidecar).await;
    let mut client = Client::connect(sidecar.proxy).await;
    let (token, second) = (issue(&graph, "acme", &[]), issue(&graph, "acme-2", &[]));
    for (token, name) in [(&token, "acme"), (&second, "acme-2")] {
        let answer = put_without_ids(&sidecar, "acme", token);
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(
            answer.json()["stored_in"].as_str().unwrap().contains("tokens/acme"),
            "{}",
            answer.text
        );
        assert_eq!(fs::read_to_string(tokens.join("acme")).unwrap().trim(), token);
        assert_is(&me(&mut client, "acme").await, name);
    }
    let answer = put(&sidecar, "acme", &token);
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert!(
        answer.message().contains("has no place for ids; leave `wabaId`"),
        "{}",
        answer.text
    );
    for name in ["a..b", "acme.lock", "acme.tmp"] {
        let answer = put_without_ids(&sidecar, name, &token);
        assert_eq!(answer.status, 409, "{name}: {}", answer.text);
    }
    for name in ["..%2Facme", "a%20b", "%ff", "%2e%2e", &"x".repeat(129)] {
        let answer = put_without_ids(&sidecar, name, &token);
        assert_eq!(answer.status, 400, "{name}: {}", answer.text);
    }
    assert_eq!(withdraw(&sidecar, "acme").status, 200);
    assert_eq!(refusal(&me(&mut client, "acme").await), (403, 990_026));
    assert!(!tokens.join("acme").exists());
    assert_eq!(withdraw(&sidecar, "acme").status, 404);
    assert_eq!(withdraw(&sidecar, "nosuch").status, 404);

    // A volume of Kubernetes is changed by Kubernetes alone.
    fs::create_dir(tokens.join("..1")).unwrap();
    fs::write(tokens.join("..1/shop"), issue(&graph, "shop", &[])).unwrap();
    symlink("..1", tokens.join("..data")).unwrap();
    symlink("..data/shop", tokens.join("shop")).unwrap();
    wait_until("it is read", async || me(&mut client, "shop").await.status == 200).await;
    for answer in [put_without_ids(&sidecar, "shop", &token), withdraw(&sidecar, "shop")] {
        assert_eq!(answer.status, 409, "{}", answer.text);
        assert!(
            answer.message().contains("only Kubernetes can update"),
            "{}",
            answer.text
        );
    }
    assert_is(&me(&mut client, "shop").await, "shop");

    // While Graph does not answer, a new tenant is stored, and the answer says that its token is unchecked.
    let third = issue(&graph, "third", &[]);
    let answer = put_without_ids(&sidecar, "second", &second);
    assert_eq!(answer.json()["inspected"], true, "{}", answer.text);
    let held = Fault::once(Effect::Hold).times(u32::MAX);
    graph.sim.inject_fault_on(EndpointKind::DebugToken, held);
    let answer = put_without_ids(&sidecar, "third", &third);
    assert_eq!(answer.json()["inspected"], false, "{}", answer.text);
    sidecar.assert_reveals_none_of(&[&token, &second, &third]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_is_only_read_and_a_configured_tenant_say_where_to_change_them() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    let token = issue(&graph, "default", &[]);
    fs::write(dir.path().join("token"), &token).unwrap();
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, "file = \"token\"", "")).await;
    sidecar.wait_until_uses(&graph, &token).await;
    for (name, words) in [("default", "is in the configuration"), ("acme", "set [tenants_from]")] {
        for answer in [put(&sidecar, name, &token), withdraw(&sidecar, name)] {
            assert_eq!(answer.status, 409, "{name}: {}", answer.text);
            assert!(answer.message().contains(words), "{name}: {}", answer.text);
        }
    }
    drop(sidecar);
    let place = "exec = [\"cat\", \"{tenant}\"]";
    fs::write(dir.path().join("acme"), &token).unwrap();
    let sidecar = Sidecar::start(dir.path(), &config(&graph, dir.path(), place)).await;
    wait_until_started(&sidecar).await;
    for answer in [put(&sidecar, "acme", &token), withdraw(&sidecar, "acme")] {
        assert_eq!(answer.status, 409, "{}", answer.text);
        assert!(answer.message().contains("is only read"), "{}", answer.text);
    }
    for (body, words) in [
        ("", "the body is empty; expected {\"accessToken\""),
        ("[]", "`accessToken`, which is missing"),
        ("{\"access_token\": \"EAAGhunter2\"}", "`accessToken`, which is missing"),
        ("{\"accessToken\": \"<YOUR_TOKEN>\"}", "placeholder"),
        (
            "{\"accessToken\": \"EAAGhunter2\", \"wabaID\": \"1\"}",
            "a field that is not known",
        ),
        (
            "{\"accessToken\": \"EAAGhunter2\", \"wabaId\": 206}",
            "a text of digits",
        ),
        (
            "{\"accessToken\": \"EAAGhunter2\", \"phoneNumberId\": \"+49 151\"}",
            "a text of digits",
        ),
        (
            "{\"accessToken\": \"EAAGhunter2\", \"wabaId\": \"\"}",
            "a text of digits",
        ),
    ] {
        let answer = send(sidecar.admin, "PUT /admin/tenants/acme", LOCAL, body);
        assert_eq!(answer.status, 400, "{body}: {}", answer.text);
        assert!(answer.message().contains(words), "{body}: {}", answer.text);
        assert!(!answer.text.contains("hunter2"), "{}", answer.text);
    }
    sidecar.assert_reveals_none_of(&[&token, "hunter2"]).await;
}
