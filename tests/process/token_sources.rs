//! What `[token]` and `[alerts]` say, as a process does it: services, commands, lists, renewals, webhooks.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::{
    APP_SECRET, Client, Graph, Sidecar, exchange_config, fingerprint, graphward_command, replace_file, settings,
    together, wait_until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_wants_a_key_shows_the_token() {
    let _turn = together().await;
    let place = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let (first, second) = (graph.sim.issue(None), graph.sim.issue(None));
    let service = StubService::start(&format!(r#"{{"accessToken":"{first}"}}"#));
    fs::write(place.path().join("key"), "hunter2\n").unwrap();
    let source = format!(
        "http = \"http://127.0.0.1:{}/tenants/acme/credentials/meta\", pointer = \"/accessToken\", \
         headers = {{ Authorization = {{ file = \"key\" }}, X-Tenant = \"acme\" }}, poll_interval = \"1h\"",
        service.port
    );
    let sidecar = Sidecar::start(place.path(), &settings(&graph, &source, "")).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("first").await.status, 200);
    let asked = service.requests().concat();
    assert!(
        asked.starts_with("GET /tenants/acme/credentials/meta HTTP/1.1"),
        "{asked}"
    );
    assert!(
        asked.contains("authorization: Bearer hunter2") && asked.contains("x-tenant: acme"),
        "{asked}"
    );

    // Not for an hour, but when Graph rejects the token.
    service.set_response(&format!(r#"{{"accessToken":"{second}"}}"#));
    assert!(graph.sim.expire(&first));
    assert_eq!(client.text("second").await.status, 200);
    assert_eq!(graph.last_fingerprint(), Some(fingerprint(&second)));
    let said = sidecar.stdout() + &sidecar.stderr();
    assert!(
        ![&first, &second, "hunter2"].iter().any(|secret| said.contains(*secret)),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_file_does_not_hide_what_a_command_prints() {
    let _turn = together().await;
    let place = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let (dead, alive) = (graph.sim.issue(None), graph.sim.issue(None));
    assert!(graph.sim.expire(&dead));
    fs::write(place.path().join("forgotten"), &dead).unwrap();
    fs::write(place.path().join("vault"), format!("OTHER=1\nTOKEN={alive}\n")).unwrap();
    let list =
        "[[token.source]]\nfile = \"forgotten\"\n[[token.source]]\nexec = [\"/bin/cat\", \"vault\"]\nkey = \"TOKEN\"\n";
    let file = settings(&graph, "", "").replace("[token]\nsource = {  }\n", list);
    let sidecar = Sidecar::start(place.path(), &file).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("hello").await.status, 200);
    assert_eq!(graph.last_fingerprint(), Some(fingerprint(&alive)));
    // Graph was asked about the dead one, and no request had to find out.
    assert_eq!(graph.sim.rejected(), 0);

    // What a person drops counts more than what the command shows.
    let dropped = graph.sim.issue(None);
    replace_file(&place.path().join("forgotten"), &dropped);
    wait_until("the drop is in use", async || {
        client.text("again").await.status == 200 && graph.last_fingerprint() == Some(fingerprint(&dropped))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_told_what_a_person_should_hear() {
    let _turn = together().await;
    let place = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let token = graph.sim.issue(None);
    fs::write(place.path().join("token"), &token).unwrap();
    let webhook = StubService::start("ok");
    let address = format!("http://127.0.0.1:{}/services/s3cret", webhook.port);
    fs::write(place.path().join("webhook"), address).unwrap();
    let more = "[alerts]\nurl = { file = \"webhook\" }\n[heal]\nhold_timeout = \"0s\"\n";
    let sidecar = Sidecar::start(place.path(), &settings(&graph, "file = \"token\"", more)).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("before").await.status, 200);
    assert!(graph.sim.expire(&token));
    assert_eq!(client.text("during").await.status, 401);
    wait_until("the webhook received the alert", async || {
        webhook.requests().iter().any(|told| told.contains("\"rejected\""))
    })
    .await;
    let told = webhook.requests().concat();
    assert!(
        told.starts_with("POST /services/s3cret HTTP/1.1") && told.contains("\"text\":"),
        "{told}"
    );
    let said = sidecar.stdout();
    assert!(!said.contains("s3cret") && !told.contains(&token), "{said} {told}");
    let metrics = sidecar.metrics().await;
    assert!(
        metrics.contains("graphward_token_alerts_total{tenant=\"default\",cause=\"rejected\"} 1"),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_exchanged_before_it_ends_and_put_back_where_it_was() {
    let _turn = together().await;
    let place = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let first = graph.sim.issue(Some(Duration::from_secs(6)));
    let env = place.path().join(".env");
    fs::write(&env, format!("# the app's\nTOKEN='{first}'\nOTHER=1\n")).unwrap();
    let source = "file = \".env\", key = \"TOKEN\"";
    let sidecar = Sidecar::start(place.path(), &settings(&graph, source, &exchange_config(place.path()))).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("before").await.status, 200);
    assert_eq!(graph.last_fingerprint(), Some(fingerprint(&first)));
    wait_until("it is renewed", async || graph.sim.counts().exchanges > 0).await;
    wait_until("the next one is in use", async || {
        client.text("after").await.status == 200 && graph.last_fingerprint() != Some(fingerprint(&first))
    })
    .await;
    let text = fs::read_to_string(&env).unwrap();
    let kept = text.lines().find_map(|line| line.strip_prefix("TOKEN=")).unwrap();
    let kept = kept.trim_matches('\'');
    assert_eq!(graph.last_fingerprint(), Some(fingerprint(kept)));
    assert!(
        text.starts_with("# the app's\n") && text.ends_with("OTHER=1\n"),
        "all else is as it was"
    );
    assert_eq!((graph.sim.counts().exchanges, graph.sim.rejected()), (1, 0));
    let said = sidecar.stdout() + &sidecar.stderr();
    assert!(
        ![first.as_str(), kept, APP_SECRET]
            .iter()
            .any(|secret| said.contains(*secret)),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_variable_cannot_keep_is_found_by_the_next_process() {
    let _turn = together().await;
    let place = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let first = graph.sim.issue(Some(Duration::from_secs(6)));
    let more = format!("store = {{ file = \"kept\" }}\n{}", exchange_config(place.path()));
    let file = settings(&graph, "env = \"WHATSAPP_TOKEN\"", &more);
    let serve = async || {
        let mut command = graphward_command(place.path(), &["serve"]);
        Sidecar::start_with(place.path(), &file, command.env("WHATSAPP_TOKEN", &first)).await
    };
    let sidecar = serve().await;
    let mut client = Client::connect(sidecar.proxy).await;
    wait_until("the next one is in use", async || {
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
async fn a_start_that_finds_a_dead_token_has_the_next_one_minted() {
    let _turn = together().await;
    let place = tempfile::tempdir().unwrap();
    let graph = Graph::start().await;
    let (dead, admin) = (graph.sim.issue(None), graph.sim.issue(None));
    assert!(graph.sim.expire(&dead));
    fs::write(place.path().join("token"), &dead).unwrap();
    fs::write(place.path().join("admin"), &admin).unwrap();
    let mint = "renew = { mint = { system_user = \"100001234567890\", token = { file = \"admin\" }, \
                scopes = [\"whatsapp_business_messaging\"], set_token_expires_in_60_days = true } }";
    let app = exchange_config(place.path());
    let app = app.get(app.find("[app]").unwrap()..).unwrap();
    let file = settings(&graph, "file = \"token\"", &format!("{mint}\n{app}"));
    let mut command = graphward_command(place.path(), &["serve", "--require-token"]);
    let sidecar = Sidecar::start_with(place.path(), &file, &mut command).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("by the next one").await.status, 200);
    let kept = fs::read_to_string(place.path().join("token")).unwrap();
    assert_eq!(graph.last_fingerprint(), Some(fingerprint(kept.trim())));
    assert_eq!((graph.sim.counts().system_user_tokens, graph.sim.rejected()), (1, 0));
    let said = sidecar.stdout() + &sidecar.stderr();
    assert!(
        ![dead.as_str(), kept.trim(), &admin, APP_SECRET]
            .iter()
            .any(|secret| said.contains(*secret)),
        "{said}"
    );
}

/// An internal service: answers every request with the same text and records the requests. It runs until the tests end.
struct StubService {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    response_body: Arc<Mutex<String>>,
}

impl StubService {
    fn start(says: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let graphward = Self {
            port: listener.local_addr().unwrap().port(),
            requests: Arc::default(),
            response_body: Arc::new(Mutex::new(says.to_owned())),
        };
        let (heard, says) = (Arc::clone(&graphward.requests), Arc::clone(&graphward.response_body));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
                let mut request = Vec::new();
                let mut piece = [0; 4096];
                // A body may come behind the head, and is never long.
                while let Ok(read @ 1..) = stream.read(&mut piece) {
                    request.extend_from_slice(&piece[..read]);
                    if request.starts_with(b"GET ") && request.ends_with(b"\r\n\r\n") {
                        break;
                    }
                }
                heard.lock().unwrap().push(String::from_utf8(request).unwrap());
                let body = says.lock().unwrap().clone();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        graphward
    }

    fn set_response(&self, says: &str) {
        says.clone_into(&mut self.response_body.lock().unwrap());
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}
