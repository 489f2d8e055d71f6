//! The settings in `[token]` and `[alerts]` in a process: services, commands, lists, renewals, webhooks.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use fake_graph::{Effect, EndpointKind, Fault};

use crate::support::{
    APP_SECRET, Client, Graph, Sidecar, TIMEOUT, exchange_config, fingerprint, graphward_command, replace_file,
    settings, together, wait_until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_requires_a_key_returns_the_token() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let (first, second) = (graph.sim.issue(None), graph.sim.issue(None));
    let service = StubService::start(&format!(r#"{{"accessToken":"{first}"}}"#));
    fs::write(dir.path().join("key"), "hunter2\n").unwrap();
    let source = format!(
        "http = \"http://127.0.0.1:{}/tenants/acme/credentials/meta\", pointer = \"/accessToken\", \
         headers = {{ Authorization = {{ file = \"key\" }}, X-Tenant = \"acme\" }}, poll_interval = \"1h\"",
        service.port
    );
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, &source, "")).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("first").await.status, 200);
    let request = service.requests().concat();
    assert!(
        request.starts_with("GET /tenants/acme/credentials/meta HTTP/1.1"),
        "{request}"
    );
    assert!(
        request.contains("authorization: Bearer hunter2") && request.contains("x-tenant: acme"),
        "{request}"
    );

    // The poll interval is an hour, but a rejection by Graph causes a check.
    service.set_response(&format!(r#"{{"accessToken":"{second}"}}"#));
    assert!(graph.sim.expire(&first));
    assert_eq!(client.text("second").await.status, 200);
    graph.assert_last_token(&second);
    sidecar.assert_reveals_none_of(&[&first, &second, "hunter2"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_file_does_not_hide_what_a_command_prints() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let (dead, valid) = (graph.sim.issue(None), graph.sim.issue(None));
    assert!(graph.sim.expire(&dead));
    fs::write(dir.path().join("forgotten"), &dead).unwrap();
    fs::write(dir.path().join("vault"), format!("OTHER=1\nTOKEN={valid}\n")).unwrap();
    let list =
        "[[token.source]]\nfile = \"forgotten\"\n[[token.source]]\nexec = [\"/bin/cat\", \"vault\"]\nkey = \"TOKEN\"\n";
    let file = settings(&graph, "", "").replace("[token]\nsource = {  }\n", list);
    let sidecar = Sidecar::start(dir.path(), &file).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("hello").await.status, 200);
    graph.assert_last_token(&valid);
    // The inspection found the dead one, so no request was rejected.
    assert_eq!(graph.sim.rejected(), 0);

    // The file has priority over the command.
    let newer = graph.sim.issue(None);
    replace_file(&dir.path().join("forgotten"), &newer);
    sidecar.wait_until_uses(&graph, &newer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_source_puts_a_text_in_use_that_is_no_token() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let placeholder = "${META_TOKEN}";
    fs::write(dir.path().join("token"), placeholder).unwrap();
    fs::write(dir.path().join(".env"), format!("TOKEN=\"{placeholder}\"\n")).unwrap();
    let service = StubService::start(&format!(r#"{{"access_token":"{placeholder}"}}"#));
    let http = format!(
        "http = \"http://127.0.0.1:{}\", pointer = \"/access_token\"",
        service.port
    );
    for source in [
        "file = \"token\"",
        "file = \".env\", key = \"TOKEN\"",
        "env = \"TOKEN\"",
        "exec = [\"/bin/cat\", \"token\"]",
        &http,
    ] {
        let mut command = graphward_command(dir.path(), &["serve"]);
        let config = settings(&graph, source, "");
        let sidecar = Sidecar::start_with(dir.path(), &config, command.env("TOKEN", placeholder)).await;
        let mut client = Client::connect(sidecar.proxy).await;
        assert_eq!(client.text("hello").await.status, 503, "{source}");
        let rejected = sidecar
            .log_events()
            .into_iter()
            .any(|line| line["reason"] == "unresolved_variable");
        assert!(rejected, "{source}: {}", sidecar.stdout());
        sidecar.assert_reveals_none_of(&[placeholder]).await;
    }
    assert_eq!(graph.last_fingerprint(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_gets_the_alerts() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let token = graph.sim.issue(None);
    fs::write(dir.path().join("token"), &token).unwrap();
    let webhook = StubService::start("ok");
    let address = format!("http://127.0.0.1:{}/services/s3cret", webhook.port);
    fs::write(dir.path().join("webhook"), address).unwrap();
    let more = "[alerts]\nurl = { file = \"webhook\" }\n[heal]\nhold_timeout = \"0s\"\n";
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, "file = \"token\"", more)).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("before").await.status, 200);
    assert!(graph.sim.expire(&token));
    assert_eq!(client.text("during").await.status, 401);
    wait_until("the webhook received the alert", async || {
        webhook
            .requests()
            .iter()
            .any(|request| request.contains("\"rejected\""))
    })
    .await;
    let requests = webhook.requests().concat();
    assert!(
        requests.starts_with("POST /services/s3cret HTTP/1.1") && requests.contains("\"text\":"),
        "{requests}"
    );
    let output = sidecar.stdout();
    assert!(
        !output.contains("s3cret") && !requests.contains(&token),
        "{output} {requests}"
    );
    let metrics = sidecar.metrics().await;
    assert!(
        metrics.contains("graphward_token_alerts_total{tenant=\"default\",cause=\"rejected\"} 1"),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_exchanged_before_its_expiry_and_stored_in_its_file() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let first = graph.issue_nearly_expired();
    graph
        .sim
        .inject_fault_on(EndpointKind::Exchange, Fault::once(Effect::Hold));
    let env = dir.path().join(".env");
    fs::write(&env, format!("# the app's\nTOKEN='{first}'\nOTHER=1\n")).unwrap();
    let source = "file = \".env\", key = \"TOKEN\"";
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, source, &exchange_config(dir.path()))).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("before").await.status, 200);
    graph.assert_last_token(&first);
    wait_until("it is renewed", async || graph.sim.counts().exchanges > 0).await;
    graph.sim.release_held(1);
    wait_until("the renewed token is in use", async || {
        client.text("after").await.status == 200 && graph.last_fingerprint() != Some(fingerprint(&first))
    })
    .await;
    let text = fs::read_to_string(&env).unwrap();
    let stored = text.lines().find_map(|line| line.strip_prefix("TOKEN=")).unwrap();
    let stored = stored.trim_matches('\'');
    graph.assert_last_token(stored);
    assert!(
        text.starts_with("# the app's\n") && text.ends_with("OTHER=1\n"),
        "the rest is unchanged"
    );
    assert_eq!((graph.sim.counts().exchanges, graph.sim.rejected()), (1, 0));
    sidecar.assert_reveals_none_of(&[&first, stored, APP_SECRET]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_token_of_a_variable_is_found_by_the_next_process() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let first = graph.issue_nearly_expired();
    let more = format!("store = {{ file = \"renewed\" }}\n{}", exchange_config(dir.path()));
    let file = settings(&graph, "env = \"WHATSAPP_TOKEN\"", &more);
    let serve = async || {
        let mut command = graphward_command(dir.path(), &["serve"]);
        Sidecar::start_with(dir.path(), &file, command.env("WHATSAPP_TOKEN", &first)).await
    };
    let sidecar = serve().await;
    let mut client = Client::connect(sidecar.proxy).await;
    wait_until("the renewed token is in use", async || {
        client.text("by the first").await.status == 200
            && graph
                .last_fingerprint()
                .is_some_and(|token| token != fingerprint(&first))
    })
    .await;
    let renewed = graph.last_fingerprint();
    // SIGKILL: nothing is written at the end.
    drop(sidecar);
    assert!(graph.sim.expire(&first));
    let sidecar = serve().await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("by the second").await.status, 200);
    assert_eq!(graph.last_fingerprint(), renewed);
    assert_eq!((graph.sim.counts().exchanges, graph.sim.rejected()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_with_a_dead_token_mints_a_new_one() {
    let _turn = together().await;
    let dir = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let (dead, admin) = (graph.sim.issue(None), graph.sim.issue(None));
    assert!(graph.sim.expire(&dead));
    fs::write(dir.path().join("token"), &dead).unwrap();
    fs::write(dir.path().join("admin"), &admin).unwrap();
    let mint = "renew = { mint = { system_user = \"100001234567890\", token = { file = \"admin\" }, \
                scopes = [\"whatsapp_business_messaging\"], set_token_expires_in_60_days = true } }";
    let app = exchange_config(dir.path());
    let app = app.get(app.find("[app]").unwrap()..).unwrap();
    let file = settings(&graph, "file = \"token\"", &format!("{mint}\n{app}"));
    let mut command = graphward_command(dir.path(), &["serve", "--require-token"]);
    let sidecar = Sidecar::start_with(dir.path(), &file, &mut command).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("by the next one").await.status, 200);
    let stored = fs::read_to_string(dir.path().join("token")).unwrap();
    graph.assert_last_token(stored.trim());
    assert_eq!((graph.sim.counts().system_user_tokens, graph.sim.rejected()), (1, 0));
    let secrets = [&dead, stored.trim(), &admin, APP_SECRET];
    sidecar.assert_reveals_none_of(&secrets).await;
}

/// An internal service that sends the same body to every request and records the requests. It runs until the tests end.
pub(crate) struct StubService {
    pub(crate) port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    response_body: Arc<Mutex<String>>,
}

impl StubService {
    pub(crate) fn start(response_body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let service = Self {
            port: listener.local_addr().unwrap().port(),
            requests: Arc::default(),
            response_body: Arc::new(Mutex::new(response_body.to_owned())),
        };
        let (requests, response_body) = (Arc::clone(&service.requests), Arc::clone(&service.response_body));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream.set_read_timeout(Some(TIMEOUT)).unwrap();
                let mut request = Vec::new();
                let mut piece = [0; 4096];
                // The bodies are JSON documents.
                while !(request.ends_with(b"}") || request.starts_with(b"GET ") && request.ends_with(b"\r\n\r\n")) {
                    let read = stream.read(&mut piece).unwrap();
                    assert!(read > 0, "the request is not complete");
                    request.extend_from_slice(&piece[..read]);
                }
                requests.lock().unwrap().push(String::from_utf8(request).unwrap());
                let body = response_body.lock().unwrap().clone();
                let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(response.as_bytes()).unwrap();
            }
        });
        service
    }

    fn set_response(&self, body: &str) {
        body.clone_into(&mut self.response_body.lock().unwrap());
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}
