//! The audit of what happens to tokens outside requests.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use graphward::telemetry::AuditAction;
use rustix::process::Signal;
use schemars::schema_for;
use serde_json::{Value, json};

use crate::admin_changes::{LOCAL, document, put, send};
use crate::support::{
    APP_SECRET, Client, Graph, Sidecar, fingerprint, get, replace_file, settings, together, wait_until,
};
use crate::tenants_from::support::{
    KEY, Service, assert_is, config, issue, me, refusal, seal, table_settings, wait_until_started,
};
use crate::token_sources::StubService;

/// The records in a file.
fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    // The last line may not be complete yet.
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The words for the actions of a list.
fn actions(records: &[Value]) -> BTreeSet<&str> {
    records
        .iter()
        .map(|record| record["action"].as_str().unwrap())
        .collect()
}

/// The words for all actions that there are.
fn all_actions(schema: &Value) -> BTreeSet<&str> {
    let alternatives = schema["oneOf"].as_array().unwrap().iter();
    alternatives.map(|action| action["const"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_has_what_happens_to_tokens_with_who_asked_and_goes_on_after_a_rotation() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let tokens = [(); 3].map(|()| graph.sim.issue(None));
    let [first, second, third] = &tokens;
    let path = dir.path().join("token");
    replace_file(&path, first);
    let more = "[audit]\nfile = \"audit.jsonl\"\n[state]\ndir = \"state\"\n";
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, "file = \"token\"", more)).await;
    sidecar.wait_until_uses(&graph, first).await;
    let file = dir.path().join("audit.jsonl");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    replace_file(&path, second);
    sidecar.wait_until_uses(&graph, second).await;
    assert_eq!(put(sidecar.admin, LOCAL, &document(third)).status, 200);
    graph.sim.expire(third);
    assert_ne!(get(sidecar.proxy, "/v26.0/me").await.status, 200);
    let of = |action: &str, token: &str| {
        let (token, all) = (fingerprint(token), records(&file));
        all.into_iter()
            .find(|record| record["action"] == action && record["token"] == token.as_str())
    };
    wait_until("all is written", async || of("rejected", third).is_some()).await;
    for (action, token, generation) in [("loaded", first, 1), ("loaded", second, 2), ("rejected", third, 3)] {
        let record = of(action, token).unwrap_or_else(|| panic!("{action}: {:?}", records(&file)));
        assert_eq!(
            (&record["tenant"], &record["generation"]),
            (&"default".into(), &generation.into())
        );
        assert!(record["source"].as_str().unwrap().ends_with("token"), "{record}");
        assert!(record["time"].as_str().unwrap().ends_with('Z'), "{record}");
        assert!(record.get("peer").is_none(), "{record}");
    }
    let set = of("set", third).unwrap();
    assert!(set["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{set}");

    // As logrotate does it.
    let rotated = dir.path().join("audit.jsonl.1");
    fs::rename(&file, &rotated).unwrap();
    sidecar.signal(Signal::HUP);
    wait_until("the file is opened anew", async || file.exists()).await;
    let fourth = graph.sim.issue(None);
    replace_file(&path, &fourth);
    sidecar.wait_until_uses(&graph, &fourth).await;
    wait_until("it goes on", async || of("loaded", &fourth).is_some()).await;
    let text = fs::read_to_string(&rotated).unwrap() + &fs::read_to_string(&file).unwrap();
    assert!(tokens.iter().all(|token| !text.contains(token)), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_action_leaves_a_record_and_no_secret() {
    let _turn = together().await;
    let service = Service::start().await;
    // A table that lacks all of its tenants is not believed.
    service.insert("other", "109", "209");
    let (graph, dir) = (&service.graph, tempfile::tempdir().unwrap());
    let first = graph.issue_nearly_expired();
    let path = dir.path().join("token");
    replace_file(&path, &first);
    let table = table_settings(dir.path(), &service.database.url());
    let statements = r#"
upsert = "INSERT INTO tenant_whatsapp_config (tenant_id, access_token, waba_id, phone_number_id) VALUES ($2, $1, $3, $4)"
withdraw = "UPDATE tenant_whatsapp_config SET is_active = false WHERE tenant_id = $1"
[token]
source = { file = "token" }
renew = { exchange = {} }
[audit]
file = "audit.jsonl"
[state]
dir = "state"
"#;
    let sidecar = Sidecar::start(dir.path(), &config(graph, dir.path(), &format!("{table}{statements}"))).await;
    wait_until_started(&sidecar).await;
    let (file, mut client) = (dir.path().join("audit.jsonl"), Client::connect(sidecar.proxy).await);
    let has = |action: &str| actions(&records(&file)).contains(action);

    wait_until("the first token is renewed", async || has("stored")).await;
    let renewed = fs::read_to_string(&path).unwrap().trim().to_owned();
    let second = graph.sim.issue(None);
    let set = send(
        sidecar.admin,
        "PUT /admin/token?tenant=default",
        LOCAL,
        &document(&second),
    );
    assert_eq!(set.status, 200, "{}", set.text);
    graph.sim.expire(&second);
    wait_until("the token is rejected", async || {
        client.get("/v26.0/me").await.status != 200 && has("rejected")
    })
    .await;
    let back = send(sidecar.admin, "POST /admin/rollback?tenant=default", LOCAL, "");
    assert_eq!(back.status, 200, "{}", back.text);

    let tokens = ["acme", "shop"].map(|name| issue(graph, name, &[]));
    for (name, token) in ["acme", "shop"].iter().zip(&tokens) {
        let body = json!({ "accessToken": token }).to_string();
        let answer = send(sidecar.admin, &format!("PUT /admin/tenants/{name}"), LOCAL, &body);
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_is(&me(&mut client, name).await, name);
    }
    let answer = send(sidecar.admin, "DELETE /admin/tenants/acme", LOCAL, "");
    assert_eq!(answer.status, 200, "{}", answer.text);
    service.set("shop", "is_active = false");
    wait_until("the row is withdrawn", async || {
        refusal(&me(&mut client, "shop").await) == (403, 990_026)
    })
    .await;
    let of = |tenant: &str, action: &str| {
        let mut all = records(&file).into_iter();
        all.find(|record| record["tenant"] == tenant && record["action"] == action)
    };
    wait_until("the withdrawal is recorded", async || of("shop", "withdrawn").is_some()).await;

    let (all, schema) = (records(&file), schema_for!(AuditAction).to_value());
    assert_eq!(
        actions(&all),
        all_actions(&schema),
        "in the file on the left, and all that there are"
    );
    for (tenant, action, token, has_peer) in [
        ("default", "renewed", Some(&renewed), false),
        ("default", "stored", Some(&renewed), false),
        ("default", "set", Some(&second), true),
        ("default", "rejected", Some(&second), false),
        ("default", "rolled_back", Some(&renewed), true),
        ("acme", "tenant_put", Some(&tokens[0]), true),
        ("acme", "loaded", Some(&tokens[0]), false),
        ("acme", "tenant_withdrawn", None, true),
        ("shop", "withdrawn", Some(&tokens[1]), false),
    ] {
        let record = of(tenant, action).unwrap_or_else(|| panic!("{tenant} {action}: {all:?}"));
        let expected = token.map_or(Value::Null, |token| fingerprint(token).into());
        assert_eq!(record["token"], expected, "{record}");
        assert_eq!(record["peer"].is_string(), has_peer, "{record}");
    }
    // An operator needs no alert about what the operator has asked for.
    let alerts = r#"graphward_token_alerts_total{tenant="other",cause="withdrawn"}"#;
    assert_eq!(sidecar.metric(alerts).await, 1);
    let text = fs::read_to_string(&file).unwrap();
    let sealed = tokens.each_ref().map(|token| seal(token));
    let secrets = [&first, &renewed, &second].into_iter().chain(&tokens).chain(&sealed);
    let secrets: Vec<_> = secrets.map(String::as_str).chain([APP_SECRET, KEY]).collect();
    assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");
    wait_until("each of them is an event", async || {
        let answer = send(sidecar.admin, "GET /admin/events", LOCAL, "").json();
        let events = answer["events"].as_array().unwrap().iter();
        let kinds: BTreeSet<_> = events.map(|event| event["kind"].as_str().unwrap()).collect();
        kinds.is_superset(&all_actions(&schema))
    })
    .await;
    sidecar.assert_reveals_none_of(&secrets).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_rows_that_are_deactivated_at_once_are_a_record_each_and_one_alert() {
    let _turn = together().await;
    let (service, dir) = (Service::start().await, tempfile::tempdir().unwrap());
    let webhook = StubService::start("ok");
    let token = issue(&service.graph, "all", &[]);
    service.database.psql(&format!(
        "INSERT INTO tenant_whatsapp_config (tenant_id, access_token) SELECT 't' || n, '{}' FROM generate_series(1, 2500) n",
        seal(&token)
    ));
    let table = table_settings(dir.path(), &service.database.url());
    let more = format!(
        "[audit]\nfile = \"audit.jsonl\"\n[alerts]\nurl = \"http://127.0.0.1:{}/hook\"\n",
        webhook.port
    );
    let sidecar = Sidecar::start(
        dir.path(),
        &config(&service.graph, dir.path(), &format!("{table}{more}")),
    )
    .await;
    wait_until_started(&sidecar).await;
    service
        .database
        .psql("UPDATE tenant_whatsapp_config SET is_active = false WHERE id % 10 = 0 AND id <= 2400");
    let file = dir.path().join("audit.jsonl");
    let withdrawn = || {
        let all = records(&file).into_iter();
        let of_action = all.filter(|record| record["action"] == "withdrawn");
        of_action.collect::<Vec<_>>()
    };
    wait_until("all are recorded", async || withdrawn().len() >= 240).await;
    wait_until("the alert is delivered", async || {
        let requests = webhook.requests();
        requests
            .iter()
            .any(|request| request.contains("\"cause\":\"withdrawn\""))
    })
    .await;
    let alerts: Vec<_> = webhook.requests();
    let alerts: Vec<_> = alerts
        .iter()
        .filter(|alert| alert.contains("\"cause\":\"withdrawn\""))
        .collect();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert!(alerts[0].contains("\"tenant_count\":240"), "{alerts:?}");
    let records = withdrawn();
    let tenants: BTreeSet<_> = records
        .iter()
        .map(|record| record["tenant"].as_str().unwrap())
        .collect();
    assert_eq!((records.len(), tenants.len()), (240, 240));
    let expected = fingerprint(&token);
    assert!(
        records.iter().all(|record| record["token"] == expected.as_str()),
        "{records:?}"
    );
    sidecar.assert_reveals_none_of(&[&token]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_section_and_a_file_that_are_removed_leave_a_record_and_an_alert() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    let tokens = dir.path().join("tokens");
    fs::create_dir(&tokens).unwrap();
    let [of_section, of_file] = ["acme", "shop"].map(|name| issue(&graph, name, &[]));
    fs::write(dir.path().join("acme"), &of_section).unwrap();
    fs::write(tokens.join("shop"), &of_file).unwrap();
    // A directory that lacks all of its tenants is not believed.
    fs::write(tokens.join("other"), issue(&graph, "other", &[])).unwrap();
    let without = config(
        &graph,
        dir.path(),
        "file = \"tokens/{tenant}\"\n[audit]\nfile = \"audit.jsonl\"",
    );
    let section = "[tenants.acme]\nsource = { file = \"acme\" }\n";
    let sidecar = Sidecar::start(dir.path(), &format!("{without}{section}")).await;
    wait_until_started(&sidecar).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_is(&me(&mut client, "acme").await, "acme");

    // One that was in use, and one that was not.
    replace_file(&dir.path().join("graphward.toml"), &without);
    sidecar.signal(Signal::HUP);
    fs::remove_file(tokens.join("shop")).unwrap();
    let file = dir.path().join("audit.jsonl");
    for (tenant, token, place) in [("acme", &of_section, "acme"), ("shop", &of_file, "tokens/shop")] {
        let withdrawal = |record: &Value| record["tenant"] == tenant && record["action"] == "withdrawn";
        wait_until("it is recorded", async || records(&file).iter().any(withdrawal)).await;
        let record = records(&file).into_iter().find(withdrawal).unwrap();
        assert_eq!(record["token"], fingerprint(token).as_str(), "{record}");
        assert!(record["source"].as_str().unwrap().contains(place), "{record}");
        let alerts = || {
            let events = sidecar.log_events();
            let is_alert = |event: &&Value| event["cause"] == "withdrawn" && event["tenant"] == tenant;
            events.iter().filter(is_alert).count()
        };
        wait_until("it is told", async || alerts() > 0).await;
        assert_eq!(alerts(), 1, "{tenant}");
    }
    let alerts = r#"graphward_token_alerts_total{tenant="other",cause="withdrawn"}"#;
    assert_eq!(sidecar.metric(alerts).await, 2);
}
