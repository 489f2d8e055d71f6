//! The configurations that README and `docs/` show, each as the whole configuration of a process: tokens get from where it says
//! to Graph. The system's directories are a folder of the test.

mod tables;

use std::fs;
use std::path::Path;

use http::Request;
use rustix::process::{Signal, getuid};
use serde_json::Value;

use crate::documentation::serve;
use crate::support::place::{NUMBER, targets};
use crate::support::{APP_SECRET, Body, Client, Graph, Shell, Sidecar, TestResponse, block, get, text_message};
use crate::support::{assert_same_fields, together, wait_until};
use crate::tenants_from::support::{KEY, assert_is, issue, me};

/// The ids that the pages give to their tenants.
const TENANTS: [(&str, &str); 2] = [("acme", NUMBER), ("shop", "112233445566778")];

/// A user's folder with one in place of each of the system's, and what the configurations read there but tokens.
fn place(graph: &Graph) -> Shell {
    let shell = Shell::in_front_of(graph);
    for folder in ["run/tokens", "lib", "log"] {
        fs::create_dir_all(shell.path().join(folder)).unwrap();
    }
    for name in ["app-secret", "shop-app-secret"] {
        shell.write(&format!("run/{name}"), APP_SECRET);
    }
    for name in ["fernet-key", "cache-key"] {
        shell.write(&format!("run/{name}"), KEY);
    }
    shell
}

/// A block with this folder in place of the system's.
fn settings_in(folder: &Path, name: &str) -> String {
    let folder = folder.display();
    let places = [("/run/", "run"), ("/var/lib/", "lib"), ("/var/log/", "log")];
    places.iter().fold(block(name), |settings, (system, local)| {
        settings.replace(&format!("{system}graphward"), &format!("{folder}/{local}"))
    })
}

async fn start(shell: &Shell, settings: &str) -> Sidecar {
    Sidecar::start_with(shell.path(), settings, &mut shell.command("exec graphward serve")).await
}

/// Sends a message from a number, with the name of a tenant in the place of the token.
async fn send(client: &mut Client, tenant: &str, number: &str) -> TestResponse {
    let mut request = text_message("hello");
    *request.uri_mut() = format!("/v25.0/{number}/messages").parse().unwrap();
    let slot = format!("Bearer tenant:{tenant}").parse().unwrap();
    request.headers_mut().insert("authorization", slot);
    client.send(request).await
}

/// Asks Graph who a tenant is, whose name is in the place of the token.
async fn who(client: &mut Client, tenant: &str) -> TestResponse {
    let request = Request::get("/v26.0/me?fields=id,name").header("authorization", format!("Bearer tenant:{tenant}"));
    client.send(request.body(Body::default()).unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_tenant_of_the_page_sends_with_its_own_token() {
    let _turn = together().await;
    let graph = Graph::start().await;
    for name in [
        "docs/tenants.md#Several tenants toml",
        "docs/tenants-from.md#A directory of files toml",
        "docs/tenants.md#What a tenant may do toml",
    ] {
        let shell = place(&graph);
        let tokens = TENANTS.map(|(tenant, number)| {
            let token = issue(&graph, tenant, &[number]);
            shell.write(&format!("run/tokens/{tenant}"), &token);
            token
        });
        let sidecar = start(&shell, &settings_in(shell.path(), name)).await;
        let mut client = Client::connect(sidecar.proxy).await;
        for ((tenant, number), token) in TENANTS.iter().zip(&tokens) {
            let response = send(&mut client, tenant, number).await;
            assert_eq!(response.status, 200, "{name}: {tenant}: {}", response.json());
            graph.assert_last_token(token);
        }
        if name.contains("may do") {
            let refused = who(&mut client, "acme").await;
            assert_eq!(refused.json()["error"]["code"], 990_029);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_of_two_tenants_serves_each_for_its_own_user() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let shell = place(&graph);
    for (tenant, number) in TENANTS {
        shell.write(&format!("run/tokens/{tenant}"), &issue(&graph, tenant, &[number]));
    }
    let user = getuid().as_raw();
    let settings = settings_in(shell.path(), "docs/tenants.md#Who may use a tenant toml");
    let own = settings.replace("[1000]", &format!("[{user}]"));
    let own = own.replace("[1001, 1002]", &format!("[{}]", user + 1));
    // A variable would count more than the address in the file.
    let command = &mut shell.command("unset GRAPHWARD_LISTEN; exec graphward serve");
    let _sidecar = Sidecar::start_with(shell.path(), &own, command).await;
    let mut client = Client::connect_to_socket(&shell.path().join("run/graphward.sock")).await;
    assert_is(&who(&mut client, "acme").await, "acme");
    assert_eq!(who(&mut client, "shop").await.json()["error"]["code"], 990_030);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_of_the_page_is_asked_for_the_token_of_a_tenant() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let shell = place(&graph);
    let answer = format!(r#"{{"accessToken": "{}"}}"#, issue(&graph, "acme", &[]));
    let service = serve("get /tenants/acme/credentials/meta http/1.1".to_owned(), answer);
    let settings = settings_in(
        shell.path(),
        "docs/tenants-from.md#A credential service or a command toml",
    );
    let sidecar = start(&shell, &settings.replace("tenant-service:3007", &service.to_string())).await;
    assert_is(&me(&mut Client::connect(sidecar.proxy).await, "acme").await, "acme");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_due_is_renewed_and_stored_as_the_pages_say() {
    let _turn = together().await;
    let graph = Graph::start().await;
    for name in [
        "README.md#A token that lasts toml",
        "docs/token-sources.md#Renewal toml",
    ] {
        let shell = place(&graph);
        let token = graph.sim.issue(None);
        graph.set_due_for_hours(&token);
        shell.write("lib/token", &token);
        let _sidecar = start(&shell, &settings_in(shell.path(), name)).await;
        let stored = || fs::read_to_string(shell.path().join("lib/token")).unwrap();
        wait_until("a new token is stored", async || stored().trim() != token).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_token_that_worked_is_kept_for_a_restart_without_its_source() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let shell = place(&graph).with("GRAPHWARD_TOKEN_FILE", "token");
    shell.write("token", &graph.sim.issue(None));
    let name = "docs/token-sources.md#The database is down at a restart toml";
    let settings = settings_in(shell.path(), name);
    let mut sidecar = start(&shell, &settings).await;
    assert_eq!(get(sidecar.proxy, "/v25.0/me").await.status, 200);
    wait_until("it is kept", async || shell.path().join("lib/last-good").exists()).await;
    sidecar.signal(Signal::TERM);
    sidecar.wait_exit().await;
    fs::remove_file(shell.path().join("token")).unwrap();
    let sidecar = start(&shell, &settings).await;
    assert_eq!(
        get(sidecar.proxy, "/v25.0/me").await.status,
        200,
        "{}",
        sidecar.stdout()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_reaches_the_webhook_and_an_audit_its_file() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let shell = place(&graph).with("GRAPHWARD_TOKEN_FILE", "token");
    let token = graph.sim.issue(None);
    shell.write("token", &token);
    let webhook = serve("post /hook ".to_owned(), String::new());
    shell.write("run/webhook-url", &format!("http://{webhook}/hook"));
    let settings = ["docs/token-sources.md#Alerts toml", "docs/deploy.md#systemd toml"];
    let settings = settings.map(|name| settings_in(shell.path(), name)).join("\n");
    let sidecar = start(&shell, &settings).await;
    wait_until("it has the token", async || {
        sidecar.stdout().contains("using a new token")
    })
    .await;
    graph.sim.expire(&token);
    drop(get(sidecar.proxy, "/v25.0/me").await);
    let delivered = "graphward_alerts_total{result=\"delivered\"}";
    wait_until("the alert is delivered", async || sidecar.metric(delivered).await > 0).await;
    let audit = shell.path().join("log/audit.jsonl");
    let lines = || fs::read_to_string(&audit).unwrap_or_default();
    wait_until("the rejection is audited", async || lines().contains("rejected")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_phone_number_of_an_env_file_is_checked() {
    let _turn = together().await;
    let graph = Graph::start().await;
    graph.sim.set_phone_numbers("500", &[NUMBER]);
    let token = graph.sim.issue(None);
    graph.sim.update_token(&token, targets("500"));
    let shell = place(&graph).with("GRAPHWARD_TOKEN_FILE", "token");
    shell.write("token", &token);
    shell.write(".env", &format!("WHATSAPP_PHONE_NUMBER_ID={NUMBER}\n"));
    shell.write("graphward.toml", &block("docs/check.md#The phone number toml"));
    let report = shell.run("graphward check --json || [ $? = 1 ]", "");
    let report: Value = serde_json::from_str(&report).unwrap();
    let sections = report["sections"].as_array().unwrap().iter();
    let mut findings = sections.flat_map(|section| section["findings"].as_array().unwrap());
    let number = findings.find(|finding| finding["topic"] == "number").unwrap();
    assert!(
        number.to_string().contains(NUMBER) && number["level"] == "good",
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_observed_is_reported_as_the_page_shows_it() {
    let _turn = together().await;
    let graph = Graph::start().await;
    let shell = place(&graph);
    shell.write("run/tokens/acme", &issue(&graph, "acme", &[NUMBER]));
    let settings = "[heal]\nmode = \"observe\"\n[tenants.acme]\nids = [\"106540352242922\"]\n\
        source = { file = \"run/tokens/acme\" }\n";
    let sidecar = start(&shell, settings).await;
    let mut client = Client::connect(sidecar.proxy).await;
    let mut request = text_message("hello");
    let own = format!("Bearer {}", graph.sim.issue(None)).parse().unwrap();
    request.headers_mut().insert("authorization", own);
    assert_eq!(client.send(request).await.status, 200);
    let observed = get(sidecar.admin, "/admin/observed").await.json();
    let mut shown: Value = serde_json::from_str(&block("docs/admin.md#Observed requests json")).unwrap();
    assert_eq!(observed["tenants"][0]["allow"], shown["tenants"][0]["allow"]);
    assert_eq!(
        observed["tenants"][0]["rules"]["POST /{id}/messages"]["would"]["replace"], 1,
        "{observed}"
    );
    // These need a dead token, and a share that is used up.
    let would = shown
        .pointer_mut("/tenants/0/rules/POST ~1{id}~1messages/would")
        .unwrap();
    for name in ["heal", "refused_not_allowed"] {
        assert!(would.as_object_mut().unwrap().remove(name).is_some());
    }
    assert_same_fields(&observed, &shown, "observed");
}
