//! A directory with a file for each tenant, and a service that is asked for each.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::Signal;

use super::support::{assert_is, config, issue, me, refusal, wait_until_started};
use crate::admin_changes::{LOCAL, send};
use crate::support::{Client, Graph, Sidecar, get, replace_file, retarget_symlink, together, wait_until};

async fn start(graph: &Graph, dir: &Path, tenants_from: &str) -> Sidecar {
    let sidecar = Sidecar::start(dir, &config(graph, dir, tenants_from)).await;
    wait_until_started(&sidecar).await;
    sidecar
}

/// Waits until Graph sees the token with this name.
async fn wait_until_named(client: &mut Client, tenant: &str, name: &str) {
    wait_until("the token is used", async || {
        me(client, tenant).await.json()["name"] == name
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_dropped_as_files_and_removed() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    let tokens = dir.path().join("tokens");
    fs::create_dir(&tokens).unwrap();
    let sidecar = start(&graph, dir.path(), "file = \"tokens/{tenant}\"").await;
    let ready = get(sidecar.admin, "/readyz").await;
    assert_eq!(
        ready.status,
        200,
        "a place that has no tenant yet is ready: {}",
        ready.json()
    );
    fs::write(tokens.join("acme"), issue(&graph, "acme", &[])).unwrap();
    let mut client = Client::connect(sidecar.proxy).await;
    wait_until_named(&mut client, "acme", "acme").await;
    assert_is(&me(&mut client, "acme").await, "acme");
    assert_eq!(refusal(&me(&mut client, "shop").await), (404, 990_025));

    replace_file(&tokens.join("shop"), issue(&graph, "shop", &[]));
    wait_until_named(&mut client, "shop", "shop").await;
    replace_file(&tokens.join("acme"), issue(&graph, "acme-2", &[]));
    wait_until_named(&mut client, "acme", "acme-2").await;
    fs::remove_file(tokens.join("acme")).unwrap();
    wait_until("it is withdrawn", async || {
        refusal(&me(&mut client, "acme").await) == (403, 990_026)
    })
    .await;
    assert_is(&me(&mut client, "shop").await, "shop");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_gets_the_names_of_tenants_as_arguments_and_no_token_that_stands_in_their_place() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    fs::write(dir.path().join("acme"), issue(&graph, "acme", &[])).unwrap();
    let place = r#"exec = ["/bin/sh", "-c", 'echo "$1" >> asked; cat "$1"', "place", "{tenant}"]"#;
    let sidecar = start(&graph, dir.path(), place).await;
    let mut client = Client::connect(sidecar.proxy).await;
    let token = "EAAGm0PX4ZCpsBAKZAhunter2hunter2";
    for text in ["{}", "tenant:{}", "access_token:{}", "Bearer {}"] {
        let name = text.replace("{}", token);
        assert_eq!(refusal(&me(&mut client, &name).await), (404, 990_025), "{text}");
    }
    assert_is(&me(&mut client, "acme").await, "acme");
    assert_eq!(fs::read_to_string(dir.path().join("asked")).unwrap(), "acme\n");
    sidecar.assert_reveals_none_of(&["hunter2"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_of_kubernetes_swaps_all_tokens_at_once() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    let tokens = dir.path().join("tokens");
    let version = |version: &str, tenants: &[&str]| {
        let folder = tokens.join(version);
        fs::create_dir_all(&folder).unwrap();
        for tenant in tenants {
            let token = issue(&graph, &format!("{tenant}{version}"), &[]);
            fs::write(folder.join(tenant), token).unwrap();
        }
    };
    version("..1", &["acme", "shop"]);
    symlink("..1", tokens.join("..data")).unwrap();
    for tenant in ["acme", "shop"] {
        symlink(format!("..data/{tenant}"), tokens.join(tenant)).unwrap();
    }
    let sidecar = start(&graph, dir.path(), "file = \"tokens/{tenant}\"").await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_is(&me(&mut client, "acme").await, "acme..1");

    // The kubelet swaps the link, adds the links of new keys, and removes those of old ones.
    version("..2", &["acme", "later"]);
    retarget_symlink(&tokens.join("..data"), Path::new("..2"));
    symlink("..data/later", tokens.join("later")).unwrap();
    fs::remove_file(tokens.join("shop")).unwrap();
    wait_until_named(&mut client, "acme", "acme..2").await;
    wait_until_named(&mut client, "later", "later..2").await;
    wait_until("the removed key withdraws its tenant", async || {
        refusal(&me(&mut client, "shop").await) == (403, 990_026)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_all_emptied_end_no_tenant() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    let tokens = dir.path().join("tokens");
    fs::create_dir(&tokens).unwrap();
    let names: Vec<_> = (0..12).map(|number| format!("t{number}")).collect();
    for name in &names {
        fs::write(tokens.join(name), issue(&graph, name, &[])).unwrap();
    }
    let sidecar = start(&graph, dir.path(), "file = \"tokens/{tenant}\"").await;
    let mut client = Client::connect(sidecar.proxy).await;
    names.iter().for_each(|name| fs::write(tokens.join(name), "").unwrap());
    wait_until("the loss is reported", async || {
        let text = sidecar.stdout();
        text.contains("tokens or ids are missing at once")
            && text.contains("look whether the files were deleted or emptied")
    })
    .await;
    // None of them was used before.
    for name in &names {
        assert_is(&me(&mut client, name).await, name);
    }
    for name in &names {
        fs::write(tokens.join(name), issue(&graph, &format!("{name}-2"), &[])).unwrap();
    }
    wait_until_named(&mut client, "t0", "t0-2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_that_cannot_be_read_are_events_once_and_when_they_can_be_read_again() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    let (tokens, section) = (dir.path().join("tokens"), dir.path().join("section"));
    fs::create_dir(&tokens).unwrap();
    fs::write(tokens.join("acme"), issue(&graph, "acme", &[])).unwrap();
    fs::write(&section, issue(&graph, "shop", &[])).unwrap();
    let place = "file = \"tokens/{tenant}\"\n[tenants.shop]\nsource = { file = \"section\" }";
    let sidecar = start(&graph, dir.path(), place).await;
    let mut client = Client::connect(sidecar.proxy).await;
    let events = |tenant: &str, kind: &str| {
        let events = send(sidecar.admin, "GET /admin/events", LOCAL, "").json();
        let all = events["events"].as_array().unwrap().iter();
        let of_kind = all.filter(|event| event["tenant"] == tenant && event["kind"] == kind);
        of_kind.map(|event| event["reason"].to_string()).collect::<Vec<_>>()
    };
    let (moved, hidden) = (dir.path().join("moved"), dir.path().join("hidden"));
    for round in 1..=2 {
        fs::rename(&tokens, &moved).unwrap();
        fs::rename(&section, &hidden).unwrap();
        for (tenant, words) in [
            ("", "does not exist; create it, or mount it"),
            ("shop", "does not exist; write"),
        ] {
            wait_until("it is an event", async || events(tenant, "unreadable").len() == round).await;
            let reason = &events(tenant, "unreadable")[round - 1];
            assert!(reason.contains(words), "{reason}");
        }
        for tenant in ["acme", "shop"] {
            assert_is(&me(&mut client, tenant).await, tenant);
        }
        fs::rename(&moved, &tokens).unwrap();
        fs::rename(&hidden, &section).unwrap();
        for tenant in ["", "shop"] {
            wait_until("that is an event", async || events(tenant, "readable").len() == round).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_asked_for_the_tenants_in_use() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    let service = TenantService::start();
    service.set_token("acme", &issue(&graph, "acme", &[]));
    service.set("broken", 500, "{\"error\": \"out of order\"}");
    let settings = format!(
        "http = \"http://127.0.0.1:{}/tenants/{{tenant}}/credentials/meta\"\npointer = \"/accessToken\"\n\
         poll_interval = \"200ms\"",
        service.port
    );
    let sidecar = start(&graph, dir.path(), &settings).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(service.calls("acme"), 0, "it is asked at the first request");
    assert_is(&me(&mut client, "acme").await, "acme");
    assert_eq!(refusal(&me(&mut client, "unknown").await), (404, 990_025));
    let response = me(&mut client, "broken").await;
    assert_eq!(refusal(&response), (503, 990_003));
    assert_eq!(response.json()["error"]["is_transient"], true);

    service.set_token("acme", &issue(&graph, "acme-2", &[]));
    wait_until_named(&mut client, "acme", "acme-2").await;
    // Neither says anything about the tenant.
    for (status, body) in [(500, "{}"), (200, "{\"accessToken\": ")] {
        service.set("acme", status, body);
        let until = service.calls("acme") + 3;
        wait_until("it is asked again", async || service.calls("acme") >= until).await;
        assert_is(&me(&mut client, "acme").await, "acme-2");
    }
    assert!(!sidecar.stdout().contains("was withdrawn"));
    let (calls, connections) = (service.calls("acme"), service.state.lock().unwrap().connections);
    assert!(connections < calls / 2, "{calls} calls over {connections} connections");
    assert_eq!(graph.sim.rejected(), 0, "the service was asked, and not Graph");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_not_asked_for_a_tenant_that_is_idle() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    let service = TenantService::start();
    for tenant in ["used", "idle"] {
        service.set_token(tenant, &issue(&graph, tenant, &[]));
    }
    let settings = format!(
        "http = \"http://127.0.0.1:{}/tenants/{{tenant}}/credentials/meta\"\npointer = \"/accessToken\"\n\
         poll_interval = \"200ms\"\nidle = \"1s\"",
        service.port
    );
    let sidecar = start(&graph, dir.path(), &settings).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_is(&me(&mut client, "idle").await, "idle");
    wait_until("it is polled while it is in use", async || {
        assert_is(&me(&mut client, "idle").await, "idle");
        service.calls("idle") >= 3
    })
    .await;
    // The polls of a tenant in use are the clock.
    let mut calls_meanwhile = async |polls| {
        let (before, until) = (service.calls("idle"), service.calls("used") + polls);
        wait_until("a tenant in use is polled", async || {
            assert_is(&me(&mut client, "used").await, "used");
            service.calls("used") >= until
        })
        .await;
        service.calls("idle") - before
    };
    wait_until("it is polled no more", async || calls_meanwhile(5).await == 0).await;
    assert_eq!(calls_meanwhile(25).await, 0);
    let before = service.calls("idle");
    wait_until("its next requests poll again", async || {
        assert_is(&me(&mut client, "idle").await, "idle");
        service.calls("idle") >= before + 3
    })
    .await;
    assert_eq!(graph.sim.rejected(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_that_cannot_be_used_is_left_as_it_is_while_its_place_has_listed_no_tenants() {
    let _turn = together().await;
    let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
    let service = TenantService::start();
    service.set_token("acme", &issue(&graph, "acme", &[]));
    let cache = dir.path().join("cache");
    fs::write(&cache, "{\"what another version writes\": 1}").unwrap();
    let settings = format!(
        "http = \"http://127.0.0.1:{}/tenants/{{tenant}}/credentials/meta\"\npointer = \"/accessToken\"\n\
         cache = {{ file = \"cache\", fernet_key = {{ file = \"key\" }} }}",
        service.port
    );
    let mut sidecar = start(&graph, dir.path(), &settings).await;
    assert!(sidecar.stdout().contains("the tenants of the cache cannot be used"));
    let mut client = Client::connect(sidecar.proxy).await;
    assert_is(&me(&mut client, "acme").await, "acme");
    assert_eq!(send(sidecar.admin, "POST /admin/refresh-token", LOCAL, "").status, 200);
    sidecar.signal(Signal::TERM);
    assert!(sidecar.wait_exit().await.success());
    assert_eq!(
        fs::read_to_string(cache).unwrap(),
        "{\"what another version writes\": 1}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_withdraws_a_tenant_in_use_when_it_says_twice_that_it_has_no_such_tenant() {
    let _turn = together().await;
    for (status, body) in [(410, ""), (404, "{\"error\": \"no such tenant\"}")] {
        let (graph, dir) = (Graph::start().await, tempfile::tempdir().unwrap());
        let service = TenantService::start();
        for tenant in ["acme", "shop"] {
            service.set_token(tenant, &issue(&graph, tenant, &[]));
        }
        let settings = format!(
            "http = \"http://127.0.0.1:{}/tenants/{{tenant}}/credentials/meta\"\npointer = \"/accessToken\"\n\
             poll_interval = \"200ms\"",
            service.port
        );
        let sidecar = start(&graph, dir.path(), &settings).await;
        let mut client = Client::connect(sidecar.proxy).await;
        assert_is(&me(&mut client, "acme").await, "acme");
        assert_is(&me(&mut client, "shop").await, "shop");

        let is_withdrawn = || sidecar.stdout().contains("was withdrawn");
        service.set("acme", status, body);
        wait_until("it is withdrawn", async || {
            let answer = refusal(&me(&mut client, "acme").await);
            assert!(matches!(answer, (200, 0) | (403, 990_026)), "{answer:?}");
            assert_is(&me(&mut client, "shop").await, "shop");
            answer.0 == 403
        })
        .await;
        wait_until("it is reported", async || is_withdrawn()).await;
        assert_eq!(graph.sim.rejected(), 0, "the service was asked, and not Graph");
    }
}

/// A tenant service. It runs until the tests end.
struct TenantService {
    port: u16,
    state: Arc<Mutex<ServiceState>>,
}

#[derive(Default)]
struct ServiceState {
    /// The status and the body for each tenant that it has.
    answers: HashMap<String, (u16, String)>,
    calls: HashMap<String, usize>,
    connections: usize,
}

/// Answers the requests of a connection.
fn serve(stream: TcpStream, state: &Mutex<ServiceState>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            if reader.read_line(&mut request).unwrap_or_default() == 0 {
                return;
            }
        }
        let tenant = request.split('/').nth(2).unwrap_or_default().to_owned();
        let (status, body) = state.lock().unwrap().answer(tenant);
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}",
            body.len()
        );
        // The client may have given up.
        drop(reader.get_mut().write_all(format!("{head}\r\n\r\n{body}").as_bytes()));
    }
}

// === impl TenantService ===

impl TenantService {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let service = Self {
            port: listener.local_addr().unwrap().port(),
            state: Arc::default(),
        };
        let state = Arc::clone(&service.state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&state);
                state.lock().unwrap().connections += 1;
                thread::spawn(move || serve(stream.unwrap(), &state));
            }
        });
        service
    }

    fn set_token(&self, tenant: &str, token: &str) {
        self.set(tenant, 200, &format!("{{\"accessToken\": \"{token}\"}}"));
    }

    fn set(&self, tenant: &str, status: u16, body: &str) {
        let answer = (status, body.to_owned());
        self.state.lock().unwrap().answers.insert(tenant.to_owned(), answer);
    }

    fn calls(&self, tenant: &str) -> usize {
        *self.state.lock().unwrap().calls.get(tenant).unwrap_or(&0)
    }
}

// === impl ServiceState ===

impl ServiceState {
    fn answer(&mut self, tenant: String) -> (u16, String) {
        let answer = self.answers.get(&tenant).cloned();
        *self.calls.entry(tenant).or_default() += 1;
        answer.unwrap_or_else(|| (404, "{\"error\": \"no such tenant\"}".to_owned()))
    }
}
